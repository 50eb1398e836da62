"""Capture: a disk becomes a manifest, indexes and chunks. The disk is only read.

Not a bit of the disk changes: a block device is made read-only in the kernel before any tool sees it, and used blocks
are found without mounting and without replaying a journal (`disk.usedmap`).

One pool of threads carries each window from the disk to the sink: read, hash; when a batch of ids is full, the thread
that filled it asks the sink which are missing; then every missing window is compressed and put. A window's memory is
held from its read to its put; a gate bounds the sum.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from appliance.disk import blockdev, filesystem, osinfo, table, usedmap
from appliance.disk.extents import Extent, cut
from appliance.engine import manifest as shapes
from appliance.engine.chunk import chunk_id, compress
from appliance.engine.index import Index, Window
from appliance.engine.pipeline import Gate, for_each
from appliance.errors import Unavailable

GAP_LIMIT_BYTES = 16 << 20  # of the gap before the first partition; boot loaders use less than 1 MiB


class CaptureSink(Protocol):
    """Where chunks go. Both methods are called from several threads at once."""

    def missing(self, ids: list[bytes]) -> list[bytes]:
        """Which of `ids` must be put."""

    def put(self, id: bytes, frame: bytes) -> None:
        """Take one chunk file; it need not be durable until the capture's result is reported."""


@dataclass(frozen=True, slots=True)
class EngineProgress:
    """How far a capture or restore is. `phase` is in words; bytes are plain bytes of used windows."""

    phase: str
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """How to capture; memory is about `memory_bytes` plus one window a thread."""

    window_bytes: int = 1 << 20
    zstd_level: int = 3
    threads: int = 4
    memory_bytes: int = 96 << 20
    batch_bytes: int = 16 << 20  # windows asked about in one question


@dataclass(frozen=True, slots=True)
class CaptureResult:
    """What a capture made. `indexes` are all files the manifest names, `table.bin` included."""

    manifest: bytes
    indexes: dict[str, bytes]
    used_bytes: int
    chunks: int  # distinct
    put_chunks: int
    put_bytes: int  # compressed
    notes: tuple[str, ...]  # what the operator should know, in sentences


@dataclass(slots=True)
class _Part:
    """A region while it is captured."""

    name: str
    kind: str
    offset: int
    length: int
    filesystem: filesystem.FileSystem
    used: usedmap.UsedMap
    partition: table.Partition | None = None
    windows: list[Window] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Job:
    part: _Part
    number: int
    extents: tuple[Extent, ...]


def capture(
    disk: Path,
    sink: CaptureSink,
    options: CaptureOptions,
    progress: Callable[[EngineProgress], None],
    cancelled: Callable[[], bool],
) -> CaptureResult:
    """Capture the block device or image file `disk`.

    Raises `Unavailable` (it cannot be read), `BadTable` (its partition table is damaged), `Cancelled`, and whatever
    `ApplianceError` the sink raises.
    """
    progress(EngineProgress("looking at the disk", 0, 0))
    try:
        if blockdev.is_block_device(disk):
            blockdev.set_read_only(disk)
        handle = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"The disk {disk} cannot be read: {error.strerror}.") from error
    try:
        geometry = blockdev.geometry(handle)
        found = table.read(handle, geometry)
        parts, systems = _parts(disk, handle, geometry, found)
        flow = _Flow(disk, handle, sink, options, progress, sum(part.used.used_bytes for part in parts))
        for_each(
            _jobs(parts, options.window_bytes),
            flow.read_window,
            lambda _: None,
            threads=options.threads,
            cancelled=cancelled,
            on_stop=flow.gate.stop,
        )
        flow.finish(cancelled)
    finally:
        os.close(handle)
    return _result(geometry, found, parts, systems, flow, options)


def _parts(
    disk: Path, handle: int, geometry: blockdev.Geometry, found: table.Table
) -> tuple[list[_Part], list[shapes.System]]:
    """Every region of the disk with its used bytes; maps are made side by side (each takes about two seconds)."""
    parts: list[_Part] = []
    systems: list[shapes.System] = []
    spans: list[tuple[str, str, int, int, table.Partition | None]]
    if found.kind == "none":
        spans = [("disk", "disk", 0, geometry.size_bytes, None)]
    else:
        spans = [(f"p{item.number}", "partition", item.offset, item.length, item) for item in found.partitions]
        gap = found.first_gap(GAP_LIMIT_BYTES)
        if gap:
            spans.append(("gap1", "gap", *gap, None))

    def look(span: tuple[str, str, int, int, table.Partition | None]) -> tuple[_Part, str]:
        name, kind, offset, length, partition = span
        if kind == "gap":
            return _Part(name, kind, offset, length, filesystem.RAW, usedmap.whole(length, "")), ""
        known = filesystem.identify(handle, offset, length)
        with blockdev.partition_path(disk, offset, length) as path:
            used = usedmap.used_map(path, handle, offset, length, known)
            return _Part(name, kind, offset, length, known, used, partition), osinfo.name_of(path, known.kind)

    def keep(result: tuple[_Part, str]) -> None:
        parts.append(result[0])
        if result[1]:
            systems.append(shapes.System(result[0].name, result[1]))

    for_each(spans, look, keep, threads=min(8, len(spans)))
    return sorted(parts, key=lambda part: part.offset), sorted(systems, key=lambda system: system.region)


def _jobs(parts: list[_Part], window_bytes: int) -> Iterator[_Job]:
    for part in parts:
        for number, extents in cut(part.used.extents, window_bytes):
            yield _Job(part, number, extents)


class _Flow:
    """What the threads share: the batch that fills up, what is known already, the figures."""

    def __init__(
        self,
        disk: Path,
        handle: int,
        sink: CaptureSink,
        options: CaptureOptions,
        progress: Callable[[EngineProgress], None],
        total: int,
    ) -> None:
        self._disk, self._handle, self._sink = disk, handle, sink
        self._options, self._progress = options, progress
        self._total, self._done = total, 0
        self._mutex = threading.Lock()
        self._batch: dict[bytes, tuple[bytearray, int]] = {}  # id -> content, used bytes
        self._batch_bytes = 0
        self.known: set[bytes] = set()
        self.put_chunks = self.put_bytes = 0
        self.gate = Gate(max(options.memory_bytes, 2 * options.batch_bytes))

    def read_window(self, job: _Job) -> None:
        """Read and hash one window; if its batch is full now, ask and put it."""
        window, part = self._options.window_bytes, job.part
        start = job.number * window
        size = min(window, part.length - start)
        self.gate.take(size)
        try:
            plain = read_window(self._handle, part.offset + start, size, job.extents)
        except OSError as error:
            raise Unavailable(
                f"The disk {self._disk} cannot be read in {part.name}, within {size} bytes at {part.offset + start}:"
                f" {error.strerror or error}.",
                hint="The master's disk may be failing: look at its SMART values, and capture from a sound one.",
            ) from error
        id = chunk_id(plain)
        used = sum(length for _, length in job.extents)
        full: dict[bytes, tuple[bytearray, int]] = {}
        with self._mutex:
            part.windows.append(Window(job.number, id, job.extents))
            is_new = id not in self.known
            if is_new:
                self.known.add(id)
                self._batch[id] = plain, used
                self._batch_bytes += size
                if self._batch_bytes >= self._options.batch_bytes:
                    full, self._batch, self._batch_bytes = self._batch, {}, 0
            else:
                self._count(used)
        if not is_new:
            self.gate.give(size)
        if full:
            self._send(full)

    def finish(self, cancelled: Callable[[], bool]) -> None:
        """Send what is left in the last batch."""
        rest, self._batch = self._batch, {}
        for_each([rest] if rest else [], self._send, lambda _: None, threads=1, cancelled=cancelled)

    def _send(self, batch: dict[bytes, tuple[bytearray, int]]) -> None:
        absent = set(self._sink.missing(list(batch)))
        for id in list(batch):
            plain, used = batch.pop(id)
            if id in absent:
                frame = compress(plain, self._options.zstd_level)
                self._sink.put(id, frame)
            with self._mutex:
                if id in absent:
                    self.put_chunks += 1
                    self.put_bytes += len(frame)
                self._count(used)
            self.gate.give(len(plain))

    def _count(self, used: int) -> None:
        self._done = min(self._total, self._done + used)
        self._progress(EngineProgress("capturing", self._done, self._total))


def read_window(handle: int, at: int, size: int, extents: tuple[Extent, ...]) -> bytearray:
    """The plain content of a window: its used bytes, all others zero. Raises `OSError`, also when the disk ends."""
    plain = bytearray(size)
    view = memoryview(plain)
    for offset, length in extents:
        done = 0
        while done < length:
            got = os.preadv(handle, [view[offset + done : offset + length]], at + offset + done)
            if not got:
                raise OSError(f"the disk ends at byte {at + offset + done}")
            done += got
    return plain


def _result(
    geometry: blockdev.Geometry,
    found: table.Table,
    parts: list[_Part],
    systems: list[shapes.System],
    flow: _Flow,
    options: CaptureOptions,
) -> CaptureResult:
    files: dict[str, bytes] = {}
    regions = tuple(_region(part, options.window_bytes, files) for part in parts)
    shape = shapes.TableShape("none")
    if found.kind != "none":
        data = files[shapes.TABLE_FILE] = found.to_bytes()
        file = shapes.file_of(shapes.TABLE_FILE, data)
        shape = shapes.TableShape(found.kind, found.id, file, tuple(piece.span for piece in found.pieces))
    manifest = shapes.Manifest(
        window_bytes=options.window_bytes,
        used_bytes=sum(region.used_bytes for region in regions),
        chunks=len(flow.known),
        minimum_disk_bytes=found.minimum_disk_bytes(geometry),
        disk=shapes.DiskShape(geometry.size_bytes, geometry.logical_sector, geometry.physical_sector),
        table=shape,
        regions=regions,
        os=tuple(systems),
        tools=usedmap.tool_versions({part.used.method for part in parts}),
    )
    content = manifest.to_bytes()
    shapes.Manifest.parse(content)  # what we could not read again must not be kept
    notes = tuple(f"{part.name}: {part.used.note}" for part in parts if part.used.note)
    return CaptureResult(content, files, manifest.used_bytes, manifest.chunks, flow.put_chunks, flow.put_bytes, notes)


def _region(part: _Part, window_bytes: int, files: dict[str, bytes]) -> shapes.Region:
    """A captured region as the manifest names it; its index is added to `files`."""
    index = Index.build(part.windows, window_bytes=window_bytes, region_bytes=part.length)
    name = f"{part.name}.idx"
    files[name] = index.data
    about, used, partition = part.filesystem, part.used, part.partition
    return shapes.Region(
        name=part.name,
        kind=part.kind,
        offset=part.offset,
        length=part.length,
        filesystem=shapes.FileSystem(
            about.kind, about.uuid, about.label, about.block_bytes, about.size_bytes, used.method, used.note
        ),
        index=shapes.File(name, index.hash, len(index.data)),
        used_bytes=used.used_bytes,
        number=partition.number if partition else 0,
        type=partition.type if partition else "",
        id=partition.id if partition else "",
        label=partition.label if partition else "",
    )
