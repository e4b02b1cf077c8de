#!/usr/bin/env bash
# help: two OpenMP programs, plain and under numahint, with strips that show where their pages sat before and after
set -euo pipefail

scripts/packages.sh build
# The second program is a package of its own; who cannot install it still sees the first.
scripts/packages.sh demo || echo "dev demo: going on without the unmodified program" >&2

# A tree that somebody else built may be read-only for us; what is there will do.
if [[ -w . || ! -x build/numahint ]]; then
	[[ -x build/numahint ]] || echo "dev demo: building, once; about a minute" >&2
	if ! log=$(scripts/dev-build.sh 2>&1); then
		printf '%s\n' "$log" | tail -n 30 >&2
		echo "dev demo: the build failed" >&2
		exit 1
	fi
fi
exec scripts/demo.sh build/numahint build/examples/stencil "$@"
