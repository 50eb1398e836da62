"""Receivers of a cast on real multicast, each in a network namespace of its own, writing to an image file."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

import appliance.cast.receiver as rules
from appliance.agent.cast import buffer_bytes, place_of
from appliance.agent.cast_feed import CastFeed, Ways
from appliance.agent.cast_net import CastSockets
from appliance.agent.machine import Machine
from appliance.cast.receiver import Mode
from appliance.cast.sender import Member
from appliance.engine.cast_restore import cast_restore
from appliance.engine.castlist import chunk_list
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.target import RestoreOptions, RestoreReport
from appliance.engine.version import Version
from appliance.errors import BadData, Cancelled
from appliance.wire.agentapi import CastOrder
from appliance.wire.cast import SEGMENT_BYTES, Data, Flag, data_frames, feedback_key
from tests.agent.conftest import write
from tests.cast.kit import CAST
from tests.cast.on_air import GROUP, PORT, TOKEN_HASH, OnAir, files_of, inside, one_in
from tests.engine.kit import StoreSource, captured, loaded, quiet
from tests.services.dhcp_box import ROOT
from tests.services.dhcp_wires import Wires

BOX, BROADCAST = "10.77.0.1", "10.77.255.255"
WINDOW = 1 << 18
WINDOWS = 96
_WINDOWS_BYTES = WINDOW * WINDOWS


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[ChunkStore, Version, bytes]:
    """A version of incompressible windows, one of them twice, and the disk it was made of."""
    folder = tmp_path_factory.mktemp("cast")
    data = random.Random(3).randbytes(_WINDOWS_BYTES - WINDOW)
    data += data[:WINDOW]
    (folder / "master").write_bytes(data)
    store = ChunkStore(folder / "images")
    name, _ = captured(store, folder / "master", window=WINDOW)
    return store, loaded(store, name), data


@pytest.fixture
def wires() -> Iterator[Wires]:
    """A switch with the box."""
    with Wires(f"{BOX}/16") as made:
        yield made


@dataclass
class Pc:
    """One receiver; `start` it, `join` it."""

    feed: CastFeed
    version: Version
    target: Path
    source: StoreSource
    modes: list[Mode]
    stop: threading.Event = field(default_factory=threading.Event)
    report: RestoreReport | None = None
    error: Exception | None = None
    thread: threading.Thread | None = None

    def start(self) -> None:
        """Receive, beside the test."""
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        self.feed.start()
        options = RestoreOptions(threads=3)
        try:
            self.report = cast_restore(
                self.version, self.feed, self.target, self.source, options, quiet, self.stop.is_set
            )
        except Exception as error:  # the test looks at it
            self.error = error
        finally:
            self.feed.close()

    def join(self, timeout_s: float = 60) -> RestoreReport:
        """Wait for the end, which must be good."""
        assert self.thread is not None
        self.thread.join(timeout_s)
        assert not self.thread.is_alive(), (self.feed.receiver.lacking, self.modes, self.feed.receiver.counts)
        if self.error is not None:
            raise self.error
        assert self.report is not None
        return self.report


class Room:
    """Receivers and what they need."""

    def __init__(self, wires: Wires, image: tuple[ChunkStore, Version, bytes], folder: Path) -> None:
        self.wires, self.folder = wires, folder
        self.store, self.version, self.data = image
        self.ids = chunk_list(self.version)
        self.files = files_of(self.store.root / "chunks", self.ids)
        self.pcs: list[Pc] = []
        self.airs: list[OnAir] = []
        self.token_hash = TOKEN_HASH

    def air(self, **more: object) -> OnAir:
        """The sender, in the box's namespace."""
        with inside(f"{self.wires.name}-box"):
            made = OnAir(self.files, BOX, **more)  # type: ignore[arg-type]
        self.airs.append(made)
        return made.__enter__()

    def pc(self, order: CastOrder, disk: bytes | None = None) -> Pc:
        """A receiver that has started; its disk is blank unless given."""
        number = len(self.pcs) + 1
        self.wires.add_station(f"pc{number}", f"10.77.1.{number}/16")
        target = self.folder / f"disk{number}"
        target.write_bytes(disk if disk is not None else bytes(len(self.data)))
        with inside(f"{self.wires.name}-pc{number}"):
            sockets = CastSockets(order, "eth0", 8 << 20)
        place = place_of(order, len(self.ids), WINDOW, self.token_hash, 32 << 20)
        modes: list[Mode] = []
        feed = CastFeed(place, sockets, Ways(lambda: self.token_hash, modes.append), most_by_nfs=2)
        made = Pc(feed, self.version, target, StoreSource(self.store), modes)
        self.pcs.append(made)
        made.start()
        return made

    def close(self) -> None:
        """End everybody."""
        for pc in self.pcs:
            pc.stop.set()
        for pc in self.pcs:
            if pc.thread is not None:
                pc.thread.join(30)
        for air in self.airs:
            air.kill()


@pytest.fixture
def room(wires: Wires, image: tuple[ChunkStore, Version, bytes], tmp_path: Path) -> Iterator[Room]:
    """Nobody there yet."""
    made = Room(wires, image, tmp_path)
    yield made
    made.close()


def until(condition: Callable[[], object], timeout_s: float = 30) -> None:
    """Wait for it."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


pytestmark = pytest.mark.netns


def test_two_pcs_get_equal_disks_and_each_chunk_is_sent_about_once(room: Room) -> None:
    air = room.air()
    pcs = [room.pc(air.order(1)), room.pc(air.order(2))]
    for pc in pcs:
        report = pc.join()
        assert pc.target.read_bytes() == room.data
        assert pc.source.fetched == []
        assert report.written_bytes == len(room.data)
        assert pc.modes[-1] is Mode.CAST
    assert len(air.sent_chunks) < 2 * len(room.ids)
    until(lambda: all(member.flags & Flag.COMPLETE for member in air.desk.sender.members.values()))


def test_datagrams_of_a_run_come_in_one_receive(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    receive = CastSockets.receive

    def noting(sockets: CastSockets) -> tuple[memoryview, int] | None:
        got = receive(sockets)
        if got is not None and len(got[0]) > got[1]:
            sizes.append(len(got[0]))
        return got

    monkeypatch.setattr(CastSockets, "receive", noting)
    pc = room.pc(room.air().order())
    pc.join()
    assert sum(sizes) > len(room.data) // 2


def test_a_socket_knows_how_much_of_it_waits_unread(room: Room) -> None:
    order = room.air().order()
    room.wires.add_station("idle", "10.77.1.200/16")
    with inside(f"{room.wires.name}-idle"):
        sockets = CastSockets(order, "eth0", 1 << 20)
    with inside(f"{room.wires.name}-box"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as box:
        assert sockets.unread() == 0
        for _ in range(400):
            box.sendto(bytes(1400), ("10.77.1.200", order.port))
    until(lambda: 0.2 < sockets.unread() <= 1)
    while sockets.receive() is not None:
        pass
    assert sockets.unread() < 0.1
    sockets.close()


def test_a_receiver_rests_only_over_a_buffer_that_holds_what_comes_meanwhile(room: Room) -> None:
    order = room.air().order()
    room.wires.add_station("rest", "10.77.1.201/16")
    with inside(f"{room.wires.name}-rest"):
        for size, may_rest in ((1 << 20, False), (64 << 20, True)):
            sockets = CastSockets(order, "eth0", size)
            assert sockets.may_rest is may_rest
            sockets.close()


def test_a_late_pc_takes_what_passes_and_gets_the_rest(room: Room) -> None:
    air = room.air(rate=12e6)
    first = room.pc(air.order(1))
    until(lambda: len(air.sent_chunks) > len(room.ids) // 2)
    late = room.pc(air.order(2))
    for pc in (first, late):
        pc.join()
        assert pc.target.read_bytes() == room.data
        assert pc.source.fetched == []
    assert len(air.sent_chunks) <= 2.1 * len(room.ids)


def test_one_percent_of_loss_is_repaired_by_parity(room: Room) -> None:
    air = room.air(rate=15e6, loses=one_in(100))
    pc = room.pc(air.order())
    pc.join()
    assert pc.target.read_bytes() == room.data
    assert len(pc.source.fetched) <= rules.TAIL_CHUNKS
    assert air.sent_frames < 1.3 * len(room.data) / SEGMENT_BYTES


def test_windows_that_are_right_are_neither_asked_for_nor_written(room: Room) -> None:
    disk = bytearray(room.data)
    wrong = list(range(7, WINDOWS - 1, 10))
    for window in wrong:
        disk[window * WINDOW + 1000] ^= 1
    air = room.air()
    pc = room.pc(air.order(), bytes(disk))
    report = pc.join()
    assert pc.target.read_bytes() == room.data
    assert set(air.sent_chunks) == set(wrong)
    assert (report.written_bytes, report.reused_bytes) == (len(wrong) * WINDOW, (WINDOWS - len(wrong)) * WINDOW)


def test_when_the_sender_is_killed_the_rest_comes_by_nfs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "GONE_S", 1.0)
    air = room.air(rate=10e6)
    pc = room.pc(air.order())
    until(lambda: pc.feed.receiver.written > 20)
    air.kill()
    pc.join()
    assert pc.target.read_bytes() == room.data
    assert 0 < len(pc.source.fetched) < len(room.ids)
    assert Mode.GONE in pc.modes


def test_a_deaf_pc_says_so_and_goes_on_by_nfs(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "DEAF_S", 0.5)
    air = room.air()
    air.is_muted = True
    pc = room.pc(air.order())
    pc.join()
    assert pc.target.read_bytes() == room.data
    assert Mode.DEAF in pc.modes
    assert len(pc.source.fetched) == len(room.ids)


def test_what_the_box_broadcasts_is_heard_too(room: Room) -> None:
    air = room.air(to=BROADCAST)
    pc = room.pc(air.order())
    pc.join()
    assert pc.target.read_bytes() == room.data
    assert pc.source.fetched == []


def test_a_new_token_is_used_from_the_next_message_on(room: Room) -> None:
    air = room.air(rate=10e6)
    room.token_hash = bytes(32)  # as if a check-in had made a token that the sender does not know
    pc = room.pc(air.order())
    until(lambda: air.refused)
    assert pc.feed.receiver.written == 0
    room.token_hash = TOKEN_HASH
    pc.join()
    assert pc.target.read_bytes() == room.data
    assert pc.source.fetched == []


def test_forged_frames_never_put_wrong_bytes_on_the_disk(room: Room) -> None:
    air = room.air(rate=10e6)
    pc = room.pc(air.order())
    with inside(f"{room.wires.name}-box"):
        forger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    forger.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(BOX))
    chance = random.Random(9)
    assert pc.thread is not None
    for number in range(30_000):
        if not pc.thread.is_alive():
            break
        chunk = chance.randrange(len(room.ids))
        length = len(room.files[chunk]) if chance.random() < 0.8 else chance.randrange(1, 300_000)
        first = chance.randrange(max(length // SEGMENT_BYTES, 1))
        payloads = [chance.randbytes(SEGMENT_BYTES)] if (first + 1) * SEGMENT_BYTES <= length else [bytes(length)]
        sequence = air.desk.sender.sequence + chance.randrange(100)
        forger.sendto(data_frames(Data(CAST, sequence, chunk, length, first), payloads)[:1472], (GROUP, PORT))
        if number % 50 == 0:
            forger.sendto(chance.randbytes(chance.randrange(1, 200)), (GROUP, PORT))
        time.sleep(0.001)
    forger.close()
    pc.join()
    assert pc.target.read_bytes() == room.data
    assert pc.feed.receiver.counts.bad_hash + pc.feed.receiver.counts.forged > 0


def test_a_cancelled_pc_leaves_and_the_other_notices_nothing(room: Room) -> None:
    air = room.air(rate=10e6)
    gone, other = room.pc(air.order(1)), room.pc(air.order(2))
    until(lambda: gone.feed.receiver.written > 10)
    gone.stop.set()
    with pytest.raises(Cancelled):
        gone.join()
    until(lambda: _member(air, 1).flags & Flag.LEAVING)
    other.join()
    assert other.target.read_bytes() == room.data
    assert other.source.fetched == []


@pytest.mark.parametrize("disk", ["file", "none"])
def test_the_receiver_of_the_benchmarks_gets_everything_at_its_disks_pace(room: Room, disk: str) -> None:
    air = room.air()
    within = room.wires.add_station("bench", "10.77.2.1/16")
    (room.folder / "order.json").write_bytes(air.order().to_json())
    (room.folder / "ids").write_bytes(b"".join(room.ids))
    target, folder = room.folder / "disk.img", room.store.root / "versions"
    what = ["--ids", str(room.folder / "ids")]
    if disk == "file":
        what = ["--version", str(next(folder.iterdir())), "--target", str(target)]
    command = [*within, sys.executable, "-m", "tests.bench.cast_receiver", "--order", str(room.folder / "order.json")]
    command += ["--token-hash", TOKEN_HASH.hex(), "--chunks", str(room.store.root / "chunks"), "--disk-mb-s", "15"]
    done = subprocess.run([*command, *what], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["bytes"] == (len(room.data) if disk == "file" else len(room.ids) * WINDOW)
    assert (found["nfs_bytes"], found["modes"][-1]) == (0, "CAST")
    assert found["ended_at"] - found["began_at"] >= 0.9 * len(room.ids) * WINDOW / 15e6
    assert disk == "none" or target.read_bytes() == room.data


def _member(air: OnAir, number: int) -> Member:
    return air.desk.sender.members[number]


def test_the_buffer_is_a_quarter_of_the_memory_that_is_available(machine: Machine) -> None:
    for available, expected in ((60_000, 16 << 20), (800_000, 204_800_000), (16_000_000, 256 << 20)):
        write(machine.proc, {"meminfo": f"MemTotal: 1 kB\nMemAvailable:   {available} kB\n"})
        assert buffer_bytes(machine) == expected


@pytest.mark.parametrize("change", [{"cast_id": "x"}, {"cast_id": "1" * 17}, {"key": "00"}, {"receiver": -1}])
def test_an_order_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    order = CastOrder("1" * 16, 1, "00" * 32, GROUP, PORT, BOX, 4021)
    assert place_of(order, 9, WINDOW, TOKEN_HASH, 1).key == feedback_key(TOKEN_HASH)
    with pytest.raises(BadData, match="of one version"):
        place_of(replace(order, **change), 9, WINDOW, TOKEN_HASH, 1)  # type: ignore[arg-type]
