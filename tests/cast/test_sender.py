"""The sender: nobody asks, nothing is sent; one sending serves all; nobody waits for anybody."""

from dataclasses import replace

import pytest

from appliance.cast import bits
from appliance.cast.rate import Rate
from appliance.cast.sender import (
    ALONE_LIMIT,
    GONE_S,
    IDLE_END_S,
    SLOW_LAST_S,
    SLOW_MOVED_S,
    CastSender,
    Send,
    Start,
)
from appliance.wire.cast import Feedback, Flag, Notice, Part

LENGTH = 14_460  # 10 segments


def sender(chunks: int = 20, start: Start | None = None) -> CastSender:
    return CastSender(1, chunks, Rate(100e6), 0.0, start)


def says(number: int, wanted: int, *, receiver: int = 1, highest: int | None = None, chunks: int = 20) -> Feedback:
    flags = Flag.SILENT if highest is None else Flag.NONE
    return Feedback(1, receiver, number, highest or 0, heard=10, first=0, end=chunks, wanted=wanted, flags=flags)


def drain(cast: CastSender, now: float) -> list[Send]:
    """All that the sender would send at `now`."""
    items = []
    while item := cast.next(now):
        cast.sent(item, LENGTH, now)
        items.append(item)
    return items


def test_nothing_is_sent_while_nobody_asks() -> None:
    cast = sender()
    assert cast.next(0.0) is None
    assert cast.feedback(says(1, 0), 0.0)
    assert cast.next(1.0) is None


def test_a_chunk_that_many_miss_is_sent_once_in_carousel_order() -> None:
    cast = sender()
    cast.feedback(says(1, 0b1110), 0.0)
    cast.feedback(says(1, 0b0111, receiver=2), 0.0)
    assert [item.chunk for item in drain(cast, 0.1)] == [0, 1, 2, 3]


def test_a_late_comer_gets_what_passes_and_the_rest_afterwards() -> None:
    cast = sender()
    cast.feedback(says(1, bits.span(0, 20)), 0.0)
    for _ in range(10):
        item = cast.next(0.0)
        assert item is not None
        cast.sent(item, LENGTH, 0.0)
    cast.feedback(says(1, bits.span(0, 20), receiver=2), 0.05)
    assert [item.chunk for item in drain(cast, 0.2)] == [*range(10, 20), *range(10)]


def test_a_wish_older_than_the_sending_does_not_send_again() -> None:
    cast = sender()
    cast.feedback(says(1, 0b1), 0.0)
    assert len(drain(cast, 0.1)) == 1
    cast.feedback(says(2, 0b1, highest=cast.sequence - 2), 0.2)
    assert drain(cast, 0.3) == []
    cast.feedback(says(3, 0b1, highest=cast.sequence - 1), 0.4)
    assert [item.chunk for item in drain(cast, 0.5)] == [0]


def test_what_a_message_does_not_speak_about_stays() -> None:
    cast = sender()
    cast.feedback(says(1, bits.span(0, 4)), 0.0)
    cast.feedback(replace(says(2, 0), first=2, end=20), 0.0)
    assert [item.chunk for item in drain(cast, 0.1)] == [0, 1]


def test_parts_are_repaired_by_parity_for_the_worst_of_them_and_never_the_same_twice() -> None:
    cast = sender()
    for receiver, rounds in ((1, 2), (2, 5)):
        cast.feedback(replace(says(1, 0, receiver=receiver), parts=(Part(7, rounds),)), 0.0)
    (first,) = drain(cast, 0.1)
    assert not first.whole
    assert first.rounds(LENGTH) == 7
    cast.feedback(replace(says(2, 0, highest=cast.sequence - 1), parts=(Part(7, 1),)), 0.2)
    (second,) = drain(cast, 0.3)
    assert second.parity_numbers(LENGTH).start == first.parity_numbers(LENGTH).stop


def test_who_has_a_chunk_in_part_is_repaired_at_once_and_who_has_none_of_it_gets_it_in_its_turn() -> None:
    cast = sender()
    cast.feedback(replace(says(1, 0), parts=(Part(7, 2),)), 0.0)
    cast.feedback(says(1, 0b11 << 7 | 1, receiver=2), 0.0)
    items = drain(cast, 0.1)
    assert [(item.chunk, item.whole) for item in items] == [(7, False), (0, True), (7, True), (8, True)]
    assert items[0].parity_numbers(LENGTH).stop <= items[2].parity_numbers(LENGTH).start


def test_a_silent_receivers_wishes_are_dropped_and_come_back_with_it() -> None:
    cast = sender()
    cast.feedback(says(1, 0b11), 0.0)
    assert cast.next(GONE_S + 0.1) is None
    cast.feedback(says(2, 0b10), GONE_S + 1)
    assert [item.chunk for item in drain(cast, GONE_S + 1.2)] == [1]


@pytest.mark.parametrize("flag", [Flag.LEAVING, Flag.COMPLETE, Flag.DEAF])
def test_nothing_is_sent_for_who_leaves_or_cannot_hear(flag: Flag) -> None:
    cast = sender()
    cast.feedback(says(1, 0b11), 0.0)
    cast.feedback(replace(says(2, 0b11), flags=flag), 0.0)
    assert cast.next(0.1) is None


def test_old_and_foreign_messages_are_refused_and_counted() -> None:
    cast = sender()
    assert cast.feedback(says(5, 1), 0.0)
    for message in (says(5, 2), says(4, 2), replace(says(6, 2), cast_id=2), replace(says(6, 2), end=21)):
        assert not cast.feedback(message, 0.0)
    assert cast.refused == 4
    assert [item.chunk for item in drain(cast, 0.1)] == [0]


def test_the_sequence_may_wrap_around() -> None:
    cast = CastSender(1, 20, Rate(100e6), 0.0, first_sequence=2**32 - 5)
    cast.feedback(says(1, 0b1), 0.0)
    drain(cast, 0.1)
    assert cast.sequence == 5
    cast.feedback(says(2, 0b1, highest=2**32 - 1), 0.2)
    assert drain(cast, 0.3) == []


def test_the_start_waits_for_the_number_of_pcs_or_the_time() -> None:
    cast = sender(start=Start(wait_for=2, wait_s=30.0))
    cast.feedback(says(1, 1), 10.0)
    assert cast.next(10.1) is None
    assert cast.echo(says(1, 1), 10.1).notice & Notice.WAITING
    cast.feedback(says(1, 1, receiver=2), 11.0)
    assert cast.next(11.1) is not None

    late = sender(start=Start(wait_for=2, wait_s=30.0))
    late.feedback(says(1, 1), 10.0)
    late.feedback(says(2, 1), 39.0)
    assert late.next(39.9) is None
    assert late.next(40.0) is not None

    forced = sender(start=Start(wait_for=9, wait_s=900.0))
    forced.feedback(says(1, 1), 0.0)
    forced.begin()
    assert forced.next(0.1) is not None


def slow_down(cast: CastSender, seconds: int, others: bool) -> None:
    """Receiver 1 drops most of what it hears; receiver 2, if any, nothing."""
    for second in range(seconds):
        message = replace(says(second, 0b0001), heard=100, dropped=80, highest=cast.sequence - 1, flags=Flag.NONE)
        cast.feedback(message, float(second))
        if others:
            cast.feedback(replace(message, receiver=2, dropped=0, wanted=0b1000), float(second))


def test_what_only_a_slow_receiver_wants_comes_last() -> None:
    cast = sender()
    slow_down(cast, int(SLOW_LAST_S) + 2, others=True)
    assert [item.chunk for item in drain(cast, SLOW_LAST_S + 1.5)] == [3, 0]


def test_a_receiver_that_stays_slow_is_moved_to_nfs_and_told() -> None:
    cast = sender()
    slow_down(cast, int(SLOW_MOVED_S) + 2, others=True)
    now = SLOW_MOVED_S + 1.5
    assert [member.number for member in cast.moved_now(now)] == [1]
    assert "disk" in cast.members[1].moved
    assert cast.echo(says(99, 0), now).notice & Notice.MOVED
    assert [item.chunk for item in drain(cast, now)] == [3]
    cast.readmit(1)
    assert [item.chunk for item in drain(cast, now + 1)] == [0]


def test_a_slow_receiver_that_is_alone_is_not_moved() -> None:
    cast = sender()
    slow_down(cast, int(SLOW_MOVED_S) + 2, others=False)
    assert cast.moved_now(SLOW_MOVED_S + 1.5) == []


def test_preferred_receivers_come_first_and_forgotten_ones_not_at_all() -> None:
    cast = sender()
    cast.feedback(says(1, 0b0011), 0.0)
    cast.feedback(says(1, 0b1100, receiver=2), 0.0)
    cast.feedback(says(1, 1 << 10, receiver=3), 0.0)
    cast.prefer(2)
    cast.forget(3)
    assert [item.chunk for item in drain(cast, 0.1)] == [2, 3, 0, 1]


def test_who_asks_for_the_same_chunk_for_ever_is_moved() -> None:
    cast = sender()
    now, number = 0.0, 0
    while not cast.moved_now(now):
        number, now = number + 1, now + 0.2
        cast.feedback(says(number, 0b1, highest=cast.sequence - 1), now)
        drain(cast, now + 0.1)
        assert number < 20
    assert number == ALONE_LIMIT + 1  # the first sending does not count


def test_an_unreadable_chunk_is_left_out() -> None:
    cast = sender()
    cast.feedback(says(1, 0b11), 0.0)
    item = cast.next(0.1)
    assert item is not None
    cast.skip(item)
    cast.feedback(says(2, 0b11), 0.2)
    assert [item.chunk for item in drain(cast, 0.3)] == [1]


def test_probes_follow_the_end_of_sending_quickly_and_then_each_second() -> None:
    cast = sender()
    cast.feedback(says(1, 0b1), 0.0)
    drain(cast, 0.1)
    times = [n / 100 for n in range(10, 400) if cast.probe(n / 100)]
    assert times == pytest.approx([0.10, 0.15, 0.20, 1.20, 2.20, 3.20], abs=0.03)


def test_the_cast_is_over_when_nobody_has_been_there_for_long() -> None:
    cast = sender()
    assert not cast.over(IDLE_END_S - 1)
    assert cast.over(IDLE_END_S)
    cast.feedback(says(1, 0b1), IDLE_END_S)
    assert not cast.over(2 * IDLE_END_S - 1)
    assert cast.over(2 * IDLE_END_S + GONE_S)


def test_broadcast_is_for_a_room_that_is_mostly_deaf_and_stays() -> None:
    cast = sender()
    for number in (1, 2, 3):
        cast.feedback(says(1, 1, receiver=number), 0.0)
    cast.feedback(replace(says(2, 1), flags=Flag.DEAF), 0.1)
    assert not cast.use_broadcast(0.2)
    cast.feedback(replace(says(2, 1, receiver=2), flags=Flag.DEAF), 0.2)
    assert cast.use_broadcast(0.3)
    for number in (1, 2):
        cast.feedback(says(3, 1, receiver=number), 0.4)
    assert cast.use_broadcast(0.5)
    assert not sender().use_broadcast(0.0)


def test_one_deaf_pc_alone_is_left_to_nfs_rather_than_sent_broadcasts() -> None:
    cast = sender()
    cast.feedback(replace(says(1, 1), flags=Flag.DEAF), 0.0)
    assert not cast.use_broadcast(0.1)
