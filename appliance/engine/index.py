"""The index of a region: which windows are stored, under which chunk id, and which bytes of them are in use.

Layout (docs/image-format.md section 5; little endian): a header of 32 bytes, `records` records of 48 bytes, `extents`
extents of 8 bytes, nothing else. The bytes stay as they are and are read lazily: a region of a terabyte has a
million records.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from blake3 import blake3

from appliance.engine.chunk import ID_BYTES, MAX_WINDOW_BYTES, MIN_WINDOW_BYTES
from appliance.engine.errors import BadImage

MAGIC = b"DCINDEX1"
_HEADER = struct.Struct("<8sIIQQ")  # magic, window_bytes, records, extents, region_bytes
_RECORD = struct.Struct("<32sQII")  # id, window, first extent, number of extents
_EXTENT = struct.Struct("<II")  # offset in window, length; bytes
MAX_RECORDS = 1 << 26
MAX_EXTENTS = 1 << 29

Extent = tuple[int, int]  # offset, length; bytes


@dataclass(frozen=True, slots=True)
class Window:
    """One stored window of a region."""

    number: int  # its first byte is number * window_bytes from the region's start
    id: bytes
    extents: tuple[Extent, ...]  # used bytes, relative to the window, ascending, apart from each other

    @property
    def used_bytes(self) -> int:
        """Bytes that a restore writes."""
        return sum(length for _, length in self.extents)


@dataclass(frozen=True, slots=True)
class Index:
    """A checked index. Make one with `parse` or `build`."""

    data: bytes
    window_bytes: int
    region_bytes: int
    records: int

    @classmethod
    def parse(cls, data: bytes, what: str = "the index") -> Index:
        """Check every field of `data` against the others. Raises `BadImage` naming `what`."""
        if len(data) < _HEADER.size:
            raise BadImage(f"{what} has {len(data)} bytes, fewer than its header of {_HEADER.size}.")
        magic, window_bytes, records, extents, region_bytes = _HEADER.unpack_from(data)
        if magic != MAGIC:
            raise BadImage(f"{what} begins with {magic!r}, not {MAGIC!r}.")
        if not is_window_size(window_bytes):
            raise BadImage(f"{what} says a window of {window_bytes} bytes, which is no allowed size.")
        expected = _HEADER.size + records * _RECORD.size + extents * _EXTENT.size
        if records > MAX_RECORDS or extents > MAX_EXTENTS or len(data) != expected:
            raise BadImage(f"{what} has {len(data)} bytes, but its header says {expected}.")
        if not 0 < region_bytes < 1 << 63:
            raise BadImage(f"{what} says a region of {region_bytes} bytes.")
        index = cls(bytes(data), window_bytes, region_bytes, records)
        index._check(what, extents)
        return index

    @classmethod
    def build(cls, windows: Iterable[Window], *, window_bytes: int, region_bytes: int) -> Index:
        """Encode `windows` (any order). Equal windows give equal bytes: sorted, equal extent lists shared."""
        lists: dict[tuple[Extent, ...], int] = {}
        table: list[bytes] = []
        rows: list[bytes] = []
        for window in sorted(windows, key=lambda item: item.number):
            first = lists.get(window.extents)
            if first is None:
                first = lists[window.extents] = len(table)
                table.extend(_EXTENT.pack(*extent) for extent in window.extents)
            rows.append(_RECORD.pack(window.id, window.number, first, len(window.extents)))
        header = _HEADER.pack(MAGIC, window_bytes, len(rows), len(table), region_bytes)
        return cls.parse(b"".join((header, *rows, *table)), "the new index")

    def __iter__(self) -> Iterator[Window]:
        """Every stored window, ascending."""
        return map(self.__getitem__, range(self.records))

    def __len__(self) -> int:
        return self.records

    def __getitem__(self, position: int) -> Window:
        """The stored window at `position` in the index (not the window of that number)."""
        if not 0 <= position < self.records:
            raise IndexError(position)
        id, number, first, count = _RECORD.unpack_from(self.data, _HEADER.size + position * _RECORD.size)
        table = _HEADER.size + self.records * _RECORD.size
        piece = self.data[table + first * _EXTENT.size : table + (first + count) * _EXTENT.size]
        return Window(number, id, tuple(_EXTENT.iter_unpack(piece)))

    def length_of(self, number: int) -> int:
        """Bytes of window `number`: window_bytes, or fewer at the region's end."""
        return min(self.window_bytes, self.region_bytes - number * self.window_bytes)

    def ids(self) -> Iterator[bytes]:
        """Every chunk id, in order, repeated ones too."""
        for at in range(_HEADER.size, _HEADER.size + self.records * _RECORD.size, _RECORD.size):
            yield self.data[at : at + ID_BYTES]

    @property
    def used_bytes(self) -> int:
        """Bytes of all used extents."""
        return sum(window.used_bytes for window in self)

    @property
    def hash(self) -> str:
        """BLAKE3 of the index's bytes, hex, as the manifest names it."""
        return blake3(self.data).hexdigest()

    def _check(self, what: str, extents: int) -> None:
        """Windows ascend and lie in the region, extents ascend and lie in their window."""
        last = -1
        windows = -(-self.region_bytes // self.window_bytes)
        table_at = _HEADER.size + self.records * _RECORD.size
        checked: dict[tuple[int, int], tuple[int, int]] = {}  # (first, count) -> (lowest, highest) byte
        for id, number, first, count in _RECORD.iter_unpack(self.data[_HEADER.size : table_at]):
            if not last < number < windows:
                raise BadImage(f"{what} has window {number} after {last}, in a region of {windows} windows.")
            last = number
            if not count or first + count > extents:
                raise BadImage(f"{what}: window {number} has extents {first}+{count}, of {extents}.")
            if (first, count) not in checked:
                checked[first, count] = self._span(what, table_at + first * _EXTENT.size, count)
            if checked[first, count][1] > self.length_of(number):
                raise BadImage(f"{what}: an extent of window {number} (chunk {id.hex()[:12]}…) ends behind it.")

    def _span(self, what: str, at: int, count: int) -> tuple[int, int]:
        """First and last byte of an extent list, which must ascend with gaps between."""
        end = -1
        piece = self.data[at : at + count * _EXTENT.size]
        for offset, length in _EXTENT.iter_unpack(piece):
            if offset <= end or not length:
                raise BadImage(f"{what} has the extent {offset}+{length} after one that ends at {end}.")
            end = offset + length
        return _EXTENT.unpack_from(piece)[0], end


def is_window_size(window_bytes: int) -> bool:
    """Whether windows may have this size: a power of two from 64 KiB to 4 MiB."""
    return MIN_WINDOW_BYTES <= window_bytes <= MAX_WINDOW_BYTES and not window_bytes & (window_bytes - 1)
