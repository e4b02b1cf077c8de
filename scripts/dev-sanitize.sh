#!/usr/bin/env bash
# help: the host tests of engine and library under ASan+UBSan, then TSan: ./dev sanitize [address|thread] [--suite NAME]...
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

# Children of threaded programs mark, too.
export TSAN_OPTIONS=${TSAN_OPTIONS:-die_after_fork=0}
status=0
for kind in "${kinds[@]}"; do
	dir=build-$kind
	sanitizers=$kind
	without=()
	[[ $kind == address ]] && sanitizers=address,undefined
	[[ $kind == thread ]] && without=(--no-suite no-tsan)
	scripts/configure.sh "$dir" -Dwerror=true -Dnh_debug=true -Db_sanitize="$sanitizers" -Db_lundef=false
	ninja -C "$dir"
	rm -f "$dir/meson-logs/testlog.json"
	# Not the symbols of a library full of the sanitizer, what is preloaded into programs that know none, nor the simulator's tasks, which switch stacks.
	meson test -C "$dir" --no-rebuild --print-errorlogs --no-suite lint --no-suite guest --no-suite api --no-suite run \
		--no-suite tools --no-suite kvm --no-suite explore --timeout-multiplier 4 \
		"${without[@]}" "${meson_args[@]}" || true
	echo "$kind:"
	scripts/summary.py "$dir/meson-logs/testlog.json" || status=1
done
exit "$status"
