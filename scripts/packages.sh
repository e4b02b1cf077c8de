#!/usr/bin/env bash
# packages.sh GROUP...: make sure that the Debian packages of these groups (packages.txt) are there.
# Root installs what is missing; anybody else is told the exact command. --quiet: say nothing, exit 1 instead.
set -euo pipefail

list=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/packages.txt
quiet=false
if [[ ${1:-} == --quiet ]]; then
	quiet=true
	shift
fi

if ! command -v dpkg-query >/dev/null; then
	$quiet || echo "dev: not a Debian system; needed here: $(awk 'NF && !/^#/ {printf "%s ", $2}' "$list")" >&2
	exit 0
fi

wanted=()
for group in "$@"; do
	while read -r name; do
		wanted+=("$name")
	done < <(awk -v group="$group" '$1 == group {print $2}' "$list")
done

missing=()
declare -A installed
while read -r name status; do
	[[ $status == installed ]] && installed[${name%%:*}]=1
done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null || true)
for name in "${wanted[@]}"; do
	[[ ${installed[$name]:-} ]] || missing+=("$name")
done
((${#missing[@]})) || exit 0

if ((EUID != 0)); then
	$quiet || echo "dev: packages are missing; run: sudo apt-get install -y ${missing[*]}" >&2
	exit 1
fi
echo "dev: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
install=(apt-get install -y --no-install-recommends "${missing[@]}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! "${install[@]}" >"$log" 2>&1; then
	# Fresh systems have no package lists, old ones have lists that name versions no longer there.
	{ apt-get update && "${install[@]}"; } >"$log" 2>&1 || {
		tail -n 20 "$log" >&2
		exit 1
	}
fi
