#!/usr/bin/env bash
# help: run a command in a QEMU guest with real NUMA nodes: ./dev guest [options] -- command; --help lists the options
set -euo pipefail

scripts/packages.sh build guest
if ! log=$(scripts/dev-build.sh 2>&1); then
	printf '%s\n' "$log" | tail -n 20 >&2
	echo "guest: the build failed; going on without it or with the last one" >&2
fi
exec scripts/guest.py --build build "$@"
