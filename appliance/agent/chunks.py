"""Where a deploy gets its chunks: the box's chunk folder, read-only over NFS."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from appliance.agent.machine import Limits
from appliance.agent.stop import Stop
from appliance.engine.chunk import MAX_FRAME_BYTES, short
from appliance.engine.errors import ChunkMissing
from appliance.errors import Unavailable

_MISSING_TRIES = 3  # a server that has just restarted may not show a file at once


class NfsChunks:
    """`engine.restore.ChunkSource` on a mounted chunk folder; `fetch` may be called by several threads."""

    def __init__(
        self, folder: Path, image_name: str, stop: Stop, limits: Limits, on_wait: Callable[[str, float], None]
    ) -> None:
        self._folder, self._image_name = folder, image_name
        self._stop, self._limits, self._on_wait = stop, limits, on_wait

    def fetch(self, id: bytes) -> bytes:
        """The frame of chunk `id`, unchecked. Raises `ChunkMissing`, or `Unavailable` after `Limits.chunk_s`."""
        name = id.hex()
        path = self._folder / name[:2] / name
        deadline = time.monotonic() + self._limits.chunk_s
        pause, absent, waited = self._limits.retry_first_s, 0, False
        while True:
            try:
                frame = _read(path)
            except FileNotFoundError:
                absent += 1
                if absent >= _MISSING_TRIES:
                    raise ChunkMissing(
                        f"Chunk {short(id)} of image {self._image_name} is not on the box.",
                        hint=f"On the box run: diecast image verify {self._image_name}",
                    ) from None
            except OSError as error:  # ESTALE and EIO after a restart of the server, ETIMEDOUT
                self._stop.check()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Unavailable(
                        f"Chunk {short(id)} of image {self._image_name} cannot be read from the box: {error.strerror}.",
                        hint=f"Check the box's nfs service, and run there: diecast image verify {self._image_name}",
                    ) from error
                waited = True
                self._on_wait(f"Chunks cannot be read from the box ({error.strerror})", left)
            else:
                if waited:
                    self._on_wait("", 0)
                return frame
            self._stop.wait(pause)
            pause = min(pause * 2, self._limits.retry_most_s)


def _read(path: Path) -> bytes:
    """The whole file; of one that is too long to be a frame only so much that the engine will notice."""
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        parts, room = [], MAX_FRAME_BYTES + 1
        while room:
            part = os.read(file, min(room, 1 << 20))
            if not part:
                break
            parts.append(part)
            room -= len(part)
        return b"".join(parts)
    finally:
        os.close(file)
