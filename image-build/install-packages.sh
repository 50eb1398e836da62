#!/bin/bash
# Install what packages.txt lists and what is not there yet. Safe to run again.
set -euo pipefail
here=$(dirname "$0")
mkdir -p build
mapfile -t wanted < <(grep -vE '^(#|$)' "$here/packages.txt")
missing=()
for name in "${wanted[@]}"; do
    dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q '^install ok installed' || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "Installing ${#missing[@]} Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A service that a package starts by itself would take our ports: no daemon is started by an install.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy"
    trap 'rm -f "$policy"' EXIT
fi
apt-get update -q >build/apt.log
apt-get install -q -y --no-install-recommends "${missing[@]}" >>build/apt.log 2>&1 || {
    tail -20 build/apt.log
    echo "The packages could not be installed; the whole log is build/apt.log." >&2
    exit 1
}
