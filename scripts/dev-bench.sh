#!/usr/bin/env bash
# help: run the benchmarks (build/bench/nh-bench); arguments are passed on, e.g. --json
set -euo pipefail

scripts/dev-build.sh >&2
if [[ ! -x build/bench/nh-bench ]]; then
	echo "dev bench: build/bench/nh-bench is not part of this tree yet" >&2
	exit 1
fi
exec build/bench/nh-bench "$@"
