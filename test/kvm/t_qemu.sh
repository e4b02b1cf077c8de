#!/bin/bash
# What: an unmodified virtual machine monitor under `numahint run`: QEMU boots Debian's kernel while its guest's memory is
#       marked again and again, and the guest finds its memory right.
# How:  the guest fills memory with random files and sums them twice; the report says that its memory was managed,
#       marked and moved.
# Usage: t_qemu.sh ROOT NUMAHINT; exit 77 without QEMU or a kernel.
set -u

root=$1 numahint=$2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
count=0
bad=0

check() {
	count=$((count + 1))
	if [ "$1" = "$2" ]; then
		echo "ok $count - $3"
	else
		echo "not ok $count - $3: '$1', not '$2'"
		bad=1
	fi
}

cat >"$dir/job" <<'JOB'
#!/bin/sh
mkdir -p /t
mount -t tmpfs -o size=200m none /t
for i in 1 2 3 4 5 6; do dd if=/dev/urandom of=/t/$i bs=1M count=16 2>/dev/null; done
cat /t/* | md5sum >/first
sleep 2
cat /t/* | md5sum >/second
cp /t/3 /t/copy
cmp /first /second && cmp /t/3 /t/copy && echo "the memory is right"
JOB
chmod +x "$dir/job"

options="--nodes 4 --when every=300ms --min-size 16M --json $dir/report.json"
timeout 200 "$root/scripts/guest.py" --timeout 180 --mem 512M --under "$numahint run -q $options --" -- "$dir/job" \
	>"$dir/out" 2>"$dir/err"
status=$?
if [ $status -eq 125 ] && ! grep -q died "$dir/err"; then
	echo "1..0 # SKIP $(tail -n 1 "$dir/err")"
	exit 77
fi
number() {
	sed -n "s/^  \"$1\": \\([0-9]*\\),*\$/\\1/p" "$dir/report.json"
}
check $status 0 'the guest ran to its end'
check "$(cat "$dir/out")" 'the memory is right' 'its memory test'
check "$(number managed_bytes)" $((512 << 20)) 'all of its memory was managed'
check $(($(number marked_pages) > 100000)) 1 "pages marked: $(number marked_pages)"
check $(($(number migrated_pages) > 1000)) 1 "pages moved: $(number migrated_pages)"
[ $bad -eq 0 ] || sed 's/^/# /' "$dir/out" "$dir/err"
echo "1..$count"
exit $bad
