#!/usr/bin/env bash
# Installs the pinned yjs beside this file, unless it is there already.
set -euo pipefail
cd "$(dirname "$0")"
for program in node npm; do
  command -v "$program" >/dev/null || { echo "interop: $program is missing: install nodejs and npm, or run make deps" >&2; exit 1; }
done
# Tests that run side by side wait for each other.
exec 9<package.json
flock 9
wanted=$(sed -n 's/.*"yjs": "\(.*\)".*/\1/p' package.json | head -1)
have=$(sed -n 's/.*"version": "\(.*\)".*/\1/p' node_modules/yjs/package.json 2>/dev/null | head -1 || true)
[ "$wanted" = "$have" ] || npm ci --silent
