#!/bin/bash
# What: the manual says what there is, and nothing else. Every verb has a page; the options of --help, of the page and of the
#       option tables in the source are the same; every public function, exit code, configuration key and report key
#       has its entry; the pages are well-formed; bash completion offers what --help lists.
# Usage: t_manual.sh LIB_SH ROOT; NUMAHINT, STENCIL in the environment.
# shellcheck source=test/tools/lib.sh disable=SC2016,SC2317,SC2013
. "$1"
root=$2
man=$root/man

verbs=$("$NUMAHINT" --help | sed -n '/^Verbs:/,/^$/s/^  \([a-z]*\) .*/\1/p')
ok "numahint --help lists verbs" test -n "$verbs"

# The options of --help: what stands left of three blanks in lines that begin with an option.
help_options() {
	"$NUMAHINT" "$@" --help | sed -n 's/^  \(-.*\)/\1/p' | sed 's/   .*//' | grep -oE -- '-(-[a-z][a-z-]*|[a-z]\b)' | sort -u
}
# The options of a page: its OPTIONS section, lines such as "*-v*, *--stats*".
page_options() {
	sed -n '/^# OPTIONS/,/^# [^O]/p' "$1" | grep -E '^\*-' | grep -oE -- '\*-(-[a-z][a-z-]*|[a-z])\*' | tr -d '*' | sort -u
}
same_options() {
	local page=$1
	shift
	help_options "$@" >"$dir/help"
	page_options "$page" >"$dir/page"
	[ -s "$dir/help" ] && diff "$dir/help" "$dir/page"
}
ok "numahint(1) has the options of --help" same_options "$man/numahint.1.scd"
for verb in $verbs; do
	ok "numahint-$verb(1) has the options of --help" same_options "$man/numahint-$verb.1.scd" "$verb"
	ok "numahint(1) names $verb" grep -q "numahint-$verb\*(1)" "$man/numahint.1.scd"
done
no_other_pages() {
	local page missing=0
	for page in "$man"/numahint-*.1.scd; do
		page=${page##*/numahint-}
		echo "$verbs" | grep -qx "${page%.1.scd}" || { echo "no verb ${page%.1.scd}"; missing=1; }
	done
	return "$missing"
}
ok "no page is about a verb that does not exist" no_other_pages
tables() {
	local name missing=0
	for verb in $verbs; do help_options "$verb"; done | sort -u >"$dir/all"
	sed -n 's/.*{ "\([a-z-]*\)", \(no\|required\|optional\)_argument.*/--\1/p' "$root"/tools/*.c | sort -u >"$dir/tables"
	[ -s "$dir/tables" ] || return 1
	while read -r name; do
		grep -qx -- "$name" "$dir/all" || { echo "$name is an option that no --help lists"; missing=1; }
	done <"$dir/tables"
	return "$missing"
}
ok "--help lists every option of the option tables" tables
accepted() {
	local verb option missing=0
	for verb in $verbs; do
		while read -r option; do
			go "$NUMAHINT" "$verb" "$option"
			! grep -q "unknown option" "$dir/err" || { echo "$verb does not know $option"; missing=1; }
		done < <(page_options "$man/numahint-$verb.1.scd")
	done
	return "$missing"
}
ok "every option of a page is known to its verb" accepted

# Functions: the headers, and the NAME sections of section 3.
functions() {
	sed -n 's/^NH_API.*\b\(nh_[a-z0-9_]*\)(.*/\1/p' "$root"/include/numahint/*.h | sort >"$dir/declared"
	for page in "$man"/*.3.scd; do
		sed -n '/^# NAME/,/^# [^N]/p' "$page" | sed 's/ - .*//' | grep -oE '\bnh_[a-z0-9_]+'
	done | sort >"$dir/named"
	[ -s "$dir/declared" ] && diff "$dir/declared" "$dir/named"
}
ok "every public function has a manual entry, once" functions
synopses() {
	local name missing=0
	while read -r name; do
		grep -q "[ *]$name(" "$man"/*.3.scd || { echo "$name is in no synopsis"; missing=1; }
	done <"$dir/declared"
	return "$missing"
}
ok "and a synopsis" synopses

codes() {
	local code missing=0
	for code in $(sed -n 's/^#define NHT_[A-Z_]*[^0-9]*\([0-9]*\)$/\1/p' "$root/tools/tools.h") 0; do
		sed -n '/^# EXIT STATUS/,/^# ENV/p' "$man/numahint.1.scd" | grep -q "^\*$code\*" || { echo "no exit code $code"; missing=1; }
	done
	return "$missing"
}
ok "numahint(1) has every exit code" codes
# listed FILE WORD...: each word is bold in the page
listed() {
	local page=$1 word missing=0
	shift
	[ $# -gt 2 ] || { echo "too few words: $*"; return 1; }
	for word in "$@"; do
		grep -q "\*${word}[*=]" "$page" || { echo "${page##*/} lacks $word"; missing=1; }
	done
	return "$missing"
}
# shellcheck disable=SC2046
ok "numahint-run(1) has every key of NUMAHINT_CONF" listed "$man/numahint-run.1.scd" \
	$(sed -n '/keys\[\] = {/,/}/p' "$root/preload/conf.c" | grep -oE '"[a-z_]+"' | tr -d '"')
go "$NUMAHINT" run -q --nodes 4 --json "$dir/report.json" -- "$STENCIL" -n 512 -i 2
# shellcheck disable=SC2046
ok "numahint-run(1) has every key of a report" listed "$man/numahint-run.1.scd" \
	$(grep -oE '"[a-z_]+":' "$dir/report.json" | tr -d '":' | sort -u) unmanaged_because
# shellcheck disable=SC2046
ok "numahint-run(1) has every reason" listed "$man/numahint-run.1.scd" \
	$(sed -n '/nh_reason_name/,/^}/p' "$root/src/api/strerror.c" | grep -oE '"[a-z]+"' | tr -d '"')
variables() {
	local name missing=0
	for name in $(grep -ohE 'getenv\("(NUMAHINT_|NO_)[A-Z_]+' "$root"/tools/*.c "$root"/preload/*.c "$root"/src/*/*.c | sed 's/.*"//' | sort -u); do
		grep -q "^\*$name\*" "$man/numahint.1.scd" || { echo "numahint(1) lacks $name"; missing=1; }
	done
	return "$missing"
}
ok "numahint(1) has every variable that is read" variables

if ! command -v scdoc >/dev/null || ! command -v mandoc >/dev/null; then
	skip "the pages are well-formed" "scdoc and mandoc are not both installed"
else
	formed() {
		local page to
		for page in "$man"/*.scd; do
			to=$dir/$(basename "$page" .scd)
			scdoc <"$page" >"$to" || { echo "${page##*/}: scdoc refuses it"; return 1; }
			# scdoc writes paragraphs that mandoc finds superfluous, and a reader never sees.
			if mandoc -Tlint -W warning "$to" | grep -v 'skipping paragraph macro'; then
				echo "in ${page##*/}"
				return 1
			fi
		done
	}
	ok "the pages are well-formed" formed
fi
references() {
	local name missing=0
	for name in $(grep -ohE '\*numahint[a-z_-]*\*\([0-9]\)' "$man"/*.scd | tr -d '*()' | sort -u); do
		[ -e "$man/${name%?}.${name: -1}.scd" ] || { echo "no page $name"; missing=1; }
	done
	return "$missing"
}
ok "every numahint page that another names exists" references
built() {
	local page
	for page in "$man"/*.scd; do
		page=${page##*/}
		grep -q "'${page%.scd}'" "$man/meson.build" || { echo "man/meson.build lacks ${page%.scd}"; return 1; }
	done
}
ok "every page is built" built

# offers WORD... : what completion offers for the line, one a line; the last word is being typed
offers() {
	bash --norc -c '. "$1"; shift; n=$1; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _numahint "$n"; printf "%s\n" "${COMPREPLY[@]}"' \
		- "$root/tools/completions/numahint.bash" "$NUMAHINT" "$@" 2>&1 | sort -u
}
offered() {
	local want=$1
	shift
	[ "$(offers "$@" | tr '\n' ' ' | sed 's/ $//')" = "$want" ] || { echo "offered for '$*':"; offers "$@"; echo "wanted: $want"; return 1; }
}
# shellcheck disable=SC2086
ok "completion offers the verbs, and the options before them" offered \
	"$({ help_options; printf '%s\n' $verbs; } | sort -u | tr '\n' ' ' | sed 's/ $//')" numahint ""
for verb in $verbs; do
	ok "completion offers the options of $verb" offered "$(help_options "$verb" | grep -- '^--' | sort -u | tr '\n' ' ' | sed 's/ $//')" \
		numahint "$verb" --
done
ok "completion offers the traps" offered "auto minor mprotect shadow" numahint run --trap ""
ok "completion offers what fits" offered "mprotect" numahint run --nodes 4 --trap mp
touch "$dir/a-file"
ok "completion offers files for --json" offered "$dir/a-file" numahint run --json "$dir/a-"
ok "completion offers files behind the program" offered "$dir/a-file" numahint run --nodes 4 cat "$dir/a-"
finish
