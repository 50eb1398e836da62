"""The real systemd-networkd in namespaces of its own: a machine with one network card that it manages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

CARD = "eth1"
REPOSITORY = Path(__file__).parents[2]
# A /sys that cannot be written tells networkd that it is in a container and waits for no udev (sd-device.h).
_SETUP = f"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network:systemd-network /run/systemd/netif
mount -t sysfs -o ro sysfs /sys
mount -t tmpfs tmpfs /etc/systemd/network
ip link set lo up
ip link add {CARD} type veth peer name wall
ip link set wall up
dbus-daemon --system --fork --nopidfile
/lib/systemd/systemd-networkd &
until networkctl --no-pager list >/dev/null 2>&1; do sleep 0.1; done
echo ready
read -r line
"""


def child_of(pid: int) -> int:
    """The process in the namespaces, of one that made or entered them."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


class NetworkdRoom:
    """Ends with its first process, as which it runs what is given to `python`."""

    def __init__(self, log: Path) -> None:
        words = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", _SETUP]
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            self.close()
            raise AssertionError(log.read_text())
        self._inside = ["nsenter", "--target", str(child_of(self._process.pid)), "--net", "--mount", "--pid"]

    def close(self) -> None:
        """End it with everything in it."""
        self._process.kill()
        self._process.communicate(timeout=20)

    def run(self, *words: str) -> str:
        """What a program prints there."""
        return subprocess.run([*self._inside, *words], check=True, capture_output=True, text=True).stdout

    def begin(self, code: str) -> subprocess.Popen[str]:
        """Python code of ours, run there as the unit does: root without any capability."""
        rights = ["setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
        return subprocess.Popen(
            [*self._inside, *rights, sys.executable, "-c", textwrap.dedent(code)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def addresses(self) -> list[str]:
        """IPv4 addresses of the card."""
        found: list[dict[str, Any]] = json.loads(self.run("ip", "-json", "-4", "address", "show", "dev", CARD))
        return [f"{each['local']}/{each['prefixlen']}" for link in found for each in link.get("addr_info", [])]

    def file(self, path: str) -> str | None:
        """A file there; None when it is not."""
        done = subprocess.run([*self._inside, "cat", path], check=False, capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else None
