"""The disk that a restore writes to: what every restore does before, around and after its chunks.

Rules (docs/image-format.md section 7): everything is checked before the first write; the old table goes with the first
write and the new one comes last, sector 0 last of all, so that a disk whose restore did not end is not started; what is
right already is not written; unused bytes are not written; data is flushed while it goes, so that no long flush is
left. A restore that was interrupted is resumed by doing it again.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.disk import blockdev, table
from appliance.disk.blockdev import Geometry
from appliance.disk.extents import Extent, gaps
from appliance.engine.capture import EngineProgress, read_window
from appliance.engine.chunk import chunk_id
from appliance.engine.errors import BadImage
from appliance.engine.index import Index, Window
from appliance.engine.manifest import Manifest, Region
from appliance.engine.version import Version
from appliance.errors import Conflict, NoSpace, Unavailable

WRITING = "writing"  # the phase in which windows are looked at and written
_SMALLEST_DISCARD = 1 << 20  # shorter gaps are not worth a command to the device
_MISSES_BEFORE_SPARE = 32  # so many windows of the target that differ in a row ...
_SPARE_EVERY = 16  # ... and only every sixteenth is looked at, until one is right
_FLUSH_S = 1.0  # about the longest that one flush shall take: what is done is told in these steps
_LEAST_FLUSH = 0.25  # of `flush_bytes`: a disk that is slow at each flush, whatever its size, gets no more of them


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """How to restore; memory is about two windows a thread and `flush_bytes` of dirty pages at most, twice."""

    threads: int = 4
    flush_bytes: int = 32 << 20
    discard: bool = True


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What a restore did, in bytes. Plain ones but for `fetched_bytes`, which is compressed."""

    written_bytes: int
    reused_bytes: int
    fetched_bytes: int
    discarded_bytes: int = 0
    table_reread: bool = True  # False: the kernel still has the old partitions until the next start


@dataclass(frozen=True, slots=True)
class Job:
    """One window that is to be right."""

    region: Region
    index: Index
    window: Window

    @property
    def start(self) -> int:
        """Its first byte on the disk."""
        return self.region.offset + self.window.number * self.index.window_bytes

    @property
    def size(self) -> int:
        """Its plain bytes."""
        return self.index.length_of(self.window.number)


def onto_disk(
    version: Version,
    path: Path,
    options: RestoreOptions,
    progress: Callable[[EngineProgress], None],
    write: Callable[[Target], int],
) -> RestoreReport:
    """Open and check the disk, have `write` make every window right, and finish it: the frame of every restore.

    `write` returns how many compressed bytes it fetched. Raises as `restore.restore` says.
    """
    shape = version.manifest
    is_device = _is_device(path)
    handle = _open(path, is_device)
    try:
        disk = blockdev.geometry(handle)
        if not is_device:  # a file has whatever sectors the image wants
            disk = Geometry(disk.size_bytes, shape.disk.logical_sector, shape.disk.physical_sector)
        check_target(shape, disk, path)
        pieces = _table_pieces(version, disk)
        target = Target(handle, disk, version, options.flush_bytes, progress)
        fetched = write(target)
        changed = target.finish(pieces)
        discarded = _discard(handle, path, version) if options.discard and is_device else 0
        reread = blockdev.reread_table(handle) if changed and is_device else True
    except OSError as error:
        raise Unavailable(f"The disk {path} cannot be written: {error}.", hint="Check the disk.") from error
    finally:
        os.close(handle)
    return RestoreReport(target.written, target.reused, fetched, discarded, reread)


def check_target(manifest: Manifest, disk: Geometry, target: Path) -> None:
    """Whether the version fits the disk. Raises `NoSpace` or `Conflict`, in words with both figures."""
    if disk.logical_sector != manifest.disk.logical_sector:
        raise Conflict(
            f"The image is from a disk with sectors of {manifest.disk.logical_sector} bytes;"
            f" {target} has {disk.logical_sector}, and partition tables and file systems count in sectors.",
            hint="Use a disk with the same logical sector size; many NVMe drives can be reformatted to it.",
        )
    needed = manifest.disk.size_bytes if manifest.table.kind == "none" else manifest.minimum_disk_bytes
    if disk.size_bytes < needed:
        raise NoSpace(
            f"The image needs a disk of {needed} bytes ({needed / 1e9:.2f} GB);"
            f" {target} has {disk.size_bytes} ({disk.size_bytes / 1e9:.2f} GB).",
            hint="Use a larger disk, or capture a master with smaller partitions.",
        )


class Target:
    """The open disk; windows may be looked at and written by several threads."""

    def __init__(
        self,
        handle: int,
        disk: Geometry,
        version: Version,
        flush_bytes: int,
        progress: Callable[[EngineProgress], None],
    ) -> None:
        self._handle, self._disk, self._progress = handle, disk, progress
        self._total, self._done = version.manifest.used_bytes, 0
        self.written = self.reused = 0
        self._mutex = threading.Lock()
        self._wiping = threading.Lock()
        self._is_wiped = False
        self._last_sector: bytes | None = None  # sector 0 when a region holds it
        self._flush = _RollingFlush(handle, flush_bytes, self._advance)
        self._probe = _Probe()
        self._regions = version.manifest.regions

    def look(self, job: Job) -> bytearray | None:
        """The window as the disk holds it, if that is right, which counts it as done. None: it is to be written.

        Does not look everywhere on a disk that holds something else. A sector that cannot be read may yet be written.
        """
        if not self._probe.wanted():
            return None
        plain: bytearray | None
        try:
            plain = read_window(self._handle, job.start, job.size, job.window.extents)
        except OSError:
            plain = None
        if plain is not None and chunk_id(plain) != job.window.id:
            plain = None
        self._probe.saw(plain is not None)
        if plain is not None:
            self._keep_sector_0(job, plain)
            with self._mutex:
                self.reused += job.window.used_bytes
            self._advance(job.window.used_bytes)
        return plain

    def put(self, job: Job, plain: bytes | bytearray) -> None:
        """Write a window whose content is proven."""
        self._wipe_table()
        self._write(job.start, plain, job.window.extents, self._keep_sector_0(job, plain))
        with self._mutex:
            self.written += job.window.used_bytes

    def _keep_sector_0(self, job: Job, plain: bytes | bytearray) -> int:
        """Remember sector 0, which is written last of all. How many bytes of the window that keeps back."""
        if job.start:
            return 0
        self._last_sector = bytes(plain[: self._disk.logical_sector])
        return self._disk.logical_sector

    def _advance(self, size: int) -> None:
        """`size` more bytes are right and on stable storage: what was only written may be lost with the power."""
        with self._mutex:
            self._done += size
            self._progress(EngineProgress(WRITING, self._done, self._total))

    def finish(self, pieces: list[table.Piece]) -> bool:
        """Flush, then write the table, sector 0 last. Whether anything of it was not there already."""
        os.fsync(self._handle)
        self._progress(EngineProgress("writing the partition table", self._total, self._total))
        if self._last_sector is not None:
            pieces = [table.Piece(0, self._last_sector), *pieces]
        changed = [piece for piece in pieces if os.pread(self._handle, len(piece.data), piece.offset) != piece.data]
        if changed:
            self._wipe_table()
            changed = [piece for piece in pieces if os.pread(self._handle, len(piece.data), piece.offset) != piece.data]
        for piece in [piece for piece in changed if piece.offset]:
            _write_all(self._handle, piece.data, piece.offset)
        os.fsync(self._handle)
        for piece in [piece for piece in changed if not piece.offset]:
            _write_all(self._handle, piece.data, 0)
        os.fsync(self._handle)
        return bool(changed)

    def _wipe_table(self) -> None:
        """Once, before the first write: no firmware shall start what is half written.

        Sector 0 goes, and the places of both GPT headers unless a region covers them (it is written by its windows).
        """
        with self._wiping:
            if self._is_wiped:
                return
            sector = self._disk.logical_sector
            for at in (0, sector, self._disk.size_bytes - sector):
                is_covered = any(region.offset <= at < region.offset + region.length for region in self._regions)
                if at == 0 or not is_covered:
                    _write_all(self._handle, bytes(sector), at)
            os.fsync(self._handle)
            self._is_wiped = True

    def _write(self, start: int, plain: bytes | bytearray, extents: tuple[Extent, ...], keep_back: int) -> None:
        view = memoryview(plain)
        for offset, length in extents:
            first = max(offset, keep_back)
            if first < offset + length:
                _write_all(self._handle, view[first : offset + length], start + first)
                self._flush.wrote(offset + length - first)


class _RollingFlush:
    """Keeps what is not on stable storage below a bound while the writing goes on.

    One thread flushes while the others go on reading and fetching; they wait only when twice the bound is dirty. The
    bound is `most`, and less on a slow disk, so that the meter does not stand still for many seconds.
    """

    def __init__(self, handle: int, most: int, stable: Callable[[int], None]) -> None:
        self._handle, self._most, self._stable = handle, most, stable
        self._limit = most
        self._dirty = 0
        self._mutex = threading.Lock()
        self._flushing = threading.Lock()

    def wrote(self, size: int) -> None:
        """Count `size` bytes as written, and flush when it is time."""
        with self._mutex:
            self._dirty += size
            dirty = self._dirty
        if dirty < self._limit or not self._flushing.acquire(blocking=dirty >= 2 * self._limit):
            return
        try:
            with self._mutex:
                due, self._dirty = self._dirty, 0
            if due >= self._limit:
                began = time.monotonic()
                os.fdatasync(self._handle)
                pace = due / max(time.monotonic() - began, 0.001)
                self._limit = max(min(int(pace * _FLUSH_S), self._most), int(self._most * _LEAST_FLUSH))
                # Written once and not read again: leave the memory to those who need it.
                os.posix_fadvise(self._handle, 0, 0, os.POSIX_FADV_DONTNEED)
                self._stable(due)
            else:
                with self._mutex:
                    self._dirty += due
        finally:
            self._flushing.release()


class _Probe:
    """Whether to look at the target before fetching: always, unless looking has been in vain for a while.

    Bounds what in-place reuse costs on a disk that holds something else: one window in sixteen is read in vain.
    """

    def __init__(self) -> None:
        self._misses = 0

    def wanted(self) -> bool:
        """Whether to read the next window of the target."""
        return self._misses < _MISSES_BEFORE_SPARE or self._count() % _SPARE_EVERY == 0

    def saw(self, is_right: bool) -> None:
        """What the look showed."""
        self._misses = 0 if is_right else self._misses + 1

    def _count(self) -> int:
        self._misses += 1
        return self._misses


def _table_pieces(version: Version, disk: Geometry) -> list[table.Piece]:
    manifest, data = version.manifest, version.table
    if manifest.table.file is None:
        return []
    pieces, at = [], 0
    for offset, length in manifest.table.pieces:
        pieces.append(table.Piece(offset, data[at : at + length]))
        at += length
    if at != len(data):
        raise BadImage(f"{manifest.table.file.name} has {len(data)} bytes, its pieces {at}.")
    old = Geometry(manifest.disk.size_bytes, manifest.disk.logical_sector, manifest.disk.physical_sector)
    return table.place(manifest.table.kind, pieces, old, disk)


def _discard(handle: int, target: Path, version: Version) -> int:
    """Discard what file systems do not use; the number of bytes."""
    if not blockdev.can_discard(target):
        return 0
    done = 0
    for region in version.manifest.regions:
        if region.filesystem.used_by in ("", "whole"):
            continue
        for offset, length in gaps(_used_of(version.indexes[region.name]), region.length):
            if length >= _SMALLEST_DISCARD:
                if not blockdev.discard(handle, region.offset + offset, length):
                    return done
                done += length
    return done


def _used_of(index: Index) -> Iterator[Extent]:
    for window in index:
        for offset, length in window.extents:
            yield window.number * index.window_bytes + offset, length


def _write_all(handle: int, data: bytes | memoryview, at: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(handle, view, at)
        view, at = view[done:], at + done


def _is_device(target: Path) -> bool:
    try:
        return blockdev.is_block_device(target)
    except OSError as error:
        raise Unavailable(f"The disk {target} is not there: {error.strerror}.") from error


def _open(target: Path, is_device: bool) -> int:
    # O_EXCL on a block device: nobody has it, or a partition of it, mounted (open(2)).
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_EXCL if is_device else 0)
    try:
        return os.open(target, flags)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise Conflict(f"The disk {target} is in use: something on it is mounted.") from error
        raise Unavailable(f"The disk {target} cannot be opened for writing: {error.strerror}.") from error
