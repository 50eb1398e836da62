"""Where a capture puts its chunks: the task's staging folder on the box, over NFS.

A file appears under its name only when it is whole and on the box's disk: `<id>.part`, fsync, rename. The box takes the
files away as they come; see `room.Room` for how much may lie there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from appliance.agent.client import Box
from appliance.agent.machine import Limits
from appliance.agent.room import PART, Room
from appliance.agent.stop import Stop
from appliance.engine.files import FULL, write_new
from appliance.errors import NoSpace, Unavailable

_ROOM_POLL_S = 0.1


class StagingSink:
    """`engine.capture.CaptureSink` on a mounted folder; `put` may be called by several threads."""

    def __init__(
        self, box: Box, folder: Path, room: Room, stop: Stop, limits: Limits, on_wait: Callable[[str, float], None]
    ) -> None:
        self._box, self._folder, self._room = box, folder, room
        self._stop, self._limits, self._on_wait = stop, limits, on_wait
        self._lock = threading.Lock()
        self._taken: set[bytes] = set()
        self.put_bytes = 0
        self.put_chunks = 0

    def missing(self, ids: list[bytes]) -> list[bytes]:
        """Those of `ids` that the box lacks and that were not put yet."""
        with self._lock:
            fresh = [id for id in dict.fromkeys(ids) if id not in self._taken]
        return self._box.missing(fresh) if fresh else []

    def put(self, id: bytes, frame: bytes) -> None:
        """Store one chunk. Waits for room; raises `NoSpace` or `Unavailable` when waiting did not help."""
        with self._lock:
            if id in self._taken:
                return
            self._taken.add(id)
        name = id.hex()
        self._wait_for_room(name, len(frame))
        self._write_patiently(name, frame)
        self._room.put(name)
        with self._lock:
            self.put_bytes += len(frame)
            self.put_chunks += 1

    def _wait_for_room(self, name: str, size_bytes: int) -> None:
        begun, held = time.monotonic(), self._room.held_bytes
        told_at = begun + 2  # the folder is often full for a moment; that needs no words
        waited = False
        while not self._room.claim(name, size_bytes):
            now = time.monotonic()
            if self._room.held_bytes < held:  # the box is at work; others were faster to take the room
                begun = now
            held = self._room.held_bytes
            left = begun + self._limits.room_s - now
            if left <= 0:
                limit = f"{self._room.limit_bytes / 1e6:.0f} MB"
                raise NoSpace(
                    f"The box has taken nothing from the full staging folder ({limit}) for {_minutes(self._limits)}.",
                    hint="Check that the box's scheduler service runs and that its image disk has room: diecast doctor",
                )
            if now > told_at:
                waited = True
                self._on_wait("The box has to store what was sent before more can follow", left)
            self._stop.wait(_ROOM_POLL_S)
        if waited:
            self._on_wait("", 0)

    def _write_patiently(self, name: str, frame: bytes) -> None:
        begun = time.monotonic()
        pause, waited = self._limits.retry_first_s, False
        while True:
            try:
                self._write(name, frame)
            except OSError as error:
                self._stop.check()
                full = error.errno in FULL
                left = begun + (self._limits.room_s if full else self._limits.chunk_s) - time.monotonic()
                if left <= 0:
                    raise _failure(name, error, full) from error
                waited = True
                what = "The box has no room for more chunks" if full else f"Chunks cannot be written ({error.strerror})"
                self._on_wait(what, left)
            else:
                if waited:
                    self._on_wait("", 0)
                return
            self._stop.wait(pause)
            pause = min(pause * 2, self._limits.retry_most_s)

    def _write(self, name: str, frame: bytes) -> None:
        part = self._folder / (name + PART)
        write_new(part, frame, 0o600)
        os.rename(part, self._folder / name)


def _minutes(limits: Limits) -> str:
    return f"{limits.room_s / 60:.0f} min"


def _failure(name: str, error: OSError, full: bool) -> Unavailable | NoSpace:
    if full:
        return NoSpace(
            f"The box has no room for chunk {name[:12]}…: {error.strerror}.",
            hint="Free space on the image disk (diecast image remove), then capture again.",
        )
    return Unavailable(
        f"Chunk {name[:12]}… cannot be written to the staging folder: {error.strerror}.",
        hint="Check the box's nfs service, then start this PC from the network again.",
    )
