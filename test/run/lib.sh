# shellcheck shell=bash
# What the tests of numahint run share. TAP on stdout; sourced by each test, whose arguments are files it needs:
# $NUMAHINT the command, $STENCIL the example, $VICTIMS the folder of the v_* programs.
set -u
export LC_ALL=C
unset NUMAHINT_CONF NUMAHINT_OUT NUMAHINT_NODES NO_COLOR
# Nothing here measures time; a wait that never ends is a failure, though.
limit=${TEST_LIMIT:-120}
# Two threads are enough to have somebody else touch, on any machine.
export OMP_NUM_THREADS=2
dir=$(mktemp -d /tmp/numahint-run.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
count=0
bad=0

# ok NAME COMMAND...: passes if COMMAND succeeds; what it printed, and what the program printed, is shown otherwise.
ok() {
	local name=$1
	shift
	count=$((count + 1))
	if "$@" >"$dir/why" 2>&1; then
		echo "ok $count - $name"
	else
		echo "not ok $count - $name"
		bad=$((bad + 1))
		sed 's/^/#   /' "$dir/why"
		[ -s "$dir/out" ] && sed 's/^/# out: /' "$dir/out" | head -n 20
		[ -s "$dir/err" ] && sed 's/^/# err: /' "$dir/err" | head -n 20
	fi
}

skip() {
	count=$((count + 1))
	echo "ok $count - $1 # SKIP $2"
}

finish() {
	echo "1..$count"
	[ "$bad" -eq 0 ]
	exit
}

# go COMMAND...: $dir/out, $dir/err, $code
go() {
	timeout "$limit" "$@" >"$dir/out" 2>"$dir/err" </dev/null
	code=$?
	return 0
}

# The same as an ordinary user, if this is root.
go_nobody() {
	if [ "$(id -u)" -eq 0 ]; then
		go "$VICTIMS/v_as" nobody "$@"
	else
		go "$@"
	fi
}

is_code() {
	[ "$code" -eq "$1" ] || { echo "exit code $code, not $1"; return 1; }
}
err_has() {
	grep -q -e "$1" "$dir/err" || { echo "stderr lacks: $1"; return 1; }
}
err_lines() {
	[ "$(wc -l <"$dir/err")" -eq "$1" ] || { echo "not $1 lines on stderr"; return 1; }
}
out_is() {
	[ "$(cat "$dir/out")" = "$1" ] || { echo "stdout is not: $1"; return 1; }
}
# The value of a key of a report, as text.
value() {
	sed -n "s/^  \"$1\": \"\\{0,1\\}\\([^\",]*\\)\"\\{0,1\\},\\{0,1\\}\$/\\1/p" "$dir/report.json"
}
is_value() {
	local v
	v=$(value "$1")
	[ "$v" = "$2" ] || { echo "$1 is '$v', not '$2'"; return 1; }
}
more_than() {
	local v
	v=$(value "$1")
	[ "${v:-0}" -gt "$2" ] || { echo "$1 is '$v', not more than $2"; return 1; }
}
all() {
	local check
	for check in "$@"; do
		eval "$check" || return 1
	done
}

# Pairs of trap and delivery that work here for whoever runs this, one per line.
pairs() {
	local pair
	for pair in "mprotect thread" "shadow thread" "shadow monitor"; do
		# shellcheck disable=SC2086
		set -- $pair
		if timeout "$limit" "$NUMAHINT" run -q --strict --trap "$1" --delivery "$2" -- bash -c : 2>/dev/null; then
			echo "$pair"
		fi
	done
}
