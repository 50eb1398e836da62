"""Frames of a cast: what goes in comes out, nothing else is believed, and docs/cast-protocol.md tells the truth."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cast import assembly, fec, rate, receiver, sender
from appliance.wire import cast
from appliance.wire.cast import BadFrame, Beat, Data, Feedback, Flag, Kind, Notice, Part

DOC = (Path(__file__).parent.parent.parent / "docs" / "cast-protocol.md").read_text("utf-8")
KEY, OTHER_KEY = bytes(32), b"\1" * 32
u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)


@st.composite
def feedbacks(draw: st.DrawFn) -> Feedback:
    first = draw(st.integers(0, 5000))
    end = first + draw(st.integers(0, 6000))
    density = draw(st.sampled_from(["none", "all", "some", "runs"]))
    bits = {"none": 0, "all": (1 << (end - first)) - 1}.get(density, draw(st.integers(0, 1 << 3000)))
    if density == "runs":
        bits |= ((1 << 900) - 1) << draw(st.integers(0, 3000))
    wanted = (bits & ((1 << (end - first)) - 1)) << first
    parts = draw(st.lists(st.builds(Part, u32, st.integers(1, 255)), max_size=5))
    return Feedback(
        draw(u64), draw(u32), draw(u32), draw(u32), draw(u32), draw(u32), draw(u32), draw(u32), draw(u32),
        draw(st.integers(0, 255)), Flag(draw(st.integers(0, 15))), first, end, wanted, tuple(parts),
    )  # fmt: skip


@given(feedbacks())
@settings(max_examples=60)
def test_feedback_survives_the_wire_as_far_as_it_reaches(message: Feedback) -> None:
    frame, end = cast.pack_feedback(message, KEY)
    parsed = cast.parse_feedback(frame, KEY)
    assert len(frame) <= cast.MAX_FEEDBACK_BYTES
    assert message.first <= end <= message.end
    assert parsed.wanted == message.wanted & ((1 << end) - 1)
    assert parsed.end == end
    assert (parsed.parts, parsed.receiver, parsed.taken, parsed.room, parsed.flags) == (
        message.parts, message.receiver, message.taken, message.room, message.flags,
    )  # fmt: skip


def test_a_long_statement_reaches_its_end_in_a_few_messages() -> None:
    wanted = sum(1 << n for n in range(0, 50_000, 2))
    at, heard, messages = 0, 0, 0
    while at < 50_000:
        frame, end = cast.pack_feedback(Feedback(1, 1, 1, first=at, end=50_000, wanted=wanted), KEY)
        assert end > at
        heard |= cast.parse_feedback(frame, KEY).wanted
        at, messages = end, messages + 1
    assert heard == wanted
    assert messages <= 6


@pytest.mark.parametrize("kind", [Kind.PROBE, Kind.ECHO])
@given(sequence=u32, stamp=u64, present=st.integers(0, 65535), notice=st.integers(0, 7))
def test_a_beat_survives_the_wire(kind: Kind, sequence: int, stamp: int, present: int, notice: int) -> None:
    beat = Beat(kind, 7, sequence, stamp, present, Notice(notice))
    assert cast.parse_beat(cast.pack_beat(beat, KEY), KEY) == beat


@given(st.integers(1, cast.MAX_CHUNK_BYTES), u32, st.data())
def test_a_data_header_survives_the_wire(length: int, sequence: int, data: st.DataObject) -> None:
    segment = data.draw(st.integers(0, cast.segment_count(length) + 20))
    head = Data(5, sequence, 9, length, segment)
    last = cast.segment_count(length) - 1
    size = cast.SEGMENT_BYTES if segment != last else length - last * cast.SEGMENT_BYTES
    frame = cast.data_header(head) + bytes(size)
    assert cast.parse_data(frame, 0, len(frame)) == head
    with pytest.raises(BadFrame):
        cast.parse_data(frame, 0, len(frame) - 1)


def test_a_run_of_frames_is_the_frames_one_by_one() -> None:
    payloads = [bytes([n]) * cast.SEGMENT_BYTES for n in range(3)]
    length = 10 * cast.SEGMENT_BYTES
    head = Data(5, 2**32 - 2, 9, length, 4)
    run = cast.data_frames(head, payloads)
    assert len(run) == 3 * cast.MAX_FRAME_BYTES
    for n in range(3):
        parsed = cast.parse_data(run, n * cast.MAX_FRAME_BYTES, cast.MAX_FRAME_BYTES)
        assert parsed == Data(5, (2**32 - 2 + n) % 2**32, 9, length, 4 + n)


@given(feedbacks(), st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=40)
def test_feedback_with_one_wrong_byte_is_refused(message: Feedback, place: int, change: int) -> None:
    frame = bytearray(cast.pack_feedback(message, KEY)[0])
    frame[place % len(frame)] ^= change
    with pytest.raises(BadFrame):
        cast.parse_feedback(bytes(frame), KEY)


def test_a_frame_under_another_key_is_refused() -> None:
    with pytest.raises(BadFrame):
        cast.parse_feedback(cast.pack_feedback(Feedback(1, 1, 1), OTHER_KEY)[0], KEY)
    with pytest.raises(BadFrame):
        cast.parse_beat(cast.pack_beat(Beat(Kind.ECHO, 1, 1, 1), OTHER_KEY), KEY)


@given(st.binary(max_size=200), st.sampled_from([1, 2, 3, 4, 9]))
def test_random_bytes_behind_a_right_head_are_refused_by_their_own_error(rest: bytes, kind: int) -> None:
    frame = b"DC\x01" + bytes([kind]) + rest
    for parse in (lambda: cast.parse_feedback(frame, KEY), lambda: cast.parse_beat(frame, KEY)):
        with pytest.raises(BadFrame):
            parse()
    try:
        cast.parse_data(frame, 0, len(frame))
    except BadFrame:
        return
    assert kind == 1


@given(st.binary(max_size=120), st.integers(0, 40), st.integers(0, 3000))
def test_any_items_under_a_right_mac_are_within_what_the_message_speaks_about(
    items: bytes, first: int, count: int
) -> None:
    """A receiver that went mad, or was taken over, has a right key."""
    body = cast._FEEDBACK.pack(cast.MAGIC, 1, 2, 1, *range(8), 0, 0, 0, first, first + count) + items
    frame = body + cast._mac(body, KEY)
    try:
        parsed = cast.parse_feedback(frame, KEY)
    except BadFrame:
        return
    assert parsed.wanted >> (first + count) == 0
    assert parsed.wanted & ((1 << first) - 1) == 0


def test_sequences_are_compared_modulo_two_to_the_32() -> None:
    assert cast.after(1, 0xFFFFFFFF)
    assert not cast.after(0xFFFFFFFF, 1)
    assert not cast.after(5, 5)


def _rows(title: str) -> list[tuple[int, int]]:
    """(offset, bytes) of the rows of the table that follows **title** in the document."""
    table = DOC.split(f"**{title}**", 1)[1].split("\n\n", 2)[1]
    return [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+) \| (\d+) \|", table, re.M)]


@pytest.mark.parametrize(
    ("title", "size"),
    [
        ("All frames", cast._HEAD.size),
        ("DATA", cast.DATA_HEADER_BYTES),
        ("FEEDBACK", cast._FEEDBACK.size),
        ("PROBE and ECHO", cast._BEAT.size),
    ],
)
def test_the_document_has_the_offsets_of_the_code(title: str, size: int) -> None:
    rows = _rows(title)
    at = 0 if title == "All frames" else cast._HEAD.size
    for offset, length in rows:
        assert offset == at
        at += length
    assert at == size


@pytest.mark.parametrize(
    "sentence",
    [
        f"at most {cast.MAX_FRAME_BYTES} bytes",
        f"*Segment*: {cast.SEGMENT_BYTES} bytes",
        f"at most {cast.MAX_FEEDBACK_BYTES} bytes",
        f"at most {cast.MAX_CHUNK_BYTES} bytes",
        f"at most {cast.PART_LIMIT} PART",
        f"`{cast._KEY_CONTEXT}`",
        f"groups of at most {fec.GROUP}",
        f"every {receiver.FEEDBACK_S[0]} to {receiver.FEEDBACK_S[1]} s, random",
        f"{receiver.JOIN_S[0]} to {receiver.JOIN_S[1]} s after joining",
        f"{receiver.URGENT_S[0]} to {receiver.URGENT_S[1]} s after a PROBE",
        f"then every {sender.PROBE_S:.0f} s while nothing is sent",
        f"ECHO heard, group not, for {receiver.DEAF_S:.0f} s",
        f"no FEEDBACK for {sender.GONE_S:.0f} s",
        f"nothing heard for {receiver.GONE_S:.0f} s",
        f"{receiver.TAIL_CHUNKS} chunks or fewer wanted, all checked",
        f"nothing came of them for {receiver.TAIL_S:.0f} s",
        f"for {sender.SLOW_LAST_S:.0f} s its wishes come last; for {sender.SLOW_MOVED_S:.0f} s",
        f"gets nothing for {receiver.STALE_S:.0f} s",
        f"| flight | {sender.FLIGHT_S:.0f} s |",
        f"nobody there for {sender.IDLE_END_S:.0f} s",
        f"at most {sender.ALONE_LIMIT} times more",
        f"more than {receiver.MAX_GAP} frames",
        f"more than {rate.LOSS_LIMIT:.0%} above".replace("%", " %"),
        f"times {rate.FALL}",
        f"plus {rate.RISE:.0%} of the ceiling".replace("%", " %"),
        f"{assembly.WHOLE:.0%} or less is lacking".replace("%", " %"),
    ],
)
def test_the_document_has_the_numbers_of_the_code(sentence: str) -> None:
    assert sentence in DOC
