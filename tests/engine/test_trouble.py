"""Capture and restore when something goes wrong: interrupted, cancelled, broken chunks, a source or sink that fails."""

from __future__ import annotations

import errno
import os
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.engine.capture import CaptureOptions, CaptureResult, EngineProgress, capture, read_window
from appliance.engine.chunk import compress
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.errors import BadImage, ChunkInvalid
from appliance.engine.pipeline import Gate, Stop, for_each
from appliance.engine.restore import restore
from appliance.engine.target import RestoreOptions, _RollingFlush
from appliance.engine.version import Version as Loaded
from appliance.errors import ApplianceError, Cancelled, NoSpace, Unavailable
from tests.disk.makedisk import MIB, Made, digest, noise, place, run
from tests.engine.kit import TASK, StagingSink, StoreSource, captured, loaded, never, quiet, restored

Version = tuple[ChunkStore, str, CaptureResult]


class Unplugged(Exception):
    """Stands for a PC that is switched off."""


def switched_off_after(fetches: int) -> Callable[[bytes], None]:
    """Fails from that fetch on."""
    left = [fetches]

    def before(id: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Unplugged

    return before


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Fails a test that leaves a thread behind; those of earlier tests are not its own."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.fixture(scope="module")
def finished(gpt_version: Version, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the target must look like in the end, over zeros."""
    store, version, _ = gpt_version
    path = tmp_path_factory.mktemp("finished") / "disk"
    path.write_bytes(bytes(170 * MIB))
    restored(store, version, path)
    return path.read_bytes()


@given(cuts=st.lists(st.integers(0, 60), min_size=1, max_size=3))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.lengthy
def test_a_restore_interrupted_anywhere_and_run_again_ends_equal(
    gpt_version: Version, finished: bytes, tmp_path: Path, cuts: list[int]
) -> None:
    store, version, result = gpt_version
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    for cut in cuts:
        try:
            restored(store, version, target, source=StoreSource(store, switched_off_after(cut)))
        except Unplugged:
            # Nothing that firmware could start: no signature in sector 0, no GPT header at either end.
            data = target.read_bytes()
            assert not any(data[:1024])
            assert not any(data[-512:])
    report = restored(store, version, target)
    assert report.written_bytes + report.reused_bytes == result.used_bytes
    assert target.read_bytes() == finished
    assert restored(store, version, target).written_bytes == 0


def test_a_resumed_restore_does_not_fetch_what_is_there(gpt_version: Version, tmp_path: Path) -> None:
    store, version, _ = gpt_version
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    first = StoreSource(store, switched_off_after(60))
    with pytest.raises(Unplugged):
        restored(store, version, target, source=first, threads=1)
    second = StoreSource(store)
    restored(store, version, target, source=second, threads=1)
    whole = StoreSource(store)
    (tmp_path / "whole").write_bytes(bytes(170 * MIB))
    restored(store, version, tmp_path / "whole", source=whole, threads=1)
    assert len(first.fetched) == 60
    assert len(second.fetched) <= len(whole.fetched) - 60


def test_a_disk_that_is_right_already_is_not_written(gpt_version: Version, tmp_path: Path) -> None:
    store, version, result = gpt_version
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    restored(store, version, target)
    target.chmod(0o600)
    before = target.stat().st_mtime_ns
    source = StoreSource(store)
    report = restored(store, version, target, source=source)
    assert (report.written_bytes, report.reused_bytes, source.fetched) == (0, result.used_bytes, [])
    assert target.stat().st_mtime_ns == before


def test_only_the_windows_that_differ_are_fetched(gpt_version: Version, gpt_disk: Made, tmp_path: Path) -> None:
    store, version, _ = gpt_version
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    restored(store, version, target)
    after = digest(target)
    place(target, gpt_disk.parts["p6"][0] + 5000, b"somebody worked here")
    source = StoreSource(store)
    restored(store, version, target, source=source)
    assert len(source.fetched) == 1
    assert digest(target) == after


def test_a_disk_full_of_other_things_is_looked_at_only_now_and_then(store: ChunkStore, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(noise(32 * MIB, 1))
    version, result = captured(store, disk, window=1 << 16)
    target = tmp_path / "target"
    target.write_bytes(noise(32 * MIB, 2))
    seen: list[int] = []
    real = read_window

    def counting(handle: int, at: int, size: int, extents: tuple[tuple[int, int], ...]) -> bytearray:
        seen.append(at)
        return real(handle, at, size, extents)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("appliance.engine.target.read_window", counting)
        restored(store, version, target)
    assert 32 <= len(seen) < result.chunks // 4
    assert digest(target) == digest(disk)


def test_a_broken_chunk_stops_the_restore_and_leaves_a_disk_that_does_not_start(gpt_disk: Made, tmp_path: Path) -> None:
    store = ChunkStore(tmp_path / "store")
    version, _ = captured(store, gpt_disk.path)
    victim = sorted(path for path in store.chunks.rglob("*") if path.is_file())[3]
    victim.write_bytes(compress(b"other content"))
    target = tmp_path / "target"
    target.write_bytes(noise(1 << 20, 3) * 170)
    with pytest.raises(ChunkInvalid, match=victim.name[:12]) as caught:
        restored(store, version, target)
    assert "diecast image verify" in caught.value.hint
    assert not any(target.read_bytes()[:1024])


def test_a_chunk_that_arrives_broken_once_is_fetched_again(gpt_version: Version, tmp_path: Path) -> None:
    store, version, _ = gpt_version
    broken: list[bytes] = []

    class TornOnce(StoreSource):
        def fetch(self, id: bytes) -> bytes:
            frame = super().fetch(id)
            if not broken:
                broken.append(id)
                return frame[:-1]
            return frame

    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    restored(store, version, target, source=TornOnce(store))
    assert broken
    assert "No problems found" in run("sgdisk", "-v", target)


@pytest.mark.parametrize("damage", ["index", "manifest", "table"])
def test_a_damaged_version_is_refused_before_anything_is_written(
    gpt_version: Version, tmp_path: Path, damage: str
) -> None:
    store, version, _ = gpt_version
    target = tmp_path / "target"
    target.write_bytes(noise(1 << 20, 4) * 170)
    before = digest(target)
    manifest = store.read_manifest(version)
    if damage == "manifest":
        manifest = manifest.replace(b'"window_bytes": 262144', b'"window_bytes": 524288')

    def index_of(name: str) -> bytes:
        data = store.read_index(version, name)
        is_victim = name == {"index": "p3.idx", "table": "table.bin"}.get(damage)
        return data[:-1] + bytes([data[-1] ^ 1]) if is_victim else data

    with pytest.raises(BadImage):
        restore(Loaded.load(manifest, index_of), target, StoreSource(store), RestoreOptions(), quiet, never)
    assert digest(target) == before


@pytest.mark.usefixtures("no_thread_is_left")
def test_cancelling_stops_soon_and_says_so(gpt_version: Version, tmp_path: Path) -> None:
    store, version, _ = gpt_version
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    source = StoreSource(store)
    with pytest.raises(Cancelled):
        restored(store, version, target, source=source, cancelled=lambda: len(source.fetched) >= 3)
    assert len(source.fetched) <= 6


def test_a_target_that_is_not_there_or_in_use_is_named(gpt_version: Version, tmp_path: Path) -> None:
    store, version, _ = gpt_version
    with pytest.raises(Unavailable, match="nowhere"):
        restored(store, version, tmp_path / "nowhere")
    small = tmp_path / "small"
    small.write_bytes(bytes(MIB))
    with pytest.raises(NoSpace, match=f"{small} has {MIB}"):
        restored(store, version, small)


def unreadable(monkeypatch: pytest.MonkeyPatch, first: int, last: int) -> None:
    """Bytes `first` to `last` of every disk are bad sectors."""
    real = os.preadv

    def preadv(handle: int, buffers: list[memoryview], at: int) -> int:
        if at <= last and at + len(buffers[0]) > first:
            raise OSError(errno.EIO, "Input/output error")
        return real(handle, buffers, at)

    monkeypatch.setattr(os, "preadv", preadv)


def test_a_bad_sector_of_the_master_is_named_with_its_place(
    gpt_disk: Made, store: ChunkStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    place_of_p6 = gpt_disk.parts["p6"][0]
    unreadable(monkeypatch, place_of_p6 + 300_000, place_of_p6 + 300_511)
    store.open_staging(TASK, 0)
    with pytest.raises(Unavailable, match=f"cannot be read in p6, within 262144 bytes at {place_of_p6 + 262144}"):
        capture(gpt_disk.path, StagingSink(store), options(), quiet, never)


def test_a_bad_sector_of_the_target_is_written_over(
    gpt_version: Version, finished: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, version, _ = gpt_version
    target = tmp_path / "target"
    target.write_bytes(finished)
    unreadable(monkeypatch, MIB, MIB + 511)
    report = restored(store, version, target)
    assert 0 < report.written_bytes <= 1 << 18
    assert target.read_bytes() == finished


class BrokenSink(StagingSink):
    """Fails at the third chunk."""

    def put(self, id: bytes, frame: bytes) -> None:
        if len(self.put_ids) >= 2:
            raise NoSpace("The image store is full: 1 bytes are free and 2 more are needed.")
        StagingSink.put(self, id, frame)


def options() -> CaptureOptions:
    return CaptureOptions(window_bytes=1 << 18, threads=3, batch_bytes=1 << 20, memory_bytes=4 << 20)


@pytest.mark.usefixtures("no_thread_is_left")
def test_a_sink_that_fails_ends_the_capture_with_its_own_words(gpt_disk: Made, store: ChunkStore) -> None:
    with pytest.raises(NoSpace, match="1 bytes are free"):
        capture(gpt_disk.path, BrokenSink(store), options(), quiet, never)


@pytest.mark.usefixtures("no_thread_is_left")
def test_a_capture_can_be_cancelled(gpt_disk: Made, store: ChunkStore) -> None:
    sink = StagingSink(store)
    with pytest.raises(Cancelled):
        capture(gpt_disk.path, sink, options(), quiet, lambda: len(sink.put_ids) > 3)


def test_progress_never_falls_and_ends_at_the_total(gpt_disk: Made, store: ChunkStore, tmp_path: Path) -> None:
    seen: list[EngineProgress] = []
    store.open_staging(TASK, 0)
    result = capture(gpt_disk.path, StagingSink(store), options(), seen.append, never)
    moving = [item for item in seen if item.phase == "capturing"]
    assert [item.done_bytes for item in moving] == sorted(item.done_bytes for item in moving)
    assert moving[-1].done_bytes == moving[-1].total_bytes == result.used_bytes


def test_a_restore_calls_nothing_done_that_a_power_cut_would_take(
    gpt_version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, version, result = gpt_version
    target = tmp_path / "target"
    target.write_bytes(b"\xa5" * (170 * MIB))  # nothing is right already
    written, stable = [0], [0]
    write, flush = os.pwrite, os.fdatasync

    def pwrite(handle: int, data: bytes | memoryview, at: int) -> int:
        done = write(handle, data, at)
        written[0] += done
        return done

    def fdatasync(handle: int) -> None:
        before = written[0]
        flush(handle)
        stable[0] = before

    def look(item: EngineProgress) -> None:
        if item.phase == "writing":
            assert item.done_bytes <= stable[0]
            seen.append(item.done_bytes)

    seen: list[int] = []
    monkeypatch.setattr(os, "pwrite", pwrite)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    options = RestoreOptions(threads=1, flush_bytes=1 << 20)
    restore(loaded(store, version), target, StoreSource(store), options, look, never)
    assert len(seen) > 3
    assert seen == sorted(seen)
    assert seen[-1] <= result.used_bytes


@pytest.mark.parametrize(("disk_bytes_s", "least", "most"), [(400e6, 32, 32), (20e6, 19, 20), (1e6, 8, 8)])
def test_a_slow_disk_tells_of_its_progress_in_smaller_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk_bytes_s: float, least: int, most: int
) -> None:
    now, unflushed, steps = 0.0, 0, list[int]()

    def fdatasync(handle: int) -> None:
        nonlocal now, unflushed
        now, unflushed = now + unflushed / disk_bytes_s, 0

    monkeypatch.setattr(os, "fdatasync", fdatasync)
    monkeypatch.setattr("appliance.engine.target.time", SimpleNamespace(monotonic=lambda: now))
    with (tmp_path / "disk").open("wb") as disk:
        flush = _RollingFlush(disk.fileno(), 32 * MIB, steps.append)
        for _ in range(320):
            unflushed += MIB
            flush.wrote(MIB)
    assert steps[0] == 32 * MIB, "nothing is known of the disk yet"
    assert {least <= step // MIB <= most for step in steps[1:]} == {True}


def test_a_capture_that_is_repeated_sends_nothing_twice(gpt_disk: Made, store: ChunkStore) -> None:
    first, second = StagingSink(store), StagingSink(store)
    store.open_staging(TASK, 0)
    capture(gpt_disk.path, first, options(), quiet, never)
    assert len(first.put_ids) == len(set(first.put_ids)) == len(set(first.asked)) == len(first.asked)
    capture(gpt_disk.path, second, options(), quiet, never)
    assert second.put_ids == []


# -- the pool of threads


def test_every_item_is_worked_on_once() -> None:
    results: list[int] = []
    for_each(range(1000), lambda item: item * 2, results.append, threads=4)
    assert sorted(results) == [item * 2 for item in range(1000)]


def test_the_first_error_stops_everybody_and_io_errors_are_put_in_words() -> None:
    worked: list[int] = []

    def work(item: int) -> int:
        if item == 5:
            raise OSError(5, "Input/output error")
        worked.append(item)
        return item

    with pytest.raises(ApplianceError, match="Input/output error"):
        for_each(range(100_000), work, lambda _: None, threads=4)
    assert len(worked) < 90_000


def test_a_gate_bounds_what_is_out_and_lets_go_when_stopped() -> None:
    gate = Gate(10)
    gate.take(25)  # more than the gate holds, alone
    entered = threading.Event()

    def wait() -> None:
        with pytest.raises(Stop):
            gate.take(1)
        entered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    assert not entered.wait(0.05)
    gate.stop()
    assert entered.wait(5)
    thread.join()


def test_reading_an_index_takes_no_more_memory_than_the_index_has(gpt_version: Version) -> None:
    """A box of 2 GB could not read one: Python sets aside as much as a read may give."""
    store, version, _ = gpt_version
    tracemalloc.start()
    try:
        data = store.read_index(version, "p3.idx")
        assert tracemalloc.get_traced_memory()[1] < len(data) + (1 << 20)
    finally:
        tracemalloc.stop()
