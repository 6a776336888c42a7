#!/usr/bin/env bash
# Installs the pinned yjs beside this file, unless it is there already.
set -euo pipefail
cd "$(dirname "$0")"
wanted=$(sed -n 's/.*"yjs": "\(.*\)".*/\1/p' package.json | head -1)
have=$(sed -n 's/.*"version": "\(.*\)".*/\1/p' node_modules/yjs/package.json 2>/dev/null | head -1 || true)
[ "$wanted" = "$have" ] || npm ci --silent
