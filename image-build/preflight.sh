#!/bin/bash
# Say in words what this machine lacks, all of it at once, before anything is started.
set -u
lacks=()
[ "$(id -u)" -eq 0 ] || lacks+=("root: run this as root (sudo -s); the virtual lab makes network namespaces and mounts.")
grep -qE '^ID=debian' /etc/os-release 2>/dev/null || lacks+=("Debian: packages are installed with apt; use Debian 12 or 13.")
[ -c /dev/net/tun ] || lacks+=("/dev/net/tun: the virtual PCs need it; run 'modprobe tun', or give the container that device.")
command -v python3 >/dev/null || lacks+=("python3: run 'apt-get install -y python3'.")
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || lacks+=("Python 3.11 or newer.")
mkdir -p build
free_mb=$(df -Pm build | awk 'NR == 2 { print $4 }')
[ "${free_mb:-0}" -ge 12000 ] || lacks+=("disk space: build/ needs 12 GB, ${free_mb:-0} MB are free.")
memory_mb=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
[ "${memory_mb:-0}" -ge 5000 ] || lacks+=("memory: the virtual PCs need 5 GB, ${memory_mb:-0} MB are available.")
if [ "$(id -u)" -eq 0 ] && command -v ip >/dev/null; then
    probe="diecast-probe-$$"
    if ip netns add "$probe" 2>/dev/null; then ip netns del "$probe"; else
        lacks+=("network namespaces: 'ip netns add' fails; in a container, start it with --privileged.")
    fi
fi
[ ${#lacks[@]} -eq 0 ] && exit 0
echo "This machine lacks:" >&2
printf '  - %s\n' "${lacks[@]}" >&2
exit 1
