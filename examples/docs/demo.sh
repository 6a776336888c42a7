#!/usr/bin/env bash
# demo.sh BIN_DIR LIB_DIR: two devices edit one text while they are apart, and both edits are there in the end.
# Every process is a real one; what it leaves behind is removed. Exit 1 when the devices do not end up equal.
set -euo pipefail
bin=$(realpath "${1:?usage: demo.sh BIN_DIR LIB_DIR}") lib=$(realpath "${2:?usage: demo.sh BIN_DIR LIB_DIR}")
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; fi; rm -rf "$folder"' EXIT
cd "$folder"
NIZHAL_JWT_SECRET=$(head -c 32 /dev/urandom | base64)
NIZHAL_TOKEN=$(NIZHAL_JWT_SECRET=$NIZHAL_JWT_SECRET "$bin/nizhal" token --user ana --owner home)
export NIZHAL_JWT_SECRET NIZHAL_TOKEN

mkfifo lines
"$bin/nizhal" serve --domain "$lib/libdocs_domain.so" --db sqlite:server.db --listen 127.0.0.1:0 >lines 2>server.log &
server=$!
if ! read -r line <lines; then
  cat server.log >&2
  exit 1
fi
url=http://${line##*/}

device() {  # device NAME COMMAND…
  "$bin/nizhal" client --domain "$lib/libdocs_domain.so" --store "$1.db" --server "$url" "${@:2}"
}
edit() { device "$1" edit documents d1 "$2" "${@:4}" --mutator "$3" >/dev/null; }
sync() { for name in "$@"; do device "$name" sync >/dev/null; done; }
say() { printf '\n%s\n' "$1"; }
show() { for name in phone laptop; do printf '  %-7s %s\n' "$name" "$(content "$name")"; done; }
content() {
  device "$1" --json query "SELECT title, status, crdt_text(body, 'body') AS body,
    crdt_json(meta, 'meta') ->> 'seats' AS seats, crdt_json(meta, 'meta') ->> 'colour' AS colour
    FROM documents" | sed 's/^\[//; s/\]$//'
}

say '1  A document in a space, on both devices'
device phone mutate createSpace '{"space_id":"home"}' >/dev/null
device phone mutate createDocument '{"id":"d1","space_id":"home","title":"Trip"}' >/dev/null
edit phone body editBody insert 0 'Pack: tent, stove.'
sync phone laptop
show

say '2  Apart: both edit the text, the map and the fields'
edit phone body editBody insert 10 ', maps'
edit phone meta editMeta set seats 4
device phone mutate setTitle '{"id":"d1","title":"Trip to the sea"}' >/dev/null
edit laptop body editBody insert end ' Leave at six.'
edit laptop meta editMeta set colour '"green"'
device laptop mutate setStatus '{"id":"d1","status":"final"}' >/dev/null
show

say '3  Together again: every edit is there'
sync laptop phone laptop
show

wanted='{"title":"Trip to the sea","status":"final","body":"Pack: tent, maps, stove. Leave at six.","seats":4,"colour":"green"}'
for name in phone laptop; do
  if [ "$(content "$name")" != "$wanted" ]; then
    printf '\nThe %s does not have what both wrote:\n  %s\n' "$name" "$wanted"
    exit 1
  fi
done
say 'Both devices have what both wrote.'
