"""The bound on what lies in a capture's staging folder.

The agent knows what it put there, and when the folder seems full it looks which of it the box has taken away. The box's
own count would not do: it is as old as the box's last pass over the folder, which may take longer than filling the
folder again.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

PART = ".part"
_LOOK_EVERY_S = 0.5


class Room:
    """How much may still be put into `folder`: `limit_bytes` in all, with what is being written. 0: no bound."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._folder = folder
        self._lock = threading.Lock()
        self._sizes: dict[str, int] = {}  # what lies there or is being written
        self._whole: set[str] = set()  # those that are there under their name, so that absence means: taken
        self._held = 0
        self._look_at = 0.0

    def inherit(self) -> None:
        """Count what an earlier start of this PC left; what it did not finish is removed. Raises `OSError`."""
        for entry in os.scandir(self._folder):
            with contextlib.suppress(FileNotFoundError):  # the box takes files away at any time
                if entry.name.endswith(PART):
                    os.unlink(entry.path)
                    continue
                self._add(entry.name, entry.stat(follow_symlinks=False).st_size)
                self._whole.add(entry.name)

    def claim(self, name: str, size_bytes: int) -> bool:
        """Take room for one file; False: wait. A file larger than the limit may go in alone."""
        with self._lock:
            if self._fits(size_bytes):
                self._add(name, size_bytes)
                return True
            if not self.limit_bytes or time.monotonic() < self._look_at:
                return False
            self._look_at = time.monotonic() + _LOOK_EVERY_S
            known = frozenset(self._whole)
        with contextlib.suppress(OSError):
            self._forget(known.difference(os.listdir(self._folder)))
        with self._lock:
            if not self._fits(size_bytes):
                return False
            self._add(name, size_bytes)
            return True

    def put(self, name: str) -> None:
        """The claimed file is there now, whole."""
        with self._lock:
            if self.limit_bytes:
                self._whole.add(name)

    @property
    def held_bytes(self) -> int:
        """At least so much lies there, as far as we know."""
        return self._held

    def _fits(self, size_bytes: int) -> bool:
        return not self.limit_bytes or not self._held or self._held + size_bytes <= self.limit_bytes

    def _add(self, name: str, size_bytes: int) -> None:
        if self.limit_bytes:
            self._held += size_bytes - self._sizes.get(name, 0)
            self._sizes[name] = size_bytes

    def _forget(self, taken: frozenset[str]) -> None:
        with self._lock:
            for name in taken:
                self._held -= self._sizes.pop(name, 0)
                self._whole.discard(name)
