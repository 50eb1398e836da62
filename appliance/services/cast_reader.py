"""Reads the chunk files that casts will send next, in a thread, so that sending never waits for the disk."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from appliance.errors import ApplianceError
from appliance.wire.cast import MAX_CHUNK_BYTES

log = logging.getLogger(__name__)

AHEAD = 16  # chunk files of each cast kept in memory
UNREADABLE = b""


class Reader:
    """Keeps the files of what was last planned, and of nothing else."""

    def __init__(self, read: Callable[[bytes], bytes], wake: Callable[[], None]) -> None:
        self._read = read
        self._wake = wake
        self._wanted: dict[int, dict[int, bytes]] = {}  # cast -> chunk -> id, the next one first
        self._files: dict[tuple[int, int], bytes] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="cast-reader", daemon=True)
        self._thread.start()

    def plan(self, cast: int, chunks: Iterable[tuple[int, bytes]]) -> None:
        """Chunk numbers and ids that `cast` sends next, at most `AHEAD`; files of others are let go.

        May be said again with every look: the same words wake nobody."""
        wanted = dict(chunks)
        with self._changed:
            if list(self._wanted.get(cast, ())) == list(wanted):
                return
            for key in [key for key in self._files if key[0] == cast and key[1] not in wanted]:
                del self._files[key]
            self._wanted[cast] = wanted
            self._changed.notify()

    def get(self, cast: int, chunk: int) -> bytes | None:
        """The file of a chunk; None: not yet; `UNREADABLE`: it cannot be had."""
        with self._changed:
            return self._files.get((cast, chunk))

    def forget(self, cast: int) -> None:
        """The cast is over."""
        self.plan(cast, ())
        with self._changed:
            self._wanted.pop(cast, None)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (job := self._next()) is not None:
            cast, chunk, id = job
            file = self._load(id)
            with self._changed:
                if chunk in self._wanted.get(cast, ()):
                    self._files[cast, chunk] = file
            self._wake()

    def _next(self) -> tuple[int, int, bytes] | None:
        """Waits for work. The file that is needed soonest, of all casts; None: the end."""
        with self._changed:
            while not self._closed:
                lacking = [
                    (place, cast, chunk, id)
                    for cast, wanted in self._wanted.items()
                    for place, (chunk, id) in enumerate(wanted.items())
                    if (cast, chunk) not in self._files
                ]
                if lacking:
                    return min(lacking)[1:]
                self._changed.wait()
        return None

    def _load(self, id: bytes) -> bytes:
        try:
            file = self._read(id)
        except (OSError, ApplianceError) as error:
            log.error("chunk %s cannot be cast: %s", id.hex(), error)
            return UNREADABLE
        if len(file) > MAX_CHUNK_BYTES:
            log.error("chunk %s cannot be cast: its file has more than %d bytes", id.hex(), MAX_CHUNK_BYTES)
            return UNREADABLE
        return file
