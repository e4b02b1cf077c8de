#!/bin/bash
# What: the explorer itself. Leaving out states that were reached before loses no result; the same seed is the same run; random
#       and pct find bugs, and what they find is shortened; wrong usage is refused.
# Usage: t_explorer.sh LIB_SH; NUMAHINT in the environment.
# shellcheck source=test/tools/lib.sh disable=SC2317,SC2015,SC2181
. "$1"

results() {
	timeout 100 "$NUMAHINT" sim explore "$@" | grep -oE 'all of [0-9]+ preemptions|[0-9]+ results \([0-9a-f]+\)'
}
same_results() {
	results "$@" >"$dir/reduced" && results "$@" --no-reduce >"$dir/full" || return 1
	[ "$(wc -l <"$dir/full")" -eq 2 ] && diff "$dir/reduced" "$dir/full"
}
for scenario in fault-fault fault-fault-huge fault-fault-mark mark-unmark mark-pin gup-split get-marked-migrate fork-get \
	event-interposed; do
	ok "$scenario: with and without leaving out states, the same results" same_results "$scenario" --bound 2
done
for scenario in event-fault event-fault-thread mark-dontneed mremap-fault; do
	ok "$scenario: the same" same_results "$scenario" --bound 1
done
more_preemptions() {
	[ "$("$NUMAHINT" sim explore mark-pin -b 1 | grep -oE '[0-9]+ schedules')" != \
		"$("$NUMAHINT" sim explore mark-pin -b 2 | grep -oE '[0-9]+ schedules')" ]
}
ok "a larger bound means more schedules" more_preemptions

# preemptions: of the failure that was printed last
preemptions() {
	sed -n 's/^preemptions: \([0-9]*\);.*/\1/p' "$dir/out"
}
for strategy in random pct; do
	go "$NUMAHINT" sim explore mark-pin --canary pinned-page-marked --strategy "$strategy" --seed 7
	ok "$strategy finds a canary" all 'is_code 1' 'out_has "FAILED: .*page"'
	ok "$strategy: and shortens it" test "$(preemptions)" -le 2
	cp "$dir/out" "$dir/once"
	go "$NUMAHINT" sim explore mark-pin --canary pinned-page-marked --strategy "$strategy" --seed 7
	same_but_time() {
		diff <(sed 's/, [0-9.]* s$//' "$dir/once") <(sed 's/, [0-9.]* s$//' "$dir/out")
	}
	ok "$strategy: the same seed, the same failure" same_but_time
	go "$NUMAHINT" sim explore mark-pin event-fault --strategy "$strategy" --runs 2000
	ok "$strategy finds nothing where nothing is wrong" all 'is_code 0' 'out_has "seeds 1 to 2000: 2000 schedules"'
done
go "$NUMAHINT" sim explore mark-pin --schedule none
ok "one schedule, printed" all 'is_code 0' 'out_has "marker .*page 0: PRESENT -> LOCKED"' 'out_has "==== passed"'

go "$NUMAHINT" sim explore no-such
ok "an unknown scenario" all 'is_code 2' 'err_has "no scenario .no-such."'
go "$NUMAHINT" sim explore
ok "no scenario" is_code 2
go "$NUMAHINT" sim explore mark-pin --canary no-such
ok "an unknown canary" all 'is_code 2' 'err_has "no canary"'
go "$NUMAHINT" sim explore mark-pin --bound x
ok "a bound that is no number" is_code 2
go "$NUMAHINT" sim explore mark-pin --schedule 1:x
ok "a schedule that is none" is_code 2
echo "numahint-schedule 2" >"$dir/bad"
go "$NUMAHINT" sim replay "$dir/bad"
ok "a file of another version" all 'is_code 2' 'err_has "bad:1: not a schedule"'
go "$NUMAHINT" sim replay "$dir/none"
ok "a file that does not exist" is_code 2
go "$NUMAHINT" sim
ok "no command" is_code 2
finish
