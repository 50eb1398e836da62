"""A disk is captured and restored over dirt, and other people's tools say whether it is the same disk.

The file systems are made by mke2fs, mkfs.fat, mkntfs and mkswap, and read back by e2fsck, debugfs, fsck.fat, mtools,
ntfsfix, ntfscat, sgdisk, sfdisk. Needs root: partclone reads a partition of an image file through a loop device.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from appliance.engine.capture import CaptureResult
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.manifest import Manifest
from appliance.errors import Conflict, NoSpace
from tests.disk.makedisk import MIB, Made, blank, cut_out, digest, files_of_ext, files_of_fat, noise, run, swap
from tests.engine.kit import captured, restored

Version = tuple[ChunkStore, str, CaptureResult]


def dirty_target(path: Path, size: int) -> Path:
    block = noise(1 << 20, 99)
    path.write_bytes((block * (size // len(block) + 1))[:size])
    return path


def same_bytes(left: Path, right: Path, offset: int, length: int) -> bool:
    with left.open("rb") as one, right.open("rb") as two:
        one.seek(offset)
        two.seek(offset)
        return one.read(length) == two.read(length)


def check_ntfs(image: Path, name: str) -> bytes:
    run("ntfsfix", "-n", image)
    return subprocess.run(["ntfscat", image, name], capture_output=True, check=True).stdout


def test_a_gpt_disk_comes_back_on_a_larger_disk_as_foreign_tools_see_it(
    gpt_disk: Made, gpt_version: Version, tmp_path: Path
) -> None:
    store, version, result = gpt_version
    target = Made(dirty_target(tmp_path / "target", 201 * MIB), gpt_disk.parts)
    report = restored(store, version, target.path)
    assert report.written_bytes == result.used_bytes
    assert "No problems found" in run("sgdisk", "-v", target.path)
    assert _partitions(target.path) == _partitions(gpt_disk.path)
    assert same_bytes(target.path, gpt_disk.path, 0, 440)
    assert same_bytes(target.path, gpt_disk.path, 34 * 512, MIB - 34 * 512 + MIB)  # gap and BIOS boot partition
    _same_file_systems(gpt_disk, target, tmp_path)


def test_a_gpt_disk_comes_back_byte_for_byte_on_an_equal_disk(
    gpt_disk: Made, gpt_version: Version, tmp_path: Path
) -> None:
    store, version, _ = gpt_version
    size = gpt_disk.path.stat().st_size
    target = dirty_target(tmp_path / "target", size)
    restored(store, version, target)
    assert same_bytes(target, gpt_disk.path, 0, 34 * 512)
    assert same_bytes(target, gpt_disk.path, size - 33 * 512, 33 * 512)


def test_a_gpt_disk_fits_a_smaller_disk_whose_end_is_behind_its_partitions(
    gpt_disk: Made, gpt_version: Version, tmp_path: Path
) -> None:
    store, version, result = gpt_version
    smallest = Manifest.parse(result.manifest).minimum_disk_bytes
    target = dirty_target(tmp_path / "target", smallest)
    restored(store, version, target)
    assert "No problems found" in run("sgdisk", "-v", target)
    assert _partitions(target) == _partitions(gpt_disk.path)
    too_small = dirty_target(tmp_path / "small", smallest - 512)
    unchanged = digest(too_small)
    with pytest.raises(NoSpace, match=f"{smallest} bytes.*{smallest - 512}"):
        restored(store, version, too_small)
    assert digest(too_small) == unchanged


@pytest.mark.lengthy
def test_an_mbr_disk_with_logical_partitions_comes_back(mbr_disk: Made, store: ChunkStore, tmp_path: Path) -> None:
    version, _ = captured(store, mbr_disk.path)
    target = Made(dirty_target(tmp_path / "target", 200 * MIB), mbr_disk.parts)
    # A GPT that was there before must not come back to life.
    run("sgdisk", "-o", target.path, ok=(0, 2))
    restored(store, version, target.path)
    dump = run("sfdisk", "-d", target.path).replace(str(target.path), "disk")
    assert dump == run("sfdisk", "-d", mbr_disk.path).replace(str(mbr_disk.path), "disk")
    assert same_bytes(target.path, mbr_disk.path, 0, MIB)
    for sector in (133120, 200704, 268288):  # the extended boot records
        assert same_bytes(target.path, mbr_disk.path, sector * 512, 512)
    with target.path.open("rb") as file:
        file.seek(-512, 2)
        assert not file.read(8).startswith(b"EFI PART")
    for name in ("p5", "p6"):
        image = target.extract(name, tmp_path / name)
        run("e2fsck", "-fn", image)
        assert files_of_ext(image, tmp_path) == files_of_ext(mbr_disk.extract(name, tmp_path / f"{name}o"), tmp_path)
    for name in ("p1", "p7"):
        image = target.extract(name, tmp_path / name)
        run("fsck.fat", "-n", image)
        assert files_of_fat(image, tmp_path) == files_of_fat(mbr_disk.extract(name, tmp_path / f"{name}o"), tmp_path)
    assert check_ntfs(target.extract("p2", tmp_path / "p2"), "x") == noise(MIB, 42)


def test_unused_blocks_of_the_target_are_not_written(gpt_disk: Made, gpt_version: Version, tmp_path: Path) -> None:
    store, version, _ = gpt_version
    target = dirty_target(tmp_path / "target", 160 * MIB)
    dirt = cut_out(target, gpt_disk.parts["p5"], tmp_path / "dirt").read_bytes()
    restored(store, version, target)
    now = cut_out(target, gpt_disk.parts["p5"], tmp_path / "swap").read_bytes()
    assert now[4096:] == dirt[4096:]
    assert now[:4096] == cut_out(gpt_disk.path, gpt_disk.parts["p5"], tmp_path / "was").read_bytes()[:4096]


def test_a_disk_without_a_table_comes_back_whole(store: ChunkStore, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(noise(3 * MIB + 512 * 5, 50))
    version, _ = captured(store, disk)
    target = dirty_target(tmp_path / "target", 4 * MIB)
    restored(store, version, target)
    assert same_bytes(target, disk, 0, disk.stat().st_size)


def test_a_file_system_on_the_bare_disk_comes_back(store: ChunkStore, tmp_path: Path) -> None:
    disk = swap(tmp_path / "disk", 4 * MIB)
    version, result = captured(store, disk)
    target = dirty_target(tmp_path / "target", 4 * MIB)
    report = restored(store, version, target)
    assert report.written_bytes == result.used_bytes == 4096
    assert run("blkid", "-p", "-o", "value", "-s", "UUID", target) == run(
        "blkid", "-p", "-o", "value", "-s", "UUID", disk
    )


def test_a_disk_with_4096_byte_sectors_comes_back_and_is_refused_for_others(store: ChunkStore, tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk", 32 * MIB)
    loop = run("losetup", "-f", "--show", "-b", "4096", disk).strip()
    try:
        run("sgdisk", "-n1:256:2047", "-n2:2048:4095", loop, ok=(0, 2, 4))
    finally:
        run("losetup", "-d", loop)
    with disk.open("r+b") as file:
        file.seek(MIB)
        file.write(noise(2 * MIB, 60))
    version, result = captured(store, disk)
    shape = Manifest.parse(result.manifest)
    assert shape.disk.logical_sector == 4096
    assert [(region.name, region.offset) for region in shape.regions][-2:] == [("p1", MIB), ("p2", 8 * MIB)]
    target = dirty_target(tmp_path / "target", 40 * MIB)
    restored(store, version, target)
    assert same_bytes(target, disk, MIB, 14 * MIB)
    loop = run("losetup", "-f", "--show", "-b", "4096", target).strip()
    try:
        assert "No problems found" in run("sgdisk", "-v", loop)
    finally:
        run("losetup", "-d", loop)
    loop = run("losetup", "-f", "--show", target).strip()
    unchanged = digest(target)
    try:
        with pytest.raises(Conflict, match=r"sectors of 4096 bytes.* has 512"):
            restored(store, version, Path(loop))
    finally:
        run("losetup", "-d", loop)
    assert digest(target) == unchanged


def test_a_block_device_is_captured_read_only_and_restored(gpt_disk: Made, store: ChunkStore, tmp_path: Path) -> None:
    before = digest(gpt_disk.path)
    loop = run("losetup", "-f", "--show", gpt_disk.path).strip()
    try:
        version, _ = captured(store, Path(loop))
        handle = os.open(loop, os.O_RDWR)
        with pytest.raises(PermissionError):
            os.pwrite(handle, b"no", 0)
        os.close(handle)
    finally:
        run("blockdev", "--setrw", loop)  # it would stick to the device's number
        run("losetup", "-d", loop)
    assert digest(gpt_disk.path) == before
    target = dirty_target(tmp_path / "target", 180 * MIB)
    loop = run("losetup", "-f", "--show", target).strip()
    try:
        report = restored(store, version, Path(loop))
    finally:
        run("losetup", "-d", loop)
    assert report.discarded_bytes > 50 * MIB  # a loop device passes discards on as holes
    _same_file_systems(gpt_disk, Made(target, gpt_disk.parts), tmp_path)


def test_a_second_capture_of_the_same_disk_is_the_same_version(gpt_disk: Made, gpt_version: Version) -> None:
    store, first, _ = gpt_version
    second, result = captured(store, gpt_disk.path)
    assert first == second
    assert result.put_chunks == 0


def test_the_manifest_names_the_system_and_the_file_systems(gpt_version: Version) -> None:
    _, _, result = gpt_version
    shape = Manifest.parse(result.manifest)
    kinds = {region.name: region.filesystem.kind for region in shape.regions}
    expected = {"gap1": "raw", "p1": "raw", "p2": "fat16", "p3": "ext4", "p4": "ntfs", "p5": "swap", "p6": "raw"}
    assert kinds == expected
    assert [(system.region, system.name) for system in shape.os] == [("p3", "Test Linux 13 (quoted)")]
    assert shape.region("p4").used_bytes < 8 * MIB
    assert shape.region("p5").used_bytes == 4096


def _partitions(disk: Path) -> str:
    """sfdisk's dump without what belongs to the disk's size and name."""
    lines = run("sfdisk", "-d", disk).replace(str(disk), "disk").splitlines()
    return "\n".join(line for line in lines if not line.startswith(("device:", "last-lba:")))


def _same_file_systems(left: Made, right: Made, work: Path) -> None:
    ext = right.extract("p3", work / "new.ext")
    run("e2fsck", "-fn", ext)
    assert files_of_ext(ext, work) == files_of_ext(left.extract("p3", work / "old.ext"), work)
    esp = right.extract("p2", work / "new.fat")
    run("fsck.fat", "-n", esp)
    assert files_of_fat(esp, work) == files_of_fat(left.extract("p2", work / "old.fat"), work)
    windows = right.extract("p4", work / "new.ntfs")
    assert check_ntfs(windows, "a.bin") == noise(3 * MIB, 30)
    assert check_ntfs(windows, "b.txt") == b"b"
    # The copy of the boot sector lies behind the volume; without it chkdsk complains.
    assert windows.read_bytes()[-512:] == left.extract("p4", work / "old.ntfs").read_bytes()[-512:]
    assert right.extract("p6", work / "new.raw").read_bytes() == noise(4 * MIB, 23)
