#!/usr/bin/env bash
# What: `./dev guest` gives back exit code, output and files exactly, and says so when a guest dies or hangs.
# How: boots guests on both kernels and compares. Exit 77 where there is no QEMU or no kernel.
# Fails when: bytes of a fast writer are lost at the end, a code is mixed up, or a dead guest looks like success.
set -euo pipefail

root=$1
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
guest() {
	"$root/scripts/guest.py" --cwd "$dir" "$@" </dev/null
}

count=0
failed=0
check() {
	count=$((count + 1))
	if [[ $1 == "$2" ]]; then
		echo "ok $count - $3"
	else
		echo "not ok $count - $3: got '$1', not '$2'"
		failed=1
	fi
}

for kernel in 6.1 6.12; do
	status=0
	guest --kernel "$kernel" -- true 2>"$dir/err" || status=$?
	if ((status == 125)) && ! grep -q 'died' "$dir/err"; then
		tail -n 1 "$dir/err"
		exit 77
	fi
	((count)) || echo 1..14
	check "$status" 0 "exit code 0 on $kernel"
done

# Bytes as they are, both streams apart, with the files and the exit code, as an ordinary user.
cat >"$dir/job" <<'JOB'
#!/bin/sh
id -un
head -c 3000000 /dev/zero | tr '\0' '\r'
printf 'no newline'
echo complaint >/dev/stderr
mkdir /out/sub
seq 100000 >/out/sub/numbers
sleep 1000 &
exit 7
JOB
chmod +x "$dir/job"
status=0
guest --user nobody --nodes 3 --cpuless --smp 3 --out "$dir/out" --copy job -- ./job >"$dir/stdout" 2>"$dir/err" || status=$?
check "$status" 7 'exit code 7'
check "$(head -n 1 "$dir/stdout")" nobody '--user nobody'
check "$(stat -c %s "$dir/stdout")" 3000017 'every byte of the output'
check "$(tail -c 10 "$dir/stdout")" 'no newline' 'output without a newline at its end'
check "$(cat "$dir/err")" complaint 'stderr apart'
check "$(cksum <"$dir/out/sub/numbers")" "$(seq 100000 | cksum)" 'files come back'

status=0
guest --nodes 4 -- sh -c 'cat /sys/devices/system/node/online; kill -9 $$' >"$dir/stdout" || status=$?
check "$(cat "$dir/stdout")" 0-3 '--nodes 4'
check "$status" 137 'a command killed by a signal'

status=0
guest --timeout 8 -- sleep 1000 2>"$dir/err" || status=$?
check "$status" 124 '--timeout'
check "$(grep -c 'no end after 8 s' "$dir/err")" 1 'and it says so'

status=0
guest -- sh -c 'echo c >/proc/sysrq-trigger' 2>"$dir/err" || status=$?
check "$status" 125 'a kernel that panics'
check "$(grep -c 'sysrq triggered crash' "$dir/err")" 1 'and its last words'
exit "$failed"
