"""What a partition holds, told by its first sectors; nothing is mounted.

References: util-linux libblkid's magic table for offsets; the kernel's fs/ext4/ext4.h; Microsoft's FAT specification
1.03 for the type by number of clusters; NTFS boot sector as in ntfs-3g's layout.h; linux/swap.h.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from uuid import UUID

_HEAD_BYTES = 72 << 10  # the farthest magic looked at is btrfs's at 64 KiB + 64
SWAP_PAGES = (4096, 8192, 16384, 65536)
_SWAP_MAGIC = (b"SWAPSPACE2", b"SWAP-SPACE")
NTFS_ID = b"NTFS    "
BITLOCKER_ID = b"-FVE-FS-"

# magic, its offset, name: file systems and containers that are captured whole
_WHOLE = (
    (b"XFSB", 0, "xfs"),
    (b"_BHRfS_M", 65600, "btrfs"),
    (b"LUKS\xba\xbe", 0, "luks"),
    (b"LABELONE", 512, "lvm2"),
    (b"EXFAT   ", 3, "exfat"),
    (b"\x10\x20\xf5\xf2", 1024, "f2fs"),
    (b"hsqs", 0, "squashfs"),
    (BITLOCKER_ID, 3, "bitlocker"),
    (b"ReFS", 3, "refs"),
)
_EXT_MAGIC_AT = 1024 + 56
_EXT_RECOVER = 0x0004  # INCOMPAT: the journal waits to be replayed
_EXT_JOURNAL = 0x0004  # COMPAT
_EXT_VALID, _EXT_ERRORS = 0x0001, 0x0002
_EXT4_COMPAT_RO = 0x0008 | 0x0010 | 0x0020 | 0x0040 | 0x0200 | 0x0400  # huge_file gdt_csum dir_nlink extra_isize …
_EXT4_INCOMPAT = 0x0040 | 0x0080 | 0x0200 | 0x0400 | 0x2000 | 0x8000  # extents 64bit flex_bg …


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system as its superblock describes it."""

    kind: str  # ntfs ext2 ext3 ext4 fat12 fat16 fat32 swap, another name, or raw
    uuid: str = ""
    label: str = ""
    block_bytes: int = 0
    size_bytes: int = 0
    needs_recovery: bool = False  # ext: the journal holds what the bitmaps do not say yet
    is_damaged: bool = False  # ext: marked as having errors, or not unmounted and without a journal


RAW = FileSystem("raw")


def identify(handle: int, offset: int, length: int) -> FileSystem:
    """Look at the partition at `offset` of an open disk. Raises `OSError` only."""
    return identify_head(os.pread(handle, min(_HEAD_BYTES, length), offset), length)


def identify_head(head: bytes, length: int) -> FileSystem:
    """The same from the first bytes of a partition of `length` bytes; never raises, whatever they are."""
    padded = head + bytes(max(0, _HEAD_BYTES - len(head)))
    for look in (_swap, _ext, _ntfs, _fat):
        found = look(padded)
        if found and found.size_bytes <= length:
            return found
    for magic, at, name in _WHOLE:
        if padded[at : at + len(magic)] == magic:
            return FileSystem(name)
    return RAW


def _swap(head: bytes) -> FileSystem | None:
    """A hibernated system (`S1SUSPEND` in place of the magic) is none: its content is needed."""
    for page in SWAP_PAGES:
        if head[page - 10 : page] in _SWAP_MAGIC:
            uuid = str(UUID(bytes=head[1036:1052])) if any(head[1036:1052]) else ""
            last_page = struct.unpack_from("<I", head, 1028)[0]
            return FileSystem("swap", uuid, _text(head[1052:1068]), page, (last_page + 1) * page)
    return None


def _ext(head: bytes) -> FileSystem | None:
    if head[_EXT_MAGIC_AT : _EXT_MAGIC_AT + 2] != b"\x53\xef":
        return None
    at = 1024
    blocks, log_size = struct.unpack_from("<I", head, at + 4)[0], struct.unpack_from("<I", head, at + 24)[0]
    compat, incompat, compat_ro = struct.unpack_from("<III", head, at + 92)
    if log_size > 6 or incompat & 0x0008:  # a block over 64 KiB; a journal device on its own
        return None
    if incompat & 0x0080:
        blocks |= struct.unpack_from("<I", head, at + 336)[0] << 32
    block = 1024 << log_size
    state = struct.unpack_from("<H", head, at + 58)[0]
    damaged = bool(state & _EXT_ERRORS) or not (state & _EXT_VALID or compat & _EXT_JOURNAL)
    is_ext4 = bool(incompat & _EXT4_INCOMPAT or compat_ro & _EXT4_COMPAT_RO)
    kind = "ext4" if is_ext4 else "ext3" if compat & _EXT_JOURNAL else "ext2"
    return FileSystem(
        kind,
        str(UUID(bytes=head[at + 104 : at + 120])),
        _text(head[at + 120 : at + 136]),
        block,
        blocks * block,
        bool(incompat & _EXT_RECOVER),
        damaged,
    )


def _ntfs(head: bytes) -> FileSystem | None:
    if head[3:11] != NTFS_ID or head[510:512] != b"\x55\xaa":
        return None
    sector, per_cluster = struct.unpack_from("<HB", head, 11)
    sectors = struct.unpack_from("<Q", head, 40)[0]
    cluster = cluster_bytes(sector, per_cluster)
    if not cluster or not sectors or sectors >= 1 << 54:
        return None
    # The boot sector's own copy lies in the sector behind the volume.
    serial = f"{struct.unpack_from('<Q', head, 72)[0]:016X}"
    return FileSystem("ntfs", serial, "", cluster, sectors * sector)


def cluster_bytes(sector: int, per_cluster: int) -> int:
    """NTFS's cluster size; 0 for what cannot be one. Over 128 sectors it is a negative power of two."""
    count = per_cluster if per_cluster <= 0x80 else 1 << (256 - per_cluster) if per_cluster >= 0xF0 else 0
    if sector not in (256, 512, 1024, 2048, 4096) or not count or count & (count - 1):
        return 0
    return sector * count


def _fat(head: bytes) -> FileSystem | None:
    shape = FatShape.parse(head)
    if shape is None:
        return None
    serial_at, label_at = (67, 71) if shape.bits == 32 else (39, 43)
    serial = struct.unpack_from("<I", head, serial_at)[0]
    return FileSystem(
        f"fat{shape.bits}",
        f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
        _text(head[label_at : label_at + 11]).strip(),
        shape.cluster_bytes,
        shape.sectors * shape.sector_bytes,
    )


@dataclass(frozen=True, slots=True)
class FatShape:
    """The BIOS parameter block of a FAT file system."""

    bits: int  # 12, 16 or 32
    sector_bytes: int
    cluster_bytes: int
    sectors: int
    fat_at: int  # byte offset of the first FAT
    fat_bytes: int  # of one FAT
    data_at: int  # byte offset of cluster 2
    clusters: int  # number of data clusters

    @classmethod
    def parse(cls, head: bytes) -> FatShape | None:
        """None when the sector is no FAT boot sector that makes sense."""
        if len(head) < 512 or head[510:512] != b"\x55\xaa" or head[0] not in (0xEB, 0xE9):
            return None
        sector, per_cluster, reserved, fats, roots, small, media, fat16 = struct.unpack_from("<HBHBHHBH", head, 11)
        large, fat32 = struct.unpack_from("<II", head, 32)
        sectors, fat = small or large, fat16 or fat32
        good = sector in (512, 1024, 2048, 4096) and per_cluster and not per_cluster & (per_cluster - 1)
        if not good or not reserved or fats not in (1, 2) or not fat or (media != 0xF0 and media < 0xF8):
            return None
        data = reserved + fats * fat + -(-roots * 32 // sector)
        if data >= sectors:
            return None
        clusters = (sectors - data) // per_cluster
        bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
        if (bits == 32) != (not fat16) or (clusters + 2) * bits > fat * sector * 8:
            return None
        return cls(
            bits, sector, sector * per_cluster, sectors, reserved * sector, fat * sector, data * sector, clusters
        )


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace")
