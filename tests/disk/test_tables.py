"""Partition tables: read from what sgdisk and sfdisk make, moved to other disks, and hostile bytes."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.disk import gpt, mbr, table
from appliance.disk.blockdev import Geometry
from appliance.disk.errors import BadTable
from tests.disk.makedisk import MIB, blank, place, run

SIZE = 8 * MIB


def read(path: Path) -> table.Table:
    handle = os.open(path, os.O_RDONLY)
    try:
        return table.read(handle, Geometry(os.fstat(handle).st_size))
    finally:
        os.close(handle)


@pytest.fixture
def gpt_file(tmp_path: Path) -> Path:
    """Two partitions; names with more than ASCII."""
    disk = blank(tmp_path / "gpt", SIZE)
    run("sgdisk", "-n1:2048:4095", "-t1:EF00", "-c1:EFI süd", "-n7:6144:8191", "-t7:8300", disk)
    return disk


def test_a_gpt_of_sgdisk_is_read_with_numbers_types_and_names(gpt_file: Path) -> None:
    found = read(gpt_file)
    assert found.kind == "gpt"
    assert [(part.number, part.offset, part.length, part.label) for part in found.partitions] == [
        (1, MIB, MIB, "EFI süd"),
        (7, 3 * MIB, MIB, ""),
    ]
    assert found.partitions[0].type == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    assert found.id in run("sgdisk", "-p", gpt_file).lower()
    assert found.first_gap(1 << 24) == (34 * 512, MIB - 34 * 512)
    assert found.to_bytes()[:512] == gpt_file.read_bytes()[:512]


@pytest.mark.parametrize("half", ["primary", "backup"])
def test_one_damaged_copy_of_a_gpt_is_enough(gpt_file: Path, half: str) -> None:
    whole = read(gpt_file)
    place(gpt_file, 600 if half == "primary" else SIZE - 424, b"damage")
    found = read(gpt_file)
    assert found.partitions == whole.partitions
    larger = Geometry(SIZE + MIB)
    pieces = table.place("gpt", list(found.pieces), Geometry(SIZE), larger)
    blank(gpt_file, larger.size_bytes)
    for piece in pieces:
        place(gpt_file, piece.offset, piece.data)
    assert "No problems found" in run("sgdisk", "-v", gpt_file)


def test_a_gpt_with_both_copies_damaged_is_refused_in_words(gpt_file: Path) -> None:
    place(gpt_file, 600, b"damage")
    place(gpt_file, SIZE - 424, b"damage")
    with pytest.raises(BadTable, match=r"Both copies of the GPT are damaged: .*CRC"):
        read(gpt_file)


@pytest.mark.parametrize("new_size", [SIZE - MIB, SIZE + 512, SIZE + 64 * MIB, 3 << 41])
def test_a_moved_gpt_changes_only_what_the_document_says(gpt_file: Path, new_size: int) -> None:
    found = read(gpt_file)
    pieces = table.place("gpt", list(found.pieces), Geometry(SIZE), Geometry(new_size))
    last = new_size // 512 - 1
    assert [piece.offset for piece in pieces] == [0, 512, 1024, (last - 32) * 512, last * 512]
    allowed = {
        0: set(range(446 + 12, 446 + 16)),
        1: {*range(16, 20), *range(32, 40), *range(48, 56)},
        2: set[int](),
        3: set[int](),
        4: {*range(16, 20), *range(24, 32), *range(48, 56), *range(72, 80)},
    }
    for number, (old, new) in enumerate(zip(found.pieces, pieces, strict=True)):
        changed = {i for i, pair in enumerate(zip(old.data, new.data, strict=True)) if pair[0] != pair[1]}
        assert changed <= allowed[number]
    protective = mbr.primary(pieces[0].data)[0]
    assert protective.sectors == min(last, 0xFFFFFFFF)
    for at, entries in ((1, 2), (4, 3)):
        header = gpt.Header.parse(pieces[at].data, pieces[at].offset // 512)
        assert header.entries_lba * 512 == pieces[entries].offset
        assert len(gpt.parse_entries(pieces[entries].data, header)) == 2


def test_a_table_for_the_same_size_is_byte_exact(gpt_file: Path) -> None:
    found = read(gpt_file)
    assert table.place("gpt", list(found.pieces), Geometry(SIZE), Geometry(SIZE)) == list(found.pieces)


def test_overlapping_partitions_are_refused(gpt_file: Path) -> None:
    data = bytearray(gpt_file.read_bytes())
    entries = 1024
    struct.pack_into("<QQ", data, entries + 6 * 128 + 32, 3000, 8191)
    for header, at in ((512, entries), (SIZE - 512, SIZE - 33 * 512)):
        data[at : at + 16384] = data[entries : entries + 16384]
        struct.pack_into("<I", data, header + 88, zlib.crc32(data[at : at + 16384]))
        struct.pack_into("<I", data, header + 16, gpt.header_crc(data[header : header + 512], 92))
    gpt_file.write_bytes(data)
    with pytest.raises(BadTable, match="Partitions 1 and 7 overlap"):
        read(gpt_file)


def test_an_mbr_of_sfdisk_is_read_with_its_chain(tmp_path: Path) -> None:
    disk = blank(tmp_path / "mbr", 32 * MIB)
    script = "label: dos\nlabel-id: 0x1234abcd\nstart=2048,size=2048,type=7\nstart=8192,size=40000,type=f\n"
    script += "start=10240,size=2048,type=83\nstart=14336,size=2048,type=82\nstart=18432,size=4096,type=b\n"
    run("sfdisk", "-q", disk, stdin=script)
    found = read(disk)
    assert (found.kind, found.id) == ("mbr", "1234abcd")
    assert [(part.number, part.offset // 512, part.length // 512, part.type) for part in found.partitions] == [
        (1, 2048, 2048, "0x07"),
        (5, 10240, 2048, "0x83"),
        (6, 14336, 2048, "0x82"),
        (7, 18432, 4096, "0x0b"),
    ]
    assert [piece.span for piece in found.pieces][:2] == [(0, 512), (8192 * 512, 512)]
    assert len(found.pieces) == 4
    assert found.minimum_disk_bytes(Geometry(32 * MIB)) == 48192 * 512


def test_a_chain_that_loops_is_refused(tmp_path: Path) -> None:
    disk = blank(tmp_path / "mbr", 32 * MIB)
    script = "label: dos\nstart=8192,size=40000,type=f\nstart=10240,size=2048,type=83\nstart=14336,size=2048,type=83\n"
    run("sfdisk", "-q", disk, stdin=script)
    second = read(disk).pieces[2].offset
    place(disk, second + 446 + 16, struct.pack("<B3sB3sII", 0, b"", 5, b"", 0, 40000))
    with pytest.raises(BadTable, match="loops"):
        read(disk)


@pytest.mark.parametrize("make", ["mkfs.fat", "mke2fs", "mkswap", "nothing"])
def test_a_disk_without_a_table_is_seen_as_such(tmp_path: Path, make: str) -> None:
    disk = blank(tmp_path / "disk", 8 * MIB)
    command = {"mkfs.fat": ["mkfs.fat", "-I"], "mke2fs": ["mke2fs", "-q", "-F"], "mkswap": ["mkswap"]}.get(make)
    if command:
        run(*command, disk)
    assert read(disk) == table.Table("none")


@given(st.binary(min_size=512, max_size=512), st.integers(0, 5))
@settings(max_examples=100, deadline=None)
def test_noise_is_no_gpt_header(data: bytes, lba: int) -> None:
    for sector in (data, gpt.SIGNATURE + data[8:]):
        with pytest.raises(BadTable):
            gpt.Header.parse(sector, lba)


@given(
    spots=st.lists(st.tuples(st.integers(0, 34 * 512 - 1), st.binary(min_size=1, max_size=8)), max_size=6),
    fix=st.booleans(),
)
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_scribbled_table_is_read_or_refused_and_what_is_read_lies_in_the_disk(
    gpt_file: Path, tmp_path: Path, spots: list[tuple[int, bytes]], fix: bool
) -> None:
    data = bytearray(gpt_file.read_bytes())
    for at, value in spots:
        data[at : at + len(value)] = value
    if fix:  # with right checksums the numbers themselves are looked at
        struct.pack_into("<I", data, 512 + 88, zlib.crc32(data[1024 : 1024 + 16384]))
        size = struct.unpack_from("<I", data, 512 + 12)[0]
        struct.pack_into("<I", data, 512 + 16, gpt.header_crc(data[512:1024], min(size, 512)))
    disk = tmp_path / "scribbled"
    disk.write_bytes(data)
    try:
        found = read(disk)
    except BadTable:
        return
    for part in found.partitions:
        assert 0 < part.offset < part.offset + part.length <= SIZE
    if found.kind == "gpt":
        try:
            table.place("gpt", list(found.pieces), Geometry(SIZE), Geometry(2 * SIZE))
        except BadTable:
            return


@given(st.binary(min_size=66, max_size=66), st.lists(st.binary(min_size=66, max_size=66), max_size=4))
@settings(max_examples=150, deadline=None)
def test_any_mbr_and_any_chain_end_in_a_table_or_bad_table(first: bytes, chain: list[bytes]) -> None:
    sectors = [bytes(446) + tail[:64] + b"\x55\xaa" for tail in [first, *chain]]

    def give(lba: int) -> bytes:
        return sectors[lba % len(sectors)]

    mbr.is_plausible(sectors[0], 1 << 30)
    for entry in mbr.primary(sectors[0]):
        try:
            found = mbr.logical(entry, give)
        except BadTable:
            continue
        for part in found.entries:
            assert entry.first_lba <= part.first_lba
            assert part.first_lba + part.sectors <= entry.first_lba + entry.sectors
