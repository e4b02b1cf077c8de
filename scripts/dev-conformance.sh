#!/usr/bin/env bash
# help: run the tests that name cases of the semantics and print the table; --write puts it into doc/conformance.md
set -euo pipefail

write=false
if [[ ${1:-} == --write ]]; then
	write=true
elif (($#)); then
	echo "dev conformance: unknown argument '$1' (--write)" >&2
	exit 2
fi

scripts/packages.sh build test >&2
dir=build-test
scripts/configure.sh "$dir" -Dwerror=true -Dnh_debug=true >&2
ninja -C "$dir" >&2
rm -f "$dir"/meson-logs/testlog.json
# Whether a test passed is in the log.
meson test -C "$dir" --no-rebuild --suite conformance --suite unit --suite api --suite real >&2 || true
status=0
table=$(scripts/conformance.py "$dir"/meson-logs/testlog.json) || status=$?
if $write; then
	printf '%s\n' "$table" >doc/conformance.md
	printf '%s\n' "$table" | tail -n 1
else
	printf '%s\n' "$table"
fi
exit "$status"
