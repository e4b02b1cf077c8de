#!/usr/bin/env bash
# Shows that summary.py counts right: what cmocka prints for each way a test can end, and the verdict expected for it.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# expect COUNTS EXIT TEXT: counts and exit code for the log, and a text that must be in the output.
expect() {
	local out status=0
	out=$("$here/summary.py" "$log") || status=$?
	if [[ $(tail -n 1 <<<"$out") != "$1" || $status != "$2" || $out != *"$3"* ]]; then
		printf 'wanted %s, exit %s, "%s"; got exit %s and\n%s\n' "$1" "$2" "$3" "$status" "$out"
		cat "$log"
		exit 1
	fi
}

# entry RESULT CODE STDOUT: one program in the log.
entry() {
	printf '{"name": "prog", "result": "%s", "returncode": %s, "duration": 1, "stdout": "%s"}\n' "$1" "$2" "$3"
}

entry OK 0 '1..2\nok 1 - a\nok 2 - b\n# ok - group\n' >"$log"
expect '2 passed, 0 failed, 0 skipped' 0 ''

# cmocka's skip is "not ok"; the reason is what the test said; text without a newline stands before a result.
entry ERROR 0 '1..3\nok 1 - a\nskip: no userfaultfd\nnot ok 2 # SKIP b\ntextok 3 - c\n' >"$log"
expect '2 passed, 0 failed, 1 skipped' 0 'no userfaultfd: prog: b'

entry FAIL 1 '1..2\nok 1 - a\nnot ok 2 - b\n# 0x1 != 0x2\n' >"$log"
expect '1 passed, 1 failed, 0 skipped' 1 'prog: b'

# A group that stops early, with exit code 0 and by a signal.
entry OK 0 '1..4\nok 1 - a\nok 2 - b\n' >"$log"
expect '2 passed, 1 failed, 0 skipped' 1 'ended after 2 of 4'
entry FAIL -6 '1..1\nok 1 - a\n' >"$log"
expect '1 passed, 1 failed, 0 skipped' 1 'killed by signal 6'

# A failed group set-up, and two groups in one program.
entry FAIL 1 '1..2\nnot ok 0 - grp [  FAILED  ] GROUP SETUP\n# ok - grp\n' >"$log"
expect '0 passed, 2 failed, 0 skipped' 1 'GROUP SETUP'
entry OK 0 '1..1\nok 1 - a\n# ok - g\n1..2\nok 1 - b\nok 2 - c\n' >"$log"
expect '3 passed, 0 failed, 0 skipped' 0 ''
entry OK 0 '1..2\nok 1 - a\n# ok - g\n1..1\nok 1 - b\n' >"$log"
expect '2 passed, 1 failed, 0 skipped' 1 'ended after 1 of 2'

# A plan at the end, and a skip as TAP has it.
entry OK 0 'ok 1 - a\nok 2 - b # SKIP one node\n1..2\n' >"$log"
expect '1 passed, 0 failed, 1 skipped' 0 'one node: prog: b'

# Programs without TAP: passed, skipped, failed, timed out; and a log with nothing that ran.
{
	entry OK 0 'fine\n'
	entry SKIP 77 'needs two nodes\n'
	entry FAIL 3 'bad\n'
	entry TIMEOUT -15 'slow\n'
	entry TIMEOUT -15 '1..2\nok 1 - a\n'
} >"$log"
expect '2 passed, 4 failed, 1 skipped' 1 'needs two nodes: prog'
entry SKIP 77 'no kernel\n' >"$log"
expect '0 passed, 0 failed, 1 skipped' 1 'no test ran'
: >"$log"
expect '0 passed, 0 failed, 0 skipped' 1 'no test ran'
