#!/bin/bash
# What: the explorer finds each deliberately wrong engine, says in words what is wrong, and what it prints and saves runs again.
# How: numahint sim canaries, one after the other; then the command that is printed, and --save and replay.
# Usage: t_canaries.sh LIB_SH; NUMAHINT in the environment.
# shellcheck source=test/tools/lib.sh disable=SC2317,SC2015,SC2181
. "$1"

mapfile -t canaries < <(timeout 200 "$NUMAHINT" sim canaries | tee "$dir/canaries" | sed -n 's/^\([A-Z][A-Z_]*\) .*/\1/p')
ok "there are at least twelve canaries" test "${#canaries[@]}" -ge 12
all_found() {
	tail -n 1 "$dir/canaries" | grep -x "canaries: ${#canaries[@]} of ${#canaries[@]} found"
}
ok "each is found" all_found
# again NAME: the scenario and the schedule that are printed fail by themselves, with the same words.
again() {
	local canary=$1 scenario words
	scenario=$(grep -A1 "^$canary " "$dir/canaries" | sed -n '2s/^ *\([a-z0-9-]*\): .*/\1/p')
	[ -n "$scenario" ] || { echo "no scenario of $canary"; return 1; }
	timeout 60 "$NUMAHINT" sim explore "$scenario" --canary "$canary" --save "$dir/schedule" >"$dir/first" 2>"$dir/err"
	[ $? -eq 1 ] || { echo "explore: not exit code 1"; cat "$dir/first" "$dir/err"; return 1; }
	words=$(sed -n "1s/^$scenario: FAILED: //p" "$dir/first")
	[ -n "$words" ] || return 1
	read -ra command < <(sed -n 's/^again: numahint //p' "$dir/first")
	timeout 60 "$NUMAHINT" "${command[@]}" >"$dir/second"
	[ $? -eq 1 ] && grep -qF "==== $words" "$dir/second" || { echo "the printed command:"; cat "$dir/second"; return 1; }
	timeout 60 "$NUMAHINT" sim replay "$dir/schedule" >"$dir/third"
	[ $? -eq 1 ] && cmp "$dir/second" "$dir/third"
}
for canary in "${canaries[@]}"; do
	ok "$canary: what is printed and saved fails again" again "$canary"
done
finish
