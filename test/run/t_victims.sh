#!/bin/bash
# What: programs that handle signals, start processes, and give marked memory to the kernel behave under numahint run
# as they do alone: same output, same exit code. How: each case plain, and under every pair of trap and delivery.
# Usage: t_victims.sh lib.sh PROGRAM CASE...
# shellcheck source=test/run/lib.sh disable=SC2016,SC2317
. "$1"
program=$2
shift 2

same_as_plain() {
	is_code "$plain_code" && cmp "$dir/out" "$dir/plain_out"
}

mapfile -t pairs < <(pairs)
for case in "$@"; do
	go "$VICTIMS/$program" "$case"
	plain_code=$code
	cp "$dir/out" "$dir/plain_out"
	for pair in "${pairs[@]}"; do
		read -r trap_name delivery <<<"$pair"
		if [ "$case" = clone ] && [ "$trap_name" = shadow ] && [ "$(id -u)" -ne 0 ]; then
			skip "$case, $pair" "an ordinary user is not told of raw clone: see numahint-run(1)"
			continue
		fi
		EXPECT_MARKS=1 go "$NUMAHINT" run --nodes 4 --trap "$trap_name" --delivery "$delivery" -- "$VICTIMS/$program" "$case"
		ok "$case, $pair" same_as_plain
	done
done
finish
