"""The machine's own gauges: image disk, network interfaces, and their last minutes."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from appliance.tui.snapshot import Disk, Gauges, LinkUse

HISTORY = 120  # seconds kept for sparklines
_EVERY_S = 1.0
_DISK_EVERY_S = 5.0
_LINKS_EVERY_S = 10.0  # addresses and speed; counters are read each time


class Machine:
    """Measures once a second at most; in between it gives the same gauges again."""

    def __init__(self, images: Path, interfaces: Callable[[], Sequence[str]], run: Path | None = None) -> None:
        """`images` is the folder of the image store; `interfaces` names those we answer on: all, if none.

        `run` is where root says how a change of address stands.
        """
        self._run = run
        self._images = images
        self._interfaces = interfaces
        self._gauges = Gauges()
        self._at = self._disk_at = self._links_at = float("-inf")
        self._links: tuple[LinkUse, ...] = ()
        self._counts: dict[str, tuple[int, int]] = {}
        self._disk_bytes: int | None = None
        self._disk = Disk()
        self._sent: deque[float] = deque(maxlen=HISTORY)
        self._written: deque[float] = deque(maxlen=HISTORY)

    def __call__(self) -> Gauges:
        now = time.monotonic()
        passed = now - self._at
        if passed < _EVERY_S:
            return self._gauges
        self._at = now
        if now - self._disk_at >= _DISK_EVERY_S:
            self._disk_at, self._disk = now, _disk(self._images)
        if now - self._links_at >= _LINKS_EVERY_S:
            self._links_at, self._links = now, self._find_links()
        self._measure(min(passed, 10.0))
        self._gauges = Gauges(self._disk, self._links, tuple(self._sent), tuple(self._written), self._trial())
        return self._gauges

    def _trial(self) -> tuple[str, ...]:
        from appliance.system import address

        state = address.state(self._run) if self._run is not None else None
        waits = state is not None and state.stage == address.WAITING and state.under_way
        return (state.interface, state.wanted) if state is not None and waits else ()

    def _find_links(self) -> tuple[LinkUse, ...]:
        from appliance.system.links import links

        found, named = [], tuple(self._interfaces())
        for link in links():
            if link.name in named or (not named and link.name != "lo"):
                address = str(link.addresses[0]) if link.addresses else ""
                found.append(LinkUse(link.name, address, link.up, link.speed_mbit))
        return tuple(found)

    def _measure(self, passed: float) -> None:
        import psutil

        counters = psutil.net_io_counters(pernic=True)
        used = []
        for link in self._links:
            count = counters.get(link.name)
            sent, received = (count.bytes_sent, count.bytes_recv) if count else (0, 0)
            before = self._counts.get(link.name, (sent, received))
            self._counts[link.name] = (sent, received)
            rates = max(0, sent - before[0]) / passed, max(0, received - before[1]) / passed
            used.append(LinkUse(link.name, link.address, link.up, link.speed_mbit, *rates))
        self._links = tuple(used)
        self._sent.append(sum(link.sent_bytes_s for link in used))
        disks = psutil.disk_io_counters()
        if disks is not None:
            moved = disks.read_bytes + disks.write_bytes
            before_bytes = moved if self._disk_bytes is None else self._disk_bytes
            self._disk_bytes = moved
            self._written.append(max(0, moved - before_bytes) / passed)


def _disk(folder: Path) -> Disk:
    """Of the file system that `folder` lies on, or will lie on."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        found = os.statvfs(folder)
    except OSError:
        return Disk()
    return Disk(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
