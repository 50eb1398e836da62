"""The pool of chunks and versions on the target, and the list of backups there."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from appliance.backup import record
from appliance.backup.places import NO_ROOM, Place, copy_file, read_bytes
from appliance.backup.record import Backup
from appliance.engine.chunkstore import ChunkStore, check_files
from appliance.engine.collect import chunks_of
from appliance.engine.manifest import Manifest, is_version_id, version_id
from appliance.errors import ApplianceError, BadData, Cancelled, NoSpace, NotFound, Unavailable

CHUNKS, VERSIONS = "chunks", "versions"
BATCH = 256  # files a connection, and names that fit a pipe
BATCH_BYTES = 64 << 20

Progress = Callable[[str, int, int], None]  # what is being done, so many, of so many
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    """A backup on the target; `backup` is None when what it says of itself cannot be read, `problem` says why."""

    name: str
    backup: Backup | None
    problem: str = ""


def silent(what: str, done: int, total: int) -> None:
    """A `Progress` that nobody sees."""


def chunk_name(id: bytes) -> str:
    """Where a chunk lies."""
    return f"{CHUNKS}/{ChunkStore.relative_path(id)}"


def held_chunks(place: Place) -> set[bytes]:
    """The chunks in the pool."""
    names = (name.rpartition("/")[2] for name in place.files(CHUNKS))
    return {bytes.fromhex(name) for name in names if is_version_id(name)}


def held_versions(place: Place) -> set[str]:
    """The versions in the pool."""
    return {name for name in place.entries(VERSIONS) if is_version_id(name)}


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """`items` in pieces of a batch each."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def backups(place: Place) -> list[Found]:
    """Every backup on the target, newest first."""
    if not place.exists():
        return []
    found = []
    for name in sorted(filter(record.is_name, place.entries("")), reverse=True):
        try:
            found.append(Found(name, read_record(place, name)))
        except (BadData, NotFound) as error:
            found.append(Found(name, None, error.message))
    return found


def read_record(place: Place, name: str) -> Backup:
    """What backup `name` says of itself. Raises `NotFound` or `BadData`."""
    return Backup.parse(name, read_bytes(place, f"{name}/{record.RECORD_FILE}", record.MAX_BYTES))


def choose(place: Place, name: str | None) -> Backup:
    """The backup of that name; None: the newest that can be read. Raises `NotFound` or `BadData`."""
    there = backups(place)
    if name is None:
        chosen = next((found.backup for found in there if found.backup is not None), None)
        if chosen is None:
            raise NotFound(f"No backup is in {place.name}.", hint="Make one: diecast backup run")
        return chosen
    for found in there:
        if found.name == name:
            return found.backup or read_record(place, name)
    names = ", ".join(found.name for found in there[:5]) or "none"
    raise NotFound(f"There is no backup '{name}' in {place.name}.", hint=f"There are: {names}.")


@contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """A folder that only we may look into, gone afterwards; without `parent` where the system has such.

    Raises `NoSpace` or `Unavailable` when it cannot be made.
    """
    try:
        made = tempfile.TemporaryDirectory(prefix=".diecast-", dir=parent)
    except OSError as error:
        where = Path(error.filename).parent if error.filename else Path("/tmp")
        if error.errno in NO_ROOM:
            raise _no_room(where) from error
        raise Unavailable(
            f"The folder {where} cannot be written to: {error.strerror}.", hint="Run as root, or see its disk."
        ) from error
    with made as work:
        yield Path(work)


def _no_room(folder: Path) -> NoSpace:
    return NoSpace(f"There is no room in {folder} for what is copied.", hint="Free space on that disk.")


def fetch(place: Place, names: Iterable[str], folder: Path) -> None:
    """Copy files of the target below `folder`. Raises `NotFound`, `NoSpace`."""

    def take(name: str, file: BinaryIO) -> None:
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            copy_file(file, path)
        except OSError as error:
            if error.errno in NO_ROOM:  # only what is written can be: the target is read
                raise _no_room(folder) from error
            raise

    for batch in batches(list(names)):
        place.read(batch, take)


def fetch_version(place: Place, id: str, work: Path) -> Path:
    """Copy a version's files below `work`; the folder they are in. Raises `NotFound` or `BadData`: it is checked."""
    folder = work / VERSIONS / id
    manifest_name = f"{VERSIONS}/{id}/manifest.json"
    fetch(place, [manifest_name], work)
    data = (folder / "manifest.json").read_bytes()
    if version_id(data) != id:
        raise BadData(
            f"The manifest of version {id[:12]}… in {place.name} is damaged: it hashes to {version_id(data)[:12]}….",
            hint="Make a new backup into another folder: diecast backup run --target",
        )
    manifest = Manifest.parse(data)
    names = [file.name for file in manifest.files()]
    fetch(place, [f"{VERSIONS}/{id}/{name}" for name in names], work)
    check_files(manifest, {name: (folder / name).read_bytes() for name in names})
    return folder


def prune(place: Place, keep: int, work: Path, progress: Progress = silent) -> list[str]:
    """Remove all but the newest `keep` backups, and what no other one needs. Returns the names of those removed.

    Nothing is taken from the pool while a backup that stays, or a version of it, cannot be read: raises `BadData`.
    """
    there = backups(place)
    doomed = [found.name for found in there[keep:]]
    for name in doomed:
        place.rename(name, f".{name}.old")
        place.remove([f".{name}.old"])
    unread = [found.problem for found in there[:keep] if found.backup is None]
    needed = {id for found in there[:keep] if found.backup is not None for id in found.backup.versions}
    idle = held_versions(place) - needed
    if not idle:
        return doomed
    if unread:
        raise BadData(f"Old images stay in {place.name}: {unread[0]}", hint="Remove that backup's folder by hand.")
    kept: set[bytes] = set()
    for number, id in enumerate(sorted(needed)):
        progress("look", number, len(needed))
        try:
            kept |= chunks_of(fetch_version(place, id, work))
        except Cancelled:
            raise
        except ApplianceError as error:
            raise BadData(f"Old images stay in {place.name}: {error.message}", hint=error.hint) from error
    # Chunks first: while its version is there, an interrupted pruning is noticed and goes on.
    names = [chunk_name(id) for id in sorted(held_chunks(place) - kept)]
    done = 0
    for batch in batches(names):
        place.remove(batch)
        done += len(batch)
        progress("prune", done, len(names))
    place.remove([f"{VERSIONS}/{id}" for id in sorted(idle)])
    return doomed


def tidy(place: Place) -> None:
    """Remove what an interrupted run left half-written or half-removed."""
    for folder in ("", VERSIONS):
        left = [name for name in place.entries(folder) if name.startswith(".") and name.endswith((".new", ".old"))]
        if left:
            place.remove([f"{folder}/{name}" if folder else name for name in left])
