"""Sender and receivers over a hostile network: lost, doubled, reordered, cut, forged and foreign frames.

Whatever happens, a disk never holds a wrong byte, neither side raises, and it ends: verified, the rest by NFS."""

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cast.receiver import Mode
from appliance.wire.cast import (
    MAX_FRAME_BYTES,
    BadFrame,
    Data,
    Feedback,
    data_header,
    pack_feedback,
    parse_data,
)
from tests.cast.kit import CAST, KEY, Desk, Seat, chunk_files, datagrams


class Hostile:
    """Does things to datagrams, each with some probability."""

    def __init__(self, rng: random.Random, evil: float) -> None:
        self.rng, self.evil = rng, evil
        self.seen: list[bytes] = []

    def pass_on(self, frames: list[bytes]) -> list[bytes]:
        """What arrives in place of `frames`."""
        rng, out = self.rng, []
        for frame in frames:
            self.seen.append(frame)
            luck = rng.random()
            if luck < self.evil:
                out += self._spoil(frame)
            else:
                out.append(frame)
            if rng.random() < self.evil:
                out.insert(rng.randrange(len(out) + 1), frame)
        if rng.random() < self.evil:
            rng.shuffle(out)
        return out

    def _spoil(self, frame: bytes) -> list[bytes]:
        rng = self.rng
        kind = rng.randrange(7)
        if kind == 0:
            return []
        if kind == 1:
            return [frame[: rng.randrange(len(frame))]]
        if kind == 2:
            return [rng.choice(self.seen), frame]
        if kind == 3:
            place = rng.randrange(len(frame))
            return [frame[:place] + bytes([frame[place] ^ rng.randint(1, 255)]) + frame[place + 1 :]]
        if kind == 4:
            return [rng.randbytes(rng.randrange(100)), frame]
        if kind == 5:  # a forged segment with a right header, before the real one
            return [frame[:26] + rng.randbytes(len(frame) - 26), frame]
        try:
            head = parse_data(frame, 0, len(frame))
        except BadFrame:
            return []
        forged = rng.choice([
            replace(head, cast_id=CAST + 1), replace(head, sequence=rng.getrandbits(32)),
            replace(head, segment=head.segment ^ 1), replace(head, length=head.length + 1446),
        ])  # fmt: skip
        return [data_header(forged) + frame[26:], frame]


def glued(rng: random.Random, frames: list[bytes]) -> list[bytes]:
    """As GRO does: equal sizes become one buffer, which a shorter one may end."""
    out: list[bytes] = []
    open_run = False
    for frame in frames:
        if out and open_run and len(frame) <= MAX_FRAME_BYTES and rng.random() < 0.8:
            out[-1] += frame
        else:
            out.append(frame)
        open_run = len(frame) == MAX_FRAME_BYTES
    return out


def play(seed: int, evil: float, receivers: int, seconds: float) -> tuple[list[Seat], list[bytes], Desk]:
    rng = random.Random(seed)
    files = chunk_files(12, seed)
    desk, network = Desk(files), Hostile(rng, evil)
    seats = [Seat(files, number=n + 1, buffer_bytes=rng.choice([60_000, 1 << 20])) for n in range(receivers)]
    for seat in seats:
        seat.receiver.want_all()
    now = 0.0
    while now < seconds and not all(seat.receiver.complete() for seat in seats):
        now += 0.01
        down = [d for run in desk.send(now) for d in datagrams(run)]
        if not down and (probe := desk.probe(now)):
            down = [probe]
        for seat in seats:
            for buffer in glued(rng, network.pass_on(down)):
                seat.receiver.frames(memoryview(buffer), MAX_FRAME_BYTES, now)
            seat.work()
            if now >= seat.receiver.due:
                talk(desk, seat, network, now)
            if rng.random() < 0.5:
                for chunk in seat.receiver.claim(now, 2):
                    seat.disk[chunk] = files[chunk]  # NFS
                    seat.receiver.have(chunk)
    return seats, files, desk


def talk(desk: Desk, seat: Seat, network: Hostile, now: float) -> None:
    for frame in network.pass_on([seat.receiver.feedback(now)]):
        try:
            answer = desk.listen(frame, now)
        except BadFrame:
            continue
        for back in network.pass_on([answer] if answer else []):
            seat.receiver.control(back, now)


@given(st.integers(0, 1 << 30), st.sampled_from([0.0, 0.02, 0.1, 0.3]), st.integers(1, 3))
@settings(max_examples=25)
def test_every_disk_ends_right_over_a_hostile_network(seed: int, evil: float, receivers: int) -> None:
    seats, files, _ = play(seed, evil, receivers, seconds=120.0)
    for seat in seats:
        assert seat.receiver.complete()
        assert seat.disk == dict(enumerate(files))


@given(st.integers(0, 1 << 30), st.integers(1, 2))
@settings(max_examples=8)
def test_over_a_network_that_spoils_nearly_everything_no_disk_holds_a_wrong_byte(seed: int, receivers: int) -> None:
    seats, files, _ = play(seed, 0.9, receivers, seconds=20.0)
    for seat in seats:
        assert all(files[chunk] == body for chunk, body in seat.disk.items())
        assert seat.receiver.complete() or seat.receiver.mode(20.0) in Mode


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.builds(
                lambda s, c, length, g, n: data_header(Data(CAST, s, c, length, g)) + bytes(n),
                st.integers(0, 2**32 - 1), st.integers(0, 20), st.integers(0, 5_000_000), st.integers(0, 65_535),
                st.sampled_from([0, 1, 100, 1445, 1446, 1447]),
            ),
        ),
        max_size=8,
    ),
    st.integers(0, 3000),
)  # fmt: skip
@settings(max_examples=100)
def test_no_bytes_make_the_receiver_raise_or_hold_more_than_its_buffer(frames: list[bytes], size: int) -> None:
    seat = Seat(chunk_files(12), buffer_bytes=100_000)
    seat.receiver.want_all()
    seat.receiver.frames(memoryview(b"".join(frames)), size, 1.0)
    for frame in frames:
        seat.receiver.frames(memoryview(frame), MAX_FRAME_BYTES, 1.0)
        seat.receiver.control(frame, 1.0)
    seat.work()
    assert seat.disk == {}
    assert seat.receiver.feedback(1.0)


@given(
    st.lists(
        st.builds(
            Feedback, st.just(CAST), st.integers(0, 3), st.integers(0, 50), *[st.integers(0, 2**32 - 1)] * 6,
            st.integers(0, 255),
        ),
        max_size=20,
    ),
    st.lists(st.integers(0, 1 << 12), min_size=20, max_size=20),
)  # fmt: skip
@settings(max_examples=60)
def test_no_receivers_words_make_the_sender_raise_or_send_what_does_not_exist(
    messages: list[Feedback], wishes: list[int]
) -> None:
    desk, now = Desk(chunk_files(12)), 0.0
    for message, wish in zip(messages, wishes, strict=False):
        now += 0.3
        end = min(wish.bit_length(), 14)
        wanted = wish & ((1 << end) - 1)
        frame, _ = pack_feedback(replace(message, first=0, end=end, wanted=wanted), KEY)
        desk.listen(frame, now)
        for _ in range(3):
            desk.send(now)
        desk.probe(now)
        desk.sender.moved_now(now)
    assert 0.0 < desk.sender.rate.rate <= desk.sender.rate.ceiling
