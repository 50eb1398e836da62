"""The machine's network interfaces: addresses, speed and what passes through them, by psutil."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from typing import Any

import psutil


@dataclass(frozen=True, slots=True)
class Link:
    """One interface at one moment."""

    name: str
    up: bool
    speed_mbit: int  # 10^6 bits/s; 0: the driver does not say
    mtu: int
    mac: str = ""
    addresses: tuple[IPv4Interface, ...] = ()
    received_bytes: int = 0  # since the interface is there
    sent_bytes: int = 0
    errors: int = 0  # both ways
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """What passes through an interface."""

    received_bytes_s: float = 0.0
    sent_bytes_s: float = 0.0


def links() -> list[Link]:
    """All interfaces by name, the loopback last."""
    stats, counters, addresses = (
        psutil.net_if_stats(),
        psutil.net_io_counters(pernic=True),
        psutil.net_if_addrs(),
    )
    found = []
    for name, state in stats.items():
        own = addresses.get(name, [])
        count = counters.get(name)
        found.append(
            Link(
                name=name,
                up=state.isup,
                speed_mbit=max(0, state.speed),
                mtu=state.mtu,
                mac=next((item.address for item in own if item.family == psutil.AF_LINK), ""),
                addresses=tuple(_interface(item) for item in own if item.family == socket.AF_INET),
                received_bytes=count.bytes_recv if count else 0,
                sent_bytes=count.bytes_sent if count else 0,
                errors=count.errin + count.errout if count else 0,
                dropped=count.dropin + count.dropout if count else 0,
            )
        )
    return sorted(found, key=lambda link: (link.name == "lo", link.name))


def _interface(item: Any) -> IPv4Interface:
    return IPv4Interface(f"{item.address}/{item.netmask or '255.255.255.255'}")


@dataclass(slots=True)
class Meter:
    """Turns the counters of two moments into rates. Call `flows` about once a second."""

    clock: Callable[[], float] = time.monotonic
    _last: dict[str, Link] = field(default_factory=dict)
    _at: float = 0.0

    def flows(self, now: list[Link]) -> dict[str, Flow]:
        """The rates since the last call, by interface; zero at the first call and after a counter went back."""
        at = self.clock()
        elapsed_s = at - self._at
        flows = {}
        for link in now:
            before = self._last.get(link.name)
            if before is None or elapsed_s <= 0:
                flows[link.name] = Flow()
                continue
            flows[link.name] = Flow(
                max(0, link.received_bytes - before.received_bytes) / elapsed_s,
                max(0, link.sent_bytes - before.sent_bytes) / elapsed_s,
            )
        self._last, self._at = {link.name: link for link in now}, at
        return flows
