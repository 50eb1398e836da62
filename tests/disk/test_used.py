"""Used blocks: against what other programs say is used, and after a power cut against what recovery makes of it."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.disk import ext, fat, ntfs, usedmap
from appliance.disk.errors import BadTable
from appliance.disk.extents import Extent, cut, gaps, normal, total
from appliance.disk.filesystem import FileSystem, identify, identify_head
from tests.disk import makedisk
from tests.disk.makedisk import MIB, noise, run


def look(path: Path) -> tuple[FileSystem, usedmap.UsedMap]:
    handle = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(handle).st_size
        known = identify(handle, 0, size)
        return known, usedmap.used_map(path, handle, 0, size, known)
    finally:
        os.close(handle)


def free_of_dumpe2fs(path: Path) -> set[int]:
    """Free blocks as dumpe2fs prints them."""
    free: set[int] = set()
    for line in re.findall(r"^  Free blocks: (.+)", run("dumpe2fs", path), re.MULTILINE):
        for span in line.split(","):
            low, _, high = span.strip().partition("-")
            free.update(range(int(low), int(high or low) + 1))
    return free


def blocks(extents: list[Extent] | tuple[Extent, ...], block: int) -> set[int]:
    return {number for at, size in extents for number in range(at // block, -(-(at + size) // block))}


@pytest.mark.parametrize(("kind", "block"), [("ext2", 1024), ("ext3", 2048), ("ext4", 4096), ("ext4", 1024)])
def test_ext_maps_are_what_dumpe2fs_says(tmp_path: Path, kind: str, block: int) -> None:
    files = makedisk.tree(tmp_path / "tree", 1, 3 * MIB)
    path = makedisk.ext(tmp_path / "fs", 40 * MIB, files, kind=kind, block=block)
    known, used = look(path)
    assert (known.kind, known.block_bytes, known.label, used.method) == (kind, block, "data", "partclone")
    everything = set(range(40 * MIB // block))
    expected = everything - free_of_dumpe2fs(path)
    always = set(range(4096 // block))  # we keep the first 4 KiB whatever the bitmap says
    assert blocks(used.extents, block) == expected | always
    handle = os.open(path, os.O_RDONLY)
    try:
        ours = ext.used_after_recovery(handle, 0, 40 * MIB)
    finally:
        os.close(handle)
    # Read by ourselves, a clean file system gives the same.
    assert blocks(ours, block) == expected | {0}


def power_cut(work: Path, kind: str, block: int, options: str) -> Path:
    """An ext file system as it lies on a disk whose PC lost power: written through the kernel, copied while mounted."""
    live, where, copy = work / "live", work / "mnt", work / "cut"
    live.write_bytes(noise(64 * MIB, 5))
    run("mke2fs", "-q", "-F", "-t", kind, "-b", str(block), live)
    where.mkdir()
    run("mount", "-o", f"loop{options}", live, where)
    try:
        (where / "before").write_bytes(noise(2 * MIB, 6))
        os.sync()
        for number in range(100):
            (where / f"f{number}").write_bytes(noise(20_000, number))
        for name, size in (("big", 16 * MIB), ("last", MIB)):
            handle = os.open(where / name, os.O_CREAT | os.O_WRONLY)
            os.write(handle, noise(size, 7))
            os.fsync(handle)
            os.close(handle)
            for number in range(0, 100, 2):
                (where / f"f{number}").unlink(missing_ok=True)
        run("cp", "--sparse=never", live, copy)
    finally:
        run("umount", where)
    return copy


@pytest.mark.parametrize(
    ("kind", "block", "options"),
    [("ext4", 4096, ""), ("ext4", 1024, ",data=journal"), ("ext3", 2048, "")],
)
def test_after_a_power_cut_nothing_that_recovery_needs_is_left_out(
    tmp_path: Path, kind: str, block: int, options: str
) -> None:
    disk = power_cut(tmp_path, kind, block, options)
    before = makedisk.digest(disk)
    known, used = look(disk)
    assert makedisk.digest(disk) == before
    assert known.needs_recovery
    assert used.method == "ext-journal"
    assert "replayed at its first start" in used.note
    # What a capture keeps, on a disk full of other things ...
    kept = bytearray(noise(MIB, 8) * 64)
    data = disk.read_bytes()
    for at, size in used.extents:
        kept[at : at + size] = data[at : at + size]
    copy = tmp_path / "copy"
    copy.write_bytes(kept)
    # ... is recovered by e2fsck to the same files as the original.
    original = tmp_path / "original"
    original.write_bytes(data)
    for path in (original, copy):
        run("e2fsck", "-fy", "-E", "journal_only", path, ok=(0, 1))
        run("e2fsck", "-fn", path)
    files = makedisk.files_of_ext(original, tmp_path)
    assert makedisk.files_of_ext(copy, tmp_path) == files
    assert {"big", "last", "before", "f1"} <= set(files)
    # The bitmaps on the disk alone would have lost them: this is what the journal is read for. (With data in a small
    # journal most of it has been written back by now.)
    stale = blocks(partclone_map(disk, known.kind, tmp_path), block)
    assert options or len(blocks(used.extents, block) - stale) * block > 10 * MIB
    # And not much more than what is used is kept.
    assert used.used_bytes < total(normal(look(original)[1].extents)) + 8 * MIB


def partclone_map(path: Path, kind: str, work: Path) -> list[Extent]:
    output = work / "partclone.map"
    run(f"partclone.{kind}", "-F", "-D", "-q", "-s", path, "-o", output, "-L", work / "partclone.log")
    rows = re.findall(r"^0x(\S+)\s+0x(\S+)\s+\+", output.read_text(), re.MULTILINE)
    return [(int(at, 16), int(size, 16)) for at, size in rows]


@pytest.mark.parametrize(("bits", "size"), [(12, 4), (16, 20), (32, 48)])
def test_fat_maps_keep_every_file_and_leave_the_dirt(tmp_path: Path, bits: int, size: int) -> None:
    files = makedisk.tree(tmp_path / "tree", 1, MIB)
    if bits == 12:
        (files / "sparse").unlink()
    path = makedisk.fat(tmp_path / "fs", size * MIB, files, bits)
    known, used = look(path)
    assert (known.kind, used.method) == (f"fat{bits}", "fat")
    assert used.used_bytes < 7 * MIB
    kept = bytearray(size * MIB)
    data = path.read_bytes()
    for at, length in used.extents:
        kept[at : at + length] = data[at : at + length]
    copy = tmp_path / "copy"
    copy.write_bytes(kept)
    run("fsck.fat", "-n", copy)
    assert makedisk.files_of_fat(copy, tmp_path) == makedisk.files_of_fat(path, tmp_path)
    if bits != 12:  # partclone 0.3.23 misreads FAT12
        assert used.used_bytes == total(normal(partclone_map(path, "fat", tmp_path)))


def test_an_ntfs_map_keeps_every_file_and_the_copy_of_the_boot_sector(tmp_path: Path) -> None:
    path = makedisk.ntfs(tmp_path / "fs", 24 * MIB, {"x.bin": noise(2 * MIB, 3)}, tmp_path)
    known, used = look(path)
    assert (known.kind, used.method) == ("ntfs", "partclone")
    assert used.used_bytes < 6 * MIB
    assert sum(used.extents[-1]) == 24 * MIB
    kept = bytearray(24 * MIB)
    data = path.read_bytes()
    for at, length in used.extents:
        kept[at : at + length] = data[at : at + length]
    copy = tmp_path / "copy"
    copy.write_bytes(kept)
    run("ntfsfix", "-n", copy)
    content = subprocess.run(["ntfscat", copy, "x.bin"], capture_output=True, check=True).stdout
    assert content == noise(2 * MIB, 3)


def restart_page(*, in_use: int, flags: int, lsn: int = 100) -> bytes:
    """A restart page of $LogFile as Windows writes it."""
    page = bytearray(4096)
    struct.pack_into("<4sHHQIIHHH", page, 0, b"RSTR", 30, 9, 0, 4096, 4096, 48, 1, 1)
    struct.pack_into("<QHHHH", page, 48, lsn, 1, 0xFFFF if in_use != 0xFFFF else 0, in_use, flags)
    for sector in range(8):  # update sequence: 1 at the end of each sector
        struct.pack_into("<H", page, sector * 512 + 510, 1)
    struct.pack_into("<H", page, 30, 1)
    return bytes(page)


@pytest.mark.parametrize(("in_use", "flags", "closed"), [(0xFFFF, 0, True), (0, 2, True), (0, 0, False)])
def test_an_ntfs_volume_whose_journal_is_open_is_captured_whole(
    tmp_path: Path, in_use: int, flags: int, closed: bool
) -> None:
    path = makedisk.ntfs(tmp_path / "fs", 24 * MIB, {"x": b"x"}, tmp_path)
    runs = re.search(r"\$LogFile.*?VCN.*?LCN.*?\n\s*0x0\s+0x([0-9a-f]+)", _ntfsinfo(path), re.DOTALL)
    assert runs, _ntfsinfo(path)
    for copy in range(2):
        makedisk.place(path, int(runs[1], 16) * 4096 + copy * 4096, restart_page(in_use=in_use, flags=flags))
    _, used = look(path)
    assert (used.method == "partclone") == closed
    if not closed:
        assert used.extents == ((0, 24 * MIB),)
        assert "did not close the NTFS journal" in used.note


def _ntfsinfo(path: Path) -> str:
    return "$LogFile" + run("ntfsinfo", "-f", "-v", "-i", "2", path)


def test_swap_keeps_its_header_only_unless_a_hibernated_system_sleeps_in_it(tmp_path: Path) -> None:
    path = makedisk.swap(tmp_path / "swap", 4 * MIB)
    known, used = look(path)
    assert known.uuid == run("blkid", "-p", "-o", "value", "-s", "UUID", path).strip()
    assert (known.label, known.size_bytes) == ("swapspace", 4 * MIB)
    assert used.extents == ((0, 4096),)
    makedisk.place(path, 4086, b"S1SUSPEND\0")
    assert look(path)[1].extents == ((0, 4 * MIB),)


def test_what_is_unknown_is_used_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    path.write_bytes(noise(MIB, 1))
    assert look(path)[1] == usedmap.UsedMap(((0, MIB),), "whole")


def test_a_file_system_that_partclone_cannot_read_is_captured_whole_with_the_reason(tmp_path: Path) -> None:
    files = makedisk.tree(tmp_path / "tree", 1, MIB)
    path = makedisk.ext(tmp_path / "fs", 16 * MIB, files)
    makedisk.place(path, 4096, bytes(4096))  # no group descriptors any more
    _, used = look(path)
    assert used.extents == ((0, 16 * MIB),)
    assert used.note.startswith("Captured whole: ")


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda path: run("mkfs.fat", "-F32", path), "fat32"),
        (lambda path: makedisk.place(path, 3, b"-FVE-FS-"), "bitlocker"),
        (lambda path: makedisk.place(path, 0, b"LUKS\xba\xbe"), "luks"),
        (lambda path: None, "raw"),
    ],
)
def test_kinds_are_told_apart(tmp_path: Path, make: Callable[[Path], object], kind: str) -> None:
    path = makedisk.blank(tmp_path / "fs", 48 * MIB)
    make(path)
    assert look(path)[0].kind == kind


@given(st.binary(max_size=4096), st.sampled_from([b"", b"\x53\xef", b"NTFS    ", b"\xeb\x3c\x90"]))
@settings(max_examples=150, deadline=None)
def test_no_first_sectors_break_the_look(data: bytes, magic: bytes) -> None:
    at = {b"\x53\xef": 1080, b"NTFS    ": 3}.get(magic, 0)
    head = bytearray(data.ljust(4096, b"\x01"))
    head[at : at + len(magic)] = magic
    head[510:512] = b"\x55\xaa"
    known = identify_head(bytes(head), 1 << 30)
    assert known.size_bytes <= 1 << 30


class Bases(dict[str, bytes]):
    """File systems to damage. Hypothesis now and then prints what a test was called with: not these."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


@given(spots=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=16)), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_scribbled_metadata_never_breaks_the_readers(scribble_bases: Bases, spots: list[tuple[int, bytes]]) -> None:
    readers: dict[str, Callable[[int, int], object]] = {
        "ext": lambda handle, size: ext.used_after_recovery(handle, 0, size),
        "fat": lambda handle, size: fat.used(handle, 0),
        "ntfs": lambda handle, size: ntfs.state(handle, 0),
    }
    for kind, base in scribble_bases.items():
        data = bytearray(base)
        for at, value in spots:
            at %= 16384 if kind != "ext" else len(data)
            data[at : at + len(value)] = value
        handle = os.memfd_create("scribbled")
        try:
            os.write(handle, data)
            with contextlib.suppress(BadTable):
                readers[kind](handle, len(data))
        finally:
            os.close(handle)


@pytest.fixture(scope="module")
def scribble_bases(tmp_path_factory: pytest.TempPathFactory) -> Bases:
    """Small file systems to damage; the ext one waits for recovery."""
    work = tmp_path_factory.mktemp("scribble")
    files = makedisk.tree(work / "tree", 1, 100_000)
    (files / "sparse").unlink()
    fat_file = makedisk.fat(work / "fat", 2 * MIB, files, 12)
    ntfs_file = makedisk.ntfs(work / "ntfs", 3 * MIB, {}, work)
    ext_file = makedisk.ext(work / "ext", 8 * MIB, files, block=1024)
    return Bases(fat=fat_file.read_bytes(), ntfs=ntfs_file.read_bytes(), ext=ext_file.read_bytes())


# -- extents

EXTENTS = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 60)), max_size=12)


@given(EXTENTS, st.integers(1, 64))
@settings(max_examples=100, deadline=None)
def test_extents_keep_every_byte_however_they_are_merged_and_cut(extents: list[Extent], window: int) -> None:
    wanted = {byte for at, size in extents for byte in range(at, at + size)}
    merged = normal(extents)
    assert {byte for at, size in merged for byte in range(at, at + size)} == wanted
    assert all(left[0] + left[1] < right[0] for left, right in pairwise(merged))
    pieces = list(cut(merged, window))
    spans = [(number * window + at, size) for number, inner in pieces for at, size in inner]
    assert {byte for at, size in spans for byte in range(at, at + size)} == wanted
    assert [number for number, _ in pieces] == sorted({byte // window for byte in wanted})
    free = {byte for at, size in gaps(merged, 600) for byte in range(at, at + size)}
    assert free == set(range(600)) - wanted


@given(st.text(alphabet="0x123456789AF +?\n\t#", max_size=300))
@settings(max_examples=100, deadline=None)
def test_a_map_that_is_none_is_refused(text: str) -> None:
    try:
        extents = usedmap.parse_map(text, 1 << 20)
    except usedmap.NoMap:
        return
    assert sum(extents[-1]) <= 1 << 20


def test_a_map_with_a_hole_or_too_short_is_refused() -> None:
    for text in ("0x0 0x1000 +\n0x2000 0x100000 ?", "0x0 0x1000 +\n0x1000 0x1000 ?", "0x0 0x40000000 ?"):
        with pytest.raises(usedmap.NoMap):
            usedmap.parse_map(text, 1 << 30)
