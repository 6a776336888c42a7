#!/usr/bin/env bash
# Installs the Debian packages that a build (install_deps.sh PRESET) or the source tools (install_deps.sh tools) need and
# that are missing. Asks for nothing; needs root or sudo only when something is missing.
set -euo pipefail
preset=${1:-release}
packages=(g++ cmake ninja-build pkg-config libboost1.81-dev libboost-json1.81-dev libssl-dev libsqlite3-dev libpq-dev
  libexpected-dev libfmt-dev libspdlog-dev libcli11-dev libtomlplusplus-dev libgtest-dev)
case "$preset" in
  asan | tsan) packages+=(clang-22 libclang-rt-22-dev) ;;
  tools) packages=(clang-format clang-tidy) ;;
esac

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || { echo "missing packages: ${missing[*]} — install them as root" >&2; exit 1; }
  as_root=(sudo)
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
