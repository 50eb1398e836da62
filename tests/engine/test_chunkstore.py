"""The chunk store: what a PC stages may be anything, and no crash or collection loses a chunk that somebody needs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from appliance.engine import collect as collecting
from appliance.engine.chunk import MAX_FRAME_BYTES, chunk_id, compress
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.errors import BadImage, ChunkInvalid, ChunkMissing, MissingChunks
from appliance.engine.index import Index, Window
from appliance.engine.manifest import DiskShape, FileSystem, Manifest, Region, TableShape, file_of
from appliance.errors import Conflict, NoSpace, NotFound
from tests.disk.makedisk import noise
from tests.engine.kit import LIMIT, TASK

SIZE = 1 << 16


def plain(number: int) -> bytes:
    """The content of a chunk."""
    return number.to_bytes(8, "big") * (SIZE // 8)


def stage(store: ChunkStore, content: bytes, *, name: str = "", frame: bytes | None = None) -> bytes:
    """What the agent does with one chunk."""
    id = chunk_id(content)
    folder = store.open_staging(TASK, os.getuid())
    (folder / (name or id.hex())).write_bytes(compress(content) if frame is None else frame)
    return id


def version_of(ids: list[bytes]) -> tuple[bytes, dict[str, bytes]]:
    """A manifest and index that name these chunks."""
    length = SIZE * len(ids)
    windows = [Window(number, id, ((0, SIZE),)) for number, id in enumerate(ids)]
    index = Index.build(windows, window_bytes=SIZE, region_bytes=length)
    file = file_of("disk.idx", index.data)
    region = Region("disk", "disk", 0, length, FileSystem("raw"), file, length)
    disk = DiskShape(length, 512, 512)
    manifest = Manifest(SIZE, length, len(set(ids)), length, disk, TableShape("none"), (region,))
    return manifest.to_bytes(), {"disk.idx": index.data}


def age(store: ChunkStore) -> None:
    """Make everything in the store a day old."""
    day_ago = time.time() - 86400
    for path in [*store.chunks.rglob("*"), *store.versions.rglob("*"), *(store.root / "pins").iterdir()]:
        os.utime(path, (day_ago, day_ago))


def test_staged_chunks_become_chunks_and_leave_staging(store: ChunkStore) -> None:
    ids = [stage(store, plain(number)) for number in range(40)]
    report = store.ingest(TASK, limit_bytes=LIMIT)
    assert (report.chunks, report.waiting_bytes) == (40, 0)
    assert [store.get(id) for id in ids] == [plain(number) for number in range(40)]
    assert store.ingest(TASK, limit_bytes=LIMIT).chunks == 0


def test_a_file_that_is_still_being_written_waits(store: ChunkStore) -> None:
    stage(store, plain(1), name=chunk_id(plain(1)).hex() + ".part")
    stage(store, plain(2), name=".nfs00000001")
    report = store.ingest(TASK, limit_bytes=LIMIT)
    assert report.chunks == 0
    assert report.waiting_bytes > 0


def test_only_what_is_neither_stored_nor_staged_is_asked_for(store: ChunkStore) -> None:
    stored, staged, absent = plain(1), plain(2), plain(3)
    store.put(stored)
    stage(store, staged)
    ids = [chunk_id(stored), chunk_id(staged), chunk_id(absent), chunk_id(absent)]
    assert store.missing(TASK, ids) == [chunk_id(absent)]
    assert store.missing(TASK, ids) == [chunk_id(absent)]
    stage(store, absent)
    assert store.missing(TASK, ids) == []
    assert store.pins.of(TASK) == set(ids)


@pytest.mark.parametrize(
    "kind", ["symlink", "fifo", "folder", "hardlink", "device", "wrong", "torn", "long", "bomb", "empty"]
)
def test_a_hostile_staged_file_is_refused_by_name_and_never_stored(
    store: ChunkStore, tmp_path: Path, kind: str
) -> None:
    good = stage(store, plain(5))
    id = chunk_id(plain(6))
    folder = store.open_staging(TASK, os.getuid())
    path = folder / id.hex()
    secret = tmp_path / "secret"
    secret.write_bytes(compress(plain(6)))
    makers: dict[str, Callable[[], object]] = {
        "symlink": lambda: path.symlink_to(secret),
        "fifo": lambda: os.mkfifo(path),
        "folder": lambda: path.mkdir(),
        "hardlink": lambda: os.link(secret, path),
        "device": lambda: os.mknod(path, 0o600 | 0o020000, os.makedev(1, 5)),
        "wrong": lambda: path.write_bytes(compress(plain(7))),
        "torn": lambda: path.write_bytes(compress(plain(6))[:-3]),
        "long": lambda: path.write_bytes(bytes(MAX_FRAME_BYTES + 1)),
        "bomb": lambda: path.write_bytes(compress(bytes(1 << 28))),
        "empty": lambda: path.write_bytes(b""),
    }
    makers[kind]()
    with pytest.raises(ChunkInvalid, match="folder" if kind == "folder" else id.hex()[:12]):
        store.ingest(TASK, limit_bytes=LIMIT)
    assert not store.has(id)
    assert secret.exists()
    if kind != "folder":  # a folder stops the look before anything is taken
        store.ingest(TASK, limit_bytes=LIMIT)
        assert store.has(good)
    store.drop_staging(TASK)
    assert not folder.exists()


def test_a_file_that_changes_while_it_is_taken_spoils_nothing(store: ChunkStore) -> None:
    contents = [compress(plain(1)), compress(plain(2)), b"x" * 100]
    id = stage(store, plain(1))
    path = store.staging / str(TASK) / id.hex()
    done = threading.Event()

    def scribble() -> None:
        while not done.is_set():
            for content in contents:
                if path.exists():
                    path.write_bytes(content)

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        for _ in range(200):
            try:
                store.ingest(TASK, limit_bytes=LIMIT)
            except ChunkInvalid:
                stage(store, plain(1))
            if store.has(id):
                break
    finally:
        done.set()
        thread.join()
    if store.has(id):
        assert store.get(id) == plain(1)


def test_a_staging_folder_over_its_limit_is_refused_with_both_figures(store: ChunkStore) -> None:
    stage(store, plain(1), frame=bytes(50_000), name="0" * 64 + ".part")
    with pytest.raises(NoSpace, match=r"holds \d{5} bytes; 40000 are allowed"):
        store.ingest(TASK, limit_bytes=40_000)


def test_a_store_without_room_says_what_is_free_and_what_is_needed(store: ChunkStore) -> None:
    stage(store, plain(1))
    free = store.free_bytes()
    with pytest.raises(NoSpace, match=r"\d+ bytes are free, of which \d+ are kept free, and \d+ more are needed"):
        store.ingest(TASK, limit_bytes=LIMIT, reserve_bytes=free * 2)
    assert store.ingest(TASK, limit_bytes=LIMIT).chunks == 1


def test_a_disk_that_fills_up_while_writing_is_no_space_and_leaves_no_half_chunk(tmp_path: Path) -> None:
    root = tmp_path / "full"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", root], check=True)
    try:
        store = ChunkStore(root)
        with pytest.raises(NoSpace, match=r"is full: \d+ bytes are free"):
            _fill(store, tmp_path)
        for path in store.chunks.rglob("*"):
            if path.is_file():
                store.get(bytes.fromhex(path.name))
    finally:
        subprocess.run(["umount", root], check=True)


def _fill(store: ChunkStore, tmp_path: Path) -> None:
    """Stage on another disk, so that only the store's own writing meets the full one."""
    (tmp_path / "staging").mkdir()
    store.staging.rmdir()
    store.staging.symlink_to(tmp_path / "staging")
    for number in range(100):
        stage(store, noise(SIZE, number))
        store.ingest(TASK, limit_bytes=LIMIT)


def test_a_version_needs_every_chunk_and_every_file(store: ChunkStore) -> None:
    ids = [store.put(plain(number)) for number in range(3)]
    manifest, files = version_of([*ids, chunk_id(plain(9))])
    with pytest.raises(MissingChunks, match=chunk_id(plain(9)).hex()[:12]):
        store.write_version(manifest, files)
    store.put(plain(9))
    with pytest.raises(BadImage):
        store.write_version(manifest, {})
    with pytest.raises(BadImage):
        store.write_version(manifest, files | {"other.idx": b""})
    with pytest.raises(BadImage, match="not what the manifest says"):
        store.write_version(manifest, {"disk.idx": files["disk.idx"][:-1] + b"\1"})
    version = store.write_version(manifest, files)
    assert store.write_version(manifest, files) == version
    assert store.read_manifest(version) == manifest
    assert store.index_path(version, "disk.idx").read_bytes() == files["disk.idx"]
    assert store.verify(version).ok
    assert store.size_of(version).chunks == 4


@pytest.mark.parametrize("name", ["../../lock", "manifest.json", "none.idx", ""])
def test_only_files_of_a_version_are_given_out(store: ChunkStore, name: str) -> None:
    version = store.write_version(*version_of([store.put(plain(1))]))
    with pytest.raises(NotFound):
        store.index_path(version, name)
    with pytest.raises(NotFound):
        store.read_manifest("../" + version)
    with pytest.raises(NotFound):
        store.read_manifest("0" * 64)


def test_verify_names_every_chunk_that_is_gone_or_broken(store: ChunkStore) -> None:
    ids = [store.put(plain(number)) for number in range(4)]
    version = store.write_version(*version_of(ids))
    store.path(ids[1]).unlink()
    store.path(ids[2]).write_bytes(compress(plain(99)))
    seen: list[tuple[int, int]] = []
    report = store.verify(version, lambda done, total: seen.append((done, total)))
    assert report.bad == tuple(sorted([ids[1], ids[2]]))
    assert seen[-1] == (4, 4)
    with pytest.raises(ChunkMissing):
        store.get(ids[1])
    with pytest.raises(ChunkInvalid):
        store.get(ids[2])


def test_a_damaged_index_or_manifest_is_found(store: ChunkStore) -> None:
    version = store.write_version(*version_of([store.put(plain(1))]))
    path = store.index_path(version, "disk.idx")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    assert not store.verify(version).ok
    (store.versions / version / "manifest.json").write_bytes(b"{}")
    with pytest.raises(BadImage, match="damaged"):
        store.verify(version)


# -- collection


def test_collection_keeps_live_versions_and_pins_and_removes_the_rest(store: ChunkStore) -> None:
    live, dead, pinned, lost = ([store.put(plain(10 * kind + number)) for number in range(3)] for kind in range(4))
    kept = store.write_version(*version_of(live))
    removed = store.write_version(*version_of([*dead, live[0]]))
    store.missing(TASK, pinned)
    age(store)
    report = store.collect({kept}, {TASK})
    assert (report.removed_versions, report.removed_chunks) == (1, 6)
    assert report.removed_bytes > 0
    assert store.list_versions() == {kept}
    assert removed not in store.list_versions()
    assert all(store.has(id) for id in live + pinned)
    assert not any(store.has(id) for id in dead + lost)
    assert store.verify(kept).ok


def test_collection_leaves_what_is_young(store: ChunkStore) -> None:
    id = store.put(plain(1))
    version = store.write_version(*version_of([store.put(plain(2))]))
    report = store.collect(set(), set())
    assert report.removed_chunks == report.removed_versions == 0
    assert store.has(id)
    assert store.list_versions() == {version}
    assert store.collect(set(), set(), min_age_s=0).removed_chunks == 2


def test_pins_of_an_ended_task_keep_chunks_through_the_collection_that_finds_them(store: ChunkStore) -> None:
    id = store.put(plain(1))
    store.missing(TASK, [id])
    store.unpin(TASK)
    age(store)
    store.collect(set(), set())
    assert store.has(id)
    age(store)
    store.collect(set(), set())
    assert not store.has(id)


def test_a_capture_that_commits_during_a_collection_loses_nothing(
    store: ChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pinned after the marking, committed and released before its folder is swept: the narrowest race there is."""
    ids = [store.put(plain(number)) for number in range(20)]
    age(store)
    sweep = collecting._sweep
    committed: list[str] = []

    def commit_first(folder: Path, marked: set[bytes], young: float) -> tuple[int, int, int]:
        if not committed and folder.name == "00":
            committed.append("soon")
            threading.Thread(target=commit).start()
        return sweep(folder, marked, young)

    ready = threading.Event()

    def commit() -> None:
        assert store.missing(TASK, ids) == [id for id in ids if not store.has(id)]
        for number in range(20):
            stage(store, plain(number))
        store.ingest(TASK, limit_bytes=LIMIT)
        committed[0] = store.write_version(*version_of(ids))
        store.unpin(TASK)
        ready.set()

    monkeypatch.setattr(collecting, "_sweep", commit_first)
    store.collect(set(), set())
    assert ready.wait(20)
    assert store.verify(committed[0]).ok


def test_a_chunk_that_gets_its_name_while_its_folder_is_swept_ends_no_collection(
    store: ChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, coming = store.put(plain(1)), store.put(plain(2))
    age(store)
    temporary = store.path(coming).with_name(f".{coming.hex()}.7.new")
    store.path(coming).rename(temporary)
    scandir = os.scandir

    def renamed_after_it_was_listed(folder: Path) -> Iterable[os.DirEntry[str]]:
        if folder != temporary.parent:
            return scandir(folder)
        entries = list(scandir(folder))
        temporary.rename(store.path(coming))
        return entries

    monkeypatch.setattr(os, "scandir", renamed_after_it_was_listed)
    assert store.collect(set(), set()).removed_chunks == 1
    assert (store.has(lost), store.has(coming)) == (False, True)


def test_a_live_version_that_cannot_be_read_stops_the_collection(store: ChunkStore) -> None:
    version = store.write_version(*version_of([store.put(plain(1))]))
    lost = store.put(plain(2))
    age(store)
    (store.versions / version / "disk.idx").unlink()
    with pytest.raises(Conflict, match="its chunks are unknown"):
        store.collect({version}, set())
    assert store.has(lost)


# -- crashes

CRASHING = """
import os, signal, sys
from pathlib import Path
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.chunk import chunk_id
from tests.disk.makedisk import noise
from tests.engine.kit import LIMIT, TASK
from tests.engine.test_chunkstore import plain, stage, version_of

def run(root, left):
    def dying(name):
        real = getattr(os, name)
        def call(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **kwargs)
        setattr(os, name, call)
    store = ChunkStore(root)
    for name in ("open", "write", "fsync", "fdatasync", "rename", "unlink", "mkdir", "utime"):
        dying(name)
    ids = [chunk_id(plain(n)) for n in range(4)]
    for id, n in zip(ids, range(4)):
        if id in store.missing(TASK, [id]):
            stage(store, plain(n))
    store.ingest(TASK, limit_bytes=LIMIT)
    version = store.write_version(*version_of(ids))
    (root / "reported").write_text(version)
    store.unpin(TASK)

for word in sys.argv[2:]:
    step, left = word.split(":")
    child = os.fork()
    if not child:
        run(Path(sys.argv[1]) / step, int(left))
        os._exit(0)
    print(step, os.waitpid(child, 0)[1], flush=True)
"""


def crash_at(base: Path, steps: dict[int, int]) -> dict[int, int]:
    """For every step a small capture in `base/<step>`, killed at that file operation (0: never)."""
    done = subprocess.run(
        [sys.executable, "-c", CRASHING, base, *(f"{step}:{left}" for step, left in steps.items())],
        env=dict(os.environ, PYTHONPATH=str(Path(__file__).parents[2])),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    return {int(step): int(status) for step, status in lines}


@pytest.mark.lengthy
def test_a_process_killed_at_any_step_leaves_only_what_the_next_try_mends(tmp_path: Path) -> None:
    manifest, files = version_of([chunk_id(plain(number)) for number in range(4)])
    stores = {step: ChunkStore(tmp_path / str(step)) for step in range(1, 161, 3)}
    statuses = crash_at(tmp_path, {step: step for step in stores})
    assert set(statuses.values()) == {0, 9}
    killed = [step for step, status in statuses.items() if status == 9]
    assert len(killed) > 25
    for step in killed:
        store = stores[step]
        # Every chunk that has its name is whole, and so is a version folder that has its name.
        for path in store.chunks.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                assert chunk_id(store.get(bytes.fromhex(path.name))).hex() == path.name
        for name in store.list_versions():
            assert store.verify(name).ok
        assert store.list_versions() or not (store.root / "reported").exists()
    assert set(crash_at(tmp_path, dict.fromkeys(killed, 0)).values()) == {0}
    for step in killed:
        store = stores[step]
        (only,) = store.list_versions()
        assert store.verify(only).ok
        assert store.read_manifest(only) == manifest
        assert store.index_path(only, "disk.idx").read_bytes() == files["disk.idx"]
        age(store)
        store.collect({only}, set())
        assert [path for path in store.chunks.rglob(".*") if path.is_file()] == []
        assert [path.name for path in store.versions.iterdir()] == [only]
        assert store.verify(only).ok


def test_a_link_in_the_place_of_a_staging_folder_is_not_followed(store: ChunkStore, tmp_path: Path) -> None:
    """The folder above belongs to another user than who gives staging folders away."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o755)
    before = elsewhere.stat()
    (store.staging / "7").symlink_to(elsewhere)
    with pytest.raises(OSError, match="7"):
        store.open_staging(7, 1234)
    after = elsewhere.stat()
    assert (after.st_uid, after.st_mode) == (before.st_uid, before.st_mode)
