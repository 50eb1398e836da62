"""Parity segments: any loss of a few segments is repaired by as many parity segments, whichever were lost.

So one parity segment repairs different losses of many receivers (RFC 5740 does so with Reed-Solomon; here it is a
random linear code over GF(2), since XOR of long integers is the one vector operation that plain Python has). Rules:
docs/cast-protocol.md section 3. The segments of a chunk are dealt out to groups of at most `GROUP` (segment i belongs
to group i mod groups), which bounds the work. Parity number p belongs to group p mod groups; it is the XOR of those
segments of its group whose bits are set in a mask made with BLAKE3 from chunk and p. About m + 2 parity segments
repair m lost ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache, reduce
from itertools import compress
from math import ceil, sqrt
from operator import xor

from blake3 import blake3

from appliance.cast import bits
from appliance.wire.cast import SEGMENT_BYTES, segment_count

GROUP = 320  # segments; the work for one parity segment is half of it, for m lost ones m times half of it
MAX_PARITY = 0xFFFF - 4096  # segment numbers have 16 bits
SPARE = 2  # rounds beyond what is missing: a random square matrix over GF(2) is regular with probability 0.29 only
_MIN_LOSS = 0.002  # below this nothing is sent ahead
_SELECT = bytes.maketrans(b"01", b"\0\1")


def groups_of(segments: int) -> int:
    """How many groups the segments of a chunk are dealt out to."""
    return -(-segments // GROUP)


@lru_cache(maxsize=4096)
def mask(chunk: int, parity: int, segments: int) -> int:
    """Bit j: the group's segment j (which is segment j * groups + group of the chunk) is part of this parity."""
    groups = groups_of(segments)
    members = -(-(segments - parity % groups) // groups)
    seed = chunk.to_bytes(4, "big") + parity.to_bytes(4, "big")
    bits = int.from_bytes(blake3(seed).digest((members + 7) // 8), "little") & ((1 << members) - 1)
    return bits or 1


def ahead(segments: int, loss: float) -> int:
    """Rounds of parity to send with a chunk at once, when this share of all frames is lost."""
    if loss < _MIN_LOSS:
        return 0
    loss = min(loss, 0.3)
    size = segments / groups_of(segments)
    return min(ceil(size * loss / (1 - loss) + 2 * sqrt(size * loss)) + SPARE, 255)


def repair(rounds: int, loss: float) -> int:
    """Rounds to send to a receiver that says it needs `rounds`, when this share of all frames is lost."""
    return min(ceil((rounds + SPARE) / (1 - min(loss, 0.5))), 255)


class Encoder:
    """Makes parity segments of one chunk file."""

    def __init__(self, chunk: int, frame: bytes | memoryview) -> None:
        self._chunk = chunk
        self._segments = segment_count(len(frame))
        self._words = [
            int.from_bytes(frame[at : at + SEGMENT_BYTES], "little") for at in range(0, len(frame), SEGMENT_BYTES)
        ]

    def parity(self, number: int) -> bytes:
        """Parity segment `number`, always `SEGMENT_BYTES` long: a short last segment counts as filled up with zeros."""
        groups = groups_of(self._segments)
        members = self._words[number % groups :: groups]
        return _sum(members, mask(self._chunk, number, self._segments)).to_bytes(SEGMENT_BYTES, "little")


def _sum(words: list[int], chosen: int) -> int:
    selectors = f"{chosen:b}"[::-1].encode().translate(_SELECT)
    return reduce(xor, compress(words, selectors), 0)


@lru_cache(maxsize=4096)
def _members(segments: int, group: int) -> int:
    """The segments of a group, as a bit set."""
    return bits.of(range(group, segments, groups_of(segments)))


def _missing(segments: int, got: int, group: int) -> list[int]:
    """Places within `group` of the segments that are not there."""
    groups = groups_of(segments)
    return [i // groups for i in bits.ascending(_members(segments, group) & ~got)]


def group_state(segments: int, got: int, parities: Iterable[int], number: int) -> tuple[int, list[int]]:
    """Of the group of parity `number`: how many segments are missing, and which of `parities` are there."""
    groups = groups_of(segments)
    group = number % groups
    lacking = _members(segments, group) & ~got
    return lacking.bit_count(), [p for p in parities if p % groups == group]


def rounds_needed(chunk: int, segments: int, got: int, parities: Iterable[int]) -> int:
    """How many more rounds of parity complete a chunk of which the segments `got` (bit set) and the parity segments
    `parities` are there. 0: it can be put together."""
    groups = groups_of(segments)
    if got.bit_count() == segments:
        return 0
    by_group: list[list[int]] = [[] for _ in range(groups)]
    for number in parities:
        by_group[number % groups].append(number)
    worst = 0
    for group in range(groups):
        missing = _missing(segments, got, group)
        if missing:
            worst = max(worst, len(missing) - _rank(chunk, segments, missing, by_group[group], worst))
    return worst


def _rank(chunk: int, segments: int, missing: list[int], parities: list[int], enough: int) -> int:
    """Rank of the parities on the missing places. Exact only where it can matter: too few rows are just counted."""
    if len(missing) - len(parities) > enough:
        return len(parities)
    unknown = 0
    for place in missing:
        unknown |= 1 << place
    basis: dict[int, int] = {}
    for number in parities:
        row = mask(chunk, number, segments) & unknown
        while row:
            top = row.bit_length()
            if top not in basis:
                basis[top] = row
                break
            row ^= basis[top]
        if len(basis) == len(missing):
            break
    return len(basis)


def restore(chunk: int, length: int, data: bytearray, got: int, parities: Mapping[int, bytes]) -> bool:
    """Fill the missing segments of `data` in place. False: the parities are too few."""
    segments = segment_count(length)
    groups = groups_of(segments)
    for group in range(groups):
        missing = _missing(segments, got, group)
        if not missing:
            continue
        rows = {number: body for number, body in parities.items() if number % groups == group}
        words = [
            int.from_bytes(data[i * SEGMENT_BYTES : min((i + 1) * SEGMENT_BYTES, length)], "little")
            if got >> i & 1
            else 0
            for i in range(group, segments, groups)
        ]
        solved = _solve(chunk, segments, words, missing, rows)
        if solved is None:
            return False
        for place, word in solved.items():
            start = (place * groups + group) * SEGMENT_BYTES
            end = min(start + SEGMENT_BYTES, length)
            data[start:end] = word.to_bytes(SEGMENT_BYTES, "little")[: end - start]
    return True


def _solve(
    chunk: int, segments: int, words: list[int], missing: list[int], rows: Mapping[int, bytes]
) -> dict[int, int] | None:
    """Gauss over GF(2): place -> segment, as integers. `words` has 0 at the missing places."""
    unknown = 0
    for place in missing:
        unknown |= 1 << place
    basis: dict[int, tuple[int, int]] = {}
    for number, body in rows.items():
        chosen = mask(chunk, number, segments)
        row, value = chosen & unknown, int.from_bytes(body, "little") ^ _sum(words, chosen & ~unknown)
        while row and row.bit_length() - 1 in basis:
            other, other_value = basis[row.bit_length() - 1]
            row, value = row ^ other, value ^ other_value
        if row:
            basis[row.bit_length() - 1] = row, value
        if len(basis) == len(missing):
            return _back(basis)
    return None


def _back(basis: dict[int, tuple[int, int]]) -> dict[int, int]:
    """From triangular to solved: lowest first, each row only knows solved places below its own."""
    solved: dict[int, int] = {}
    for place in sorted(basis):
        row, value = basis[place]
        row ^= 1 << place
        while row:
            low = row & -row
            value ^= solved[low.bit_length() - 1]
            row ^= low
        solved[place] = value
    return solved
