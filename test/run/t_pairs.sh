#!/bin/bash
# What: a program's data is the same with every valid pair of trap and delivery, at every granularity, and with both
# families of OpenMP runtimes; and pages do go to the threads that touch them.
# shellcheck source=test/run/lib.sh disable=SC2016,SC2317
. "$1"

strip_time() {
	sed 's/, [0-9.]* s$//' "$1"
}
same() {
	if ! is_code 0 || [ "$(strip_time "$dir/out")" != "$plain" ]; then
		echo "stdout is not: $plain"
		return 1
	fi
}

mapfile -t pairs < <(pairs)
ok "there is a pair that works" [ ${#pairs[@]} -gt 0 ]
sizes=(300 1024) copies=(never always) again=(--when every=3ms)
if [ -n "${NH_GUEST:-}" ]; then # emulation: a tenth of the speed
	sizes=(300) copies=(never) again=(--when every=50ms)
fi
for size in "${sizes[@]}"; do
	"$STENCIL" -n "$size" -i 4 >"$dir/plain"
	plain=$(strip_time "$dir/plain")
	for pair in "${pairs[@]}"; do
		read -r trap_name delivery <<<"$pair"
		options=(--nodes 4 --min-size 256K --trap "$trap_name" --delivery "$delivery" --json "$dir/report.json")
		go "$NUMAHINT" run "${options[@]}" -- "$STENCIL" -n "$size" -i 4
		ok "stencil $size, $pair" all same "is_value trap $trap_name" "is_value delivery $delivery" 'more_than migrated_pages 40' \
			'is_value local_after 1.0000'
		for copy in "${copies[@]}"; do
			go "$NUMAHINT" run -q "${options[@]}" --copy "$copy" -- "$STENCIL" -n "$size" -i 4
			ok "stencil $size, $pair, copy $copy" all same 'more_than migrated_pages 40'
		done
		go "$NUMAHINT" run -q "${options[@]}" "${again[@]}" -- "$STENCIL" -n "$size" -i 40
		"$STENCIL" -n "$size" -i 40 >"$dir/plain40"
		ok "stencil $size, $pair, marked again and again" all 'is_code 0' '[ "$(strip_time "$dir/out")" = "$(strip_time "$dir/plain40")" ]'
	done
done

for program in v_kmpc v_gomp_on_llvm; do
	if [ ! -x "$VICTIMS/$program" ]; then
		skip "LLVM's OpenMP: $program" "built without libomp (package libomp-14-dev)"
		continue
	fi
	"$VICTIMS/$program" >"$dir/plain"
	plain=$(strip_time "$dir/plain")
	go "$NUMAHINT" run --nodes 4 --json "$dir/report.json" -- "$VICTIMS/$program"
	ok "LLVM's OpenMP: $program" all same 'more_than migrated_pages 1000' 'is_value local_after 1.0000'
done
finish
