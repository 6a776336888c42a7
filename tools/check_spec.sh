#!/usr/bin/env bash
# Every test that docs/spec.md names (`Suite.Name`) must exist, every promise must say what enforces it, and every
# trap must name a test or a gap.
set -euo pipefail
cd "$(dirname "$0")/.."
spec=docs/spec.md
failed=0

defined=$(find src tests examples -name '*_test.cpp' -exec cat {} + | tr '\n' ' ' |
  grep -oE 'TEST(_F|_P)?\( *[A-Za-z0-9_]+, *[A-Za-z0-9_]+ *\)' |
  sed -E 's/^TEST(_F|_P)?\( *([A-Za-z0-9_]+), *([A-Za-z0-9_]+) *\)$/\2.\3/' | sort -u)
named=$(grep -oE '`[A-Z][A-Za-z0-9]*\.[A-Z][A-Za-z0-9]*`' "$spec" | tr -d '`' | sort -u)
for test in $(comm -13 <(printf '%s\n' "$defined") <(printf '%s\n' "$named")); do
  echo "$spec names the test $test, which does not exist"
  failed=1
done

promises=$(grep -cE '^\*\*S[0-9]+ ' "$spec")
enforced=$(grep -cE '^Enforced by: .+' "$spec")
if [ "$promises" -ne 27 ] || [ "$enforced" -ne "$promises" ]; then
  echo "$spec has $promises promises of 27, and $enforced lines \"Enforced by: …\""
  failed=1
fi
while IFS='|' read -r _ number _ test _; do
  if ! grep -qE '`[A-Z][A-Za-z0-9]*\.[A-Z]|Gap' <<<"$test"; then
    echo "$spec: trap$number names neither a test nor a gap"
    failed=1
  fi
done < <(grep -E '^\| [0-9]+ \|' "$spec")

echo "$(wc -w <<<"$named") tests named"
exit $failed
