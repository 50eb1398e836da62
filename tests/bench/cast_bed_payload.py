"""What the cast benchmarks send: versions in one image store below build/bench, made when they lack or are out of date.

`system_disk()` is the Debian master disk of the lab, captured with the engine into chunks of 1 MiB windows;
`reordered_disk()` is like it with other chunks; `random_chunks()` cannot be compressed. A version is named after what
it was made from (the disk's recipe, the engine's source), so another input makes another version; chunks that no
version needs any more are collected.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import appliance.disk
import appliance.engine
from appliance.engine.capture import CaptureOptions, capture
from appliance.engine.castlist import cast_chunks
from appliance.engine.chunk import chunk_id
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.index import Index, Window
from appliance.engine.manifest import DiskShape, File, FileSystem, Manifest, Region, TableShape
from tests.engine.kit import LIMIT, TASK, StagingSink, never, quiet
from tests.lab import disks
from tests.lab.command import BUILD

FOLDER = BUILD / "bench" / "cast"
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Payload:
    """One version of the store `images`."""

    name: str
    images: Path
    version_id: str
    plain_bytes: int  # of its distinct chunks
    file_bytes: int  # of their chunk files: what a cast sends once
    chunks: int

    @property
    def version_folder(self) -> Path:
        """With manifest and indexes."""
        return self.images / "versions" / self.version_id


def system_disk() -> Payload:
    """The Debian master disk. Makes the disk too (minutes) when `make disks` has not."""
    disk = disks.master("debian", say=print)
    return _payload("debian", f"{disk.name} {_sources()}", lambda store: _capture(store, disk))


def random_chunks(mib: int = 512, seed: int = 1) -> Payload:
    """`mib` windows of 1 MiB that cannot be compressed."""
    return _payload(f"random-{mib}-{seed}", _sources(), lambda store: _make_random(store, mib, seed))


def reordered_disk() -> Payload:
    """The Debian master disk with the quarters of each window in reverse order: other chunks, nearly as large."""
    first = system_disk()
    return _payload("reordered", f"{first.version_id} {_sources()}", lambda store: _reorder(store, first.version_id))


def _payload(name: str, inputs: str, make: Callable[[ChunkStore], str]) -> Payload:
    """The version `name`, made by `make` unless it is there and was made from `inputs`."""
    store = ChunkStore(FOLDER)
    with _notes() as notes:
        known = notes.get(name, {})
        if known.get("inputs") != inputs or known.get("version") not in store.list_versions():
            version = make(store)
            ids = cast_chunks(store.read_manifest(version), lambda file: store.read_index(version, file))
            size = sum(store.path(id).stat().st_size for id in ids)
            plain = sum(len(store.get(id)) for id in ids)
            notes[name] = {"inputs": inputs, "version": version, "plain": plain, "files": size, "chunks": len(ids)}
            store.collect({str(note["version"]) for note in notes.values()}, set(), min_age_s=0)
        found = notes[name]
    return Payload(name, FOLDER, str(found["version"]), *(int(found[key]) for key in ("plain", "files", "chunks")))


@contextmanager
def _notes() -> Iterator[dict[str, dict[str, str | int]]]:
    """What the store holds and from what it was made; one process at a time, so that nothing is made twice."""
    path = FOLDER / "payloads.json"
    with (FOLDER / ".payloads.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        notes: dict[str, dict[str, str | int]] = json.loads(path.read_text()) if path.exists() else {}
        yield notes
        path.write_text(json.dumps(notes, indent=1))


def _sources() -> str:
    """Hash of the code that looks at disks and makes chunks."""
    found = hashlib.sha256(Path(__file__).read_bytes())
    for package in (appliance.engine, appliance.disk):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            found.update(path.read_bytes())
    return found.hexdigest()[:12]


def _capture(store: ChunkStore, disk: Path) -> str:
    store.open_staging(TASK, 0)
    made = capture(disk, StagingSink(store), CaptureOptions(window_bytes=MIB, threads=2), quiet, never)
    store.ingest(TASK, limit_bytes=LIMIT)
    version = store.write_version(made.manifest, made.indexes)
    store.drop_staging(TASK)
    store.unpin(TASK)
    return version


def _make_random(store: ChunkStore, mib: int, seed: int) -> str:
    rng = random.Random(seed)
    return _raw_version(store, (rng.randbytes(MIB) for _ in range(mib)))


def _reorder(store: ChunkStore, version: str) -> str:
    ids = cast_chunks(store.read_manifest(version), lambda file: store.read_index(version, file))
    plains = (plain.ljust(MIB, b"\0") for plain in map(store.get, ids))
    quarter = MIB // 4
    return _raw_version(
        store, (b"".join(plain[at : at + quarter] for at in range(MIB - quarter, -1, -quarter)) for plain in plains)
    )


def _raw_version(store: ChunkStore, plains: Iterable[bytes]) -> str:
    """A disk of nothing but these windows of 1 MiB."""
    windows = []
    for number, plain in enumerate(plains):
        store.put(plain)
        windows.append(Window(number, chunk_id(plain), ((0, MIB),)))
    size, distinct = len(windows) * MIB, len({window.id for window in windows})
    index = Index.build(windows, window_bytes=MIB, region_bytes=size)
    file = File("disk.index", index.hash, len(index.data))
    region = Region("disk", "disk", 0, size, FileSystem("raw"), file, used_bytes=size)
    manifest = Manifest(MIB, size, distinct, size, DiskShape(size, 512, 512), TableShape("none"), (region,))
    return store.write_version(manifest.to_bytes(), {"disk.index": index.data})
