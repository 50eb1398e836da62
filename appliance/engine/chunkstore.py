"""The image store on disk: chunks named by their content, versions named by their manifest, staging and pins.

The only module that knows its folders. Layout, order of writes and what each crash leaves: docs/image-format.md
section 6. Nothing here is modified in place; a version's row in the database is the only commit point, and not ours.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from blake3 import blake3

from appliance.engine import collect as collecting
from appliance.engine.chunk import MAX_FRAME_BYTES, chunk_id, compress, open_frame, short
from appliance.engine.errors import BadImage, ChunkInvalid, ChunkMissing, MissingChunks
from appliance.engine.files import full_disk_in_words, locked, no_space, sync_folder, write_new
from appliance.engine.index import Index
from appliance.engine.manifest import (
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    Manifest,
    is_file_name,
    is_version_id,
    version_id,
)
from appliance.engine.pins import Pins
from appliance.engine.staging import Staged, Staging
from appliance.errors import NoSpace, NotFound

# Chunks are flushed side by side: a journalling file system serves all of them with one commit.
_BATCH = 32
_FLUSHERS = 8

CollectReport = collecting.CollectReport
Usage = collecting.Usage


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What one call of `ingest` took over, and what still waits in the staging folder."""

    chunks: int
    bytes: int  # compressed, new in the store
    waiting_bytes: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What re-reading a version found."""

    version_id: str
    chunks: int  # distinct ones that were read
    plain_bytes: int
    bad: tuple[bytes, ...]  # ids of chunks that are missing or broken
    problems: tuple[str, ...]  # one sentence each

    @property
    def ok(self) -> bool:
        """Whether everything is as it was captured."""
        return not self.bad


@dataclass(frozen=True, slots=True)
class VersionSize:
    """How much a version takes, shared chunks counted in full."""

    chunks: int
    stored_bytes: int


class ChunkStore:
    """The image store below `root`; any number of processes and threads may use it at once."""

    def __init__(self, root: Path) -> None:
        """Open the store, making its folders when they lack. Raises `NoSpace` or `Unavailable`."""
        self.root = root
        self.chunks = root / "chunks"
        self.versions = root / "versions"
        self.staging = root / "staging"
        self._lock = root / "lock"
        with full_disk_in_words(root, 4096):
            for folder in (self.chunks, self.versions, self.staging, root / "pins"):
                folder.mkdir(parents=True, exist_ok=True)
            for first in range(256):
                (self.chunks / f"{first:02x}").mkdir(exist_ok=True)
        self.pins = Pins(root / "pins", self._lock)

    # -- chunks

    def path(self, id: bytes) -> Path:
        """Where the chunk file of `id` lies, or would."""
        return self.chunks / self.relative_path(id)

    @staticmethod
    def relative_path(id: bytes) -> str:
        """The place of chunk `id` below the chunks folder, as an NFS client sees it."""
        name = id.hex()
        return f"{name[:2]}/{name}"

    def has(self, id: bytes) -> bool:
        """Whether the chunk is stored."""
        return self.path(id).exists()

    def get(self, id: bytes) -> bytes:
        """The plain content of a chunk, verified. Raises `ChunkMissing` or `ChunkInvalid`."""
        return open_frame(self.get_frame(id), id)

    def get_frame(self, id: bytes) -> bytes:
        """The frame of a chunk as stored, not verified. Raises `ChunkMissing`."""
        try:
            with self.path(id).open("rb") as file:
                return file.read(MAX_FRAME_BYTES + 1)
        except FileNotFoundError:
            raise ChunkMissing(f"Chunk {short(id)} is not in the store {self.root}.") from None

    def put(self, plain: bytes, *, level: int = 3) -> bytes:
        """Store plain content and return its id: for imports and tests. It is not pinned."""
        id = chunk_id(plain)
        if not self.has(id):
            self._store([Staged(id, compress(plain, level))], "put")
        return id

    def put_frames(self, frames: Mapping[bytes, bytes]) -> int:
        """Store frames from a copy of this or another store under their ids; returns how many were new.

        Raises `ChunkInvalid` before anything is written when one is not what its id says, and `NoSpace`.
        """
        new = [Staged(id, frame) for id, frame in frames.items() if not self.has(id)]
        for staged in new:
            open_frame(staged.frame, staged.id)
        with full_disk_in_words(self.root, sum(len(staged.frame) for staged in new)):
            self._store(new, "restore")
        return len(new)

    def free_bytes(self) -> int:
        """Free space where the store lies."""
        return shutil.disk_usage(self.root).free

    # -- a capture's chunks

    def missing(self, task_id: int, ids: list[bytes]) -> list[bytes]:
        """Pin `ids` for the task and return those that it shall stage: neither stored nor completely staged by it."""
        staged = self.staging / str(task_id)
        unique = list(dict.fromkeys(ids))
        with full_disk_in_words(self.root, len(ids) * 32), locked(self._lock):
            self.pins.add(task_id, unique)
            return [id for id in unique if not self.has(id) and not os.path.lexists(staged / id.hex())]

    def open_staging(self, task_id: int, uid: int, gid: int | None = None) -> Path:
        """The staging folder of a task, made if it lacks, owned by `uid` with mode 0700. Raises `NoSpace`."""
        folder = self.staging / str(task_id)
        with full_disk_in_words(self.root, 4096):
            folder.mkdir(mode=0o700, exist_ok=True)
            # By its handle: the folder above belongs to another user, who could put a link in its place meanwhile.
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.geteuid() == 0:
                    os.fchown(handle, uid, uid if gid is None else gid)
                os.fchmod(handle, 0o700)
            finally:
                os.close(handle)
        return folder

    def drop_staging(self, task_id: int) -> None:
        """Remove the staging folder of a task with everything in it; nothing happens when there is none."""
        folder = self.staging / str(task_id)
        trash = self.staging / f".{task_id}.gone"
        if folder.exists():
            # Renamed first: what a client still has open keeps it from being removed only until it closes it.
            shutil.rmtree(trash, ignore_errors=True)
            os.rename(folder, trash)
        shutil.rmtree(trash, ignore_errors=True)

    def ingest(self, task_id: int, *, limit_bytes: int, reserve_bytes: int = 0) -> IngestReport:
        """Take every complete chunk from the task's staging folder into the store.

        Raises `ChunkInvalid` naming a bad chunk (it is removed from staging), `NoSpace` when the folder holds more than
        `limit_bytes` or the disk would have fewer than `reserve_bytes` left, `NotFound` without a staging folder.
        """
        folder = self.staging / str(task_id)
        chunks = taken = 0
        try:
            staging = Staging(folder)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"Task {task_id} has no staging folder.") from None
        # One at a time: a scheduler that was restarted may still have a predecessor at work.
        with full_disk_in_words(self.root, MAX_FRAME_BYTES), staging, locked(self.staging / f".{task_id}.lock"):
            listing = staging.list()
            if listing.total_bytes > limit_bytes:
                raise NoSpace(
                    f"The staging folder of task {task_id} holds {listing.total_bytes} bytes;"
                    f" {limit_bytes} are allowed.",
                    hint="Raise nfs.staging_limit_mb, or look why chunks are not taken from it.",
                )
            for start in range(0, len(listing.ready), _BATCH):
                new, size = self._ingest_batch(staging, listing.ready[start : start + _BATCH], task_id, reserve_bytes)
                chunks += new
                taken += size
            waiting = staging.list().total_bytes
        return IngestReport(chunks, taken, waiting)

    def unpin(self, task_id: int) -> None:
        """The task has ended: its pins no longer keep chunks after the next collection."""
        self.pins.release(task_id)
        (self.staging / f".{task_id}.lock").unlink(missing_ok=True)

    def open_task_ids(self) -> set[int]:
        """The tasks that have a staging folder or pins."""
        names = (*os.listdir(self.staging), *os.listdir(self.pins.folder))
        return {int(name) for name in names if name.isdecimal()}

    # -- versions

    def write_version(self, manifest: bytes, indexes: dict[str, bytes]) -> str:
        """Keep a version durably and return its id; the database row that makes it count is the caller's to write.

        `indexes` are all files that the manifest names. Raises `BadImage` when a file is not what the manifest says,
        `MissingChunks` when a chunk is not stored, `NoSpace`. Doing it twice is the same as once.
        """
        parsed = Manifest.parse(manifest)
        check_files(parsed, indexes)
        id = version_id(manifest)
        final, temporary = self.versions / id, self.versions / f".{id}.new"
        with full_disk_in_words(self.root, len(manifest) + sum(map(len, indexes.values()))), locked(self._lock):
            # Chunks found present may have been renamed by a process that died before it flushed their folder.
            folders = {self.path(id).parent for id in self._check_present(parsed, indexes)}
            with ThreadPoolExecutor(_FLUSHERS) as pool:
                list(pool.map(sync_folder, folders))
            if final.exists():
                os.utime(final)  # young again, so that a collection leaves it until its row is written
                return id
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            for name in sorted(indexes):
                write_new(temporary / name, indexes[name])
            write_new(temporary / "manifest.json", manifest)
            sync_folder(temporary)
            os.rename(temporary, final)
            sync_folder(self.versions)
        return id

    def read_manifest(self, version_id: str) -> bytes:
        """The manifest of a version as stored, checked against its id. Raises `NotFound` or `BadImage`."""
        data = self._read(version_id, "manifest.json", MAX_MANIFEST_BYTES)
        if blake3(data).hexdigest() != version_id:
            raise BadImage(
                f"The manifest of version {version_id[:12]}… is damaged: it hashes to {blake3(data).hexdigest()[:12]}…"
            )
        return data

    def index_path(self, version_id: str, name: str) -> Path:
        """Where a file of a version lies. Raises `NotFound` for what cannot be one or is not there."""
        path = self.versions / version_id / name
        if not is_version_id(version_id) or not is_file_name(name) or not path.is_file():
            raise NotFound(f"Version {version_id[:12]!r} has no file {name[:80]!r}.")
        return path

    def read_index(self, version_id: str, name: str) -> bytes:
        """A file of a version, not checked against its hash. Raises `NotFound`."""
        self.index_path(version_id, name)
        return self._read(version_id, name, MAX_FILE_BYTES)

    def list_versions(self) -> set[str]:
        """Every version folder, committed or not."""
        return {path.name for path in self.versions.iterdir() if is_version_id(path.name)}

    def size_of(self, version_id: str) -> VersionSize:
        """How many chunks a version has and what they take."""
        ids = collecting.chunks_of(self.versions / version_id)
        return VersionSize(len(ids), sum(collecting.size_of(self.root, id) for id in ids))

    def verify(
        self,
        version_id: str,
        progress: Callable[[int, int], None] | None = None,
        *,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> VerifyReport:
        """Read and hash every file and chunk of a version. `progress` gets chunks done and chunks in all."""
        from appliance.engine.verify import verify_version  # it needs this module's types

        return verify_version(self, version_id, progress or (lambda done, total: None), cancelled)

    def collect(self, live_version_ids: set[str], open_tasks: set[int], *, min_age_s: float = 3600) -> CollectReport:
        """Remove every version and chunk that nobody needs. See `engine.collect` for what is kept."""
        return collecting.collect(self.root, self.pins, live_version_ids, open_tasks, min_age_s)

    def usage(self, groups: Mapping[str, set[str]]) -> Usage:
        """What the versions of all groups take together, and what each version and group alone. Raises `Conflict`."""
        return collecting.usage(self.root, groups)

    def frees(self, doomed: set[str], live_version_ids: set[str], open_tasks: set[int]) -> tuple[int, int]:
        """How many chunks and bytes a collection frees once `doomed` are removed. Raises `Conflict`."""
        return collecting.frees(self.root, self.pins, doomed, live_version_ids, open_tasks)

    # -- helpers

    def _read(self, version_id: str, name: str, limit: int) -> bytes:
        if not is_version_id(version_id):
            raise NotFound(f"'{version_id[:80]}' is no version id.")
        try:
            with (self.versions / version_id / name).open("rb") as file:
                # Not up to the limit: Python asks for as much memory as may come, which a small box does not have.
                return file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
        except FileNotFoundError:
            raise NotFound(f"Version {version_id[:12]}… is not in the store {self.root}.") from None

    def _ingest_batch(
        self, staging: Staging, names: Iterable[str], task_id: int, reserve_bytes: int
    ) -> tuple[int, int]:
        new, done = [], []
        try:
            for name in names:
                if self.has(bytes.fromhex(name)):
                    done.append(name)
                    continue
                try:
                    staged = staging.take(name)
                except ChunkInvalid:
                    staging.remove(name)
                    raise
                if staged:
                    new.append(staged)
                    done.append(name)
        finally:
            # What was good before the bad one is kept.
            size = sum(len(staged.frame) for staged in new)
            if new and self.free_bytes() - size < reserve_bytes:
                raise no_space(self.root, size, reserve_bytes)
            self._store(new, str(task_id))
            for name in done:
                staging.remove(name)
        return len(new), size

    def _store(self, batch: list[Staged], writer: str) -> None:
        """Write checked frames durably: each to a file of its own, flushed, renamed, then the folders."""
        places = [(self.path(staged.id), staged.frame) for staged in batch]
        with ThreadPoolExecutor(_FLUSHERS) as pool:
            list(pool.map(lambda place: _write_chunk(place[0], place[1], writer), places))
            list(pool.map(sync_folder, {path.parent for path, _ in places}))

    def _check_present(self, manifest: Manifest, files: dict[str, bytes]) -> set[bytes]:
        """Every chunk id of a version that is to be. Raises `MissingChunks`."""
        ids: set[bytes] = set()
        for region in manifest.regions:
            ids.update(Index.parse(files[region.index.name]).ids())
        lacking = {id for id in ids if not self.has(id)}
        if lacking:
            raise MissingChunks(
                f"{len(lacking)} chunks of the new version are not in the store, {short(min(lacking))} among them.",
                hint="Capture again; what is there already is not sent twice.",
                ids=tuple(sorted(lacking)[:1000]),
            )
        return ids


def check_files(manifest: Manifest, files: dict[str, bytes]) -> None:
    """Check that `files` are exactly those that `manifest` names, each index fitting its region. Raises `BadImage`."""
    wanted = {file.name: file for file in manifest.files()}
    if set(wanted) != set(files):
        odd = sorted(set(wanted) ^ set(files))[0]
        raise BadImage(
            f"The version's files are not those its manifest names: {odd} is {'missing' if odd in wanted else 'extra'}."
        )
    for name, data in files.items():
        found = blake3(data).hexdigest()
        if len(data) != wanted[name].bytes or found != wanted[name].blake3:
            raise BadImage(
                f"{name} has {len(data)} bytes and hashes to {found[:12]}…, which is not what the manifest says."
            )
    ids: set[bytes] = set()
    for region in manifest.regions:
        index = Index.parse(files[region.index.name], region.index.name)
        if index.window_bytes != manifest.window_bytes or index.region_bytes != region.length:
            raise BadImage(f"{region.index.name} is for another region or window than {region.name} of the manifest.")
        if index.used_bytes != region.used_bytes:
            raise BadImage(
                f"{region.index.name} has {index.used_bytes} bytes in use, the manifest says {region.used_bytes}."
            )
        ids.update(index.ids())
    if len(ids) != manifest.chunks:
        raise BadImage(f"The indexes name {len(ids)} chunks, the manifest says {manifest.chunks}.")


def _write_chunk(path: Path, frame: bytes, writer: str) -> None:
    temporary = path.with_name(f".{path.name}.{writer}.new")
    try:
        write_new(temporary, frame)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


__all__ = [
    "ChunkStore", "CollectReport", "IngestReport", "Usage", "VerifyReport", "VersionSize", "check_files",
]  # fmt: skip
