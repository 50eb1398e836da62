"""Restore: a manifest, its indexes and a source of chunks become a disk, window after window.

What is done around it, and the rules: `engine.target`. `engine.cast_restore` is its sibling for chunks that come by
themselves, in any order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from appliance.engine.capture import EngineProgress
from appliance.engine.chunk import open_frame, short
from appliance.engine.errors import ChunkInvalid
from appliance.engine.pipeline import for_each
from appliance.engine.target import Job, RestoreOptions, RestoreReport, Target, onto_disk
from appliance.engine.version import Version


class ChunkSource(Protocol):
    """Where chunks come from. Called from several threads at once."""

    def fetch(self, id: bytes) -> bytes:
        """The chunk file of `id`. Its own retries are behind it when it raises `ChunkMissing` or `OSError`."""


def restore(
    version: Version,
    target: Path,
    source: ChunkSource,
    options: RestoreOptions,
    progress: Callable[[EngineProgress], None],
    cancelled: Callable[[], bool],
) -> RestoreReport:
    """Write the version to the block device or image file `target`; everything is on stable storage on return.

    Raises, before anything is written: `BadImage` (the table), `NoSpace` (naming both sizes), `Conflict` (other sector
    size, or the disk is in use), `Unavailable`. Later: `ChunkInvalid`, `ChunkMissing`, `Unavailable`, `Cancelled`.
    """
    counted = CountedSource(source)

    def write(disk: Target) -> int:
        def make_right(job: Job) -> None:
            if disk.look(job) is None:
                disk.put(job, fetch_chunk(counted, job.window.id, job.size))

        for_each(_jobs(version), make_right, lambda _: None, threads=options.threads, cancelled=cancelled)
        return counted.fetched

    return onto_disk(version, target, options, progress, write)


class CountedSource:
    """A chunk source that counts its bytes."""

    def __init__(self, source: ChunkSource) -> None:
        self._source = source
        self._mutex = threading.Lock()
        self.fetched = 0  # compressed bytes

    def fetch(self, id: bytes) -> bytes:
        """As the source does."""
        frame = self._source.fetch(id)
        with self._mutex:
            self.fetched += len(frame)
        return frame


def fetch_chunk(source: ChunkSource, id: bytes, size: int) -> bytes:
    """The plain content of a chunk of `size` bytes; a broken answer is asked for once more."""
    for attempt in (1, 2):
        frame = source.fetch(id)
        try:
            return open_window(frame, id, size)
        except ChunkInvalid as error:
            if attempt == 2:
                raise ChunkInvalid(
                    error.message, hint="Look what is damaged: diecast image verify; then capture again."
                ) from None
    raise AssertionError("unreachable")


def open_window(frame: bytes | bytearray, id: bytes, size: int) -> bytes:
    """The plain content of a chunk file, proven, for a window of `size` bytes. Raises `ChunkInvalid`."""
    plain = open_frame(frame, id, limit_bytes=size)
    if len(plain) != size:
        raise ChunkInvalid(f"Chunk {short(id)} has {len(plain)} bytes, its window {size}.")
    return plain


def _jobs(version: Version) -> Iterator[Job]:
    for region in version.manifest.regions:
        index = version.indexes[region.name]
        for window in index:
            yield Job(region, index, window)
