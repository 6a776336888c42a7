#!/usr/bin/env bash
# The steps of docs/first-app.md, section 5, against real processes. Usage: steps_test.sh BIN_DIR
set -euo pipefail
bin=$1
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT
export NIZHAL_JWT_SECRET=change-me-to-something-long
NIZHAL_TOKEN=$("$bin/nizhal" token --user ana --owner home)
export NIZHAL_TOKEN

start_server() {  # start_server PORT: sets url; port 0 takes any free one
  rm -f "$folder/address"
  mkfifo "$folder/address"
  "$bin/first_app_server" "$1" "$folder/server.db" >"$folder/address" 2>>"$folder/log" &
  server=$!
  # The line comes when the server accepts connections.
  read -r line <"$folder/address" || fail "the server did not start"
  url=${line#listening on }
}
stop_server() {
  kill "$server"
  wait "$server"
  server=
}
fail() {
  echo "$1" >&2
  sed 's/^/  server: /' "$folder/log" >&2
  exit 1
}
expect() {  # expect WHAT ACTUAL EXPECTED
  [ "$2" = "$3" ] || fail "$1: expected
$3
but got
$2"
}
phone() { "$bin/first_app_device" "$folder/phone.db" "$url" "$@"; }
laptop() { "$bin/first_app_device" "$folder/laptop.db" "$url" "$@"; }

start_server 0
phone "buy milk" "call the bank" >/dev/null
expect "the laptop after its first sync" "$(laptop)" "[ ] buy milk
[ ] call the bank"

stop_server
expect "the phone offline" "$(phone "water the plants" 2>"$folder/phone.err")" "[ ] buy milk
[ ] call the bank
[ ] water the plants"
grep -q "^not synced, all is kept" "$folder/phone.err" || fail "the phone does not say that it could not sync"
expect "the laptop offline" "$(laptop "fix the bike" 2>/dev/null)" "[ ] buy milk
[ ] call the bank
[ ] fix the bike"

start_server "${url##*:}"
three="[ ] buy milk
[ ] call the bank
[ ] water the plants"
expect "the phone in the end" "$(phone)" "$three"
shown=$(laptop)
expect "the laptop's tasks in the end" "$(grep -F '[ ]' <<<"$shown")" "$three"
grep -q '^refused: .*fix the bike.* because finish something first$' <<<"$shown" ||
  fail "the laptop does not tell the refusal: $shown"
stop_server
echo "all steps of docs/first-app.md work"
