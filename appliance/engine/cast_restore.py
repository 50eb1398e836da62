"""Restore from a cast: chunk files come by themselves, in any order, while the disk is looked through.

The sibling of `engine.restore`; what is around it is `engine.target`'s. The threads take turns: one window's look, one
chunk that came. So a PC whose disk is nearly right writes next to nothing, and what passes meanwhile is not lost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance.engine.capture import EngineProgress
from appliance.engine.castlist import Places
from appliance.engine.chunk import open_frame, short
from appliance.engine.errors import ChunkInvalid
from appliance.engine.pipeline import for_each
from appliance.engine.restore import ChunkSource, CountedSource, fetch_chunk
from appliance.engine.target import Job, RestoreOptions, RestoreReport, Target, onto_disk
from appliance.engine.version import Version

_WAIT_S = 0.2  # for a chunk, before somebody looks whether the restore is cancelled
_LOCKS = 64


class Part(Protocol):
    """A chunk file that came."""

    def file(self) -> bytearray | None:
        """Its bytes, unproven. None: it cannot be put together."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A chunk that is to be written now: its file came, or (`part` None) it is to be fetched from the chunk source."""

    chunk: int  # chunk number
    part: Part | None


class Feed(Protocol):
    """Where chunks come from, and who hears what the disk holds. Called from several threads at once."""

    def take(self, wait_s: float) -> Arrival | None:
        """The next chunk; None when none came within `wait_s`, or none is lacking."""

    def complete(self) -> bool:
        """Whether every chunk is on the disk, as `have` and `done` said."""

    def have(self, chunk: int) -> None:
        """The chunk is right on the disk already."""

    def want(self, chunk: int) -> None:
        """The chunk is not on the disk."""

    def done(self, arrival: Arrival) -> None:
        """The chunk's hash was right, and it is written."""

    def bad(self, arrival: Arrival) -> None:
        """What came is not the chunk."""


def cast_restore(
    version: Version,
    feed: Feed,
    target: Path,
    source: ChunkSource,
    options: RestoreOptions,
    progress: Callable[[EngineProgress], None],
    cancelled: Callable[[], bool],
) -> RestoreReport:
    """Write the version to `target` from `feed`, and from `source` what the feed says. Its chunk numbers are those of
    `castlist.cast_chunks`. Everything is on stable storage on return. Raises as `restore.restore` does."""
    counted = CountedSource(source)

    def write(disk: Target) -> int:
        flow = _Flow(version, feed, disk, counted)
        for_each(flow.items(), flow.work, lambda _: None, threads=options.threads, cancelled=cancelled)
        return counted.fetched + flow.came_bytes

    return onto_disk(version, target, options, progress, write)


class _Flow:
    """What the threads share. A chunk's lock is held while its windows are looked at or written."""

    def __init__(self, version: Version, feed: Feed, disk: Target, source: CountedSource) -> None:
        self._feed, self._disk, self._source = feed, disk, source
        self._places = Places(version)
        self._window_bytes = version.manifest.window_bytes
        self._looked = bytearray(len(self._places.ids))  # by chunk number
        self._right = bytearray(self._places.windows)  # by ordinal
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._mutex = threading.Lock()
        self.came_bytes = 0  # of chunk files that came and were right

    def items(self) -> Iterator[Arrival | int | None]:
        """What to do: arrivals, and chunk numbers to look for, in turn; None when there is nothing at the moment."""
        looks = iter(range(len(self._places.ids)))
        while not self._feed.complete():
            arrival = self._feed.take(0)
            if arrival is not None:
                yield arrival
            chunk = next(looks, None)
            if chunk is not None:
                yield chunk
            elif arrival is None:
                yield self._feed.take(_WAIT_S)

    def work(self, item: Arrival | int | None) -> None:
        """Do one of `items`."""
        if isinstance(item, Arrival):
            self._arrive(item)
        elif item is not None:
            self._check(item)

    def _check(self, chunk: int) -> None:
        with self._locks[chunk % _LOCKS]:
            if self._looked[chunk]:
                return  # it came meanwhile
            is_here = self._look(chunk)
        if is_here:
            self._feed.have(chunk)
        else:
            self._feed.want(chunk)

    def _look(self, chunk: int) -> bool:
        """Whether the disk holds the chunk somewhere where it belongs; then it is everywhere, without being sent."""
        self._looked[chunk] = True
        plain = None
        for ordinal, job in self._lacking(chunk):
            found = self._disk.look(job)
            if found is not None:
                plain, self._right[ordinal] = found, True
        if plain is not None:
            self._put(chunk, plain)
        return plain is not None

    def _arrive(self, arrival: Arrival) -> None:
        plain = self._content(arrival)
        if plain is None:
            self._feed.bad(arrival)
            return
        with self._locks[arrival.chunk % _LOCKS]:
            if self._looked[arrival.chunk] or not self._look(arrival.chunk):
                self._put(arrival.chunk, plain)
        self._feed.done(arrival)

    def _content(self, arrival: Arrival) -> bytes | None:
        """The plain bytes, proven. None: what came is not the chunk. What the chunk source gives must be."""
        id = self._places.ids[arrival.chunk]
        if arrival.part is None:
            return fetch_chunk(self._source, id, self._jobs(arrival.chunk)[0][1].size)
        file = arrival.part.file()
        if file is None:
            return None
        try:
            plain = open_frame(file, id, limit_bytes=self._window_bytes)
        except ChunkInvalid:
            return None
        with self._mutex:
            self.came_bytes += len(file)
        return plain

    def _put(self, chunk: int, plain: bytes | bytearray) -> None:
        """Write the chunk wherever it is not right."""
        for ordinal, job in self._lacking(chunk):
            if len(plain) != job.size:
                id = short(self._places.ids[chunk])
                raise ChunkInvalid(f"Chunk {id} has {len(plain)} bytes, its window {job.size}.")
            self._disk.put(job, plain)
            self._right[ordinal] = True

    def _lacking(self, chunk: int) -> list[tuple[int, Job]]:
        return [(ordinal, job) for ordinal, job in self._jobs(chunk) if not self._right[ordinal]]

    def _jobs(self, chunk: int) -> list[tuple[int, Job]]:
        return [(ordinal, Job(*self._places.window(ordinal))) for ordinal in self._places.ordinals(chunk)]
