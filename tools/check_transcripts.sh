#!/usr/bin/env bash
# check_transcripts.sh PAGE BIN_DIR LIB_DIR [--show]: runs the ```console blocks of a page as one shell session in an
# empty folder with the examples' domain libraries, and compares what they print with what the page shows (--show prints
# it instead). `$ ` begins a command, `> ` continues it, the rest is its output, both streams together. Ids, times and what a
# run took differ from run to run: each is compared as <id>, <time> and <seconds>. The page says port 4000; the session takes one that is
# free. After a command that starts a server, with its output in a .log of its own, it waits until that listens.
set -euo pipefail
cd "$(dirname "$0")/.."
page=$1 bin=$(realpath "$2") lib=$(realpath "$3") show=${4:-}

session=$(mktemp -d)
end() {
  if [ -e "$session/pids" ]; then xargs -r kill 2>/dev/null <"$session/pids" || true; fi
  rm -rf "$session"
}
trap end EXIT
mkdir "$session/home"
ln -s "$lib"/lib*_domain.so "$session/home/"
export PATH="$bin:$PATH" NO_COLOR=1
unset NIZHAL_TOKEN NIZHAL_DB

first_line_with() { grep -m1 "$1" <(tail --pid="$3" -n +1 -F "$2" 2>/dev/null); }

# A port that is free now.
NIZHAL_JWT_SECRET=only-to-find-a-port nizhal serve --domain "$lib/libledger_domain.so" --db "sqlite:$session/probe.db" \
  --listen 127.0.0.1:0 >"$session/probe.log" 2>/dev/null &
probe=$!
port=$(first_line_with 'listening on' "$session/probe.log" $probe | sed 's/.*://')
kill $probe && wait $probe
[ -n "$port" ] || { echo "no server came up on a free port" >&2; exit 1; }

# The page as a script that prints itself, and what the page says that it prints.
awk -v script="$session/script" -v expected="$session/expected" -v port="$port" '
  function quoted(text) { gsub(/\x27/, "\x27\\\x27\x27", text); return "\x27" text "\x27" }
  function flush_command() {
    if (command == "") return
    real = command
    gsub(/127\.0\.0\.1:4000/, "127.0.0.1:" port, real)
    printf "printf \"%%s\\n\" %s\n%s\n", quoted(shown), real > script
    if (command ~ /&[ ]*$/) {
      print "echo $! >> ../pids" > script
      if (command ~ /nizhal serve/ && match(command, /[a-z-]+\.log/))
        print "(first_line_with \"listening on\" " substr(command, RSTART, RLENGTH) " $!) > ../ready" > script
    }
    command = ""
  }
  /^```console$/ { inside = 1; printf "printf \"%%s\\n\" %s\n", quoted("--- line " NR) > script; print "--- line " NR > expected; next }
  inside && /^```$/ { flush_command(); inside = 0; next }
  inside { print > expected }
  inside && /^\$ / { flush_command(); command = substr($0, 3); shown = $0; next }
  inside && /^> / { command = command "\n" substr($0, 3); shown = shown "\n" $0; next }
  inside { flush_command() }
' "$page"

export -f first_line_with
(cd "$session/home" && bash "$session/script" >"$session/actual" 2>&1 </dev/null) || true

plain() {
  sed -E -e "s/127\.0\.0\.1:$port/127.0.0.1:4000/g" \
    -e 's/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/<id>/g' \
    -e 's/ in [0-9]+\.[0-9] s,/ in <seconds> s,/g' \
    -e 's/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z/<time>/g' "$1"
}
if [ "$show" = --show ]; then
  sed "s/127\.0\.0\.1:$port/127.0.0.1:4000/g" "$session/actual"
  exit 0
fi
commands=$(grep -c '^\$ ' "$session/expected")
[ "$commands" -ge 3 ] || { echo "$page: only $commands commands found" >&2; exit 1; }
if ! diff -u --label "$page" <(plain "$session/expected") --label 'what happened' <(plain "$session/actual"); then
  echo "$page does not show what happens" >&2
  exit 1
fi
echo "$commands commands of $page print what it shows"
