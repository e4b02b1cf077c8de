#!/usr/bin/env bash
# Format check of every .c and .h file with the pinned clang-format; --fix rewrites them. Exit 77: no clang-format 14.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

tool=
for name in clang-format-14 clang-format; do
	if command -v "$name" >/dev/null && "$name" --version | grep -q 'version 14\.'; then
		tool=$name
		break
	fi
done
if [[ ! $tool ]]; then
	echo "clang-format 14 is not installed (apt-get install clang-format-14)"
	exit 77
fi
mapfile -d '' -t files < <(scripts/tidy.py --list -0)
((${#files[@]})) || exit 0
if [[ ${1:-} == --fix ]]; then
	exec "$tool" -i "${files[@]}"
fi
"$tool" --dry-run -Werror "${files[@]}" || {
	echo "wrong format; ./dev check-format --fix repairs it" >&2
	exit 1
}
