"""The Windows-shaped master: GPT, ESP, MSR, NTFS and a recovery NTFS last, filled with files of many kinds.

It does not boot. Windows' own layout: Microsoft, "UEFI/GPT-based hard drive partitions". NTFS is made by mkntfs and
written through ntfs-3g, whose extended attributes give files their NTFS attributes and streams.
"""

from __future__ import annotations

import os
import random
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.command import LabError, run
from tests.lab.gptdisk import MIB, SECTOR, Partition, copy_range, make_fat, make_table

DISK_MIB = 1024
DISK_GUID = "A1D6F0E5-3D0B-4B39-9F0C-0D1ECA571000"
ESP = Partition(1, "EFI system partition", "ef00", "A1D6F0E5-3D0B-4B39-9F0C-0D1ECA571001", 1, 48)
MSR = Partition(2, "Microsoft reserved partition", "0c01", "A1D6F0E5-3D0B-4B39-9F0C-0D1ECA571002", 49, 16)
WINDOWS = Partition(3, "Basic data partition", "0700", "A1D6F0E5-3D0B-4B39-9F0C-0D1ECA571003", 65, 830)
RECOVERY = Partition(4, "Recovery", "2700", "A1D6F0E5-3D0B-4B39-9F0C-0D1ECA571004", 895, 128)
PARTITIONS = (ESP, MSR, WINDOWS, RECOVERY)

# Windows makes these anew: a capture leaves their content out, the files stay.
CONTENT_LEFT_OUT = ("pagefile.sys", "hiberfil.sys", "swapfile.sys")

_FILE_ATTRIBUTE_COMPRESSED = 0x0800
_FILE_ATTRIBUTE_HIDDEN_SYSTEM = 0x0006


def build(disk: Path, work: Path) -> None:
    """Make the whole disk as the image file `disk`; `work` is an empty folder for what comes between."""
    make_table(disk, DISK_MIB, DISK_GUID, PARTITIONS)
    stub = b"MZ" + bytes(62) + b"not a real boot manager " * 400
    bcd = b"regf" + bytes(range(256)) * 100
    files: dict[str, Path | bytes] = {
        "EFI/Microsoft/Boot/bootmgfw.efi": stub,
        "EFI/Microsoft/Boot/BCD": bcd,
        "EFI/Boot/bootx64.efi": stub,
    }
    make_fat(disk, ESP, "SYSTEM", "d1eca573", files, work)
    _make_ntfs(disk, WINDOWS, "Windows", work, _fill_windows)
    _make_ntfs(disk, RECOVERY, "Recovery", work, _fill_recovery)


def _make_ntfs(disk: Path, part: Partition, label: str, work: Path, fill: object) -> None:
    image = work / f"ntfs-{part.number}.img"
    with image.open("wb") as stream:
        stream.truncate(part.size)
    words = ["mkntfs", "--quick", "--force", "--quiet", "--label", label, "--sector-size", str(SECTOR)]
    words += ["--partition-start", str(part.offset // SECTOR), "--heads", "255", "--sectors-per-track", "63"]
    run([*words, image])
    with _mounted(image, work / f"mnt-{part.number}") as root:
        assert callable(fill)
        fill(root)
    copy_range(image, 0, part.size, disk, part.offset)
    image.unlink()


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[Path]:
    """The NTFS in a file, mounted by ntfs-3g with compression and Windows' stream names."""
    folder.mkdir()
    options = "rw,no_detach,compression,streams_interface=windows,permissions"
    driver = subprocess.Popen(
        ["ntfs-3g", "-o", options, str(image), str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for_mount(driver, folder)
        yield folder
    finally:
        run(["fusermount", "-u", folder], ok=(0, 1))
        driver.wait(60)  # it writes the last of the image after the unmount has returned


def _wait_for_mount(driver: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + 20
    while not folder.is_mount():
        if driver.poll() is not None or time.monotonic() > deadline:
            raise LabError(f"ntfs-3g does not mount {folder} (status {driver.poll()}).")
        time.sleep(0.05)


def _set_attributes(path: Path, attributes: int) -> None:
    os.setxattr(path, "system.ntfs_attrib_be", struct.pack(">I", attributes))


def _pattern(size: int, seed: int) -> bytes:
    """Bytes that neither repeat nor compress, the same on every run."""
    return random.Random(seed).randbytes(size)


def _fill_windows(root: Path) -> None:
    system = root / "Windows/System32"
    system.mkdir(parents=True)
    for index in range(120):
        (system / f"library{index:03}.dll").write_bytes(_pattern(1000 + index * index * 40, index))
    (system / "config").mkdir()
    for hive in ("SYSTEM", "SOFTWARE", "SAM"):
        (system / "config" / hive).write_bytes(b"regf" + _pattern(300_000, len(hive)))
    for name, size_mib in zip(CONTENT_LEFT_OUT, (48, 32, 16), strict=True):
        (root / name).write_bytes(_pattern(size_mib * MIB, size_mib))
        _set_attributes(root / name, _FILE_ATTRIBUTE_HIDDEN_SYSTEM)
    users = root / "Users/Müller/Документы"
    users.mkdir(parents=True)
    _fill_compressed(users / "compressed")
    _fill_odd(users)


def _fill_compressed(folder: Path) -> None:
    """A folder whose files NTFS compresses: text, a mixture, and what cannot be compressed."""
    folder.mkdir()
    _set_attributes(folder, _FILE_ATTRIBUTE_COMPRESSED)
    (folder / "text.log").write_bytes(b"the same line over and over again\r\n" * 60_000)
    (folder / "mixed.bin").write_bytes((_pattern(70_000, 3) + bytes(200_000)) * 8)
    (folder / "random.bin").write_bytes(_pattern(500_000, 4))


def _fill_odd(folder: Path) -> None:
    with (folder / "sparse.vhdx").open("wb") as stream:
        for offset in (0, 5 * MIB, 90 * MIB):
            stream.seek(offset)
            stream.write(_pattern(100_000, offset + 1))
        stream.truncate(128 * MIB)
    (folder / "resident.txt").write_bytes(b"small enough to live in its file record")
    (folder / "empty.txt").touch()
    (folder / "download.exe").write_bytes(_pattern(40_000, 5))
    Path(f"{folder}/download.exe:Zone.Identifier").write_bytes(b"[ZoneTransfer]\r\nZoneId=3\r\n")
    Path(f"{folder}/download.exe:large stream").write_bytes(_pattern(2 * MIB, 6))
    (folder / "linked.docx").write_bytes(_pattern(20_000, 8))
    os.link(folder / "linked.docx", folder / "a second name.docx")
    (folder / ("very long name " * 15 + ".txt")).write_bytes(b"long")
    (folder / "日本語 ﬁle.txt").write_bytes(b"unicode")
    deep = folder
    for index in range(20):
        deep = deep / f"level {index}"
        deep.mkdir()
    (deep / "at the bottom.txt").write_bytes(b"deep")
    many = folder / "many files"
    many.mkdir()
    for index in range(400):  # enough for an index allocation with several blocks
        (many / f"file with a rather long name {index:05}.txt").write_bytes(b"%d" % index * (index % 300))
    for index in range(0, 400, 3):
        (many / f"file with a rather long name {index:05}.txt").unlink()
    os.utime(folder / "resident.txt", ns=(915_148_800_000_000_100, 915_148_800_000_000_300))


def _fill_recovery(root: Path) -> None:
    folder = root / "Recovery/WindowsRE"
    folder.mkdir(parents=True)
    (folder / "Winre.wim").write_bytes(b"MSWIM\0\0\0" + _pattern(24 * MIB, 9))
    (folder / "ReAgent.xml").write_bytes(b"<?xml version='1.0'?><WindowsRE version='2.0'/>")
