"""One chunk file that is being put together from segments and parity, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.cast import fec
from appliance.wire.cast import SEGMENT_BYTES, segment_count

SPARE_PARITIES = 16
WHOLE = 0.3  # of a chunk: a receiver that lacks more asks for it whole rather than for parity


@dataclass(slots=True)
class Assembly:
    """What is there of one chunk file."""

    chunk: int
    length: int  # of the file, bytes
    got: int = 0  # bit set of segments
    parities: dict[int, bytes] = field(default_factory=dict)  # parity number -> parity segment
    data: bytearray | None = None  # None until a payload comes: a simulation sends none
    heard_at: float = 0.0

    @property
    def segments(self) -> int:
        """How many segments the chunk file has."""
        return segment_count(self.length)

    def add(self, first: int, payloads: Sequence[memoryview | bytes] | None, count: int) -> int:
        """Take in `count` segments from `first` on. Returns how many were new."""
        added = ((1 << count) - 1) << first
        new = (added & ~self.got).bit_count()
        if new and payloads is not None:
            if self.data is None:
                self.data = bytearray(self.length)
            start = first * SEGMENT_BYTES
            self.data[start : min(start + count * SEGMENT_BYTES, self.length)] = b"".join(payloads)
        self.got |= added
        return new

    def add_parity(self, number: int, payload: memoryview | bytes) -> bool:
        """Take in one parity segment, if its group lacks something. Returns whether it was new.

        Each group keeps at most `SPARE_PARITIES` more than it lacks segments; the oldest makes room."""
        lacks, rows = fec.group_state(self.segments, self.got, self.parities, number)
        if number in self.parities or not lacks:
            return False
        if len(rows) >= lacks + SPARE_PARITIES:
            del self.parities[rows[0]]
        self.parities[number] = bytes(payload)
        return True

    def rounds_needed(self) -> int:
        """Rounds of parity that would complete it; 0: it is complete."""
        return fec.rounds_needed(self.chunk, self.segments, self.got, self.parities)

    def lacks_much(self) -> bool:
        """Whether it is cheaper to get the chunk whole than by parity."""
        return self.segments - self.got.bit_count() > max(WHOLE * self.segments, 3)

    def file(self) -> bytearray | None:
        """The chunk file, what is missing restored from parity; for a worker thread. None: it cannot be restored."""
        if self.data is None:
            return None
        if self.got.bit_count() < self.segments and not fec.restore(
            self.chunk, self.length, self.data, self.got, self.parities
        ):
            return None
        return self.data
