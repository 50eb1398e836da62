"""Putting a backup back: images first, then the store, in one rename.

What a crash leaves: chunks and versions that no store names yet (a second try finds them; a collection removes them),
or the present store as it was. The present store is copied aside before the rename, never moved away from its place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from appliance import config
from appliance.backup import pool, record
from appliance.backup.places import Place, copy_file
from appliance.backup.pool import Progress
from appliance.backup.record import Backup
from appliance.backup.run import alone
from appliance.backup.verify import fetch_settings, fetch_store
from appliance.config import Settings
from appliance.engine.chunk import MAX_FRAME_BYTES
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.collect import chunks_of
from appliance.engine.files import sync_folder
from appliance.errors import ApplianceError, BadData, Conflict, Unavailable
from appliance.events import ServiceHealth
from appliance.store import Store

_AT_WORK = frozenset({ServiceHealth.STARTING, ServiceHealth.OK, ServiceHealth.STOPPING})


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    backup: Backup
    database: Path
    before: Path | None  # the store that was there
    settings_before: Path | None  # the settings file that was there
    settings_written: bool
    chunks: int  # that were not in the box
    lacking: tuple[str, ...]  # ids of versions the store names that are not in the image store


def restore(
    place: Place,
    backup: Backup,
    settings: Settings | None,
    config_path: Path,
    *,
    images: bool = True,
    with_settings: bool = False,
    force: bool = False,
    now: datetime,
    progress: Progress = pool.silent,
) -> Restored:
    """Put `backup` back into this box. `settings` are the box's own; None, without a settings file: the backup's.

    `force` goes on although services seem to run. Raises `ApplianceError`; the box is then as before, but for images.
    """
    with pool.work_folder() as work:
        fetched = fetch_store(place, backup, work)
        new_settings = fetch_settings(place, backup, work) if with_settings or settings is None else None
        if new_settings is not None:
            settings = config.load(new_settings)
        if settings is None:
            raise BadData(
                f"Neither the box nor backup {backup.name} has a settings file.",
                hint=f"Create one: diecast config --defaults > {config_path}",
            )
        database = settings.paths.database
        _make_folders(database.parent)
        with alone(database.parent):
            if not force:
                refuse_while_serving(database)
            stored = _restore_images(place, backup, settings, work, progress) if images else 0
            prepared = _prepare(fetched, database)
            try:
                before = _keep_present(database, now)
                _take_place(prepared, database)
            finally:
                prepared.unlink(missing_ok=True)
            settings_before = _put_settings(new_settings, config_path, now) if new_settings else None
    lacking = _lacking(database, settings)
    return Restored(backup, database, before, settings_before, new_settings is not None, stored, lacking)


def refuse_while_serving(database: Path) -> None:
    """Raises `Conflict` while services say that they run on this store. One that cannot be read says nothing."""
    if not database.exists():
        return
    try:
        with Store.open(database) as store:
            running = [state.name for state in store.services.list() if state.state in _AT_WORK]
    except ApplianceError:
        return
    if running:
        raise Conflict(
            f"Services run on the store {database}: {', '.join(running)}.",
            hint="Stop them: diecast service stop",
        )


def _make_folders(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The folder {state} cannot be made: {error.strerror}.", hint="Run as root.") from error


# -- images


def _restore_images(place: Place, backup: Backup, settings: Settings, work: Path, progress: Progress) -> int:
    """Bring the backup's versions into the image store; how many chunks were new. Every byte is checked on its way."""
    store = ChunkStore(settings.paths.images)
    folders = [pool.fetch_version(place, id, work) for id in backup.versions]
    needed = sorted(set[bytes]().union(*map(chunks_of, folders)))
    lacking = [id for id in needed if not store.has(id)]
    done = 0
    for batch in _small(lacking):
        frames: dict[bytes, bytes] = {}

        def take(name: str, file: BinaryIO, frames: dict[bytes, bytes] = frames) -> None:
            frames[bytes.fromhex(name.rpartition("/")[2])] = file.read(MAX_FRAME_BYTES + 1)

        place.read([pool.chunk_name(id) for id in batch], take)
        store.put_frames(frames)
        done += len(batch)
        progress("images", done, len(lacking))
    for folder in folders:
        manifest = (folder / "manifest.json").read_bytes()
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "manifest.json"}
        store.write_version(manifest, files)
    return len(lacking)


def _small(ids: list[bytes]) -> Iterable[list[bytes]]:
    """Batches that fit into memory: a frame has up to 4 MiB."""
    step = 32
    return (ids[start : start + step] for start in range(0, len(ids), step))


def _lacking(database: Path, settings: Settings) -> tuple[str, ...]:
    with Store.open(database) as store:
        live = store.images.live_version_ids()
    return tuple(sorted(live - ChunkStore(settings.paths.images).list_versions())) if live else ()


# -- the store


def _prepare(fetched: Path, database: Path) -> Path:
    """The restored store beside its place, of the newest schema, flushed, owned by who owned the present one."""
    path = database.with_name(f".{database.name}.restored")
    for old in _parts(path):
        old.unlink(missing_ok=True)
    try:
        copy_file(fetched, path)
        Store.open(path).close()  # an older schema is brought up to date
        like = database if database.exists() else database.parent
        info = like.stat()
        os.chown(path, info.st_uid, info.st_gid)
        os.chmod(path, info.st_mode & 0o777 if like is database else 0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        path.unlink(missing_ok=True)
        raise Unavailable(
            f"The store cannot be put to {database}: {error.strerror}.", hint="Run as root; see what is free there."
        ) from error
    return path


def _keep_present(database: Path, now: datetime) -> Path | None:
    """Copy the present store aside. One that cannot be read is kept file by file."""
    if not database.exists():
        return None
    before = _free_name(database, now)
    try:
        with Store.open(database) as store:
            store.copy_to(before)
    except ApplianceError:
        for part, name in zip(_parts(database), _parts(before), strict=True):
            if part.exists():
                copy_file(part, name)
        for part in _parts(database)[1:]:
            part.unlink(missing_ok=True)  # SQLite would apply it to the file that comes
    if _parts(database)[1].exists():
        before.unlink(missing_ok=True)
        # Who closes it last removes the write-ahead log by its name: the restored store's.
        raise Conflict(f"Another program has the store {database} open.", hint=f"End it; see which: fuser {database}")
    info = database.stat()
    with suppress(PermissionError):
        os.chown(before, info.st_uid, info.st_gid)
    return before


def _take_place(prepared: Path, database: Path) -> None:
    os.rename(prepared, database)
    sync_folder(database.parent)


def _put_settings(new: Path, config_path: Path, now: datetime) -> Path | None:
    """Put the settings file to its place, the present one kept; None when there was none or it is the same."""
    data = new.read_bytes()
    before = None
    try:
        if config_path.exists():
            if config_path.read_bytes() == data:
                return None
            before = _free_name(config_path, now)
            copy_file(config_path, before)
        config_path.parent.mkdir(parents=True, exist_ok=True)
        temporary = config_path.with_name(f".{config_path.name}.restored")
        copy_file(new, temporary)
        os.chmod(temporary, config_path.stat().st_mode & 0o777 if before else 0o644)
        os.rename(temporary, config_path)
        sync_folder(config_path.parent)
    except OSError as error:
        raise Unavailable(
            f"The store is restored, but the settings file {config_path} cannot be written: {error.strerror}.",
            hint="Run as root, or copy it from the backup by hand.",
        ) from error
    return before


def _free_name(path: Path, now: datetime) -> Path:
    """`diecast.sqlite.before-20261123T120000Z`, with a number where that is taken."""
    base = f"{path.name}.before-{record.name_of(now)}"
    names = [base, *(f"{base}-{number}" for number in range(2, 100))]
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def _parts(path: Path) -> list[Path]:
    """An SQLite file, its write-ahead log and that one's index."""
    return [path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")]
