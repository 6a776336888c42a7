#!/usr/bin/env bash
# Every ```cpp block of README.md and docs/*.md must stand, letter by letter, in the file that the comment above it
# names: <!-- file: examples/first_app/server.cpp -->. Those files are compiled and run by the tests, so what the
# documents show works.
set -euo pipefail
cd "$(dirname "$0")/.."

check() {  # check DOCUMENT…: prints what is wrong; the last line counts the blocks
  awk '
    function content(path,    text, line, read) {
      if (path in known) return known[path]
      while ((read = (getline line < path)) > 0) text = text line "\n"
      if (read < 0) { printf "%s:%d: there is no file %s\n", FILENAME, FNR, path; failed = 1 }
      close(path)
      return known[path] = text
    }
    FNR == 1 { file = ""; inside = 0 }
    inside && /^```$/ {
      inside = 0
      ++blocks
      if (file != "" && index(content(file), block) == 0) {
        printf "%s:%d: this block is not in %s as it stands here\n", FILENAME, start, file
        failed = 1
      }
      file = ""
      next
    }
    inside { block = block $0 "\n"; next }
    /^<!-- file: .* -->$/ { file = $3; next }
    /^```cpp$/ {
      inside = 1; block = ""; start = FNR
      if (file == "") {
        printf "%s:%d: name the file of this block in a comment above it: <!-- file: PATH -->\n", FILENAME, FNR
        failed = 1
      }
      next
    }
    /[^ \t]/ { file = "" }
    END { printf "%d blocks checked\n", blocks; exit failed }
  ' "$@"
}

# The check itself must notice a changed block and a block without a file.
planted=$(mktemp)
trap 'rm -f "$planted"' EXIT
printf '<!-- file: tools/check_snippets.sh -->\n```cpp\nint never_written%s;\n```\n\n```cpp\nint unnamed;\n```\n' _here >"$planted"
if found=$(check "$planted") || [ "$(grep -c ':' <<<"$found")" -ne 2 ]; then
  echo "check_snippets.sh does not notice a wrong block: $found" >&2
  exit 1
fi

check README.md docs/*.md
