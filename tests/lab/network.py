"""The wires of the virtual lab: a namespace with a bridge and the PCs' taps, and one for each machine plugged into it.

The box has a namespace of its own because a bridge answers ARP for every address of the namespace it lives in: the PCs
would then send to the bridge what services bound to the box's interface never see.

Everything is named after the process that made it (`diecast-lab-PID-N`), so that a later run can remove what a crashed
one left behind, and never anything else. The bridge does not snoop multicast: no querier lives here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.command import ROOT, LabError, run

_NETNS = Path("/run/netns")
_NAME = re.compile(r"^diecast-lab-(\d+)-\d+(?:-[a-z0-9]+)?$")
_counter = itertools.count(1)

BRIDGE = "br0"
BOX_INTERFACE = "box0"


def _pids(namespace: str) -> list[int]:
    return [int(word) for word in run(["ip", "netns", "pids", namespace], ok=(0, 1, 255)).split()]


def _remove(namespace: str) -> None:
    """End whatever still runs in a namespace of ours, then remove it."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        left = _pids(namespace)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        deadline = time.monotonic() + (3 if left else 0)
        while time.monotonic() < deadline and _pids(namespace):
            time.sleep(0.1)
    run(["ip", "netns", "del", namespace], ok=(0, 1, 255))


def remove_stale() -> list[str]:
    """Remove the namespaces of lab processes that are gone; return their names."""
    stale = []
    for entry in sorted(_NETNS.iterdir()) if _NETNS.is_dir() else []:
        match = _NAME.match(entry.name)
        if match and not Path("/proc", match[1]).exists():
            _remove(entry.name)
            stale.append(entry.name)
    return stale


class LabNetwork:
    """A bridge in a namespace of its own. Use it as a context manager, or call `close`."""

    def __init__(self, *, box_address: str = "10.77.0.1/24") -> None:
        remove_stale()
        self.name = f"diecast-lab-{os.getpid()}-{next(_counter)}"
        self._stations: list[str] = []
        self._router: subprocess.Popen[bytes] | None = None
        run(["ip", "netns", "add", self.name])
        try:
            self._ip("link", "set", "lo", "up")
            self._ip("link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
            self._ip("link", "set", BRIDGE, "up")
            self._box = self.add_station("box", box_address, interface=BOX_INTERFACE)
            run([*self._box, "ip", "route", "add", "224.0.0.0/4", "dev", BOX_INTERFACE])
            words = [*self.wire, sys.executable, "-m", "tests.lab.router", BRIDGE]
            # It must not hold a caller's pipes open when this process is killed.
            nothing = subprocess.DEVNULL
            self._router = subprocess.Popen(words, cwd=ROOT, stdin=nothing, stdout=nothing, stderr=nothing)
        except LabError:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def wire(self) -> list[str]:
        """The words to put before a command that shall run where the bridge and the taps are."""
        return ["ip", "netns", "exec", self.name]

    @property
    def box(self) -> list[str]:
        """The words to put before a command that shall run on the box."""
        return self._box

    def _ip(self, *words: str) -> None:
        run(["ip", "-n", self.name, *words])

    def add_tap(self, name: str) -> None:
        """Make a tap device for a PC and plug it into the bridge."""
        self._ip("tuntap", "add", name, "mode", "tap")
        self._ip("link", "set", name, "master", BRIDGE, "up")

    def remove_tap(self, name: str) -> None:
        """Take a PC's tap away."""
        run(["ip", "-n", self.name, "link", "del", name], ok=(0, 1))

    def drop_multicast_to(self, port: str) -> None:
        """From now on forward no multicast to a port of the bridge, as a switch that has forgotten its groups does."""
        table = "add table bridge lab"
        chain = f"add chain bridge lab {port} {{ type filter hook forward priority 0; }}"
        run(
            [
                *self.wire,
                "nft",
                f'{table}; {chain}; add rule bridge lab {port} oifname "{port}" ip daddr 224.0.0.0/4 drop',
            ]
        )

    def add_station(self, name: str, address: str = "", *, interface: str = "eth0") -> list[str]:
        """Make a machine on the bridge: a namespace with one interface.

        `address` is `A.B.C.D/LEN`; empty for a DHCP client. Returns the words to put before its commands.
        """
        namespace = f"{self.name}-{name}"
        run(["ip", "netns", "add", namespace])
        self._stations.append(namespace)
        port = f"st-{name}"
        self._ip("link", "add", port, "type", "veth", "peer", "name", interface, "netns", namespace)
        self._ip("link", "set", port, "master", BRIDGE, "up")
        for words in (["link", "set", "lo", "up"], ["link", "set", interface, "up"]):
            run(["ip", "-n", namespace, *words])
        if address:
            run(["ip", "-n", namespace, "addr", "add", address, "brd", "+", "dev", interface])
        return ["ip", "netns", "exec", namespace]

    def close(self) -> None:
        """Remove what this object made; what runs inside is ended first."""
        if self._router:
            self._router.terminate()
            self._router.wait()
            self._router = None
        for namespace in [*self._stations, self.name]:
            if (_NETNS / namespace).exists():
                _remove(namespace)
        self._stations.clear()
