#!/usr/bin/env bash
# help: check C formatting and the bans of scripts/tidy.py; --fix formats in place
set -euo pipefail

scripts/packages.sh test
scripts/check-format.sh "$@"
scripts/tidy.py
scripts/tidy-selftest.sh
