#!/usr/bin/env bash
# configure.sh DIR [OPTION...]: set a Meson build tree up, or again after a folder with a meson.build came or went, which
# Meson itself does not notice.
set -euo pipefail

dir=$1
shift
folders=$(find . \( -name '.git' -o -name 'build*' -o -name 'b-*' \) -prune -o -name meson.build -print | sort)
if [[ ! -f $dir/build.ninja ]]; then
	meson setup "$dir" "$@"
elif [[ $folders != "$(cat "$dir/folders.txt" 2>/dev/null)" ]]; then
	meson setup --reconfigure "$dir" "$@"
fi
echo "$folders" >"$dir/folders.txt"
