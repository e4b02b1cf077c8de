#!/usr/bin/env bash
# guest-tests.sh --build DIR --results FILE [...]: the tests of suite 'real' in QEMU guests; see guest_tests.py.
# Whatever a guest lacks here (QEMU, a kernel) makes its tests skipped, with the reason.
set -euo pipefail

scripts=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
"$scripts/packages.sh" guest || true
exec env PYTHONDONTWRITEBYTECODE=1 "$scripts/guest_tests.py" "$@"
