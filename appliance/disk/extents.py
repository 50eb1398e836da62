"""Ranges of bytes: sorted, merged, united, cut into windows.

An `Extent` is (offset, length) in bytes. A *normal* list ascends, and no two extents overlap or touch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Extent = tuple[int, int]


def normal(extents: Iterable[Extent], *, end: int | None = None) -> list[Extent]:
    """The same bytes as a normal list; what lies behind `end` is cut off."""
    result: list[Extent] = []
    for offset, length in sorted(extents):
        stop = offset + length if end is None else min(offset + length, end)
        if stop <= offset:
            continue
        if result and offset <= sum(result[-1]):
            result[-1] = (result[-1][0], max(sum(result[-1]), stop) - result[-1][0])
        else:
            result.append((offset, stop - offset))
    return result


def gaps(extents: Iterable[Extent], length: int) -> list[Extent]:
    """What a normal list leaves out of `length` bytes."""
    result, at = [], 0
    for offset, size in extents:
        if offset > at:
            result.append((at, offset - at))
        at = offset + size
    if at < length:
        result.append((at, length - at))
    return result


def total(extents: Iterable[Extent]) -> int:
    """Number of bytes."""
    return sum(length for _, length in extents)


def rounded(extents: Iterable[Extent], unit: int, *, end: int) -> list[Extent]:
    """A normal list whose extents begin and end at multiples of `unit` (or at `end`), covering `extents`."""
    grown = []
    for offset, length in extents:
        first = offset // unit * unit
        grown.append((first, -(-(offset + length) // unit) * unit - first))
    return normal(grown, end=end)


def cut(extents: Iterable[Extent], window: int) -> Iterator[tuple[int, tuple[Extent, ...]]]:
    """Cut a normal list at multiples of `window`: yields (window number, extents relative to it), ascending."""
    number = -1
    inside: list[Extent] = []
    for offset, length in extents:
        while length:
            current = offset // window
            size = min(length, (current + 1) * window - offset)
            if current != number:
                if inside:
                    yield number, tuple(inside)
                number, inside = current, []
            inside.append((offset - current * window, size))
            offset, length = offset + size, length - size
    if inside:
        yield number, tuple(inside)
