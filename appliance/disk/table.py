"""The partition table of a disk, whatever its kind: partitions, and every sector of it byte for byte.

A table is written back unchanged to a disk of the same size; for another size `place` moves what the format says must
move (docs/image-format.md section 4) and nothing else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise

from appliance.disk import gpt, mbr
from appliance.disk.blockdev import Geometry
from appliance.disk.errors import BadTable


@dataclass(frozen=True, slots=True)
class Piece:
    """Some sectors of the table, at a byte offset of the disk."""

    offset: int
    data: bytes

    @property
    def span(self) -> tuple[int, int]:
        """Offset and length."""
        return self.offset, len(self.data)


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition that holds data; the container of logical ones is none."""

    number: int
    offset: int
    length: int
    type: str  # GUID, or the MBR type as 0x07
    id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A partition table as found on a disk."""

    kind: str  # gpt | mbr | none
    id: str = ""
    pieces: tuple[Piece, ...] = ()
    partitions: tuple[Partition, ...] = ()

    def to_bytes(self) -> bytes:
        """All pieces, one after the other: the content of table.bin."""
        return b"".join(piece.data for piece in self.pieces)

    def first_gap(self, limit: int) -> tuple[int, int] | None:
        """Offset and length (at most `limit`) of what lies between the table and the first thing behind it."""
        if not self.pieces:
            return None
        heads = self.pieces[:3] if self.kind == "gpt" else self.pieces[:1]
        start = max(sum(piece.span) for piece in heads)
        behind = [part.offset for part in self.partitions] + [p.offset for p in self.pieces if p.offset >= start]
        length = min(limit, min(behind, default=start) - start)
        return (start, length) if length > 0 else None

    def minimum_disk_bytes(self, disk: Geometry) -> int:
        """The smallest disk that can take this table with its partitions where they are."""
        if self.kind == "none":
            return disk.size_bytes
        stays = self.pieces[:-2] if self.kind == "gpt" else self.pieces
        slots = mbr.primary(self.pieces[0].data) if self.kind == "mbr" else []  # the container of logical ones, too
        gap = self.first_gap(1 << 24)
        ends = [part.offset + part.length for part in self.partitions] + [sum(piece.span) for piece in stays]
        ends += [(slot.first_lba + slot.sectors) * disk.logical_sector for slot in slots if slot.type]
        end = max([*ends, sum(gap) if gap else 0])
        tail = sum(len(piece.data) for piece in self.pieces[-2:]) if self.kind == "gpt" else 0
        return min(disk.size_bytes, end + tail)


def read(handle: int, disk: Geometry) -> Table:
    """Read the table of an open disk or image file. Raises `BadTable` for a table that is there but damaged."""
    sector = disk.logical_sector
    if disk.size_bytes < 4 * sector:
        return Table("none")
    first = _read(handle, 0, sector)
    if mbr.has_signature(first) and any(entry.type == mbr.PROTECTIVE for entry in mbr.primary(first)):
        found = _read_gpt(handle, disk, first)
    elif mbr.is_plausible(first, disk.size_bytes // sector):
        found = _read_mbr(handle, disk, first)
    else:
        return Table("none")
    spans = sorted((part.offset, part.offset + part.length, part.number) for part in found.partitions)
    for left, right in pairwise(spans):
        if left[1] > right[0]:
            raise BadTable(f"Partitions {left[2]} and {right[2]} overlap at byte {right[0]}.", hint=_REPAIR)
    if spans and spans[-1][1] > disk.size_bytes:
        raise BadTable(f"Partition {spans[-1][2]} ends at byte {spans[-1][1]}, the disk at {disk.size_bytes}.")
    return found


_REPAIR = "Repair the partition table on the master first, with gdisk or fdisk."


def _read_gpt(handle: int, disk: Geometry, first: bytes) -> Table:
    sector, last = disk.logical_sector, disk.size_bytes // disk.logical_sector - 1
    primary, why = _gpt_half(handle, disk, 1)
    alternate = primary[0].alternate_lba if primary and 1 < primary[0].alternate_lba <= last else last
    backup, _ = _gpt_half(handle, disk, alternate)
    good = primary or backup
    if good is None:
        raise BadTable(f"Both copies of the GPT are damaged: {why}", hint=_REPAIR)
    header, entries = good
    count = header.entries_sectors()
    entries_at = primary[0].entries_lba if primary else 2
    backup_entries_at = backup[0].entries_lba if backup else alternate - count
    pieces = tuple(
        Piece(lba * sector, _read(handle, lba * sector, number * sector))
        for lba, number in ((0, 1), (1, 1), (entries_at, count), (backup_entries_at, count), (alternate, 1))
    )
    partitions = tuple(
        Partition(
            entry.number,
            entry.first_lba * sector,
            (entry.last_lba - entry.first_lba + 1) * sector,
            str(entry.type),
            str(entry.guid),
            entry.name,
        )
        for entry in entries
    )
    return Table("gpt", str(header.disk_guid), (Piece(0, first), *pieces[1:]), partitions)


def _gpt_half(handle: int, disk: Geometry, lba: int) -> tuple[tuple[gpt.Header, list[gpt.Entry]] | None, str]:
    """A header with its entries, or why there is none."""
    sector = disk.logical_sector
    try:
        header = gpt.Header.parse(_read(handle, lba * sector, sector), lba)
        size = header.entries_sectors() * sector
        if header.entries_lba * sector + size > disk.size_bytes:
            raise BadTable(f"The GPT header in sector {lba} says its entries are in sector {header.entries_lba}.")
        return (header, gpt.parse_entries(_read(handle, header.entries_lba * sector, size), header)), ""
    except BadTable as error:
        return None, str(error)


def _read_mbr(handle: int, disk: Geometry, first: bytes) -> Table:
    sector = disk.logical_sector
    found: list[mbr.Entry] = []
    pieces = [Piece(0, first)]
    number = 5
    for entry in mbr.primary(first):
        if not entry.sectors or not entry.type:
            continue
        if entry.type not in mbr.EXTENDED:
            found.append(entry)
            continue
        chain = mbr.logical(entry, lambda lba: _read(handle, lba * sector, sector), number)
        found.extend(chain.entries)
        pieces.extend(Piece(lba * sector, data) for lba, data in chain.ebrs)
        number += len(chain.entries)
    partitions = tuple(
        Partition(entry.number, entry.first_lba * sector, entry.sectors * sector, f"{entry.type:#04x}")
        for entry in found
    )
    return Table("mbr", mbr.disk_id(first), tuple(pieces), partitions)


def place(kind: str, pieces: list[Piece], old: Geometry, new: Geometry) -> list[Piece]:
    """The pieces for a disk of another size. Raises `BadTable` when neither copy of a GPT is whole."""
    if kind != "gpt" or old.size_bytes == new.size_bytes:
        return pieces
    sector = new.logical_sector
    last = new.size_bytes // sector - 1
    header, entries, is_primary = _whole_half(pieces, sector)
    count = header.entries_sectors()
    first_entries = header.entries_lba if is_primary else pieces[2].offset // sector
    usable = last - count - 1
    primary = header.moved(my_lba=1, alternate_lba=last, entries_lba=first_entries, last_usable=usable)
    backup = header.moved(my_lba=last, alternate_lba=1, entries_lba=last - count, last_usable=usable)
    protective = mbr.protect_disk_of(pieces[0].data, old.size_bytes // sector, new.size_bytes // sector)
    return [
        Piece(0, protective),
        Piece(sector, primary),
        Piece(first_entries * sector, entries),
        Piece((last - count) * sector, entries),
        Piece(last * sector, backup),
    ]


def _whole_half(pieces: list[Piece], sector: int) -> tuple[gpt.Header, bytes, bool]:
    problem = ""
    for at, entries, is_primary in ((1, 2, True), (4, 3, False)):
        try:
            header = gpt.Header.parse(pieces[at].data, pieces[at].offset // sector)
            gpt.parse_entries(pieces[entries].data, header)
            return header, pieces[entries].data, is_primary
        except (BadTable, IndexError) as error:
            problem = problem or str(error)
    raise BadTable(f"Neither copy of the image's GPT is whole: {problem}")


def _read(handle: int, offset: int, length: int) -> bytes:
    data = os.pread(handle, length, offset)
    if len(data) != length:
        raise BadTable(f"The disk ends within the {length} bytes at {offset}.")
    return data
