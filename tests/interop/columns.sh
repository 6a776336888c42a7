#!/usr/bin/env bash
# columns.sh NIZHAL LIBRARY: the interop test of columns, through a server. LIBRARY is that of the docs example.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
"$here/install.sh"
exec node "$here/columns.mjs" "$@"
