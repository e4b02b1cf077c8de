#!/bin/bash
# What: programs that cannot be managed run all the same, with one line that says why; what can be managed is.
# shellcheck source=test/run/lib.sh disable=SC2016,SC2317
. "$1"

go "$NUMAHINT" run -- "$VICTIMS/v_static"
ok "a static program" all 'is_code 5' 'err_has "statically linked"' 'err_lines 1' 'out_is "uid $(id -u)"'
go "$NUMAHINT" run --json "$dir/report.json" -- "$VICTIMS/v_static"
ok "... and its report" all 'is_value managed false' 'is_value marked_pages 0' 'err_lines 1'
go "$NUMAHINT" run --strict -- "$VICTIMS/v_static"
ok "... with --strict" all 'is_code 125' 'err_lines 1' 'out_is ""'

if [ "$(id -u)" -eq 0 ]; then
	cp "$VICTIMS/v_plain" "$dir/setuid"
	chown 65534 "$dir/setuid"
	chmod 4755 "$dir/setuid"
	go "$dir/setuid"
	if grep -q 65534 "$dir/out"; then
		go "$NUMAHINT" run -- "$dir/setuid"
		ok "a setuid program" all 'is_code 5' 'err_has "setuid"' 'err_lines 1' 'out_is "uid 65534"'
	else
		skip "a setuid program" "/tmp is mounted nosuid"
	fi
else
	skip "a setuid program" "only root can make one"
fi

printf '#!/bin/bash\n"%s" -n 512 -i 2 >/dev/null\nexit 9\n' "$STENCIL" >"$dir/script"
chmod +x "$dir/script"
go "$NUMAHINT" run --nodes 2 -- "$dir/script"
ok "a script: its child is managed" all 'is_code 9' 'err_has "stencil.*pages marked"'
printf 'exit 4\n' >"$dir/script"
go "$NUMAHINT" run -q -- "$dir/script"
ok "a script without an interpreter" is_code 4
printf '#!%s\n' "$VICTIMS/v_static" >"$dir/script"
go "$NUMAHINT" run -- "$dir/script"
ok "a script with a static interpreter" all 'is_code 5' 'err_has "statically linked"'

go "$NUMAHINT" run --nodes 4 -- "$NEXT_TOUCH"
ok "a program that uses libnumahint itself: one engine, its own decisions" all 'is_code 0' 'grep -q "16384 marked" "$dir/out"' \
	'err_has "uses libnumahint itself"'

go "$VICTIMS/v_as" no-userfaultfd "$NUMAHINT" run --nodes 4 -- "$STENCIL" -n 512 -i 3
if [ "$(id -u)" -eq 0 ] && [ -e /dev/userfaultfd ]; then
	# Root still has the device; an ordinary user does not.
	go "$VICTIMS/v_as" nobody "$VICTIMS/v_as" no-userfaultfd "$NUMAHINT" run --nodes 4 -- "$STENCIL" -n 512 -i 3
fi
ok "userfaultfd refused: mprotect does it" all 'is_code 0' 'err_has "trap mprotect, delivery thread"' '! err_has " 0 pages migrated" >/dev/null'
go_nobody "$VICTIMS/v_as" deadly-userfaultfd "$NUMAHINT" run --nodes 4 -- "$STENCIL" -n 512 -i 3
ok "a filter that kills who calls userfaultfd: mprotect does it" all 'is_code 0' 'err_has "trap mprotect, delivery thread"'
go "$VICTIMS/v_as" nobody "$VICTIMS/v_as" no-userfaultfd "$NUMAHINT" run --trap shadow -- bash -c 'exit 6'
if [ "$(id -u)" -ne 0 ]; then
	go "$VICTIMS/v_as" no-userfaultfd "$NUMAHINT" run --trap shadow -- bash -c 'exit 6'
fi
ok "userfaultfd refused, and asked for: a line with the knobs, and it runs" all 'is_code 6' 'err_lines 1' 'err_has "vm.unprivileged_userfaultfd"'
finish
