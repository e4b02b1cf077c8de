#!/usr/bin/env bash
# help: numahint beside the kernel's own ways, in a guest with real nodes: table, JSON and SVG in build/compare; --help
set -euo pipefail

scripts/packages.sh build guest
if ! log=$(scripts/dev-build.sh 2>&1); then
	printf '%s\n' "$log" | tail -n 20 >&2
	exit 1
fi
exec scripts/compare.py --build build "$@"
