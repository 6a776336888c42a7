#!/usr/bin/env bash
# with_postgres.sh COMMAND…: runs the command with a PostgreSQL server of its own, whose URL is in NIZHAL_DB, and takes the
# server away afterwards. Stock settings, fsync on; a Unix socket in a temporary folder, no port. As root the server runs as
# the user `postgres`, because it refuses to be root.
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: $0 COMMAND…" >&2; exit 2; }

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
[ -n "$bin" ] || bin=$(dirname "$(command -v postgres || true)")
[ -x "$bin/initdb" ] || { echo "$0: PostgreSQL is not installed: apt-get install postgresql" >&2; exit 4; }

folder=$(mktemp -d "${TMPDIR:-/tmp}/nizhal-postgres-XXXXXX")
as_server=()
if [ "$(id -u)" -eq 0 ]; then
  chown postgres "$folder"
  as_server=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi
cleanup() {
  "${as_server[@]}" "$bin/pg_ctl" -D "$folder/data" -m immediate -w stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd /
if ! "${as_server[@]}" "$bin/initdb" -D "$folder/data" -U postgres -A trust --locale=C.UTF-8 >"$folder/log" 2>&1 ||
  ! "${as_server[@]}" "$bin/pg_ctl" -D "$folder/data" -w -l "$folder/server.log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$folder'" start >>"$folder/log" 2>&1; then
  echo "$0: PostgreSQL did not start:" >&2
  cat "$folder"/*log >&2
  exit 4
fi
cd "$OLDPWD"
NIZHAL_DB="postgresql://postgres@/postgres?host=$folder" "$@"
