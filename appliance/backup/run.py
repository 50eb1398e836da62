"""Making a backup. Order of writes and what a crash leaves: see the package."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from blake3 import blake3

from appliance import __version__
from appliance.backup import plan, pool, record
from appliance.backup.places import Place, Source, full
from appliance.backup.pool import Progress
from appliance.backup.record import Backup, Kept
from appliance.config import Settings
from appliance.engine.chunk import open_frame
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.collect import chunks_of
from appliance.engine.errors import ChunkInvalid, ChunkMissing
from appliance.errors import ApplianceError, BadData, Cancelled, Conflict, NotFound, Unavailable
from appliance.store import Copy, Store

_TRIES = 3  # versions may be removed while they are copied; then a newer copy of the store is taken
_SPARE_BYTES = 4 << 20  # folders and rounding to blocks


@dataclass(frozen=True, slots=True)
class Report:
    """What a run did."""

    backup: Backup
    target: str
    new_chunks: int
    new_bytes: int
    pruned: tuple[str, ...]
    not_pruned: str = ""  # why old ones stay


@dataclass(frozen=True, slots=True)
class Box:
    """What is backed up, and from where."""

    store: Store
    settings: Settings
    config_path: Path


def run(
    box: Box,
    place: Place,
    *,
    images: bool,
    keep: int,
    now: datetime,
    first: bool = False,
    progress: Progress = pool.silent,
    cancelled: Callable[[], bool] = lambda: False,
) -> Report:
    """Make one backup and remove those beyond the newest `keep`; how it went is kept in the store.

    `first` says that a target where backups should be, and are not, is right. Raises `ApplianceError`.
    """
    try:
        with alone(box.settings.paths.state):
            report = _run(_Run(box, place, progress, cancelled), images, keep, now, first)
    except ApplianceError as error:
        with suppress(ApplianceError):
            plan.note(box.store, place.name, now, ok=False, words=str(error))
        raise
    plan.note(box.store, place.name, now, ok=True, words=report.backup.name)
    return report


@dataclass(frozen=True, slots=True)
class _Run:
    box: Box
    place: Place
    progress: Progress
    cancelled: Callable[[], bool]

    def go_on(self) -> None:
        """Raises `Cancelled`."""
        if self.cancelled():
            raise Cancelled("The backup was cancelled; the next one goes on from what was copied.")


class _VersionGone(Exception):
    """A version was removed from the box while it was copied."""


def _run(one: _Run, images: bool, keep: int, now: datetime, first: bool) -> Report:
    place = one.place
    _check_target(one, first)
    place.make()
    pool.tidy(place)
    with pool.work_folder(one.box.settings.paths.state) as work:
        for attempt in range(_TRIES):
            copy = one.box.store.copy_to(work / record.STORE_FILE)
            try:
                stored = _store_images(one, copy, enough_for=copy.bytes) if images else _Stored({}, 0, 0)
                break
            except _VersionGone:
                if attempt + 1 == _TRIES:
                    raise Conflict(
                        "Images are removed while they are copied.", hint="Try again when that has ended."
                    ) from None
        if not images:
            _check_room(place, copy.bytes)
        versions = sorted(copy.versions - set(stored.lacking)) if images else []
        backup = _publish(one, work, copy, images, versions, stored.lacking, now)
        try:
            pruned, not_pruned = pool.prune(place, keep, work, one.progress), ""
        except BadData as error:
            pruned, not_pruned = [], str(error)
    return Report(backup, place.name, stored.chunks, stored.bytes, tuple(pruned), not_pruned)


def _check_target(one: _Run, first: bool) -> None:
    one.place.check()
    before = plan.last(one.box.store)
    known = before is not None and before.good_at is not None and before.good_target == one.place.name
    if known and not first and not one.place.exists():
        raise Unavailable(
            f"The backups that were in {one.place.name} are not there: its disk is not mounted, or is another one.",
            hint="Mount the disk; for a new one, run: diecast backup run --first",
        )


def _check_room(place: Place, needed: int) -> None:
    free = place.room_bytes()
    if needed + _SPARE_BYTES > free:
        raise full(place.name, needed + _SPARE_BYTES, free)


# -- images


@dataclass(frozen=True, slots=True)
class _Stored:
    lacking: dict[str, str]  # version -> why it is not in the backup
    chunks: int
    bytes: int


def _store_images(one: _Run, copy: Copy, *, enough_for: int) -> _Stored:
    """Bring the pool up to the versions of `copy`. Raises `_VersionGone`, `NoSpace` and others."""
    chunks = ChunkStore(one.box.settings.paths.images)
    needed: dict[str, set[bytes]] = {}
    lacking: dict[str, str] = {}
    for id in sorted(copy.versions):
        try:
            chunks.read_manifest(id)
            needed[id] = chunks_of(chunks.versions / id)
        except (BadData, NotFound, Conflict) as error:
            _damaged(one, id, error, lacking)
    held = pool.held_chunks(one.place)
    new = sorted(set[bytes]().union(*needed.values()) - held)
    versions = sorted(set(needed) - pool.held_versions(one.place))
    files = sum(path.stat().st_size for id in versions for path in (chunks.versions / id).iterdir())
    _check_room(one.place, sum(map(_size, map(chunks.path, new))) + files + enough_for)
    bad, size = _copy_chunks(one, chunks, new)
    for version, ids in needed.items():
        for chunk in sorted(ids & bad.keys())[:1]:
            _damaged(one, version, bad[chunk], lacking)
    for id in versions:
        if id not in lacking:
            one.go_on()
            _copy_version(one.place, chunks.versions / id)
    return _Stored(lacking, len(new) - len(bad), size)


def _damaged(one: _Run, id: str, why: ApplianceError, lacking: dict[str, str]) -> None:
    """A version that cannot be copied is left out and named, unless it has just been removed."""
    if id not in one.box.store.images.live_version_ids():
        raise _VersionGone
    lacking.setdefault(id, why.message)


def _copy_chunks(one: _Run, chunks: ChunkStore, new: list[bytes]) -> tuple[dict[bytes, ApplianceError], int]:
    """Copy chunks, each proven to be what its name says. Returns those that are not, and how many bytes went."""
    bad: dict[bytes, ApplianceError] = {}
    batch: list[tuple[str, Source]] = []
    waiting = sent = 0
    for number, id in enumerate(new, 1):
        try:
            frame = chunks.get_frame(id)
            open_frame(frame, id)
        except (ChunkMissing, ChunkInvalid) as error:
            bad[id] = error
        else:
            batch.append((pool.chunk_name(id), frame))
            waiting += len(frame)
        if batch and (number == len(new) or len(batch) == pool.BATCH or waiting >= pool.BATCH_BYTES):
            one.go_on()
            one.place.write(batch)
            sent, waiting, batch = sent + waiting, 0, []
            one.progress("images", number, len(new))
    return bad, sent


def _copy_version(place: Place, folder: Path) -> None:
    temporary = f"{pool.VERSIONS}/.{folder.name}.new"
    place.write([(f"{temporary}/{path.name}", path) for path in sorted(folder.iterdir())])
    place.rename(temporary, f"{pool.VERSIONS}/{folder.name}")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


# -- the backup itself


def _publish(
    one: _Run, work: Path, copy: Copy, images: bool, versions: list[str], lacking: dict[str, str], now: datetime
) -> Backup:
    one.go_on()
    one.progress("store", 0, 1)
    taken = set(one.place.entries(""))
    while record.name_of(now) in taken:
        now += timedelta(seconds=1)
    store_file = work / record.STORE_FILE
    try:
        settings = one.box.config_path.read_bytes()
    except FileNotFoundError:
        settings = None
    except OSError as error:
        raise Unavailable(
            f"The settings file {one.box.config_path} cannot be read: {error.strerror}.", hint="Run as root."
        ) from error
    backup = Backup(
        name=record.name_of(now),
        box=platform.node(),
        program=__version__,
        schema=copy.schema,
        store=kept(store_file),
        settings=None if settings is None else Kept(len(settings), blake3(settings).hexdigest()),
        images=images,
        versions=tuple(versions),
        lacking=lacking,
    )
    temporary = f".{backup.name}.new"
    files: list[tuple[str, Source]] = [(f"{temporary}/{record.STORE_FILE}", store_file)]
    if settings is not None:
        files.append((f"{temporary}/{record.SETTINGS_FILE}", settings))
    files.append((f"{temporary}/{record.RECORD_FILE}", backup.to_bytes()))
    one.place.write(files)
    one.place.rename(temporary, backup.name)
    one.progress("store", 1, 1)
    return backup


def kept(path: Path) -> Kept:
    """Size and hash of a file."""
    return Kept(path.stat().st_size, blake3().update_mmap(path).hexdigest())


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """One backup or restore of a box at a time; the kernel lets go when its holder dies.

    The folder itself is locked: a lock file that root made would keep out the user of the services.
    """
    try:
        handle = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Unavailable(f"The folder {state} cannot be opened: {error.strerror}.", hint="Run as root.") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Conflict("A backup or restore is running already.", hint="Wait until it has ended.") from None
    finally:
        os.close(handle)
