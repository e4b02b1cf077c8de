#!/usr/bin/env bash
# help: the host tests under ASan+UBSan, then TSan: ./dev sanitize [address|thread] [--suite NAME]...
set -euo pipefail

scripts/packages.sh build test
kinds=()
meson_args=()
while (($#)); do
	case $1 in
	address | thread) kinds+=("$1") ;;
	--suite)
		meson_args+=(--suite "$2")
		shift
		;;
	*)
		echo "dev sanitize: unknown argument '$1'" >&2
		exit 2
		;;
	esac
	shift
done
((${#kinds[@]})) || kinds=(address thread)

status=0
for kind in "${kinds[@]}"; do
	dir=build-$kind
	sanitizers=$kind
	[[ $kind == address ]] && sanitizers=address,undefined
	scripts/configure.sh "$dir" -Dwerror=true -Dnh_debug=true -Db_sanitize="$sanitizers" -Db_lundef=false
	ninja -C "$dir"
	rm -f "$dir/meson-logs/testlog.json"
	meson test -C "$dir" --no-rebuild --print-errorlogs --no-suite lint --no-suite guest --timeout-multiplier 4 \
		"${meson_args[@]}" || true
	echo "$kind:"
	scripts/summary.py "$dir/meson-logs/testlog.json" || status=1
done
exit "$status"
