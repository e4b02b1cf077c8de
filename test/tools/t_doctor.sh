#!/bin/bash
# What: numahint doctor tells the truth, and names what stands in the way. Each thing is taken away (privileges, the
#       device, system calls by seccomp filters, huge pages, address space; in guests also sysctls, cpusets and CPUs), and
#       the line about it must say no and name the knob. In every situation a "no" has a knob, and what is said of a pair
#       of trap and delivery is what numahint run --strict then does.
# Usage: t_doctor.sh LIB_SH; NUMAHINT, WITHOUT in the environment.
# shellcheck source=test/tools/lib.sh disable=SC2016,SC2317
. "$1"

# said NAME WORD TEXT: the line about NAME says yes, no or -, and the knob below it matches TEXT
said() {
	awk -v name="$1" -v word="$2" -v text="$3" '
		on && /^ +-> / && $0 ~ text {good = 1}
		{on = 0}
		substr($0, 8, length(name)) == name && substr($0, 8 + length(name), 1) ~ /^ ?$/ && substr($0, 3, 3) ~ "^" word " *$" {
			on = 1
			if (text == "") good = 1
		}
		END {exit !good}' "$dir/out" && return
	echo "not said: $1: $2 -> $3"
	cat "$dir/out"
	return 1
}
detail() {
	grep -q "^  .*  $1  .*$2" "$dir/out" || { echo "$1 has no '$2'"; cat "$dir/out"; return 1; }
}

# A "no" is followed by what to change.
knobs() {
	awk '/^  no / {if (no) exit 1; no = $0; next} /^ +->/ {no = ""; next} {if (no) exit 1} END {exit no != ""}' "$dir/out" ||
		{ echo "a no without a knob"; cat "$dir/out"; return 1; }
}
# Does run agree, pair by pair? What of a pair can only be seen when memory is marked, run does not find out beforehand.
agrees() {
	local trap delivery word
	while read -r word trap delivery; do
		timeout 20 "${before[@]}" "$NUMAHINT" run -q --strict --trap "$trap" --delivery "$delivery" -- "$NUMAHINT" --version \
			>"$dir/ran" 2>"$dir/run"
		case $?,$word in
		0,yes | 125,no) ;;
		*)
			detail "$trap, $delivery" "nothing could be marked" >/dev/null && continue
			echo "doctor says $word of $trap $delivery, run says otherwise"
			cat "$dir/run" "$dir/out"
			return 1
			;;
		esac
	done < <(sed -n 's/^  \(yes\|no \)  \([a-z]*\), \([a-z]*\) .*/\1 \2 \3/p' "$dir/out")
}

# without THING... : the doctor's answer there in $dir/out; fails the test if it cannot be taken away
before=()
without() {
	before=("$WITHOUT" "$@" --)
	go "${before[@]}" "$NUMAHINT" doctor
	[ "$code" -ne 77 ] && [ "$code" -ne 2 ]
}
# taken "THINGS" CHECK... : one test, with the checks that hold always
taken() {
	local what=$1
	shift
	# shellcheck disable=SC2086
	if without $what; then
		ok "without $what" all "$@" knobs agrees
	else
		skip "without $what" "$(head -n 1 "$dir/err")"
	fi
}

go "$NUMAHINT" doctor
ok "as it is here" all 'is_code 0' 'said default yes ""' 'said "mprotect, thread" yes ""' knobs agrees
pairs=$(grep -cE '^  (yes|no )  [a-z]*, [a-z]* ' "$dir/out")
ok "every pair is tried" test "$pairs" -eq 5
cp "$dir/out" "$dir/here"
go "$NUMAHINT" doctor --json
cp "$dir/out" "$dir/json"
if command -v python3 >/dev/null; then
	same_as_text() {
		python3 - "$dir/json" "$dir/here" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
lines = [l for l in open(sys.argv[2]) if l[:7] in ('  yes  ', '  no   ', '  -    ')]
assert len(lines) == len(d['checks']) > 10, (len(lines), len(d['checks']))
for check in d['checks']:
    word = {'yes': 'yes', 'no': 'no ', 'note': '-  '}[check['state']]
    assert any(l.startswith('  %s  %s ' % (word, check['name'])) for l in lines), check
    assert check['state'] != 'no' or check['change'], check
assert d['works'] is True and d['schema'] == 'numahint/1' and d['nodes'][0]['memory_bytes'] > 0
assert set(d) == {'schema', 'version', 'kernel', 'machine', 'uid', 'works', 'trap', 'delivery',
                  'kernel_accesses', 'fork_events', 'checks', 'synthetic', 'distances_known', 'nodes'}, set(d)
END
	}
	ok "--json is an object that says the same" same_as_text
fi
go "$NUMAHINT" doctor --color always
ok "--color always" all 'is_code 0' 'grep -q "$(printf "\033")\[32myes" "$dir/out"'
go "$NUMAHINT" doctor --colour
ok "2: an unknown option" all 'is_code 2' 'err_has "did you mean --color"'
go "$NUMAHINT" doctor x
ok "2: an argument" is_code 2

sysctl_off=false
[ "$(cat /proc/sys/vm/unprivileged_userfaultfd 2>/dev/null)" != 0 ] || sysctl_off=true
ordinary=('is_code 0' 'said "MPOL_MF_MOVE_ALL" no CAP_SYS_NICE' 'said "fork events" no CAP_SYS_PTRACE')
if $sysctl_off; then
	ordinary+=('said "userfaultfd(2)" no "vm.unprivileged_userfaultfd=1, or CAP_SYS_PTRACE"')
fi
if $sysctl_off && [ "$(stat -c %a /dev/userfaultfd 2>/dev/null)" = 600 ]; then
	ordinary+=('said /dev/userfaultfd no "mode 0600, owner 0, group 0"' 'said "shadow, monitor" yes "for system calls: sysctl"'
		'detail default "trap shadow, delivery thread"')
fi
if [ "$(id -u)" -eq 0 ]; then
	taken "root" "${ordinary[@]}"
else
	before=()
	go "$NUMAHINT" doctor
	ok "as an ordinary user" all "${ordinary[@]}"
fi

# Filters and limits work on every kernel alike: not again in guests, where each of these costs a second.
host_tests() {
	if [ "$(id -u)" -eq 0 ]; then
		if $sysctl_off; then
			taken "root userns" 'is_code 0' 'said "userfaultfd(2)" no "in the initial user namespace"' 'said "user namespace" - ""' \
				'said "MPOL_MF_MOVE_ALL" no "initial user namespace"'
		fi
		taken "dev" 'is_code 0' 'said /dev/userfaultfd no "Linux 6.1; in a container, --device"'
		taken "dev userfaultfd=1" 'is_code 0' 'said "userfaultfd(2)" no seccomp' 'said "UFFD_USER_MODE_ONLY" no seccomp' \
			'said "shadow, thread" no seccomp' 'said "shadow, monitor" no seccomp' 'said "minor, monitor" no seccomp' 'said MOVE no "of any kind"' \
			'said seccomp - ""' 'detail default "trap mprotect, delivery thread"'
		taken "dev userfaultfd=38" 'is_code 0' 'said "shadow, thread" no seccomp' 'detail "userfaultfd(2)" "not implemented"'
		taken "dev userfaultfd=1 guard=1" 'is_code 1' 'said default no "pairs above"' 'said "mprotect, thread" no seccomp' \
			'out_has "Nothing can be marked here"'
	else
		taken "userfaultfd=1" 'is_code 0' 'said "UFFD_USER_MODE_ONLY" no seccomp' 'said "shadow, thread" no seccomp' \
			'detail default "trap mprotect, delivery thread"'
		taken "userfaultfd=1 guard=1" 'is_code 1' 'said default no "pairs above"'
	fi
	if without userfaultfd=kill; then
		# Nor the library: it takes the device, or trap mprotect where there is none.
		ok "a filter that kills does not kill the doctor" all 'is_code 0' 'detail "userfaultfd(2)" "killed by SIGSYS"' knobs
	else
		skip "a filter that kills does not kill the doctor" "$(head -n 1 "$dir/err")"
	fi
	taken "move_pages=1" 'said "move_pages(2)" no seccomp' 'said "where a page is" no seccomp' 'said "MPOL_MF_MOVE_ALL" no "above"'
	taken "mbind=1" 'said "mbind(2)" no seccomp'
	taken "get_mempolicy=1" 'said "allowed nodes" no seccomp'
	taken "huge" 'said "transparent huge pages" no PR_SET_THP_DISABLE'
	taken "space=4096" 'said "address space" no "ulimit -v"'
}
if [ ! "${NH_GUEST:-}" ]; then
	host_tests
fi

# What follows changes the whole system: only in a guest, and only root can.
guest_tests() {
	local nodes
	nodes=$(grep -c . <<<"$(ls -d /sys/devices/system/node/node[0-9]*)")
	echo 1 >/proc/sys/vm/unprivileged_userfaultfd
	without root
	ok "vm.unprivileged_userfaultfd=1 gives an ordinary user the kernel's accesses" all 'said "userfaultfd(2)" yes ""' \
		'detail "shadow, monitor" "marked memory work"' 'detail default "trap shadow, delivery monitor"' knobs agrees
	echo 0 >/proc/sys/vm/unprivileged_userfaultfd
	chmod 666 /dev/userfaultfd
	without root
	ok "and so does the device" all 'said /dev/userfaultfd yes ""' 'said "userfaultfd(2)" no sysctl' \
		'detail "shadow, monitor" "marked memory work"' knobs agrees
	chmod 600 /dev/userfaultfd
	echo 1 >/proc/sys/kernel/numa_balancing
	go "$NUMAHINT" doctor
	ok "kernel.numa_balancing=1" said kernel.numa_balancing no "sysctl -w kernel.numa_balancing=0"
	echo 0 >/proc/sys/kernel/numa_balancing
	go "$NUMAHINT" doctor
	ok "kernel.numa_balancing=0" said kernel.numa_balancing yes ""
	echo 2000 >/proc/sys/vm/max_map_count
	go "$NUMAHINT" doctor
	ok "vm.max_map_count=2000" said vm.max_map_count no "sysctl -w vm.max_map_count=65530"
	echo 65530 >/proc/sys/vm/max_map_count
	before=()
	echo never >/sys/kernel/mm/transparent_hugepage/enabled
	go "$NUMAHINT" doctor
	ok "huge pages switched off" said "transparent huge pages" no "echo madvise"
	echo always >/sys/kernel/mm/transparent_hugepage/enabled
	without cpu=0
	ok "CPUs of one node only" said "nodes with our CPUs" no taskset
	mkdir -p "$dir/cgroup"
	if mount -t cgroup2 none "$dir/cgroup" 2>/dev/null && echo +cpuset >"$dir/cgroup/cgroup.subtree_control" 2>/dev/null &&
		mkdir -p "$dir/cgroup/t" && echo 0 >"$dir/cgroup/t/cpuset.mems"; then
		go sh -c "echo \$\$ >$dir/cgroup/t/cgroup.procs; exec $NUMAHINT doctor"
		ok "a cpuset with node 0 alone" all 'said "allowed nodes" no cpuset.mems' \
			'said "move_pages(2)" no cpuset.mems' 'detail "allowed nodes" "on node 0, of 0-'"$((nodes - 1))"'"'
	else
		skip "a cpuset with node 0 alone" "no cpuset controller"
	fi
	umount "$dir/cgroup" 2>/dev/null
}
if [ "${NH_GUEST:-}" ] && [ "$(id -u)" -eq 0 ]; then
	guest_tests
fi
finish
