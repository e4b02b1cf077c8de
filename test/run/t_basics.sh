#!/bin/bash
# What: numahint run as its users meet it: the default, the report, the exit codes, bad input.
# shellcheck source=test/run/lib.sh disable=SC2016,SC2317
. "$1"

plain=$("$STENCIL" -n 512 -i 3 | sed 's/, [0-9.]* s$//')
same_output() {
	[ "$(sed 's/, [0-9.]* s$//' "$dir/out")" = "$plain" ] || { echo "stdout is not: $plain"; return 1; }
}

go "$NUMAHINT" run --nodes 4 -- "$STENCIL" -n 512 -i 3
ok "the default" all 'is_code 0' same_output 'err_has "pages marked"' 'err_has "4 emulated nodes"' 'err_lines 3'

go_nobody "$NUMAHINT" run --nodes 4 -- "$STENCIL" -n 512 -i 3
ok "the default, for an ordinary user" all 'is_code 0' same_output 'err_has " pages migrated"' '! err_has " 0 pages migrated" >/dev/null'

NUMAHINT_NODES=4 go "$NUMAHINT" run -- "$STENCIL" -n 512 -i 3
ok "nodes from the environment" all 'is_code 0' 'err_has "4 emulated nodes"'
go "$NUMAHINT" run --nodes "numa:3 core:2 pu:1" -- "$STENCIL" -n 512 -i 3
ok "nodes of a synthetic topology" all 'is_code 0' 'err_has "3 emulated nodes"'

go "$NUMAHINT" run -q --nodes 4 --json "$dir/report.json" -- "$STENCIL" -n 512 -i 3
keys() {
	local key missing=0
	for key in nodes emulated trap delivery managed_bytes marked_pages hinting_faults migrated_pages restored_pages \
		skipped failed local_before local_after; do
		grep -q "^  \"$key\": " "$dir/report.json" || { echo "no key $key"; missing=1; }
	done
	return "$missing"
}
balance() {
	local marked
	marked=$(value marked_pages)
	[ $(($(value migrated_pages) + $(value restored_pages) + $(value lost_pages))) -eq "$marked" ] || {
		echo "$marked pages were marked, but not as many migrated, restored or lost"
		return 1
	}
}
ok "a report has every key" all 'is_code 0' 'err_lines 0' keys 'is_value nodes 4' 'is_value emulated true' 'more_than marked_pages 500' \
	'more_than migrated_pages 100' 'more_than managed_bytes 2000000' 'is_value local_after 1.0000' balance
go "$NUMAHINT" run -q --nodes 4 --json - -- "$STENCIL" -n 512 -i 3
cp "$dir/out" "$dir/report.json"
ok "a report on standard output" all 'is_code 0' keys
ln -s "$dir/target" "$dir/link"
echo kept >"$dir/target"
go "$NUMAHINT" run -q --nodes 4 --json "$dir/link" -- "$STENCIL" -n 512 -i 3
cp "$dir/target" "$dir/report.json"
ok "a report through a symbolic link, which stays" all '[ -L "$dir/link" ]' 'grep -q kept "$dir/target"' keys

go "$NUMAHINT" run --dry-run --json "$dir/report.json" -- "$STENCIL" -n 512 -i 3
ok "--dry-run marks nothing and says how much it would" all 'is_code 0' 'err_has "would mark 4088 KiB in 2 allocations"' 'is_value marked_pages 0' \
	'is_value dry_run true'
go "$NUMAHINT" run --min-size 4M -- "$STENCIL" -n 512 -i 3
ok "--min-size leaves smaller ones alone" all 'is_code 0' 'err_has "nothing was marked: 0 allocations of at least 4096 KiB"'
go "$NUMAHINT" run --nodes 4 --min-size 512k --keep-marks --json "$dir/report.json" -- "$STENCIL" -n 512 -i 3
ok "--keep-marks" all 'is_code 0' same_output 'more_than marked_pages 500'

for code_of in 0 1 42 125 126 127 255; do
	go "$NUMAHINT" run -q -- bash -c "exit $code_of"
	ok "exit code $code_of passes through" is_code $code_of
done
# shellcheck disable=SC2016,SC2317
go "$NUMAHINT" run -q -- bash -c 'kill -TERM $$'
ok "a signal passes through" is_code 143
go "$NUMAHINT" run -- numahint-there-is-no-such-program
ok "127: not found" all 'is_code 127' 'err_has "not found in PATH"' 'err_lines 1'
go "$NUMAHINT" run -- "$dir/none"
ok "127: no such file" all 'is_code 127' 'err_has "No such file"' 'err_lines 1'
echo x >"$dir/plain"
go_nobody "$NUMAHINT" run -- "$dir/plain"
ok "126: not executable" all 'is_code 126' 'err_has "Permission denied"' 'err_lines 1'
go "$NUMAHINT" run -- "$dir"
ok "126: a directory" all 'is_code 126' 'err_has "directory"' 'err_lines 1'
go "$NUMAHINT" run --json "$dir/none/report.json" -- true
ok "125: a report that cannot be written" all 'is_code 125' 'err_has "No such file"' 'err_lines 1'
NUMAHINT_PRELOAD=$dir/none go "$NUMAHINT" run --strict -- bash -c :
ok "125: --strict, and it cannot be managed" all 'is_code 125' 'err_has "NUMAHINT_PRELOAD"' 'err_lines 1'
NUMAHINT_PRELOAD=$dir/none go "$NUMAHINT" run -- bash -c 'exit 3'
ok "not --strict: it runs unmanaged" all 'is_code 3' 'err_has "running it unmanaged"' 'err_lines 1'

# refused OPTION... : wrong usage, one line, nothing runs
refused() {
	local text=$1
	shift
	go "$NUMAHINT" run "$@" -- touch "$dir/ran"
	ok "2: $*" all 'is_code 2' "err_has '$text'" 'err_lines 1' '[ ! -e "$dir/ran" ]'
}
refused "works with --delivery thread only" --trap mprotect --delivery monitor
refused "works with --delivery thread only" --delivery monitor --trap mprotect
refused "1 to 255" --nodes 0
refused "1 to 255" --nodes 256
refused "1 to 255" --nodes -1
refused "synthetic topology" --nodes four
refused "synthetic topology" --nodes "core:4"
refused "not a size" --min-size 1X
refused "not a size" --min-size -5
refused "not a size" --min-size ""
refused "too large" --min-size 99999999999999999999
refused "did you mean" --trap shadov
refused "none of auto" --delivery both
refused "as in every=500ms" --when every=5
refused "as in every=500ms" --when every=0s
refused "a signal is one of" --when signal=KILL
refused "did you mean --json" --jsonn x
NUMAHINT_NODES=many refused "NUMAHINT_NODES=many" -v
go "$NUMAHINT" run --trap
ok "2: an option without its argument" all 'is_code 2' 'err_has "needs an argument"'
go "$NUMAHINT" run
ok "2: no program" all 'is_code 2' 'err_has "which program"'
go "$NUMAHINT" frobnicate
ok "2: no such verb" all 'is_code 2' 'err_has "unknown verb"'
NUMAHINT_CONF=tarp:shadow go "$NUMAHINT" run -q -- true
ok "an unknown key is named, with what was probably meant" all 'is_code 0' "err_has \"did you mean 'trap'\""

for size in 512k 512K 1m 1M 1g 1G 1048576 1MiB; do
	go "$NUMAHINT" run -q --min-size $size -- true
	ok "size $size" is_code 0
done
go "$NUMAHINT" run --nodes 4 --json "$dir/outer.json" -- "$NUMAHINT" run --trap mprotect -- "$STENCIL" -n 512 -i 3
cp "$dir/outer.json" "$dir/report.json"
ok "numahint run in numahint run: one report, the inner options" all 'is_code 0' 'err_lines 4' 'is_value trap mprotect' 'is_value nodes 4'
go "$NUMAHINT" run --print-env --nodes 4 -- "$STENCIL" -n 512 -i 3
cp "$dir/out" "$dir/line"
go sh "$dir/line"
ok "--print-env prints a line that does the same" all 'is_code 0' same_output 'err_has "pages marked"'
finish
