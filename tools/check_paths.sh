#!/usr/bin/env bash
# Every path in backticks in ARCHITECTURE.md and HACKING.md (`src/…`, `include/…`, `tests/…`, `tools/…`, `docs/…`) must exist.
set -euo pipefail
cd "$(dirname "$0")/.."
failed=0
count=0
for path in $(grep -hoE '`(src|include|tests|tools|docs|examples)/[A-Za-z0-9_./]+`' ARCHITECTURE.md HACKING.md | tr -d '`' | sort -u); do
  count=$((count + 1))
  [ -e "$path" ] || { echo "named but not there: $path"; failed=1; }
done
# A check that looks at nothing would pass for ever.
[ "$count" -ge 30 ] || { echo "only $count paths found: the pattern of this script no longer fits"; failed=1; }
echo "$count paths checked"
exit $failed
