#!/usr/bin/env bash
# Installs the Debian packages that a build (install_deps.sh PRESET) or the source tools (install_deps.sh tools) need and
# that are missing. Asks for nothing; needs root or sudo only when something is missing. The tests start PostgreSQL and
# its pooler themselves: installing them creates no cluster and starts no service.
set -euo pipefail
cd "$(dirname "$0")/.."
preset=${1:-release}
packages=(g++ cmake ninja-build pkg-config libboost1.81-dev libboost-json1.81-dev libssl-dev libsqlite3-dev libpq-dev
  libexpected-dev libfmt-dev libspdlog-dev libcli11-dev libtomlplusplus-dev libgtest-dev
  postgresql-15 pgbouncer openssl)
case "$preset" in
  asan | tsan) packages+=(clang-22 libclang-rt-22-dev) ;;
  tools) packages=(clang-format clang-tidy) ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
# The interop test of src/crdt runs yjs; nodejs from elsewhere may bring npm along.
if [ "$preset" != tools ]; then
  command -v node >/dev/null || missing+=(nodejs)
  command -v npm >/dev/null || missing+=(npm)
fi
install_yjs() { [ "$preset" = tools ] || tests/interop/install.sh; }
if [ ${#missing[@]} -eq 0 ]; then
  install_yjs
  exit 0
fi

as_root=(env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1)
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "missing packages: ${missing[*]} — install them as root" >&2; exit 1; }
  as_root=(sudo "${as_root[@]}")
fi
is_missing() { [[ " ${missing[*]} " == *" $1 "* ]]; }

# What a machine already has is its owner's: only what comes with this installation is kept from starting.
clusters=/etc/postgresql-common/createcluster.conf
if is_missing postgresql-15 && ! "${as_root[@]}" test -e "$clusters"; then
  "${as_root[@]}" mkdir -p "${clusters%/*}"
  echo 'create_main_cluster = false' | "${as_root[@]}" tee "$clusters" >/dev/null
fi
if is_missing pgbouncer; then
  policy=/usr/sbin/policy-rc.d
  if ! "${as_root[@]}" test -e "$policy"; then
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\n[ "$1" = pgbouncer ] && exit 101\nexit 0\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
  fi
fi

echo "installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
if is_missing pgbouncer; then  # nor at the next boot
  "${as_root[@]}" update-rc.d pgbouncer disable >/dev/null 2>&1 || echo "pgbouncer's service could not be disabled" >&2
fi
install_yjs
