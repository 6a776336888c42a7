#!/usr/bin/env bash
# run.sh PEER [OPERATIONS]: the interop tests: histories of many, undo step by step, and what observers are told. Brings
# yjs itself where `make deps` has not.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/install.sh"
for script in interop undo events; do node "$here/$script.mjs" "$@"; done
