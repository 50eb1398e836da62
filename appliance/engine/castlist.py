"""The chunk numbers of a cast: both sides make the same list from manifest and indexes.

Rule: docs/cast-protocol.md section 1. All regions in the manifest's order, all records in an index's order, a repeated
id only the first time.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable
from itertools import accumulate

from appliance.engine.index import Index, Window
from appliance.engine.manifest import Manifest, Region
from appliance.engine.version import Version


def cast_chunks(manifest: bytes | Manifest, index_of: Callable[[str], bytes]) -> list[bytes]:
    """The chunk ids of a version; the place of each is its chunk number. Raises `BadImage` when a hash is wrong."""
    return chunk_list(Version.load(manifest, index_of))


def chunk_list(version: Version) -> list[bytes]:
    """As `cast_chunks`, of a version that is loaded."""
    regions = version.manifest.regions
    return list(dict.fromkeys(id for region in regions for id in version.indexes[region.name].ids()))


class Places:
    """Where on the disk each chunk goes. Windows have ordinals: as chunk numbers, but repeated ids count too.

    Kept in arrays of numbers, since a disk of a terabyte has a million windows."""

    def __init__(self, version: Version) -> None:
        self.ids = chunk_list(version)
        self._regions = version.manifest.regions
        self._indexes = [version.indexes[region.name] for region in self._regions]
        self._starts = [0, *accumulate(len(index) for index in self._indexes)]
        self._first = array("q")
        self._more: dict[int, list[int]] = {}
        numbers = {id: number for number, id in enumerate(self.ids)}
        for ordinal, id in enumerate(id for index in self._indexes for id in index.ids()):
            number = numbers[id]
            if number == len(self._first):
                self._first.append(ordinal)
            else:
                self._more.setdefault(number, []).append(ordinal)

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return self._starts[-1]

    def ordinals(self, chunk: int) -> list[int]:
        """The windows that hold the chunk of that number; at least one."""
        return [self._first[chunk], *self._more.get(chunk, ())]

    def window(self, ordinal: int) -> tuple[Region, Index, Window]:
        """The window of that ordinal."""
        at = bisect_right(self._starts, ordinal) - 1
        index = self._indexes[at]
        return self._regions[at], index, index[ordinal - self._starts[at]]
