"""The receiver: takes what passes in any order, asks for what it lacks, and believes nothing but hashes."""

import random
from itertools import pairwise

import pytest

from appliance.cast.receiver import (
    DEAF_S,
    GONE_S,
    STALE_S,
    STRIKES,
    TAIL_S,
    CastReceiver,
    Mode,
    Place,
)
from appliance.cast.sender import Send
from appliance.wire.cast import (
    MAX_FRAME_BYTES,
    Beat,
    Data,
    Feedback,
    Flag,
    Kind,
    Notice,
    Part,
    data_frames,
    pack_beat,
    parse_feedback,
)
from tests.cast.kit import CAST, CAST_KEY, KEY, Desk, Seat, chunk_files, datagrams

FILES = chunk_files(30)


def seat(**options: int) -> Seat:
    made = Seat(FILES, **options)
    made.receiver.want_all()
    return made


def said(receiver: CastReceiver, now: float) -> Feedback:
    return parse_feedback(receiver.feedback(now), KEY)


def feed(receiver: CastReceiver, runs: list[bytes], now: float = 1.0) -> None:
    for run in runs:
        receiver.frames(memoryview(run), MAX_FRAME_BYTES, now)


def echo(receiver: CastReceiver, now: float, number: int | None = None, notice: Notice = Notice.NONE) -> None:
    stamp = said(receiver, now).number if number is None else number
    receiver.control(pack_beat(Beat(Kind.ECHO, CAST, 0, stamp, 1, notice), KEY), now)


def whole(desk: Desk, chunk: int) -> list[bytes]:
    return desk.frames(Send(chunk, True, 0))


def test_nothing_is_asked_for_before_it_was_checked() -> None:
    made = Seat(FILES)
    made.receiver.have(0)
    made.receiver.want(1)
    assert said(made.receiver, 1.0).wanted == 0b10
    made.receiver.want_all()
    assert said(made.receiver, 1.0).wanted == (1 << 30) - 2


def test_a_chunk_that_passes_before_it_was_checked_is_taken() -> None:
    made, desk = Seat(FILES), Desk(FILES)
    feed(made.receiver, whole(desk, 3))
    made.work()
    assert made.disk == {3: FILES[3]}


def test_runs_and_single_datagrams_and_any_order_give_the_same() -> None:
    desk, rng = Desk(FILES), random.Random(3)
    in_runs, single, shuffled = seat(), seat(), seat()
    frames = [d for chunk in range(30) for run in whole(desk, chunk) for d in datagrams(run)]
    for chunk in range(30):
        feed(in_runs.receiver, whole(desk, chunk))
    feed(single.receiver, frames)
    rng.shuffle(frames)
    feed(shuffled.receiver, frames)
    for made in (in_runs, single, shuffled):
        made.work()
        assert made.disk == dict(enumerate(FILES))
        assert made.receiver.complete()
        assert made.receiver.counts.bad_hash == 0


def test_a_run_with_holes_is_cut_and_the_holes_are_asked_for() -> None:
    made, desk = seat(), Desk(FILES)
    chunk = max(range(30), key=lambda n: len(FILES[n]))
    frames = datagrams(whole(desk, chunk)[0])
    feed(made.receiver, [b"".join(frames[:4] + frames[6:])])
    message = said(made.receiver, 1.0)
    assert message.parts == (Part(chunk, 2),)
    assert not message.wanted >> chunk & 1
    assert (message.heard, message.missed) == (len(frames) - 2, 2)
    feed(made.receiver, desk.frames(Send(chunk, False, 0, repair=12)))
    made.work()
    assert made.disk == {chunk: FILES[chunk]}


def test_a_chunk_that_mostly_lacks_is_asked_for_whole_and_keeps_what_is_there() -> None:
    made, desk = seat(), Desk(FILES)
    chunk = max(range(30), key=lambda n: len(FILES[n]))
    frames = datagrams(whole(desk, chunk)[0])
    feed(made.receiver, frames[:2])
    message = said(made.receiver, 1.0)
    assert message.wanted >> chunk & 1
    assert message.parts == ()
    feed(made.receiver, frames[2:])
    made.work()
    assert made.disk == {chunk: FILES[chunk]}


def test_a_full_buffer_drops_and_counts_and_asks_again() -> None:
    made, desk = seat(buffer_bytes=25_000), Desk(FILES)
    for chunk in range(10):
        feed(made.receiver, whole(desk, chunk))
    message = said(made.receiver, 1.0)
    held = {part.chunk for part in made.receiver.ready}
    assert sum(len(FILES[n]) for n in held) <= 25_000
    assert message.dropped == made.receiver.counts.dropped > 0
    assert message.wanted == sum(1 << n for n in range(30) if n not in held)
    assert message.room < 128
    made.work()
    after = said(made.receiver, 2.0)
    assert (after.room, after.dropped, after.written) == (255, 0, len(held))
    assert after.taken == sum(len(FILES[n]) for n in held)


def test_what_a_slow_disk_must_leave_slower_ones_leave_too() -> None:
    """Three PCs write 8, 6 and 4 of ten chunks that pass, each at moments of its own."""
    file, rng = bytes(1000), random.Random(4)
    seats = [Seat([file] * 2000, buffer_bytes=64_000) for _ in range(3)]
    for made in seats:
        made.receiver.want_all()
    for chunk in range(2000):
        for made, of_ten in zip(seats, (8, 6, 4), strict=True):
            made.receiver.run(Data(CAST, chunk, chunk, len(file), 0), 1, None, 1.0)
            if 10 * rng.random() < of_ten and made.receiver.ready:
                made.receiver.done(made.receiver.ready.popleft())
    left = [said(made.receiver, 2.0).wanted for made in seats]
    assert [wanted.bit_count() for wanted in left] == pytest.approx([400, 800, 1200], abs=80)
    assert [(less & ~more).bit_count() <= 40 for less, more in pairwise(left)] == [True, True]


def test_what_waits_unread_in_the_socket_is_told_as_less_room() -> None:
    made = seat()
    assert parse_feedback(made.receiver.feedback(1.0, 0.75), KEY).room == 63
    assert parse_feedback(made.receiver.feedback(2.0, 0.0), KEY).room == 255


def test_foreign_malformed_and_replayed_frames_are_counted() -> None:
    made, desk = seat(), Desk(FILES)
    run = whole(desk, 0)[0]
    foreign = data_frames(Data(CAST + 1, 0, 0, len(FILES[0]), 0), [FILES[0][:1446]])
    feed(made.receiver, [foreign, b"", b"D", run[:30], b"\0" * 1472])
    beyond = data_frames(Data(CAST, 0, 30, 1446, 0), [bytes(1446)])
    feed(made.receiver, [beyond])
    too_long = data_frames(Data(CAST, 0, 1, 1 << 18, 0), [bytes(1446)])
    feed(made.receiver, [too_long])
    counts = made.receiver.counts
    assert counts.foreign == 1
    assert counts.malformed >= 4
    assert made.receiver.ready == type(made.receiver.ready)()
    feed(made.receiver, [run, run])
    made.work()
    feed(made.receiver, [run])
    assert counts.unwanted == 2 * len(datagrams(run))
    assert made.disk == {0: FILES[0]}


def test_forged_segments_spoil_a_chunk_three_times_and_then_nfs_gets_it() -> None:
    made, desk = seat(), Desk(FILES)
    chunk = max(range(30), key=lambda n: len(FILES[n]))
    good = datagrams(whole(desk, chunk)[0])
    forged = data_frames(Data(CAST, 0, chunk, len(FILES[chunk]), 0), [bytes(1446)])
    for strike in range(STRIKES):
        assert made.receiver.claim(1.0, 4) == []
        feed(made.receiver, [forged, *good])
        made.work()
        assert made.receiver.counts.bad_hash == strike + 1
    assert chunk not in made.disk
    assert made.receiver.claim(1.0, 4) == [chunk]
    assert made.receiver.claim(1.0, 4) == []
    made.receiver.have(chunk)
    assert made.receiver.written == 1


def test_a_length_that_contradicts_is_a_forgery() -> None:
    made = seat()
    feed(made.receiver, [data_frames(Data(CAST, 0, 0, 14_460, 0), [bytes(1446)])])
    feed(made.receiver, [data_frames(Data(CAST, 1, 0, 14_461, 1), [bytes(1446)])])
    assert made.receiver.counts.forged == 1
    assert said(made.receiver, 1.0).room == 255


def test_forged_and_replayed_beats_are_dropped() -> None:
    made = seat()
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, 9, 1000), KEY), 1.0)  # under the wrong key
    assert made.receiver.counts.forged == 1
    frame = pack_beat(Beat(Kind.PROBE, CAST, 9, 1000), CAST_KEY)
    made.receiver.control(frame, 1.0)
    made.receiver.control(frame, 2.0)
    echo(made.receiver, 2.0, number=99)
    assert made.receiver.counts.replayed == 2


def test_a_forged_jump_of_the_sequence_is_not_believed() -> None:
    made, desk = seat(), Desk(FILES)
    feed(made.receiver, whole(desk, 0))
    highest = said(made.receiver, 1.0).highest
    feed(made.receiver, [data_frames(Data(CAST, highest + 10_000_000, 1, 1446, 0), [bytes(1446)])])
    message = said(made.receiver, 1.0)
    assert (message.highest, message.missed) == (highest, 0)


def test_a_restarted_sender_corrects_the_sequence() -> None:
    made, desk = seat(), Desk(FILES)
    feed(made.receiver, whole(desk, 0))
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, 5_000_001, 1000), CAST_KEY), 1.0)
    assert said(made.receiver, 1.0).highest == 5_000_000


def test_a_probe_that_comes_in_one_receive_with_data_is_heard() -> None:
    made, desk = seat(), Desk(FILES)
    runs = whole(desk, 0)
    beat = Beat(Kind.PROBE, CAST, desk.sender.sequence, 5, 1, Notice.WAITING)
    last = runs[-1][: len(runs[-1]) // MAX_FRAME_BYTES * MAX_FRAME_BYTES]
    made.receiver.frames(last + pack_beat(beat, CAST_KEY), MAX_FRAME_BYTES, 1.0)
    assert made.receiver.notice is Notice.WAITING
    assert made.receiver.counts.malformed == 0


def test_a_probe_tells_what_the_end_of_a_burst_lost_and_hastens_the_answer() -> None:
    made, desk = seat(), Desk(FILES)
    feed(made.receiver, whole(desk, 0))
    highest = said(made.receiver, 1.0).highest
    due = made.receiver.due
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, highest + 6, 1000, 10), CAST_KEY), 1.1)
    assert 1.1 < made.receiver.due <= 1.2 < due
    assert said(made.receiver, 1.2).missed == 5
    again = made.receiver.due
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, highest + 6, 2000, 10), CAST_KEY), 1.3)
    assert made.receiver.due == again


def test_deaf_is_who_hears_echo_but_no_group_and_it_hears_again() -> None:
    made = seat()
    assert made.receiver.mode(0.5) is Mode.JOINING
    echo(made.receiver, 1.6)
    assert made.receiver.mode(DEAF_S - 0.1) is Mode.JOINING
    assert made.receiver.mode(DEAF_S) is Mode.DEAF
    assert said(made.receiver, DEAF_S).flags & Flag.DEAF
    claimed = made.receiver.claim(DEAF_S, 4)
    assert claimed == [0, 1, 2, 3]
    made.receiver.unclaim(0)
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, 9, 1000), CAST_KEY), 4.0)
    assert made.receiver.mode(4.0) is Mode.CAST
    assert said(made.receiver, 4.0).wanted == (1 << 30) - 1 - 0b1110


def test_a_group_lost_in_mid_cast_is_noticed() -> None:
    made, desk = seat(), Desk(FILES)
    feed(made.receiver, whole(desk, 0), now=10.0)
    echo(made.receiver, 12.0)
    assert made.receiver.mode(12.9) is Mode.CAST
    assert made.receiver.mode(13.0) is Mode.DEAF


def test_who_hears_neither_group_nor_echo_is_not_deaf() -> None:
    made, desk = seat(), Desk(FILES)
    echo(made.receiver, 10.0)
    feed(made.receiver, whole(desk, 0), now=10.0)
    echo(made.receiver, 11.0)  # and the sender dies before its next PROBE
    assert made.receiver.mode(10.0 + GONE_S) is Mode.CAST
    assert made.receiver.mode(11.0 + GONE_S) is Mode.GONE


def test_spoilt_chunks_are_claimed_one_by_one_until_none_is_left() -> None:
    made = seat()
    for chunk in range(3):
        for _ in range(STRIKES):
            for length in (3000, 4000):
                feed(made.receiver, [data_frames(Data(CAST, 0, chunk, length, 0), [bytes(1446)])])
    assert [made.receiver.claim(1.0, limit) for limit in (0, 1, 1, 1, 1)] == [[], [0], [1], [2], []]


def test_without_any_sign_of_the_sender_nfs_takes_over_until_it_answers() -> None:
    made = seat()
    assert made.receiver.mode(GONE_S) is Mode.GONE
    assert len(made.receiver.claim(GONE_S, 100)) == 30
    echo(made.receiver, GONE_S + 1)
    assert made.receiver.mode(GONE_S + 1) is Mode.DEAF
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, 9, 1000), CAST_KEY), GONE_S + 1)
    assert made.receiver.mode(GONE_S + 1) is Mode.CAST


def test_a_moved_receiver_goes_on_by_nfs() -> None:
    made = seat()
    echo(made.receiver, 0.5, notice=Notice.MOVED)
    assert made.receiver.mode(0.5) is Mode.MOVED
    assert len(made.receiver.claim(0.5, 100)) == 30


def test_the_tail_comes_by_nfs_only_when_nothing_comes_by_cast() -> None:
    made, desk = seat(), Desk(FILES)
    for chunk in range(27):
        feed(made.receiver, whole(desk, chunk), now=5.0)
    made.receiver.control(pack_beat(Beat(Kind.PROBE, CAST, desk.sender.sequence, 9000), CAST_KEY), 5.0 + TAIL_S)
    assert made.receiver.claim(5.0 + TAIL_S - 0.1, 9) == []
    assert made.receiver.claim(5.0 + TAIL_S, 9) == [27, 28, 29]


def test_a_chunk_in_part_that_gets_nothing_is_given_up() -> None:
    made, desk = seat(), Desk(FILES)
    chunk = max(range(30), key=lambda n: len(FILES[n]))
    feed(made.receiver, datagrams(whole(desk, chunk)[0])[:-1])
    assert said(made.receiver, 2.0).room < 255
    message = said(made.receiver, 1.0 + STALE_S)
    assert message.room == 255
    assert message.wanted >> chunk & 1
    assert made.receiver.counts.stale == 1


def test_farewells_say_complete_or_leaving() -> None:
    made, desk = seat(), Desk(FILES)
    assert parse_feedback(made.receiver.farewell(), KEY).flags & Flag.LEAVING
    for chunk in range(30):
        feed(made.receiver, whole(desk, chunk))
    made.work()
    first, second = (parse_feedback(made.receiver.farewell(), KEY) for _ in range(2))
    assert first.flags & Flag.COMPLETE
    assert second.number > first.number


@pytest.mark.parametrize("chunks", [200_000])
def test_a_large_image_needs_few_messages_and_each_goes_on_where_the_last_ended(chunks: int) -> None:
    place = Place(CAST, 1, CAST_KEY, KEY, chunks, 1 << 20)
    receiver = CastReceiver(place, 0.0, random.Random(1))
    receiver.want_all()
    for chunk in range(0, chunks, 3):
        receiver.have(chunk)
    heard, at = 0, 0
    for _ in range(40):
        message = said(receiver, 1.0)
        assert message.first == at
        heard |= message.wanted
        at = message.end % chunks
        if not at:
            break
    assert heard.bit_count() == receiver.lacking
