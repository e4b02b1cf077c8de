#!/usr/bin/env bash
# help: build everything into build/ (the command: build/numahint, the examples: build/examples/)
set -euo pipefail

scripts/packages.sh build
scripts/configure.sh build "$@"
ninja -C build
if [[ -x build/tools/numahint ]]; then
	ln -sfn tools/numahint build/numahint
fi
