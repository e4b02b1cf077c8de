#!/usr/bin/env bash
# help: build with -Werror and debug checks into build-test/, run all tests, then those of suite 'real' in guests
# Options: --no-guests, --suite NAME (repeatable; host tests of that suite only), --guest-matrix "6.1-2 6.12-4c ..."
set -euo pipefail

guests=true
meson_args=()
guest_args=()
while (($#)); do
	case $1 in
	--no-guests) guests=false ;;
	--suite)
		meson_args+=(--suite "$2")
		shift
		;;
	--guest-matrix)
		guest_args+=(--matrix "$2")
		shift
		;;
	*)
		echo "dev test: unknown option '$1' (--no-guests, --suite NAME, --guest-matrix LIST)" >&2
		exit 2
		;;
	esac
	shift
done

scripts/packages.sh build test
if [[ ! ${meson_args[*]} || ${meson_args[*]} == *run* ]]; then scripts/packages.sh wild; fi
if $guests || [[ ! ${meson_args[*]} ]]; then scripts/packages.sh guest; fi
dir=build-test
if ! scripts/configure.sh "$dir" -Dwerror=true -Dnh_debug=true || ! ninja -C "$dir"; then
	echo "the build failed"
	echo "0 passed, 1 failed, 0 skipped"
	exit 1
fi

# Verdicts come from summary.py, which also sees groups that end early; so meson's own exit code is not used.
rm -f "$dir"/meson-logs/testlog.json "$dir"/guest-results.json
meson test -C "$dir" --no-rebuild --print-errorlogs "${meson_args[@]}" || true
if $guests; then
	scripts/guest-tests.sh --build "$dir" --results "$dir/guest-results.json" "${guest_args[@]}"
fi
exec scripts/summary.py "$dir"/meson-logs/testlog.json "$dir"/guest-results.json
