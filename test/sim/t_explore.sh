#!/bin/bash
# What: the engine is right under every interleaving of each scenario, up to the scenario's number of preemptions.
# How: numahint sim explore, exhaustively; of N parts of the scenarios the Kth.
# Usage: t_explore.sh LIB_SH K N; NUMAHINT in the environment.
# shellcheck source=test/tools/lib.sh disable=SC2317,SC2015,SC2181
. "$1"
part=$2 parts=$3

mapfile -t scenarios < <("$NUMAHINT" sim list | awk '{ print $1 }')
ok "there are scenarios" test "${#scenarios[@]}" -ge 20
explored() {
	timeout 300 "$NUMAHINT" sim explore "$1" >"$dir/explored" 2>&1 || { cat "$dir/explored"; return 1; }
	grep -q "^$1 .*all of [1-9][0-9]* preemptions: [1-9][0-9]* schedules" "$dir/explored" ||
		{ echo "not explored to its bound:"; cat "$dir/explored"; return 1; }
}
for ((i = part; i < ${#scenarios[@]}; i += parts)); do
	ok "${scenarios[i]}" explored "${scenarios[i]}"
	sed 's/^/# /' "$dir/explored" | head -n 1
done
finish
