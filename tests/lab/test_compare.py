"""The foreign comparison is worth something only if it notices: each kind of change is made, and must be named."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.compare import Comparison, compare, compare_disks, read_disk
from tests.lab.gptdisk import MIB, Partition, copy_disk, copy_range, make_fat, make_table

RAW = Partition(1, "boot", "ef02", "11111111-3D0B-4B39-9F0C-0D1ECA570001", 1, 1)
FAT = Partition(2, "esp", "ef00", "11111111-3D0B-4B39-9F0C-0D1ECA570002", 2, 36)
EXT = Partition(3, "root", "8300", "11111111-3D0B-4B39-9F0C-0D1ECA570003", 38, 16)
NTFS = Partition(4, "data", "0700", "11111111-3D0B-4B39-9F0C-0D1ECA570004", 54, 16)
GUID = "11111111-3D0B-4B39-9F0C-0D1ECA570000"


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk with one partition of each kind and a file in each."""
    folder = tmp_path_factory.mktemp("disk")
    disk = folder / "disk.img"
    make_table(disk, 72, GUID, (RAW, FAT, EXT, NTFS))
    make_fat(disk, FAT, "ESP", "11111111", {"EFI/BOOT/BOOTX64.EFI": b"loader" * 3000}, folder)
    root = folder / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub/file").write_bytes(b"some content" * 1000)
    os.setxattr(root / "sub/file", "user.kind", b"small")
    run(["mke2fs", "-q", "-t", "ext4", "-d", root, "-E", f"offset={EXT.offset}", disk, str(EXT.size // 1024)])
    image = folder / "ntfs.img"
    with image.open("wb") as stream:
        stream.truncate(NTFS.size)
    run(["mkntfs", "-Q", "-F", "-q", "-s", "512", "-p", "0", "-H", "1", "-S", "1", image])
    source = folder / "letter.txt"
    source.write_bytes(b"a letter of more than a record's length " * 100)
    run(["ntfscp", "-f", image, source, "letter.txt"])
    copy_range(image, 0, NTFS.size, disk, NTFS.offset)
    return disk


def debugfs(disk: Path, command: str) -> None:
    run(["debugfs", "-w", "-R", command, f"{disk}?offset={EXT.offset}"])


def flip(disk: Path, offset: int) -> None:
    with disk.open("r+b") as stream:
        stream.seek(offset)
        byte = stream.read(1)
        stream.seek(offset)
        stream.write(bytes([byte[0] ^ 0xFF]))


def flip_text(disk: Path, text: bytes) -> None:
    flip(disk, disk.read_bytes().index(text))


CHANGES: dict[str, Callable[[Path], None]] = {
    "boot code": lambda disk: flip(disk, 17),
    "raw bytes": lambda disk: flip(disk, RAW.offset + 1000),
    "entry": lambda disk: print(run(["sgdisk", "--change-name=2:other", disk])),
    "content of EFI": lambda disk: flip_text(disk, b"loaderloader"),
    "content of inode": lambda disk: flip_text(disk, b"some contentsome"),
    "Mode": lambda disk: debugfs(disk, "sif /sub/file mode 0100600"),
    "User": lambda disk: debugfs(disk, "sif /sub/file uid 1000"),
    "mtime": lambda disk: debugfs(disk, "sif /sub/file mtime 20200101000000"),
    "user.kind": lambda disk: debugfs(disk, "ea_set /sub/file user.kind other"),
    "name /sub/again": lambda disk: debugfs(disk, "ln /sub/file /sub/again"),
    "letter.txt": lambda disk: flip_text(disk, b"a letter of more"),
    "record": lambda disk: flip_text(disk, "letter.txt".encode("utf-16-le")),
}


def test_a_copy_is_equal_also_on_a_larger_disk(small_disk: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy_disk(small_disk, copy)
    os.truncate(copy, 100 * MIB)
    run(["sgdisk", "--move-second-header", copy])
    comparison = compare_disks(small_disk, copy)
    assert comparison.equal, str(comparison)
    assert comparison.compared > 30


def test_a_table_that_is_not_sound_is_no_equal_copy(small_disk: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy_disk(small_disk, copy)
    os.truncate(copy, 100 * MIB)  # its backup table is now in the middle
    assert not compare_disks(small_disk, copy).equal


@pytest.mark.parametrize("what", list(CHANGES))
def test_a_change_is_noticed_and_named(small_disk: Path, tmp_path: Path, what: str) -> None:
    copy = tmp_path / "copy.img"
    copy_disk(small_disk, copy)
    CHANGES[what](copy)
    comparison = compare(read_disk(small_disk), read_disk(copy))
    assert not comparison.equal
    assert any(what in line for line in comparison.differences), str(comparison)


def test_what_is_left_out_is_compared_in_all_but_content(small_disk: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.img"
    copy_disk(small_disk, copy)
    flip_text(copy, b"a letter of more")
    left_out = ("letter.txt",)
    assert compare(read_disk(small_disk, left_out=left_out), read_disk(copy, left_out=left_out)).equal


def test_nothing_compared_is_not_equal() -> None:
    assert not Comparison().equal
