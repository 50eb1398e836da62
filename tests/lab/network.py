"""The wires of the virtual lab: one network namespace with a bridge, taps for PCs, veth pairs for boxes and stations.

Everything is named after the process that made it (`diecast-lab-PID-N`), so that a later run can remove what a crashed
one left behind, and never anything else. The bridge does not snoop multicast: no querier lives here.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab.command import LabError, run

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
        self.box_address = box_address
        self._stations: list[str] = []
        run(["ip", "netns", "add", self.name])
        try:
            self._ip("link", "set", "lo", "up")
            self._ip("link", "add", BRIDGE, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0")
            self._ip("link", "set", BRIDGE, "up")
            self._plug_box()
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
    def exec(self) -> list[str]:
        """The words to put before a command that shall run inside."""
        return ["ip", "netns", "exec", self.name]

    def _ip(self, *words: str) -> None:
        run(["ip", "-n", self.name, *words])

    def _plug_box(self) -> None:
        """Give the box its interface: one end of a veth pair whose other end is a port of the bridge."""
        self._ip("link", "add", BOX_INTERFACE, "type", "veth", "peer", "name", "box0-port")
        self._ip("link", "set", "box0-port", "master", BRIDGE, "up")
        self._ip("addr", "add", self.box_address, "brd", "+", "dev", BOX_INTERFACE)
        self._ip("link", "set", BOX_INTERFACE, "up")
        self._ip("route", "add", "224.0.0.0/4", "dev", BOX_INTERFACE)

    def add_tap(self, name: str) -> None:
        """Make a tap device for a PC and plug it into the bridge."""
        self._ip("tuntap", "add", name, "mode", "tap")
        self._ip("link", "set", name, "master", BRIDGE, "up")

    def remove_tap(self, name: str) -> None:
        """Take a PC's tap away."""
        run(["ip", "-n", self.name, "link", "del", name], ok=(0, 1))

    def add_station(self, name: str, address: str = "") -> list[str]:
        """Make another machine on the bridge: a namespace with one interface `eth0`.

        `address` is `A.B.C.D/LEN`; empty for a DHCP client. Returns the words to put before its commands.
        """
        namespace = f"{self.name}-{name}"
        run(["ip", "netns", "add", namespace])
        self._stations.append(namespace)
        port = f"st-{name}"
        self._ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        self._ip("link", "set", port, "master", BRIDGE, "up")
        for words in (["link", "set", "lo", "up"], ["link", "set", "eth0", "up"]):
            run(["ip", "-n", namespace, *words])
        if address:
            run(["ip", "-n", namespace, "addr", "add", address, "brd", "+", "dev", "eth0"])
        return ["ip", "netns", "exec", namespace]

    def close(self) -> None:
        """Remove what this object made; what runs inside is ended first."""
        for namespace in [*self._stations, self.name]:
            if (_NETNS / namespace).exists():
                _remove(namespace)
        self._stations.clear()
