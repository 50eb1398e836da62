"""Sets of chunk numbers as Python integers: bit n stands for chunk n."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice


def bit(number: int) -> int:
    """The set of `number` alone."""
    return 1 << number


def span(first: int, end: int) -> int:
    """The set of `first`..`end` - 1."""
    return ((1 << (end - first)) - 1) << first


def of(numbers: Iterable[int]) -> int:
    """The set of `numbers`. One pass over a byte array: adding bits to a long integer one by one is quadratic."""
    listed = list(numbers)
    if len(listed) < 8:
        small = 0
        for number in listed:
            small |= 1 << number
        return small
    data = bytearray(max(listed) // 8 + 1)
    for number in listed:
        data[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(data, "little")


def ascending(bits: int) -> Iterator[int]:
    """The members, ascending. Works by words, since taking bits off a long integer one by one is quadratic."""
    data = bits.to_bytes((bits.bit_length() + 63) // 64 * 8, "little")
    for at in range(0, len(data), 8):
        word = int.from_bytes(data[at : at + 8], "little")
        while word:
            low = word & -word
            yield at * 8 + low.bit_length() - 1
            word ^= low


def ascending_from(bits: int, start: int, limit: int) -> Iterator[int]:
    """At most `limit` members: ascending from `start`, then from 0 up to it."""
    high = (number + start for number in ascending(bits >> start))
    low = (number for _ in (0,) for number in ascending(bits & ((1 << start) - 1)))  # computed only when reached
    return islice(chain(high, low), max(limit, 0))
