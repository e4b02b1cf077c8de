#!/bin/bash
# What: a KVM guest's pages go to the nodes of the vCPUs that use them, and the guest sees no difference.
# How: examples/tiny-vmm on this machine's /dev/kvm, on emulated nodes or real ones; it compares every sum.
# Fails when: a sum is wrong, a device model's read takes a mark, or pages stay where vCPU 0 filled them.
# Usage: t_kvm.sh TINY_VMM; exit 77 where there is no KVM or no monitor may serve it.
set -u

vmm=$1
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

mb=16 rounds=10
for vcpus in 2 4; do
	timeout 100 "$vmm" --vcpus $vcpus --mb $mb --rounds $rounds >"$dir/out" 2>"$dir/err"
	status=$?
	if [ $status -eq 77 ]; then
		echo "1..0 # SKIP $(cat "$dir/err")"
		exit 77
	fi
	check $status 0 "$vcpus vCPUs: exit code"
	check "$(grep -c 'sums right' "$dir/out")" 1 "$vcpus vCPUs: every sum is right while the host marks"
	check "$(grep -c '^a device read 64 marked pages: right, 0 marks fewer' "$dir/out")" 1 \
		"$vcpus vCPUs: a device reads by reference and takes no mark"
	# filled: all on node 0; summed: every node has about its share.
	before=$(sed -n 's/^filled by vCPU 0: *node 0: *\([0-9]*\) .*/\1/p' "$dir/out")
	least=$(sed -n 's/^each vCPU summed its part: *//p' "$dir/out" | grep -o 'node [0-9]*: *[0-9]*' | awk '{print $3}' |
		sort -n | head -n 1)
	nodes=$(sed -n 's/.* MiB, \([0-9]*\) .* nodes/\1/p' "$dir/out")
	check "$((least * nodes * 10 > before * 8))" 1 "$vcpus vCPUs: $before pages on one node, then at least $least on each of $nodes"
	[ $bad -eq 0 ] || sed 's/^/# /' "$dir/out" "$dir/err"
done
echo "1..$count"
exit $bad
