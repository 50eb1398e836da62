"""Parity repairs whatever was lost, with few segments to spare."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.cast import fec
from appliance.wire.cast import SEGMENT_BYTES, segment_count


def lose(frame: bytes, chunk: int, lost: set[int], parities: range) -> tuple[bytearray, int, dict[int, bytes]]:
    """The frame with zeros at the lost segments, the set of those that are there, and parity."""
    data, got = bytearray(frame), 0
    for n in range(segment_count(len(frame))):
        if n in lost:
            start = n * SEGMENT_BYTES
            data[start : start + SEGMENT_BYTES] = bytes(len(data[start : start + SEGMENT_BYTES]))
        else:
            got |= 1 << n
    encoder = fec.Encoder(chunk, frame)
    return data, got, {p: encoder.parity(p) for p in parities}


@given(st.integers(1, 1_400_000), st.randoms(use_true_random=False), st.integers(0, 12))
@settings(max_examples=25)
def test_what_is_said_to_be_enough_restores_the_very_bytes(length: int, rng: random.Random, losses: int) -> None:
    frame = rng.randbytes(length)
    segments = segment_count(length)
    lost = set(rng.sample(range(segments), min(losses, segments)))
    groups = fec.groups_of(segments)
    data, got, parities = lose(frame, 3, lost, range(groups * (losses + 4)))
    needed = fec.rounds_needed(3, segments, got, parities)
    if needed == 0:
        assert fec.restore(3, length, data, got, parities)
        assert bytes(data) == frame
    else:
        assert not fec.restore(3, length, data, got, parities)


def test_two_segments_to_spare_are_nearly_always_enough() -> None:
    rng = random.Random(1)
    segments, enough = 290, 0
    for chunk in range(300):
        got = (1 << segments) - 1
        for n in rng.sample(range(segments), 8):
            got &= ~(1 << n)
        enough += fec.rounds_needed(chunk, segments, got, range(8 + fec.SPARE)) == 0
    assert enough > 0.6 * 300  # 0.77 in theory for a random binary matrix with two more rows than columns


def test_nothing_is_sent_ahead_without_loss_and_little_with_little() -> None:
    assert fec.ahead(290, 0.0) == 0
    assert fec.ahead(290, 0.01) <= 0.04 * 290
    assert 0.1 * 290 < fec.ahead(290, 0.1) <= 0.18 * 290


@pytest.mark.parametrize("length", [1, SEGMENT_BYTES, SEGMENT_BYTES + 1])
def test_the_smallest_chunks_are_repaired_too(length: int) -> None:
    frame = bytes(range(1, 251)) * 12
    data, got, parities = lose(frame[:length], 9, {0}, range(3))
    assert fec.restore(9, length, data, got, parities)
    assert bytes(data) == frame[:length]
