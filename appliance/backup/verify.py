"""Whether a backup is what was written, and could be restored."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from appliance.backup import pool, record
from appliance.backup.places import Place
from appliance.backup.pool import Progress
from appliance.backup.record import Backup, Kept
from appliance.backup.run import kept
from appliance.engine.chunk import MAX_FRAME_BYTES, open_frame, short
from appliance.engine.collect import chunks_of
from appliance.engine.errors import ChunkInvalid
from appliance.errors import BadData, Conflict, NotFound, Unavailable
from appliance.store.copying import NEWEST_SCHEMA, inspect


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found."""

    backup: Backup
    chunks: int  # that the backup needs
    read: int  # of them, read and hashed
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it is whole."""
        return not self.problems


def verify(place: Place, backup: Backup, *, contents: bool = False, progress: Progress = pool.silent) -> Verdict:
    """Check files, hashes, manifests and that every chunk is there; with `contents` read and hash every chunk.

    Raises `Unavailable` when the target cannot be read.
    """
    problems: list[str] = []
    needed: set[bytes] = set()
    with pool.work_folder() as work:
        try:
            fetch_store(place, backup, work)
            fetch_settings(place, backup, work)
        except (BadData, NotFound) as error:
            problems.append(error.message)
        for id in backup.versions:
            try:
                needed |= chunks_of(pool.fetch_version(place, id, work))
            except (BadData, NotFound, Conflict) as error:
                problems.append(error.message)
    held = pool.held_chunks(place)
    problems += [f"Chunk {short(id)} is missing." for id in sorted(needed - held)]
    there = sorted(needed & held)
    if contents:
        problems += _read_all(place, there, progress)
    return Verdict(backup, len(needed), len(there) if contents else 0, tuple(problems))


def _read_all(place: Place, ids: list[bytes], progress: Progress) -> list[str]:
    problems: list[str] = []

    def take(name: str, file: BinaryIO) -> None:
        id = bytes.fromhex(name.rpartition("/")[2])
        try:
            open_frame(file.read(MAX_FRAME_BYTES + 1), id)
        except ChunkInvalid as error:
            problems.append(f"{error.message} Its file is {name}.")

    done = 0
    for batch in pool.batches(ids):
        place.read([pool.chunk_name(id) for id in batch], take)
        done += len(batch)
        progress("verify", done, len(ids))
    return problems


def fetch_store(place: Place, backup: Backup, work: Path) -> Path:
    """The backup's copy of the store, below `work`: hashed, read whole, of a schema that is known.

    Raises `BadData`, `NotFound`; `Unavailable` for a newer schema.
    """
    path = _fetch(place, backup, record.STORE_FILE, backup.store, work)
    schema = inspect(path).schema
    if schema > NEWEST_SCHEMA:
        raise Unavailable(
            f"The store in backup {backup.name} has schema {schema}; this Diecast knows only up to {NEWEST_SCHEMA}.",
            hint=f"Install Diecast {backup.program} or newer, which wrote it, or choose an older backup.",
        )
    return path


def fetch_settings(place: Place, backup: Backup, work: Path) -> Path | None:
    """The backup's settings file, below `work`, hashed; None when it has none. Raises as `fetch_store`."""
    if backup.settings is None:
        return None
    return _fetch(place, backup, record.SETTINGS_FILE, backup.settings, work)


def _fetch(place: Place, backup: Backup, name: str, said: Kept, work: Path) -> Path:
    pool.fetch(place, [f"{backup.name}/{name}"], work)
    path = work / backup.name / name
    if kept(path) != said:
        raise BadData(
            f"The file {name} of backup {backup.name} is not what was written.",
            hint="Choose another backup: diecast backup list",
        )
    return path
