#!/bin/sh
# What: the shared library exports the names of its version map and nothing else, and needs libc alone.
# Usage: symbols.sh LIBRARY MAP
set -eu
nm -D --defined-only "$1" | awk '{ print $3 }' | sed 's/@.*//' | grep -v '^NUMAHINT_' | sort >exported.$$
sed -n 's/^\t\(nh_[a-z0-9_]*\);$/\1/p' "$2" | sort >mapped.$$
status=0
diff -u mapped.$$ exported.$$ || status=1
[ -s exported.$$ ] || status=1
rm -f exported.$$ mapped.$$
needed=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v '^libc\.so' || true)
if [ -n "$needed" ]; then
	echo "needs more than libc: $needed"
	status=1
fi
exit $status
