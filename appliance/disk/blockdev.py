"""Block devices: what is in the PC (sysfs), sizes and sectors, read-only in the kernel, partition nodes, discard.

References: linux/fs.h (ioctl numbers), Documentation/ABI/stable/sysfs-block. Every function that reads sysfs takes its
root, so that a test can lay one out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import Conflict, NotFound, Unavailable

BLKROSET = 0x125D  # _IO(0x12, 93): int, read-only or not
BLKROGET = 0x125E
BLKRRPART = 0x125F  # read the partition table again
BLKSSZGET = 0x1268  # int, logical sector
BLKDISCARD = 0x1277  # two u64: start, length
BLKPBSZGET = 0x127B  # int, physical sector
BLKGETSIZE64 = 0x80081272  # u64, bytes

# Not a disk an image could go to: RAM, loops, floppies, CDs, maps, and eMMC's boot and RPMB areas.
_NO_DISK = re.compile(r"(ram|loop|zram|fd|sr|dm-|md|nbd|mtd)\d|mmcblk\d+(boot\d|rpmb)$")
_REREAD_TRIES = 20  # udev or the kernel's own scan may hold a partition open for a moment: 20 * 0.25 s


@dataclass(frozen=True, slots=True)
class Geometry:
    """Size and sectors of a disk or image file, in bytes."""

    size_bytes: int
    logical_sector: int = 512
    physical_sector: int = 512


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of the PC."""

    path: str
    size_bytes: int
    logical_sector: int = 512
    physical_sector: int = 512
    model: str = ""
    serial: str = ""
    wwn: str = ""
    bus: str = ""  # nvme, ata, virtio, usb, mmc, scsi
    removable: bool = False
    rotational: bool = False

    def names(self) -> tuple[str, ...]:
        """Everything this disk can be called."""
        return tuple(name for name in (self.path, Path(self.path).name, self.serial, self.wwn, self.model) if name)

    def __str__(self) -> str:
        about = " ".join(filter(None, (self.model, self.serial)))
        return f"{self.path} ({self.size_bytes / 1e9:.1f} GB{', ' + about if about else ''})"


def list_disks(sys_root: Path = Path("/sys"), dev_root: Path = Path("/dev")) -> list[Disk]:
    """Every disk of the PC, by name. Empty card readers and hidden NVMe paths are left out."""
    found = []
    for node in sorted((sys_root / "block").iterdir()):
        size = _number(node / "size") * 512
        is_disk = (node / "device").exists() and not _NO_DISK.match(node.name)
        if not is_disk or not size or _number(node / "hidden"):
            continue
        found.append(
            Disk(
                path=str(dev_root / node.name.replace("!", "/")),
                size_bytes=size,
                logical_sector=_number(node / "queue/logical_block_size") or 512,
                physical_sector=_number(node / "queue/physical_block_size") or 512,
                model=" ".join(filter(None, (_text(node / "device/vendor"), _text(node / "device/model")))).strip(),
                serial=_serial(node),
                wwn=_text(node / "wwid") or _text(node / "device/wwid"),
                bus=_bus(node),
                removable=bool(_number(node / "removable")) or _bus(node) == "usb",
                rotational=bool(_number(node / "queue/rotational")),
            )
        )
    return found


def choose_disk(disks: Sequence[Disk], wanted: str = "") -> Disk:
    """The disk that `wanted` names (path, name, serial, WWN or model), or the only fixed one when it is empty.

    Raises `NotFound` or `Conflict`, both listing what is there. A removable disk is never chosen unless it is named.
    """
    listing = "; ".join(map(str, disks)) or "none"
    if wanted:
        matches = [disk for disk in disks if wanted in disk.names()]
        if not matches:
            raise NotFound(f"There is no disk '{wanted}' in this PC; there is: {listing}.", hint=_HINT)
    else:
        matches = [disk for disk in disks if not disk.removable]
        if not matches:
            raise NotFound(f"There is no fixed disk in this PC; there is: {listing}.", hint="Check cable and firmware.")
    if len(matches) > 1:
        names = "; ".join(map(str, matches))
        raise Conflict(f"{len(matches)} disks of this PC could be meant: {names}.", hint=_HINT)
    return matches[0]


_HINT = "Name one by path, serial, WWN or model: diecast host edit NAME --disk DISK"


def is_block_device(path: Path) -> bool:
    """Whether `path` is a block device. Raises `OSError` when it is not there."""
    return stat.S_ISBLK(os.stat(path).st_mode)


def geometry(handle: int) -> Geometry:
    """Of an open block device, or of an image file. Raises `OSError`.

    An image file does not say its sector size: it is 4096 where its GPT says so, else 512.
    """
    info = os.fstat(handle)
    if not stat.S_ISBLK(info.st_mode):
        is_4k = os.pread(handle, 8, 4096) == b"EFI PART" and os.pread(handle, 8, 512) != b"EFI PART"
        sector = 4096 if is_4k else 512
        return Geometry(info.st_size // sector * sector, sector, sector)
    size = struct.unpack("=Q", fcntl.ioctl(handle, BLKGETSIZE64, bytes(8)))[0]
    logical = struct.unpack("=i", fcntl.ioctl(handle, BLKSSZGET, bytes(4)))[0]
    physical = struct.unpack("=i", fcntl.ioctl(handle, BLKPBSZGET, bytes(4)))[0]
    return Geometry(size, logical, max(logical, physical))


def set_read_only(path: Path, sys_root: Path = Path("/sys")) -> None:
    """Make a disk and all its partitions read-only in the kernel: every write fails from now on, whoever does it.

    Raises `Unavailable` when the kernel refuses or does not say so afterwards.
    """
    for node in [path, *(_partition_nodes(path, sys_root))]:
        try:
            handle = os.open(node, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(handle, BLKROSET, struct.pack("=i", 1))
                is_set = struct.unpack("=i", fcntl.ioctl(handle, BLKROGET, bytes(4)))[0]
            finally:
                os.close(handle)
        except OSError as error:
            raise Unavailable(f"{node} cannot be made read-only: {error.strerror}.") from error
        if not is_set:
            raise Unavailable(f"{node} is still writable after BLKROSET.")


def reread_table(handle: int) -> bool:
    """Have the kernel read the partition table again. False when partitions stay busy: a restart then does it."""
    for _ in range(_REREAD_TRIES):
        try:
            fcntl.ioctl(handle, BLKRRPART)
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                return False
        time.sleep(0.25)
    return False


def can_discard(path: Path, sys_root: Path = Path("/sys")) -> bool:
    """Whether the device at `path` takes discards."""
    return _number(_sys_node(path, sys_root) / "queue/discard_max_bytes") > 0


def discard(handle: int, offset: int, length: int) -> bool:
    """Tell the device that a range holds nothing. False when it refuses; nothing is lost then."""
    try:
        fcntl.ioctl(handle, BLKDISCARD, struct.pack("=QQ", offset, length))
    except OSError:
        return False
    return True


@contextmanager
def partition_path(disk: Path, offset: int, length: int, sys_root: Path = Path("/sys")) -> Iterator[Path]:
    """A path through which other programs can read just this range of `disk`.

    The disk itself when it is the whole of it; the kernel's partition node when there is one; else a read-only loop
    device for the time of the block (image files, disks whose table the kernel does not read). Raises `Unavailable`.
    """
    is_device = is_block_device(disk)
    if offset == 0 and length == _size_of(disk):
        yield disk
        return
    if is_device:
        for node in _partition_nodes(disk, sys_root):
            there = _sys_node(node, sys_root)
            if (_number(there / "start") * 512, _number(there / "size") * 512) == (offset, length):
                yield node
                return
    loop = _losetup("--find", "--show", "--read-only", f"--offset={offset}", f"--sizelimit={length}", str(disk))
    try:
        yield Path(loop)
    finally:
        _losetup("--detach", loop)


def _losetup(*arguments: str) -> str:
    last = ""
    for _ in range(10):  # two that look for a free loop at once can pick the same
        try:
            done = subprocess.run(["losetup", *arguments], capture_output=True, text=True, check=False)
        except OSError as error:
            raise Unavailable(f"losetup cannot be started: {error.strerror}.", hint="Install util-linux.") from error
        if done.returncode == 0:
            return done.stdout.strip()
        last = done.stderr.strip()
        time.sleep(0.1)
    raise Unavailable(f"losetup {arguments[0]} failed: {last}.")


def _size_of(path: Path) -> int:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(handle, 0, os.SEEK_END)
    finally:
        os.close(handle)


def _sys_node(path: Path, sys_root: Path) -> Path:
    return sys_root / "class/block" / os.path.realpath(path).removeprefix("/dev/").replace("/", "!")


def _partition_nodes(disk: Path, sys_root: Path) -> list[Path]:
    node = _sys_node(disk, sys_root)
    if not node.exists():
        return []
    folder = Path(os.path.realpath(disk)).parent
    return [folder / entry.name for entry in sorted(node.iterdir()) if (entry / "partition").exists()]


def _text(path: Path) -> str:
    try:
        return " ".join(path.read_text(encoding="utf-8", errors="replace").replace("\0", " ").split())
    except OSError:
        return ""


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _serial(node: Path) -> str:
    """NVMe, virtio and MMC say it in words; SCSI and ATA in the unit serial number page (SPC-4, 0x80)."""
    said = _text(node / "serial") or _text(node / "device/serial")
    if said:
        return said
    try:
        page = (node / "device/vpd_pg80").read_bytes()
    except OSError:
        return ""
    return page[4:].decode("ascii", "replace").strip("\0 ")


def _bus(node: Path) -> str:
    if node.name.startswith("nvme"):
        return "nvme"
    if node.name.startswith("mmcblk"):
        return "mmc"
    if node.name.startswith("vd"):
        return "virtio"
    way = str((node / "device").resolve())
    if "/usb" in way:
        return "usb"
    return "ata" if "/ata" in way else "scsi"
