"""The used bytes of an ext2, ext3 or ext4 file system whose journal waits to be replayed.

After a hard power-off the block bitmaps on the disk can be older than the data: a committed transaction in the journal
holds the newer ones. Replaying would write to the master, so nothing is replayed here. The answer is everything that
*any* state could call used: the bitmaps on the disk, every copy of a bitmap in the journal (committed or not), and all
places where metadata may lie. That is never too little, whatever the kernel later decides to replay.

References: the kernel's Documentation/filesystems/ext4 (super, group descriptors, bitmaps) and fs/jbd2/recovery.c for
the journal. Features this does not know (bigalloc, meta_bg, fast commits, external journals) end in `BadTable`.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from appliance.disk.errors import BadTable
from appliance.disk.extents import Extent, normal

_SUPER_AT, _MAGIC = 1024, 0xEF53
_COMPAT_JOURNAL, _COMPAT_SPARSE2, _COMPAT_FAST_COMMIT = 0x0004, 0x0200, 0x0400
_INCOMPAT_JOURNAL_DEVICE, _INCOMPAT_META_BG, _INCOMPAT_64BIT = 0x0008, 0x0010, 0x0080
_RO_SPARSE_SUPER, _RO_BIGALLOC = 0x0001, 0x0200
_BLOCK_UNINIT = 0x0002  # group: its bitmap was never written
_INODE_HAS_EXTENTS = 0x00080000
_MAX_GROUPS = 1 << 20
_MAX_JOURNAL_BLOCKS = 1 << 22
_RUNS = re.compile(rb"\xff+|\x00+|[^\x00\xff]", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Group:
    bitmap: int  # block numbers
    inode_bitmap: int
    inode_table: int
    has_bitmap: bool


@dataclass(frozen=True, slots=True)
class _Volume:
    """The superblock's numbers, checked."""

    handle: int
    offset: int
    block: int
    blocks: int
    first: int  # first data block: 1 with 1 KiB blocks, else 0
    group_blocks: int
    group_inodes: int
    inode_bytes: int
    descriptor_bytes: int
    reserved_gdt: int
    sparse: bool
    journal_inode: int

    @property
    def groups(self) -> int:
        return -(-(self.blocks - self.first) // self.group_blocks)

    @property
    def gdt_blocks(self) -> int:
        return -(-self.groups * self.descriptor_bytes // self.block)

    def read(self, number: int) -> bytes:
        """One block."""
        if not 0 <= number < self.blocks:
            raise BadTable(f"Block {number} lies outside the ext file system of {self.blocks} blocks.")
        data = os.pread(self.handle, self.block, self.offset + number * self.block)
        if len(data) != self.block:
            raise BadTable(f"The disk ends at block {number} of the ext file system.")
        return data


def used_after_recovery(handle: int, offset: int, length: int) -> list[Extent]:
    """The used extents, relative to the partition at `offset`. Raises `BadTable` or `OSError`."""
    volume = _volume(handle, offset, length)
    groups = _groups(volume)
    found: list[Extent] = [(0, (volume.first + 1) * volume.block)]
    found += ((block * volume.block, count * volume.block) for block, count in _metadata(volume, groups))
    where = {group.bitmap: number for number, group in enumerate(groups)}
    written = {number for number, group in enumerate(groups) if group.has_bitmap}
    for target, data in _logged(volume) if volume.journal_inode else ():
        if target in where:
            found += _bits(volume, where[target], data)
        elif 0 <= target - volume.first - 1 < volume.gdt_blocks:
            # The disk's own descriptor may still say that a bitmap was never written when it has been since.
            written.update(_with_bitmap(volume, target - volume.first - 1, data))
        elif target == volume.first and _size_in(data, volume.first) not in (0, volume.blocks):
            raise BadTable("the ext file system was being resized.")
    for number in written:
        found += _bits(volume, number, volume.read(groups[number].bitmap))
    return normal(found, end=volume.blocks * volume.block)


def _volume(handle: int, offset: int, length: int) -> _Volume:
    data = os.pread(handle, 1024, offset + _SUPER_AT)
    if len(data) < 1024 or struct.unpack_from("<H", data, 56)[0] != _MAGIC:
        raise BadTable("There is no ext superblock.")
    blocks, first, log_size = struct.unpack_from("<I12xII", data, 4)
    group_blocks, _, group_inodes = struct.unpack_from("<III", data, 32)
    inode_bytes, _, compat, incompat, compat_ro = struct.unpack_from("<HHIII", data, 88)
    reserved_gdt, journal_inode, journal_device = (
        struct.unpack_from("<H", data, 206)[0],
        *struct.unpack_from("<II", data, 224),
    )
    descriptor = struct.unpack_from("<H", data, 254)[0] if incompat & _INCOMPAT_64BIT else 32
    if incompat & _INCOMPAT_64BIT:
        blocks |= struct.unpack_from("<I", data, 336)[0] << 32
    unknown = (
        compat & (_COMPAT_SPARSE2 | _COMPAT_FAST_COMMIT)
        or incompat & (_INCOMPAT_JOURNAL_DEVICE | _INCOMPAT_META_BG)
        or compat_ro & _RO_BIGALLOC
        or (journal_device and not journal_inode)
    )
    if unknown:
        raise BadTable("the ext file system was not shut down cleanly and has features this program cannot follow.")
    block = 1024 << min(log_size, 7)
    if (
        block > 65536
        or not blocks
        or blocks * block > length
        or first != (1 if block == 1024 else 0)
        or not 8 <= group_blocks <= 8 * block
        or not 1 <= group_inodes <= 8 * block
        or descriptor not in (32, 64, 128, 256, 512, 1024)
        or inode_bytes not in (128, 256, 512, 1024, 2048, 4096)
        or inode_bytes > block
    ):
        raise BadTable("The ext superblock contradicts itself.")
    journal = journal_inode if compat & _COMPAT_JOURNAL else 0
    volume = _Volume(
        handle,
        offset,
        block,
        blocks,
        first,
        group_blocks,
        group_inodes,
        inode_bytes,
        descriptor,
        reserved_gdt,
        bool(compat_ro & _RO_SPARSE_SUPER),
        journal,
    )
    if volume.groups > _MAX_GROUPS:
        raise BadTable(f"The ext superblock says {volume.groups} groups.")
    return volume


def _groups(volume: _Volume) -> list[_Group]:
    table = b"".join(volume.read(volume.first + 1 + i) for i in range(volume.gdt_blocks))
    result = []
    for number in range(volume.groups):
        at = number * volume.descriptor_bytes
        bitmap, inode_bitmap, inode_table = struct.unpack_from("<III", table, at)
        flags = struct.unpack_from("<H", table, at + 18)[0]
        if volume.descriptor_bytes >= 64:
            high = struct.unpack_from("<III", table, at + 32)
            bitmap, inode_bitmap, inode_table = (
                low | part << 32 for low, part in zip((bitmap, inode_bitmap, inode_table), high, strict=True)
            )
        result.append(_Group(bitmap, inode_bitmap, inode_table, not flags & _BLOCK_UNINIT))
    return result


def _with_bitmap(volume: _Volume, position: int, block: bytes) -> Iterator[int]:
    """The groups that a copy of block `position` of the descriptor table says have a bitmap."""
    each = volume.block // volume.descriptor_bytes
    for i in range(min(each, volume.groups - position * each)):
        if not struct.unpack_from("<H", block, i * volume.descriptor_bytes + 18)[0] & _BLOCK_UNINIT:
            yield position * each + i


def _metadata(volume: _Volume, groups: list[_Group]) -> Iterator[tuple[int, int]]:
    """Blocks (first, count) that are in use whether a bitmap says so or not."""
    table_blocks = -(-volume.group_inodes * volume.inode_bytes // volume.block)
    for number, group in enumerate(groups):
        start = volume.first + number * volume.group_blocks
        if _has_super(number, volume.sparse):
            yield start, 1 + volume.gdt_blocks + volume.reserved_gdt
        yield group.bitmap, 1
        yield group.inode_bitmap, 1
        yield group.inode_table, table_blocks


def _has_super(group: int, sparse: bool) -> bool:
    if not sparse or group <= 1:
        return True
    for base in (3, 5, 7):
        power = base
        while power < group:
            power *= base
        if power == group:
            return True
    return False


def _bits(volume: _Volume, group: int, bitmap: bytes) -> Iterator[Extent]:
    """The used extents of a group according to a bitmap."""
    start = volume.first + group * volume.group_blocks
    count = min(volume.group_blocks, volume.blocks - start)
    for first, length in set_bits(bitmap[: -(-count // 8)]):
        length = min(length, count - first)
        if length > 0:
            yield (start + first) * volume.block, length * volume.block


def set_bits(bitmap: bytes) -> Iterator[tuple[int, int]]:
    """Runs (first, count) of set bits, lowest bit of a byte first; runs may touch."""
    for match in _RUNS.finditer(bitmap):
        value, at = match[0][0], match.start() * 8
        if value == 0xFF:
            yield at, (match.end() - match.start()) * 8
        elif value:
            yield from ((at + bit, 1) for bit in range(8) if value >> bit & 1)


def _size_in(block: bytes, first: int) -> int:
    """The number of blocks in a logged copy of the superblock's block; 0 if it is none."""
    at = 0 if first else _SUPER_AT
    if struct.unpack_from("<H", block, at + 56)[0] != _MAGIC:
        return 0
    low, high = struct.unpack_from("<I", block, at + 4)[0], struct.unpack_from("<I", block, at + 336)[0]
    is_64 = struct.unpack_from("<I", block, at + 96)[0] & _INCOMPAT_64BIT
    return int(low | high << 32 if is_64 else low)


# -- the journal (big endian)

_JOURNAL_MAGIC = 0xC03B3998
_DESCRIPTOR, _COMMIT, _SUPER_1, _SUPER_2, _REVOKE = 1, 2, 3, 4, 5
_JOURNAL_64BIT, _JOURNAL_CSUM2, _JOURNAL_CSUM3, _JOURNAL_KNOWN = 0x02, 0x08, 0x10, 0x1F
_TAG_ESCAPE, _TAG_SAME_UUID, _TAG_LAST = 1, 2, 8


def _logged(volume: _Volume) -> Iterator[tuple[int, bytes]]:
    """Every block copy (target block, content) in the part of the journal that recovery would look at."""
    places = _journal_blocks(volume)
    head = volume.read(places[0])
    magic, kind, _, size, length, first, sequence, start = struct.unpack_from(">IIIIIIII", head)
    incompat = struct.unpack_from(">I", head, 40)[0] if kind == _SUPER_2 else 0
    if magic != _JOURNAL_MAGIC or kind not in (_SUPER_1, _SUPER_2) or size != volume.block:
        raise BadTable("The ext journal has no superblock.")
    if incompat & ~_JOURNAL_KNOWN:
        raise BadTable("the ext journal has features this program cannot follow.")
    if start == 0:
        return
    if not 0 < first <= start < length <= len(places):
        raise BadTable("The ext journal's superblock contradicts itself.")
    at, steps = start, 0

    def take() -> bytes:
        nonlocal at, steps
        data = volume.read(places[at])
        at, steps = (at + 1 if at + 1 < length else first), steps + 1
        return data

    while steps < length:
        block = take()
        magic, kind, found = struct.unpack_from(">III", block)
        if magic != _JOURNAL_MAGIC or found != sequence & 0xFFFFFFFF:
            return
        if kind == _COMMIT:
            sequence += 1
        elif kind == _DESCRIPTOR:
            for target, flags in _tags(block, incompat):
                data = take()
                if flags & _TAG_ESCAPE:  # its first word looked like the journal's magic
                    data = struct.pack(">I", _JOURNAL_MAGIC) + data[4:]
                yield target, data
        elif kind != _REVOKE:
            return


def _tags(block: bytes, incompat: int) -> Iterator[tuple[int, int]]:
    """(target block, flags) of a descriptor block; `journal_tag_bytes` of the kernel says how long a tag is."""
    is_64, is_3 = incompat & _JOURNAL_64BIT, incompat & _JOURNAL_CSUM3
    size = 16 if is_3 else 8 + (2 if incompat & _JOURNAL_CSUM2 else 0) + (4 if is_64 else 0)
    end = len(block) - (4 if incompat & (_JOURNAL_CSUM2 | _JOURNAL_CSUM3) else 0)
    at = 12
    while at + size <= end:
        if is_3:
            low, flags, high = struct.unpack_from(">III", block, at)
        else:
            low, _, flags = struct.unpack_from(">IHH", block, at)
            high = struct.unpack_from(">I", block, at + 8)[0] if is_64 else 0
        yield low | (high << 32 if is_64 else 0), flags
        at += size if flags & _TAG_SAME_UUID else size + 16
        if flags & _TAG_LAST:
            return


def _journal_blocks(volume: _Volume) -> list[int]:
    """Where every block of the journal lies."""
    number = volume.journal_inode - 1
    group = _groups(volume)[number // volume.group_inodes]
    at = number % volume.group_inodes * volume.inode_bytes
    inode = volume.read(group.inode_table + at // volume.block)[at % volume.block :][: volume.inode_bytes]
    size = struct.unpack_from("<I", inode, 4)[0] | struct.unpack_from("<I", inode, 108)[0] << 32
    count = min(size // volume.block, _MAX_JOURNAL_BLOCKS)
    if struct.unpack_from("<I", inode, 32)[0] & _INODE_HAS_EXTENTS:
        places = dict(_extent_blocks(volume, inode[40:100], 6))
    else:
        places = dict(enumerate(_mapped_blocks(volume, inode[40:100], count)))
    if count < 2 or any(i not in places for i in range(count)):
        raise BadTable("The ext journal has holes.")
    return [places[i] for i in range(count)]


def _extent_blocks(volume: _Volume, node: bytes, depth_left: int) -> Iterator[tuple[int, int]]:
    magic, count, _, depth = struct.unpack_from("<HHHH", node)
    if magic != 0xF30A or not depth_left or 12 + 12 * count > len(node):
        raise BadTable("An extent tree of the ext file system is broken.")
    for i in range(count):
        logical, length, high, low = struct.unpack_from("<IHHI", node, 12 + 12 * i)
        if depth:
            _, low, high = struct.unpack_from("<IIH", node, 12 + 12 * i)
            yield from _extent_blocks(volume, volume.read(low | high << 32), depth_left - 1)
        else:
            yield from ((logical + i, (low | high << 32) + i) for i in range(min(length, 32768)))


def _mapped_blocks(volume: _Volume, pointers: bytes, count: int) -> Iterator[int]:
    """ext3: twelve direct blocks, then one, two and three levels of indirect ones."""
    yield from struct.unpack("<12I", pointers[:48])[:count]
    for level, top in enumerate(struct.unpack("<3I", pointers[48:60]), start=1):
        if top:
            yield from _indirect(volume, top, level)


def _indirect(volume: _Volume, number: int, level: int) -> Iterator[int]:
    for entry in memoryview(volume.read(number)).cast("I"):
        if entry and level > 1:
            yield from _indirect(volume, entry, level - 1)
        elif entry:
            yield entry
