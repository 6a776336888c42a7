#!/usr/bin/env bash
# run.sh PEER [OPERATIONS]: the interop test. Brings yjs itself where `make deps` has not.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
for program in node npm; do
  command -v "$program" >/dev/null || { echo "interop: $program is missing: install nodejs and npm, or run make deps" >&2; exit 1; }
done
"$here/install.sh"
exec node "$here/interop.mjs" "$@"
