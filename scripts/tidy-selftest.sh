#!/usr/bin/env bash
# Shows that tidy.py can fail: one planted violation of each rule must be reported, and clean code must pass.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

# plant PATH RULE: the file on stdin must be reported for RULE ("" = must pass).
plant() {
	local path=$1 rule=$2 out status=0
	rm -rf "${dir:?}"/*
	mkdir -p "$dir/$(dirname "$path")"
	cat >"$dir/$path"
	out=$("$here/tidy.py" "$dir") || status=$?
	if [[ $rule && ($status != 1 || $out != *": $rule: "*) ]]; then
		echo "not found: $rule planted in $path (exit $status) $out"
		exit 1
	elif [[ ! $rule && $status != 0 ]]; then
		echo "false alarm in $path: $out"
		exit 1
	fi
}

plant src/mm/a.c atomic <<<'int f(int *p) { return __atomic_load_n(p, 0); }'
plant test/a.c atomic <<<'int f(int *p) { return __sync_add_and_fetch(p, 1); }'
plant src/api/a.c atomic <<<'#include <stdatomic.h>'
plant src/base/atomic.h '' <<<'static int f(int *p) { return __atomic_load_n(p, 0); }'
plant src/mm/a.c mm <<<'#include <sys/mman.h>'
plant src/mm/a.c mm <<<'int f(void) { return ioctl(3, 4); }'
plant src/mm/a.c '' <<<'int f(struct os *os) { /* not mmap() */ return os->mmap(os, "read(1)"); }'
plant src/os/linux/a.c '' <<<'#include <sys/mman.h>'
marker=TO
plant tools/a.c todo <<<"/* ${marker}DO: later */"
plant tools/a.c '' <<<"/* ${marker}DO(#3): later */"
{
	printf 'static int\nlong_one(int a)\n{\n'
	for i in {1..71}; do printf '\ta += %d;\n' "$i"; done
	printf '\treturn a;\n}\n'
} | plant sim/a.c length
printf 'int f(void)\n{\n\treturn 0;\n}\n' | plant sim/a.c ''
