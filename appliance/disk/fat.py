"""The used bytes of a FAT12, FAT16 or FAT32 file system: what lies before the clusters, and clusters that are not free.

Reference: Microsoft FAT specification 1.03. A bad cluster (0xFF7 …) counts as used:
its number in the FAT stays, and its content costs little.
"""

from __future__ import annotations

import os
from itertools import groupby

from appliance.disk.errors import BadTable
from appliance.disk.extents import Extent, normal
from appliance.disk.filesystem import FatShape

_STEP = 3 << 18  # bytes of FAT read at once; a multiple of 12 keeps entries of all three widths whole


def used(handle: int, offset: int) -> list[Extent]:
    """The used extents, relative to the file system at `offset`. Raises `BadTable`, `OSError`."""
    shape = FatShape.parse(os.pread(handle, 512, offset))
    if shape is None:
        raise BadTable("The boot sector is no FAT boot sector.")
    found: list[Extent] = [(0, shape.data_at)]
    last_cluster = shape.clusters + 2  # exclusive
    first = 0
    at = 0
    while first < last_cluster and at < shape.fat_bytes:
        piece = os.pread(handle, min(_STEP, shape.fat_bytes - at), offset + shape.fat_at + at)
        if not piece:
            raise BadTable("The disk ends inside the FAT.")
        entries = _entries(piece, shape.bits)[: last_cluster - first]
        number = first
        for is_used, group in groupby(entries, key=bool):
            count = sum(1 for _ in group)
            start, stop = max(number, 2), number + count
            if is_used and stop > start:
                found.append((shape.data_at + (start - 2) * shape.cluster_bytes, (stop - start) * shape.cluster_bytes))
            number = stop
        first, at = number, at + len(piece)
    return normal(found)


def _entries(data: bytes, bits: int) -> list[int]:
    """The entries of a piece of a FAT that begins at a whole entry."""
    if bits == 16:
        return list(memoryview(data[: len(data) // 2 * 2]).cast("H"))
    if bits == 32:
        return [value & 0x0FFFFFFF for value in memoryview(data[: len(data) // 4 * 4]).cast("I")]
    result = []
    for at in range(0, len(data) - 2, 3):
        triple = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        result += [triple & 0xFFF, triple >> 12]
    if len(data) % 3 == 2:
        result.append((data[-2] | data[-1] << 8) & 0xFFF)
    return result
