"""A restore from chunks that come by themselves: any order, asked for or not, right or wrong."""

from __future__ import annotations

import random
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.engine.capture import CaptureResult
from appliance.engine.cast_restore import Arrival, cast_restore
from appliance.engine.castlist import Places, chunk_list
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.target import RestoreOptions, RestoreReport
from appliance.engine.version import Version
from appliance.errors import Cancelled, NoSpace
from tests.disk.makedisk import MIB, digest, noise, run
from tests.engine.kit import StoreSource, loaded, never, quiet, restored

Made = tuple[ChunkStore, str, CaptureResult]


@dataclass
class Bytes:
    """A chunk file that came."""

    content: bytes | None

    def file(self) -> bytearray | None:
        return None if self.content is None else bytearray(self.content)


@dataclass
class ShuffledFeed:
    """Sends what is wanted, in disorder, and before it whatever `passing` says, wanted or not."""

    store: ChunkStore
    ids: list[bytes]
    passing: deque[Arrival] = field(default_factory=deque)
    fetch_one_in: int = 0  # so many are to be fetched from the source
    wrong_first: bool = False  # each comes broken once
    here: set[int] = field(default_factory=set)
    wanted: set[int] = field(default_factory=set)
    asked: set[int] = field(default_factory=set)  # ever
    bad_ones: list[int] = field(default_factory=list)
    mutex: threading.RLock = field(default_factory=threading.RLock)
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    def arrival(self, chunk: int) -> Arrival:
        return Arrival(chunk, Bytes(self.store.get_frame(self.ids[chunk])))

    def take(self, wait_s: float) -> Arrival | None:
        with self.mutex:
            if self.passing:
                return self.passing.popleft()
            if not self.wanted:
                return None
            chunk = self.chance.choice(sorted(self.wanted))
            self.wanted.discard(chunk)
            if self.fetch_one_in and self.chance.randrange(self.fetch_one_in) == 0:
                return Arrival(chunk, None)
            if self.wrong_first and chunk not in self.bad_ones:
                frame = bytearray(self.store.get_frame(self.ids[chunk]))
                frame[len(frame) // 2] ^= 4
                other = self.store.get_frame(self.ids[chunk - 1])
                return Arrival(chunk, Bytes(self.chance.choice([bytes(frame), other, b"", None])))
            return self.arrival(chunk)

    def complete(self) -> bool:
        return len(self.here) == len(self.ids)

    def have(self, chunk: int) -> None:
        with self.mutex:
            self.here.add(chunk)

    def want(self, chunk: int) -> None:
        with self.mutex:
            if chunk not in self.here:
                self.wanted.add(chunk)
                self.asked.add(chunk)

    def done(self, arrival: Arrival) -> None:
        self.have(arrival.chunk)

    def bad(self, arrival: Arrival) -> None:
        with self.mutex:
            self.bad_ones.append(arrival.chunk)
            self.wanted.add(arrival.chunk)


@pytest.fixture
def version(gpt_version: Made) -> Version:
    store, name, _ = gpt_version
    return loaded(store, name)


@pytest.fixture
def feed(gpt_version: Made, version: Version) -> ShuffledFeed:
    return ShuffledFeed(gpt_version[0], chunk_list(version))


@pytest.fixture(scope="module")
def finished(gpt_version: Made, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the target must look like in the end, over zeros, as the other restore makes it."""
    path = tmp_path_factory.mktemp("finished") / "disk"
    path.write_bytes(bytes(170 * MIB))
    restored(gpt_version[0], gpt_version[1], path)
    return path.read_bytes()


def received(
    version: Version, feed: ShuffledFeed, target: Path, source: StoreSource | None = None, threads: int = 3
) -> RestoreReport:
    return cast_restore(
        version,
        feed,
        target,
        source or StoreSource(feed.store),
        RestoreOptions(threads=threads, flush_bytes=1 << 20),
        quiet,
        never,
    )


@pytest.mark.lengthy
def test_chunks_in_any_order_make_the_same_disk_as_a_restore(
    version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path
) -> None:
    target, source = tmp_path / "target", StoreSource(feed.store)
    target.write_bytes(bytes(170 * MIB))
    report = received(version, feed, target, source)
    assert target.read_bytes() == finished
    assert source.fetched == []
    assert report.fetched_bytes > 0
    assert report.written_bytes + report.reused_bytes == version.manifest.used_bytes


def test_what_came_wrong_is_never_written_and_is_asked_for_again(
    version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path
) -> None:
    feed.wrong_first = True
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    received(version, feed, target)
    assert target.read_bytes() == finished
    assert len(feed.bad_ones) > len(feed.ids) // 2


def test_what_the_feed_leaves_to_the_source_is_fetched_from_it(
    version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path
) -> None:
    feed.fetch_one_in = 3
    target, source = tmp_path / "target", StoreSource(feed.store)
    target.write_bytes(bytes(170 * MIB))
    received(version, feed, target, source)
    assert target.read_bytes() == finished
    assert 0 < len(source.fetched) < len(feed.ids)


def test_only_what_differs_is_asked_for(version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path) -> None:
    target, places = tmp_path / "target", Places(version)
    target.write_bytes(finished)
    victims = [n for n in range(len(feed.ids)) if len(places.ordinals(n)) == 1][5::9]
    with target.open("r+b") as disk:
        for victim in victims:
            region, index, window = places.window(places.ordinals(victim)[0])
            disk.seek(region.offset + window.number * index.window_bytes + window.extents[0][0])
            disk.write(noise(512, victim))
    report = received(version, feed, target)
    assert target.read_bytes() == finished
    assert feed.asked == set(victims)
    assert report.reused_bytes > report.written_bytes > 0


def test_a_chunk_that_is_right_in_one_place_is_copied_to_the_others(
    version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path
) -> None:
    target, places = tmp_path / "target", Places(version)
    target.write_bytes(finished)
    twice = [n for n in range(len(feed.ids)) if len(places.ordinals(n)) > 1]
    assert twice
    with target.open("r+b") as disk:
        for chunk in twice:
            region, index, window = places.window(places.ordinals(chunk)[0])
            disk.seek(region.offset + window.number * index.window_bytes + window.extents[0][0])
            disk.write(noise(512, chunk))
    received(version, feed, target)
    assert target.read_bytes() == finished
    assert feed.asked == set()


def test_a_disk_that_is_right_is_not_written_even_when_all_chunks_pass_by(
    version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(finished)
    target.chmod(0o600)
    before = target.stat().st_mtime_ns
    feed.passing.extend(feed.arrival(chunk) for chunk in range(len(feed.ids)))
    report = received(version, feed, target)
    assert report.written_bytes == 0
    assert target.stat().st_mtime_ns == before


def test_a_cancelled_one_leaves_no_table_and_is_resumed_by_doing_it_again(
    version: Version, feed: ShuffledFeed, finished: bytes, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.write_bytes(bytes(170 * MIB))
    with pytest.raises(Cancelled):
        cast_restore(
            version,
            feed,
            target,
            StoreSource(feed.store),
            RestoreOptions(threads=2),
            quiet,
            lambda: len(feed.here) > len(feed.ids) // 2,
        )
    assert target.read_bytes()[:512] == bytes(512)
    again = ShuffledFeed(feed.store, feed.ids)
    report = received(version, again, target)
    assert target.read_bytes() == finished
    assert report.reused_bytes > 0
    assert "No problems found" in run("sgdisk", "-v", target)


def test_a_disk_that_is_too_small_is_left_as_it_is(version: Version, feed: ShuffledFeed, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(noise(MIB, 3))
    before = digest(target)
    with pytest.raises(NoSpace):
        received(version, feed, target)
    assert digest(target) == before
