#!/usr/bin/env bash
# help: deliberately wrong engines, each of which the explorer must find; -v prints how
set -euo pipefail

scripts/dev-build.sh >&2
exec build/numahint sim canaries "$@"
