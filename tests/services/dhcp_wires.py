"""Network namespaces for DHCP tests: a switch, a box and stations, removed at the end. Needs root.

Names are `dhcp-PID-N[-station]`: nothing outside of them is touched. The switch has a namespace of its own, for a
bridge answers ARP for all addresses of its namespace: clients would send to the bridge what the box never sees.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from types import TracebackType
from typing import Self

_counter = itertools.count(1)

BOX = "box0"  # the box's interface


def sh(*words: str) -> str:
    """Run a command that must succeed; return what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Wires:
    """One bridge with the box on it; `add_station` plugs in more machines."""

    def __init__(self, box_address: str = "10.77.0.1/16") -> None:
        self.name = f"dhcp-{os.getpid()}-{next(_counter)}"
        self._namespaces = [self.name]
        sh("ip", "netns", "add", self.name)
        for words in (
            ("link", "set", "lo", "up"),
            ("link", "add", "br0", "type", "bridge", "mcast_snooping", "0", "forward_delay", "0"),
            ("link", "set", "br0", "up"),
        ):
            sh("ip", "-n", self.name, *words)
        self.box = self.add_station("box", box_address, interface=BOX)

    def box_ip(self, *words: str) -> str:
        """`ip` in the box's namespace."""
        return sh("ip", "-n", f"{self.name}-box", *words)

    def add_station(self, name: str, address: str = "", *, mac: str = "", interface: str = "eth0") -> list[str]:
        """Another machine with one interface; returns the words before its commands."""
        namespace, port = f"{self.name}-{name}", f"st-{name}"
        sh("ip", "netns", "add", namespace)
        self._namespaces.append(namespace)
        sh("ip", "-n", self.name, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", namespace)
        sh("ip", "-n", self.name, "link", "set", port, "master", "br0", "up")
        if mac:
            sh("ip", "-n", namespace, "link", "set", interface, "address", mac)
        sh("ip", "-n", namespace, "link", "set", "lo", "up")
        sh("ip", "-n", namespace, "link", "set", interface, "up")
        if address:
            sh("ip", "-n", namespace, "addr", "add", address, "brd", "+", "dev", interface)
        return ["ip", "netns", "exec", namespace]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for namespace in reversed(self._namespaces):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)
