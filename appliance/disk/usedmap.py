"""Which bytes of a partition are in use, found without mounting and without writing.

| file system             | source                                                                              |
|-------------------------|-------------------------------------------------------------------------------------|
| NTFS, journal closed    | partclone's map of `$Bitmap`                                                        |
| NTFS otherwise          | everything: the log may hold changes of `$Bitmap` that are not in it yet            |
| ext, clean              | partclone's map of the block bitmaps                                                |
| ext, needs recovery     | block bitmaps, and the newer ones in the journal (`disk.ext`)                        |
| FAT                     | the first FAT                                                                       |
| swap                    | the header page                                                                     |
| anything else           | everything                                                                          |

Whatever cannot be found out is answered with "everything": a capture may be too large, never too small.
Field notes on partclone: it refuses an existing output file and needs a log path it can write.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from appliance.disk import ext, fat, ntfs
from appliance.disk.errors import BadTable
from appliance.disk.extents import Extent, normal, total
from appliance.disk.filesystem import FileSystem

_TAIL_BYTES = 1 << 20  # behind a file system that ends before its partition: kept when it is no longer than this
_PARTCLONE = {"ntfs": "partclone.ntfs", "ext2": "partclone.ext2", "ext3": "partclone.ext3", "ext4": "partclone.ext4"}
_MAP_LINE = re.compile(r"^0x([0-9A-Fa-f]+)\s+0x([0-9A-Fa-f]+)\s+([+?])\s*$")


@dataclass(frozen=True, slots=True)
class UsedMap:
    """The used bytes of a partition: a normal list of extents, and how they were found."""

    extents: tuple[Extent, ...]
    method: str  # whole | partclone | ext-journal | fat | swap-header
    note: str = ""  # one sentence for the operator, when there is something to say

    @property
    def used_bytes(self) -> int:
        """How many bytes are in use."""
        return total(self.extents)


class NoMap(Exception):
    """Why the used bytes cannot be told; never leaves this module."""


def whole(length: int, note: str) -> UsedMap:
    """Everything is in use."""
    return UsedMap(((0, length),), "whole", note)


def used_map(path: Path, handle: int, offset: int, length: int, known: FileSystem) -> UsedMap:
    """The used bytes of the partition of `length` bytes at `offset` of the open disk `handle`.

    `path` gives other programs just this partition. Raises `OSError` only.
    """
    look = _LOOKS.get(known.kind)
    if look is None:
        return whole(length, "")
    try:
        found, method, note = look(_Place(path, handle, offset, length, known))
    except (NoMap, BadTable) as error:
        return whole(length, f"Captured whole: {error}")
    # A little more than the maps say: boot code before, and what hides behind the end of the file system.
    always = [(0, min(length, _HEAD_BYTES.get(known.kind, 512)))]
    if known.kind != "swap" and (known.kind == "ntfs" or length - known.size_bytes <= _TAIL_BYTES):
        always.append((known.size_bytes, min(length - known.size_bytes, _TAIL_BYTES)))
    return UsedMap(tuple(normal([*found, *always], end=length)), method, note)


# ext: the boot block before the superblock; NTFS: $Boot is 16 sectors, and its bitmap says so, but it must never lack.
_HEAD_BYTES = {"ntfs": 8192, "ext2": 4096, "ext3": 4096, "ext4": 4096}


@dataclass(frozen=True, slots=True)
class _Place:
    path: Path
    handle: int
    offset: int
    length: int
    known: FileSystem


_Found = tuple[list[Extent], str, str]


def _look_ntfs(place: _Place) -> _Found:
    state = ntfs.state(place.handle, place.offset)
    if state:
        raise NoMap(f"{state} Shut Windows down completely before a capture (shutdown /s /t 0), for a smaller image.")
    return _partclone(place), "partclone", ""


def _look_ext(place: _Place) -> _Found:
    if place.known.is_damaged:
        raise NoMap("the ext file system is marked as damaged; check it with e2fsck for a smaller image.")
    if not place.known.needs_recovery:
        return _partclone(place), "partclone", ""
    after = ext.used_after_recovery(place.handle, place.offset, place.length)
    note = "it was not shut down cleanly; its journal is captured as it is and will be replayed at its first start."
    return after, "ext-journal", note


def _look_fat(place: _Place) -> _Found:
    return fat.used(place.handle, place.offset), "fat", ""


def _look_swap(place: _Place) -> _Found:
    return [(0, place.known.block_bytes)], "swap-header", ""


_LOOKS: dict[str, Callable[[_Place], _Found]] = {
    "ntfs": _look_ntfs,
    "ext2": _look_ext,
    "ext3": _look_ext,
    "ext4": _look_ext,
    "fat12": _look_fat,
    "fat16": _look_fat,
    "fat32": _look_fat,
    "swap": _look_swap,
}


def _partclone(place: _Place) -> list[Extent]:
    """The map that `partclone.<fs> -D` writes. Raises `NoMap`."""
    program = _PARTCLONE[place.known.kind]
    with tempfile.TemporaryDirectory(prefix="diecast-map-") as folder:
        output = Path(folder) / "map"
        # -F: an ext file system that needs recovery is refused otherwise; -B -q: no progress to print.
        command = [program, "-D", "-F", "-q", "-s", str(place.path), "-o", str(output), "-L", f"{folder}/log"]
        try:
            done = subprocess.run(
                command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False, text=True
            )
        except OSError as error:
            raise NoMap(f"{program} cannot be started ({error.strerror}).") from None
        if done.returncode or not output.exists():
            lines = done.stderr.strip().splitlines() or ["it says nothing"]
            raise NoMap(f"{program} ended with status {done.returncode}: {lines[-1][:200]}.")
        return parse_map(output.read_text(encoding="ascii", errors="replace"), place.known.size_bytes)


def parse_map(text: str, size_bytes: int) -> list[Extent]:
    """The used extents of a ddrescue-style map, which must cover `size_bytes` almost. Raises `NoMap`."""
    used: list[Extent] = []
    end = 0
    for line in text.splitlines():
        match = _MAP_LINE.match(line)
        if match:
            at, length = int(match[1], 16), int(match[2], 16)
            if at != end:
                raise NoMap(f"the map of used blocks jumps from byte {end} to {at}.")
            end = at + length
            if match[3] == "+":
                used.append((at, length))
    if not used:
        raise NoMap("the map of used blocks has none.")
    if end > size_bytes or size_bytes - end > max(_TAIL_BYTES, size_bytes >> 8):
        raise NoMap(f"the map of used blocks ends at byte {end}, the file system at {size_bytes}.")
    return normal([*used, (end, size_bytes - end)])


def tool_versions(methods: Collection[str]) -> dict[str, str]:
    """Name and version of the programs whose answers went into maps made by `methods`."""
    if "partclone" not in methods:
        return {}
    try:
        done = subprocess.run(["partclone.ntfs", "-v"], capture_output=True, text=True, check=False)
    except OSError:
        return {}
    match = re.search(r"v?(\d+\.\d+[\w.]*)", done.stdout + done.stderr)
    return {"partclone": match[1]} if match else {}
