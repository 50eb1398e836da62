"""Whether an NTFS volume was closed properly, read from its own records; nothing is mounted.

References: ntfs-3g's layout.h and logfile.c (MFT records, fix-ups, run lists, restart pages). Everything on the disk
may be nonsense: every number is checked, and what does not fit is `BadTable`.
"""

from __future__ import annotations

import os
import struct

from appliance.disk.errors import BadTable
from appliance.disk.filesystem import NTFS_ID, cluster_bytes

_LOGFILE, _VOLUME = 2, 3  # records of the MFT
_ATTRIBUTE_DATA, _ATTRIBUTE_VOLUME_INFORMATION, _ATTRIBUTE_END = 0x80, 0x70, 0xFFFFFFFF
_VOLUME_IS_DIRTY = 0x0001
_RESTART_VOLUME_IS_CLEAN = 0x0002
_NO_CLIENT = 0xFFFF
_PAGE = 4096  # the log's system page


def state(handle: int, offset: int) -> str:
    """Why the bitmap of the volume at `offset` cannot be trusted, as a sentence; empty when it can.

    Raises `BadTable` when the volume's own records cannot be read, and `OSError`.
    """
    boot = _read(handle, offset, 512)
    sector, per_cluster = struct.unpack_from("<HB", boot, 11)
    cluster = cluster_bytes(sector, per_cluster)
    if boot[3:11] != NTFS_ID or not cluster:
        raise BadTable("The boot sector is no NTFS boot sector.")
    mft_cluster, per_record = struct.unpack_from("<Q8xb", boot, 48)
    record_bytes = 1 << -per_record if -16 <= per_record < 0 else per_record * cluster
    if not 512 <= record_bytes <= 65536 or mft_cluster >= 1 << 48:
        raise BadTable(f"The NTFS boot sector says MFT records of {record_bytes} bytes.")

    def record(number: int) -> bytes:
        return fixed_up(_read(handle, offset + mft_cluster * cluster + number * record_bytes, record_bytes), b"FILE")

    information = attribute(record(_VOLUME), _ATTRIBUTE_VOLUME_INFORMATION)
    length, at = struct.unpack_from("<IH", information, 16)
    if at + 12 > len(information) or length < 12:
        raise BadTable("The NTFS volume has no readable information record.")
    if struct.unpack_from("<H", information, at + 10)[0] & _VOLUME_IS_DIRTY:
        return "The NTFS volume is marked dirty, so its bitmap may be out of date."
    log = first_run(attribute(record(_LOGFILE), _ATTRIBUTE_DATA)) * cluster
    pages = [_read(handle, offset + log + _PAGE * i, _PAGE) for i in range(2)]
    return (
        "" if is_log_closed(pages) else "Windows did not close the NTFS journal (hibernated, fast start, or no power)."
    )


def fixed_up(record: bytes, magic: bytes) -> bytes:
    """A multi-sector record with the last two bytes of each sector put back. Raises `BadTable`."""
    if record[:4] != magic:
        raise BadTable(f"An NTFS record begins with {record[:4]!r}, not {magic!r}.")
    at, count = struct.unpack_from("<HH", record, 4)
    if count < 1 or at % 2 or at + 2 * count > len(record) or (count - 1) * 512 > len(record):
        raise BadTable("The update sequence of an NTFS record lies outside it.")
    fixed = bytearray(record)
    for i in range(1, count):
        end = i * 512 - 2
        if fixed[end : end + 2] != record[at : at + 2]:
            raise BadTable("An NTFS record was written half.")
        fixed[end : end + 2] = record[at + 2 * i : at + 2 * i + 2]
    return bytes(fixed)


def attribute(record: bytes, kind: int) -> bytes:
    """The first unnamed attribute of that kind in an MFT record. Raises `BadTable`."""
    at = struct.unpack_from("<H", record, 20)[0]
    while at + 24 <= len(record):
        found, length = struct.unpack_from("<II", record, at)
        if found == _ATTRIBUTE_END or length < 24 or at + length > len(record):
            break
        if found == kind and record[at + 9] == 0:
            return record[at : at + length]
        at += length
    raise BadTable(f"An NTFS record has no attribute {kind:#x}.")


def first_run(data: bytes) -> int:
    """The first cluster of a non-resident attribute. Raises `BadTable`."""
    if len(data) < 64 or not data[8]:
        raise BadTable("The NTFS journal is not where journals are.")
    at = struct.unpack_from("<H", data, 32)[0]
    if at >= len(data):
        raise BadTable("An NTFS run list lies outside its attribute.")
    count_bytes, lcn_bytes = data[at] & 0x0F, data[at] >> 4
    start = at + 1 + count_bytes
    if not 1 <= count_bytes <= 8 or not 1 <= lcn_bytes <= 6 or start + lcn_bytes > len(data):
        raise BadTable("An NTFS run list is broken.")
    cluster = int.from_bytes(data[start : start + lcn_bytes], "little", signed=True)
    if cluster <= 0:
        raise BadTable("An NTFS run list begins before its volume.")
    return cluster


def is_log_closed(pages: list[bytes]) -> bool:
    """Whether the newer of the two restart pages says that nothing waits to be redone. An empty log is closed."""
    newest: tuple[int, bool] | None = None
    for page in pages:
        if page[:4] == b"\xff\xff\xff\xff":
            continue
        if page[:4] != b"RSTR":
            return False  # CHKD, or nothing that Windows would write
        area = struct.unpack_from("<H", page, 24)[0]
        if area + 48 > len(page):
            return False
        lsn, _, _, in_use, flags = struct.unpack_from("<QHHHH", page, area)
        closed = in_use == _NO_CLIENT or bool(flags & _RESTART_VOLUME_IS_CLEAN)
        if newest is None or lsn > newest[0]:
            newest = lsn, closed
    return newest is None or newest[1]


def _read(handle: int, at: int, length: int) -> bytes:
    data = os.pread(handle, length, at)
    if len(data) != length:
        raise BadTable(f"The disk ends within the {length} bytes at {at}.")
    return data
