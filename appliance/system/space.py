"""How full the disks of the box are, and from where on that counts: one measure for doctor and notices.

| state | images | store |
|---|---|---|
| full | at most `tasks.free_reserve_mb` is free: captures fail | at most `STORE_RESERVE` is free |
| low | less than a tenth of the disk is free | as images |
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.config import Settings

FULL, LOW = "full", "low"
STORE_RESERVE = 256_000_000  # bytes: the store, its log, and a copy of both for a backup
_LOW = 0.1  # of a disk


@dataclass(frozen=True, slots=True)
class Space:
    """The disk that one folder lies on."""

    what: str  # images, store
    folder: Path
    free: int  # bytes
    total: int
    reserve: int  # bytes that must stay free
    device: int = 0

    @property
    def state(self) -> str:
        """`full`, `low`, or empty when there is room."""
        if self.free <= self.reserve:
            return FULL
        return LOW if self.free < _LOW * self.total else ""

    def state_after(self, before: str) -> str:
        """As `state`, but a disk that was told of has room again only a fifth above the mark: no to and fro."""
        if self.state == FULL or not before:
            return self.state
        if before == FULL and self.free <= self.reserve * 1.2:
            return FULL
        return LOW if self.free < _LOW * self.total * 1.2 else ""


def spaces(settings: Settings) -> Iterator[Space]:
    """The disks of images and store. A folder that is not there yet is measured where it will be. Raises `OSError`."""
    reserve = settings.tasks.free_reserve_mb * 1_000_000
    for what, folder, kept in (
        ("images", settings.paths.images, reserve),
        ("store", settings.paths.state, STORE_RESERVE),
    ):
        there = next(path for path in (folder, *folder.parents) if path.exists())
        usage = shutil.disk_usage(there)
        yield Space(what, folder, usage.free, usage.total, kept, there.stat().st_dev)
