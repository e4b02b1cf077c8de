#!/usr/bin/env bash
# Runs shellcheck over every shell script of the tree. Exit 77: it is not installed.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."

if ! command -v shellcheck >/dev/null; then
	echo "shellcheck is not installed"
	exit 77
fi
mapfile -d '' -t files < <(find . \( -name '.git' -o -name 'build*' -o -name 'b-*' \) -prune -o -name '*.sh' -type f -print0)
shellcheck -x dev .ci/run "${files[@]}"
