# shellcheck shell=bash
# What the tests of the command and of the documents share. TAP on stdout; sourced by each test.
set -u
export LC_ALL=C
unset NUMAHINT_CONF NUMAHINT_OUT NUMAHINT_NODES NO_COLOR MANPATH
dir=$(mktemp -d /tmp/numahint-tools.XXXXXX)
trap 'rm -rf "$dir"' EXIT
chmod 755 "$dir"
count=0
bad=0

# ok NAME COMMAND...: passes if COMMAND succeeds; what it printed is shown otherwise.
ok() {
	local name=$1
	shift
	count=$((count + 1))
	if "$@" >"$dir/why" 2>&1; then
		echo "ok $count - $name"
	else
		echo "not ok $count - $name"
		bad=$((bad + 1))
		sed 's/^/#   /' "$dir/why" | head -n 40
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
	timeout 60 "$@" >"$dir/out" 2>"$dir/err" </dev/null
	code=$?
	return 0
}

is_code() {
	[ "$code" -eq "$1" ] || { echo "exit code $code, not $1"; cat "$dir/out" "$dir/err"; return 1; }
}
out_has() {
	grep -q -e "$1" "$dir/out" || { echo "stdout lacks: $1"; cat "$dir/out" "$dir/err"; return 1; }
}
err_has() {
	grep -q -e "$1" "$dir/err" || { echo "stderr lacks: $1"; cat "$dir/err"; return 1; }
}
all() {
	local check
	for check in "$@"; do
		eval "$check" || return 1
	done
}
