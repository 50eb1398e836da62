"""GUID partition table: headers, entries, and the same table for a disk of another size.

Reference: UEFI 2.10 section 5.3. Little endian. Sectors (LBA) are logical sectors.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from appliance.disk.errors import BadTable

SIGNATURE = b"EFI PART"
# signature, revision, header size, CRC, reserved, my LBA, alternate LBA, first usable, last usable, disk GUID,
# LBA of entries, number of entries, size of an entry, CRC of entries
_HEADER = struct.Struct("<8sIIII QQQQ 16s QIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")
MAX_ENTRIES_BYTES = 1 << 20
_CRC_AT, _MY_AT, _ALTERNATE_AT, _LAST_USABLE_AT, _ENTRIES_AT = 16, 24, 32, 48, 72


@dataclass(frozen=True, slots=True)
class Header:
    """One of the two headers, with its whole sector."""

    sector: bytes
    header_bytes: int
    my_lba: int
    alternate_lba: int
    first_usable: int
    last_usable: int
    disk_guid: UUID
    entries_lba: int
    entry_count: int
    entry_bytes: int
    entries_crc: int

    @classmethod
    def parse(cls, sector: bytes, lba: int) -> Header:
        """Read the header in `sector`, which lies at `lba`. Raises `BadTable`."""
        if len(sector) < 512 or sector[:8] != SIGNATURE:
            raise BadTable(f"Sector {lba} holds no GPT header.")
        (_, _, size, crc, _, mine, other, first, last, guid, entries, count, entry, entries_crc) = _HEADER.unpack_from(
            sector
        )
        if not _HEADER.size <= size <= len(sector):
            raise BadTable(f"The GPT header in sector {lba} says it is {size} bytes long.")
        if header_crc(sector, size) != crc:
            raise BadTable(f"The GPT header in sector {lba} has CRC {header_crc(sector, size):#x}, but says {crc:#x}.")
        if mine != lba:
            raise BadTable(f"The GPT header in sector {lba} says it is in sector {mine}.")
        if entry < _ENTRY.size or entry & (entry - 1) or not 0 < count * entry <= MAX_ENTRIES_BYTES:
            raise BadTable(f"The GPT header in sector {lba} says {count} entries of {entry} bytes.")
        return cls(
            bytes(sector), size, mine, other, first, last, UUID(bytes_le=guid), entries, count, entry, entries_crc
        )

    def entries_sectors(self) -> int:
        """How many sectors the entries take."""
        return -(-self.entry_count * self.entry_bytes // len(self.sector))

    def moved(self, *, my_lba: int, alternate_lba: int, entries_lba: int, last_usable: int) -> bytes:
        """This header's sector for other places, with its CRC; every other byte stays."""
        sector = bytearray(self.sector)
        struct.pack_into("<QQ", sector, _MY_AT, my_lba, alternate_lba)
        struct.pack_into("<Q", sector, _LAST_USABLE_AT, last_usable)
        struct.pack_into("<Q", sector, _ENTRIES_AT, entries_lba)
        struct.pack_into("<I", sector, _CRC_AT, header_crc(sector, self.header_bytes))
        return bytes(sector)


@dataclass(frozen=True, slots=True)
class Entry:
    """One partition."""

    number: int  # from 1, the place in the table
    type: UUID
    guid: UUID
    first_lba: int
    last_lba: int  # inclusive
    attributes: int
    name: str


def header_crc(sector: bytes | bytearray, size: int) -> int:
    """CRC-32 of a header with its own CRC field taken as zero."""
    return zlib.crc32(bytes(sector[:_CRC_AT]) + bytes(4) + bytes(sector[_CRC_AT + 4 : size]))


def parse_entries(data: bytes, header: Header) -> list[Entry]:
    """The used entries of `data` (whole sectors). Raises `BadTable`."""
    size = header.entry_count * header.entry_bytes
    if len(data) < size:
        raise BadTable(f"The GPT has {len(data)} bytes of entries, its header says {size}.")
    crc = zlib.crc32(data[:size])
    if crc != header.entries_crc:
        raise BadTable(f"The GPT entries have CRC {crc:#x}, their header says {header.entries_crc:#x}.")
    found = []
    for number in range(header.entry_count):
        kind, guid, first, last, attributes, name = _ENTRY.unpack_from(data, number * header.entry_bytes)
        if kind == bytes(16):
            continue
        if last < first or first < header.first_usable or last > header.last_usable:
            raise BadTable(f"GPT partition {number + 1} is from sector {first} to {last}, outside the usable ones.")
        text = name.decode("utf-16-le", "replace").split("\0")[0]
        found.append(Entry(number + 1, UUID(bytes_le=kind), UUID(bytes_le=guid), first, last, attributes, text))
    return found
