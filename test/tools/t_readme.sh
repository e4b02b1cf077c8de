#!/bin/bash
# What: what the documents say is so. The C program in README.md compiles as it stands and runs; what it shows of the
#       demo is what the demo prints, but for numbers and the order of threads; every path and ./dev command named in a
#       document exists.
# Usage: t_readme.sh LIB_SH ROOT; NUMAHINT, STENCIL, LIBDIR in the environment.
# shellcheck source=test/tools/lib.sh disable=SC2016,SC2317
. "$1"
root=$2

# block LANGUAGE: the first fenced block of README.md in that language
block() {
	awk -v open="^\`\`\`$1\$" '$0 ~ open && !seen {on = 1; seen = 1; next} /^```/ {on = 0} on' "$root/README.md"
}

block c >"$dir/example.c"
ok "the C program of README.md is at most 30 lines" all '[ -s "$dir/example.c" ]' '[ "$(wc -l <"$dir/example.c")" -le 30 ]'
compiles() {
	local sanitize=()
	[ "${SANITIZE:-none}" = none ] || sanitize=("-fsanitize=$SANITIZE")
	${CC:-cc} "${sanitize[@]}" -Wall -Wextra -Werror -fopenmp "$dir/example.c" -I"$root/include" -L"$LIBDIR" -lnumahint -o "$dir/example"
}
ok "it compiles without a warning" compiles
export LD_LIBRARY_PATH=$LIBDIR OMP_NUM_THREADS=4
NUMAHINT_NODES=4 go "$dir/example"
ok "it runs, marks and migrates" all 'is_code 0' 'out_has "^[1-9][0-9]* marked, [1-9][0-9]* migrated$"'
unset LD_LIBRARY_PATH OMP_NUM_THREADS

# Numbers, addresses and who got which part differ from run to run; the rest must not.
mask() {
	sed -E 's/0x[0-9a-f]+/ADDRESS/; s/\|[0-9.?]{32}\|/|STRIP|/g; s/[0-9][0-9.-]*/N/g; s/ +/ /g; s/thread$/threads/
		s/ +$//' "$1"
}
one_node() {
	[ "$(cat /sys/devices/system/node/has_cpu 2>/dev/null || echo 0)" = 0 ]
}
awk '/^<!-- demo:/ {want = 1} want && /^\$ .\/dev demo/ {on = 1; next} /^```/ {if (on) exit} on' "$root/README.md" \
	>"$dir/readme.demo"
if ! one_node; then
	skip "the demo in README.md is what the demo prints" "README.md shows it on one node; this machine has several"
else
	timeout 120 "$root/scripts/demo.sh" "$NUMAHINT" "$STENCIL" >"$dir/demo" 2>"$dir/err"
	code=$?
	ok "the demo succeeds" is_code 0
	if [ ! -x /usr/bin/convert-im6.q16 ]; then
		skip "the second program of the demo" "imagemagick is not installed"
		sed -i '/^2\./,$d' "$dir/readme.demo" "$dir/demo"
	fi
	mask "$dir/readme.demo" >"$dir/readme.masked"
	mask "$dir/demo" >"$dir/demo.masked"
	ok "the demo in README.md is what the demo prints" all '[ -s "$dir/readme.masked" ]' \
		'diff -u "$dir/readme.masked" "$dir/demo.masked"'
fi

# Links of Markdown, relative to the file they stand in.
links() {
	local doc link missing=0
	for doc in "$root"/*.md "$root"/doc/*.md "$root"/bench/*.md; do
		while read -r link; do
			[ -e "$(dirname "$doc")/${link%%#*}" ] || { echo "${doc#"$root/"}: no $link"; missing=1; }
		done < <(grep -oE '\]\([^)]+\)' "$doc" | sed -E 's/^..//; s/\)$//' | grep -v '^https\?://')
	done
	return "$missing"
}
ok "every link of a document leads somewhere" links
commands() {
	local word missing=0
	while read -r word; do
		[ "$word" = help ] || [ -x "$root/scripts/dev-$word.sh" ] || { echo "no ./dev $word"; missing=1; }
	done < <(grep -ohE '\./dev [a-z-]+' "$root"/*.md "$root"/doc/*.md "$root"/bench/*.md | sed 's/.* //' | sort -u)
	return "$missing"
}
ok "every ./dev command that a document names exists" commands
finish
