"""MBR partition table: four primary entries, and the chain of EBRs that holds the logical ones.

References: UEFI 2.10 section 5.2; Linux block/partitions/msdos.c for the numbering of logical partitions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from appliance.disk.errors import BadTable

_ENTRY = struct.Struct("<B3sB3sII")
_TABLE_AT, _ID_AT, _ENTRY_BYTES = 446, 440, 16
EXTENDED = (0x05, 0x0F, 0x85)
PROTECTIVE = 0xEE
MAX_LOGICAL = 256


@dataclass(frozen=True, slots=True)
class Entry:
    """One slot of a table; empty when `sectors` is 0."""

    number: int  # 1 to 4, logical ones from 5
    active: int
    type: int
    first_lba: int
    sectors: int


@dataclass(frozen=True, slots=True)
class Chain:
    """Logical partitions and the sectors (LBA) that describe them."""

    entries: tuple[Entry, ...]
    ebrs: tuple[tuple[int, bytes], ...]


def has_signature(sector: bytes) -> bool:
    """Whether the sector ends (at 510) with 55 AA."""
    return len(sector) >= 512 and sector[510:512] == b"\x55\xaa"


def disk_id(sector: bytes) -> str:
    """The disk signature as 8 hex digits."""
    return f"{struct.unpack_from('<I', sector, _ID_AT)[0]:08x}"


def primary(sector: bytes) -> list[Entry]:
    """The four slots of sector 0."""
    return [_entry(sector, slot, slot + 1) for slot in range(4)]


def is_plausible(sector: bytes, disk_sectors: int) -> bool:
    """Whether sector 0 is a partition table rather than a boot sector of a file system, or noise."""
    entries = [entry for entry in primary(sector) if entry.sectors and entry.type]
    if not has_signature(sector) or not entries:
        return False
    for slot in primary(sector):
        if slot.active not in (0, 0x80):
            return False
    spans = sorted((entry.first_lba, entry.first_lba + entry.sectors) for entry in entries)
    if spans[0][0] < 1 or spans[-1][1] > disk_sectors:
        return False
    return all(left[1] <= right[0] for left, right in pairwise(spans))


def logical(container: Entry, read: Callable[[int], bytes], first_number: int = 5) -> Chain:
    """Follow the EBRs inside `container`. `read` gives the sector at an LBA. Raises `BadTable` for loops and strays."""
    entries: list[Entry] = []
    ebrs: list[tuple[int, bytes]] = []
    seen: set[int] = set()
    end = container.first_lba + container.sectors
    at = container.first_lba
    while True:
        if at in seen or len(seen) >= MAX_LOGICAL or not container.first_lba <= at < end:
            raise BadTable(
                f"The chain of logical partitions loops, leaves its container or is too long at sector {at}."
            )
        seen.add(at)
        sector = read(at)
        if not has_signature(sector):
            if len(seen) == 1:
                return Chain((), ())  # an extended partition that was never filled
            raise BadTable(f"The extended boot record in sector {at} has no signature.")
        ebrs.append((at, sector))
        slots = [_entry(sector, slot, 0) for slot in range(2)]
        following = 0
        for slot in slots:
            if not slot.sectors:
                continue
            if slot.type in EXTENDED:
                following = following or container.first_lba + slot.first_lba
                continue
            if at + slot.first_lba + slot.sectors > end:
                raise BadTable(f"The logical partition of sector {at} ends behind its container.")
            number = first_number + len(entries)
            entries.append(Entry(number, slot.active, slot.type, at + slot.first_lba, slot.sectors))
        if not following:
            return Chain(tuple(entries), tuple(ebrs))
        at = following


def protect_disk_of(sector: bytes, old_sectors: int, new_sectors: int) -> bytes:
    """Sector 0 of a GPT disk for another disk size: a protective entry that ended with the disk does so again."""
    changed = bytearray(sector)
    for entry in primary(sector):
        if entry.type == PROTECTIVE and entry.first_lba + entry.sectors == old_sectors:
            last = min(new_sectors - entry.first_lba, 0xFFFFFFFF)
            struct.pack_into("<I", changed, _TABLE_AT + (entry.number - 1) * _ENTRY_BYTES + 12, last)
    return bytes(changed)


def _entry(sector: bytes, slot: int, number: int) -> Entry:
    active, _, kind, _, first, sectors = _ENTRY.unpack_from(sector, _TABLE_AT + slot * _ENTRY_BYTES)
    return Entry(number, active, kind, first, sectors)
