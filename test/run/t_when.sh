#!/bin/bash
# What: --when: each occasion marks, and nothing else does; a program without OpenMP is served too.
# shellcheck source=test/run/lib.sh disable=SC2016,SC2317
. "$1"

same() {
	is_code 0 && out_is "$plain"
}
report=(--nodes 4 --json "$dir/report.json")

plain=$("$VICTIMS/v_threads" 8)
go "$NUMAHINT" run "${report[@]}" -- "$VICTIMS/v_threads" 8
ok "parallel: no region, no mark" all same 'is_value marked_pages 0' 'err_has "0 parallel regions"'
go "$NUMAHINT" run "${report[@]}" --when threads -- "$VICTIMS/v_threads" 8
ok "threads" all same 'more_than migrated_pages 500' 'is_value when threads'
go "$NUMAHINT" run "${report[@]}" --when start -- "$VICTIMS/v_threads" 8 700
ok "start: once it is filled" all same 'more_than migrated_pages 500' 'is_value when start'
go "$NUMAHINT" run "${report[@]}" --when every=50ms -- "$VICTIMS/v_threads" 8 700
ok "every: more than once" all same 'more_than marked_pages 6000' 'is_value when every=50ms'
go "$NUMAHINT" run "${report[@]}" --when signal=USR2 -- "$VICTIMS/v_threads" 8 700
ok "signal: none came" all same 'is_value marked_pages 0'
plain=$("$VICTIMS/v_threads" 8 700)
go "$NUMAHINT" run "${report[@]}" --when signal=SIGUSR2 -- "$VICTIMS/v_threads" 8 700 12
ok "signal: one came" all same 'more_than migrated_pages 500' 'is_value when signal=USR2'
go "$NUMAHINT" run --dry-run --json "$dir/report.json" --when threads -- "$VICTIMS/v_threads" 8
ok "threads, --dry-run" all 'is_code 0' 'is_value marked_pages 0' 'more_than would_mark_bytes 8000000'
finish
