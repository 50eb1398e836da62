"""One cast without sockets: keys, tokens, rest and waking, unreadable chunks, hostile frames, and the reader."""

from __future__ import annotations

import dataclasses
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import IPv4Address

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from appliance.cast.receiver import CastReceiver, Place
from appliance.cast.sender import IDLE_END_S
from appliance.errors import NotFound
from appliance.events import CastState
from appliance.model import Cast, CastSeat
from appliance.services.cast_live import LiveCast, Plan, Run
from appliance.services.cast_reader import UNREADABLE, Reader
from appliance.wire.cast import MAX_CHUNK_BYTES, MAX_FRAME_BYTES, Kind, Notice, feedback_key, parse_beat
from tests.services.cast_room import wait_for

KEY = b"\7" * 32
HASHES = {1: b"\1" * 32, 2: b"\2" * 32}
RATE = 100e6
CAST = Cast(
    1, "a" * 64, "win11", CastState.OPEN, datetime.now(UTC), "00000000000000ab", KEY.hex(), IPv4Address("239.192.68.1")
)


class Shelf:
    """Chunk files in memory; what is missing raises."""

    def __init__(self, chunks: int) -> None:
        rng = random.Random(5)
        self.files = [rng.randbytes(rng.randint(1, 300_000)) for _ in range(chunks)]
        self.ids = tuple(blake3(file).digest() for file in self.files)
        self.by_id = dict(zip(self.ids, self.files, strict=True))
        self.rang = threading.Event()
        self.reader = Reader(self.read, self.rang.set)

    def read(self, id: bytes) -> bytes:
        if id not in self.by_id:
            raise NotFound("it is gone")
        return self.by_id[id]

    def live(self, rate_mbit: int = 0) -> LiveCast:
        return LiveCast(self.plan(rate_mbit=rate_mbit), self.reader, RATE, 0.0)

    def plan(self, seats: dict[int, bytes] = HASHES, rate_mbit: int = 0) -> Plan:
        cast = dataclasses.replace(CAST, rate_mbit=rate_mbit)
        return Plan(cast, self.ids, tuple(CastSeat(n, hash) for n, hash in seats.items()), len(seats))

    def seat(self, number: int = 1, token_hash: bytes = HASHES[1]) -> CastReceiver:
        place = Place(int(CAST.cast_id, 16), number, KEY, feedback_key(token_hash), len(self.ids), 1 << 24)
        receiver = CastReceiver(place, 0.0, random.Random(number))
        receiver.want_all()
        return receiver


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    made = Shelf(12)
    yield made
    made.reader.close()


def say(live: LiveCast, seat: CastReceiver, now: float) -> bool:
    """A FEEDBACK and its ECHO; whether it counted."""
    echo = live.hear(seat.feedback(now), seat.place.receiver, 0, now)
    if echo is not None:
        seat.control(echo, now)
    return echo is not None


def runs(live: LiveCast, now: float, most: int = 1000) -> list[Run]:
    """What goes out until nothing is asked for."""
    out: list[Run] = []
    while len(out) < most:
        if live.ready(now):
            out.append(live.take(now))
        elif live.idle:
            break
        else:
            wait_for(lambda: live.ready(now) or live.idle)
    return out


def work(seat: CastReceiver, shelf: Shelf) -> None:
    """Check hashes, as workers do."""
    while seat.ready:
        part = seat.ready.popleft()
        file = part.file()
        assert file is not None
        assert bytes(file) == shelf.files[part.chunk]
        seat.done(part)


def test_two_receivers_are_served_by_the_same_runs(shelf: Shelf) -> None:
    live, seats = shelf.live(), [shelf.seat(n, HASHES[n]) for n in HASHES]
    assert not live.ready(0.0)
    assert [say(live, seat, 0.1) for seat in seats] == [True, True]
    sent = runs(live, 0.1)
    assert max(len(run.frames) for run in sent) <= 65507
    for run in sent:
        for seat in seats:
            seat.frames(run.frames, MAX_FRAME_BYTES, 0.2)
            work(seat, shelf)
    assert [seat.complete() for seat in seats] == [True, True]
    assert sum(len(run.frames) for run in sent) < 1.05 * sum(map(len, shelf.files))
    assert live.probe(0.2) is not None
    cast, members = live.figures(1.0)
    assert cast.sent_bytes == sum(len(run.frames) for run in sent)
    assert [member.task_id for member in members] == [1, 2]


def test_a_lost_frame_is_repaired_by_parity(shelf: Shelf) -> None:
    live, seat = shelf.live(), shelf.seat()
    say(live, seat, 0.1)
    for run in runs(live, 0.1):
        frames = run.frames[MAX_FRAME_BYTES:] if len(run.frames) > 20 * MAX_FRAME_BYTES else run.frames
        seat.frames(frames, MAX_FRAME_BYTES, 0.2)
    work(seat, shelf)
    assert not seat.complete()
    for now in range(1, 6):  # two rounds more than what is lost are nearly always enough
        say(live, seat, now)
        repair = runs(live, now)
        assert all(run.is_parity for run in repair)
        for run in repair:
            seat.frames(run.frames, MAX_FRAME_BYTES, now)
        work(seat, shelf)
    assert seat.complete()


def test_a_new_token_makes_a_new_key_and_the_old_one_counts_no_more(shelf: Shelf) -> None:
    live, old = shelf.live(), shelf.seat()
    assert say(live, old, 0.1)
    live.obey(shelf.plan({1: b"\3" * 32}))
    assert not say(live, old, 0.2)
    assert say(live, shelf.seat(1, b"\3" * 32), 0.3), "its messages begin with number 1 again"
    cast, _ = live.figures(1.0)
    assert (cast.forged, cast.refused) == (1, 0)


def test_a_pc_whose_task_ended_is_forgotten_and_not_heard(shelf: Shelf) -> None:
    live = shelf.live()
    seats = [shelf.seat(n, HASHES[n]) for n in HASHES]
    for seat in seats:
        say(live, seat, 0.1)
    live.obey(shelf.plan({2: HASHES[2]}))
    assert not say(live, seats[0], 0.2)
    assert live.sender is not None
    assert list(live.sender.members) == [2]


def test_a_cast_rests_when_nobody_is_there_and_wakes_with_the_next_message(shelf: Shelf) -> None:
    live, seat = shelf.live(), shelf.seat()
    say(live, seat, 0.1)
    live.ready(0.1)
    now = 0.1 + IDLE_END_S + 6
    live.second(now, True)
    live.second(now + IDLE_END_S, True)
    assert live.sender is None
    assert not live.ready(now)
    assert live.probe(now) is None
    assert live.ended(now) is None
    assert live.hear(seat.farewell(), 1, 0, now) is None, "a farewell wakes nobody up"
    assert say(live, seat, now)
    assert len(runs(live, now)) > 10


def test_old_messages_are_counted_apart_from_those_of_strangers(shelf: Shelf) -> None:
    live, seat = shelf.live(), shelf.seat()
    frame = seat.feedback(0.1)
    answers = [live.hear(frame, 1, 0, 0.1), live.hear(frame, 1, 0, 0.2), live.hear(frame, 9, 0, 0.2)]
    assert [answer is not None for answer in answers] == [True, False, False]
    cast, _ = live.figures(0.3)
    assert (cast.forged, cast.refused, cast.replayed) == (0, 1, 1)
    successor = LiveCast(dataclasses.replace(shelf.plan(), cast=cast), shelf.reader, RATE, 0.4)
    assert successor.figures(0.5)[0].replayed == 1, "counts go on after a restart"


def test_figures_tell_how_many_chunks_are_asked_for(shelf: Shelf) -> None:
    live, seat = shelf.live(), shelf.seat()
    assert live.figures(0.1)[0].wanted == 0
    say(live, seat, 0.1)
    assert live.figures(0.1)[0].wanted == 12
    runs(live, 0.1)
    assert live.figures(0.2)[0].wanted == 0, "all has been sent"


@pytest.mark.parametrize(("expected", "begun"), [(2, True), (3, False)])
def test_a_cast_waits_as_long_as_more_pcs_can_come(shelf: Shelf, expected: int, begun: bool) -> None:
    plan = dataclasses.replace(shelf.plan(), expected=expected)
    plan = dataclasses.replace(plan, cast=dataclasses.replace(plan.cast, wait_for=5, wait_seconds=600))
    live = LiveCast(plan, shelf.reader, RATE, 0.0)
    for number in HASHES:
        say(live, shelf.seat(number, HASHES[number]), 0.1)
    live.second(1.0, False)
    assert live.sender is not None
    assert live.sender.waiting(1.0) is not begun


def test_a_chunk_that_cannot_be_read_is_skipped(shelf: Shelf) -> None:
    for chunk in (0, 5, 11):
        del shelf.by_id[shelf.ids[chunk]]
    live, seat = shelf.live(), shelf.seat()
    say(live, seat, 0.1)
    for run in runs(live, 0.1):
        seat.frames(run.frames, MAX_FRAME_BYTES, 0.2)
    work(seat, shelf)
    assert seat.written == 9
    assert live.idle


def test_limits_hold_at_once_and_when_lifted_too(shelf: Shelf) -> None:
    live = shelf.live(rate_mbit=8)
    say(live, shelf.seat(), 0.1)
    assert live.sender is not None
    assert live.sender.rate.rate == 1e6
    live.obey(shelf.plan(rate_mbit=16))
    assert live.sender.rate.rate == 2e6
    live.obey(shelf.plan(rate_mbit=0))
    assert live.sender.rate.rate == RATE
    live.obey(shelf.plan(rate_mbit=1_000_000))
    assert live.sender.rate.ceiling == RATE


def test_the_operator_drops_and_readmits_a_pc(shelf: Shelf) -> None:
    live, seat = shelf.live(), shelf.seat()
    say(live, seat, 0.1)
    plan = shelf.plan()
    live.obey(dataclasses.replace(plan, seats=(CastSeat(1, HASHES[1], dropped=True), plan.seats[1])))
    say(live, seat, 0.2)
    assert seat.notice & Notice.MOVED
    assert runs(live, 0.3) == []
    assert [m.status for m in live.figures(0.3)[1]] == ["by NFS: the operator dropped it from the cast"]
    live.obey(plan)
    say(live, seat, 0.4)
    assert not seat.notice & Notice.MOVED
    assert runs(live, 0.6)


def test_the_last_word_is_a_probe_that_receivers_believe(shelf: Shelf) -> None:
    live, seat = shelf.live(), shelf.seat()
    say(live, seat, 0.1)
    frame = live.ended(5.0)
    assert frame is not None
    assert parse_beat(frame, KEY).kind is Kind.PROBE
    seat.control(frame, 5.0)
    assert seat.notice & Notice.ENDED


_QUIET = Shelf(3)  # nobody closes it: its reader is a daemon


@given(st.binary(max_size=1500), st.integers(0, 5))
@hypothesis_settings(max_examples=200)
def test_no_frame_without_the_key_changes_anything(frame: bytes, number: int) -> None:
    live = _QUIET.live()
    assert live.hear(frame, number, 0, 1.0) is None
    assert (live.sender, live.outlets) == (None, set())


@given(st.integers(0, 10_000), st.integers(0, 7))
@hypothesis_settings(max_examples=200)
def test_one_changed_bit_makes_a_message_forged(place: int, bit: int) -> None:
    live, seat = _QUIET.live(), _QUIET.seat()
    frame = bytearray(seat.feedback(0.1))
    frame[place % len(frame)] ^= 1 << bit
    assert live.hear(bytes(frame), 1, 0, 0.1) is None
    assert live.sender is None


def test_the_reader_keeps_only_what_is_planned_and_says_when_it_has_come() -> None:
    files = {bytes([n]) * 32: bytes([n]) * 10 for n in range(1, 6)}
    rang = threading.Event()
    reader = Reader(files.__getitem__, rang.set)
    try:
        reader.plan(1, [(n - 1, id) for n, id in enumerate(files, 1)][:3])
        reader.plan(2, [(0, bytes([5]) * 32)])
        assert rang.wait(5)
        wait_for(lambda: all(reader.get(1, n) for n in range(3)) and reader.get(2, 0) is not None)
        reader.plan(1, [(2, bytes([3]) * 32)])
        assert reader.get(1, 0) is None
        assert reader.get(1, 2) == b"\3" * 10
        reader.forget(1)
        assert reader.get(1, 2) is None
        assert reader.get(2, 0) == b"\5" * 10
    finally:
        reader.close()


def test_a_cast_that_waits_for_the_disk_does_not_wake_the_reader_with_every_look(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_read, woken = threading.Event(), 0

    def count() -> None:
        nonlocal woken
        woken += 1

    def slowly(id: bytes) -> bytes:
        may_read.wait(10)
        return shelf.by_id[id]

    reader = Reader(slowly, lambda: None)
    try:
        live = LiveCast(shelf.plan(), reader, RATE, 0.0)
        say(live, shelf.seat(), 0.1)
        assert not live.ready(0.1)
        with monkeypatch.context() as patch:
            patch.setattr(reader._changed, "notify", count)
            assert [live.ready(0.1) for _ in range(5)] == [False] * 5
        assert woken == 0
        may_read.set()
        wait_for(lambda: live.ready(0.1))
    finally:
        may_read.set()
        reader.close()


@pytest.mark.parametrize("file", [None, b"x" * (MAX_CHUNK_BYTES + 1), b""])
def test_a_file_that_cannot_be_sent_is_unreadable(file: bytes | None) -> None:
    def read(id: bytes) -> bytes:
        if file is None:
            raise OSError("input/output error")
        return file

    reader = Reader(read, lambda: None)
    try:
        reader.plan(1, [(0, b"\1" * 32)])
        wait_for(lambda: reader.get(1, 0) is not None)
        assert reader.get(1, 0) == UNREADABLE
    finally:
        reader.close()
