#!/usr/bin/env bash
# help: the engine under every interleaving, deeper than the tests go: ./dev explore [SECONDS per scenario] [SCENARIO...]
# One preemption more than the tests allow, as far as the time goes; then random walks and PCT from a seed that is printed.
set -euo pipefail

seconds=60
if [[ ${1-} =~ ^[0-9]+$ ]]; then
	seconds=$1
	shift
fi
scripts/dev-build.sh >&2
seed=$((RANDOM << 15 | RANDOM))
names=("$@")
if ((!$#)); then mapfile -t names < <(build/numahint sim list | awk '{ print $1 }'); fi

status=0
for name in "${names[@]}"; do
	bound=$(build/numahint sim list | sed -n "s/^$name  *.*(\([0-9]*\) preemptions)$/\1/p")
	if [[ -z $bound ]]; then
		echo "dev explore: no scenario '$name'; build/numahint sim list has them" >&2
		exit 2
	fi
	build/numahint sim explore "$name" --bound $((bound + 1)) --time "$seconds" || status=1
	for strategy in random pct; do
		build/numahint sim explore "$name" --strategy $strategy --seed "$seed" --runs 1000000000 \
			--time $((seconds / 4 + 1)) || status=1
	done
done
exit "$status"
