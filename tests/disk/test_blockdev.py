"""The PC's disks as sysfs describes them, and which one is meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.disk import blockdev
from appliance.disk.blockdev import Disk, choose_disk, list_disks
from appliance.errors import Conflict, NotFound
from tests.disk.makedisk import MIB, blank, noise, place, run


def add(root: Path, name: str, *, way: str = "pci0000:00", sectors: int = 2048, **files: str) -> None:
    """A block device in a made-up sysfs; keys of `files` are paths with `__` for `/`."""
    device = root / "devices" / way / name
    node = root / "block" / name
    for path, text in {"size": str(sectors), **files}.items():
        place = node / path.replace("__", "/") if not path.startswith("device__") else device / path[8:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text + "\n")
    device.mkdir(parents=True, exist_ok=True)
    if not name.startswith(("loop", "dm-")):
        (node / "device").symlink_to(device)


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    """A PC with one disk of each bus and much that is no disk."""
    add(
        tmp_path, "nvme0n1", sectors=1000, queue__logical_block_size="4096", device__model="Fast 1", device__serial="N1"
    )
    add(tmp_path, "sda", way="pci/ata1/host0", device__model="SLOW", device__vendor="ATA", queue__rotational="1")
    add(tmp_path, "sdb", way="pci/usb1/1-1/host6", device__model="Stick")
    add(tmp_path, "vda", serial="virtual-7")
    add(tmp_path, "mmcblk0", device__serial="0x1234")
    add(tmp_path, "mmcblk0boot0")
    add(tmp_path, "sdc", sectors=0, removable="1")
    add(tmp_path, "nvme0c0n1", hidden="1")
    for other in ("loop0", "sr0", "dm-0", "ram0", "zram0", "fd0"):
        add(tmp_path, other)
    return tmp_path


def test_only_disks_an_image_could_go_to_are_listed(sysfs: Path) -> None:
    disks = {disk.path: disk for disk in list_disks(sysfs)}
    assert list(disks) == ["/dev/mmcblk0", "/dev/nvme0n1", "/dev/sda", "/dev/sdb", "/dev/vda"]
    assert disks["/dev/nvme0n1"] == Disk("/dev/nvme0n1", 512_000, 4096, 512, "Fast 1", "N1", bus="nvme")
    assert (disks["/dev/sda"].bus, disks["/dev/sda"].model, disks["/dev/sda"].rotational) == ("ata", "ATA SLOW", True)
    assert (disks["/dev/sdb"].bus, disks["/dev/sdb"].removable) == ("usb", True)
    assert (disks["/dev/vda"].bus, disks["/dev/vda"].serial) == ("virtio", "virtual-7")
    assert disks["/dev/mmcblk0"].bus == "mmc"


def test_a_scsi_serial_comes_from_the_unit_serial_number_page(tmp_path: Path) -> None:
    add(tmp_path, "sda")
    (tmp_path / "devices/pci0000:00/sda/vpd_pg80").write_bytes(b"\0\x80\0\x08 SER 42 ")
    assert list_disks(tmp_path)[0].serial == "SER 42"


FIXED, SECOND = Disk("/dev/sda", 10**9, serial="S1", model="M"), Disk("/dev/sdb", 2 * 10**9, serial="S2", model="M")
STICK = Disk("/dev/sdc", 10**9, model="Stick", removable=True)


def test_the_only_fixed_disk_is_meant_when_none_is_named() -> None:
    assert choose_disk([FIXED, STICK], "") == FIXED


@pytest.mark.parametrize("wanted", ["/dev/sdb", "sdb", "S2"])
def test_a_disk_is_found_by_path_name_or_serial(wanted: str) -> None:
    assert choose_disk([FIXED, SECOND, STICK], wanted) == SECOND


def test_a_removable_disk_is_taken_only_when_named() -> None:
    with pytest.raises(NotFound, match="no fixed disk"):
        choose_disk([STICK], "")
    assert choose_disk([STICK], "Stick") == STICK


@pytest.mark.parametrize(
    ("wanted", "error"), [("", Conflict), ("M", Conflict), ("/dev/sdz", NotFound), ("sd", NotFound)]
)
def test_doubt_is_an_error_that_lists_what_there_is(wanted: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"/dev/sda \(1\.0 GB, M S1\); /dev/sdb \(2\.0 GB, M S2\)"):
        choose_disk([FIXED, SECOND], wanted)


def test_without_any_disk_the_error_says_none() -> None:
    with pytest.raises(NotFound, match="there is: none"):
        choose_disk([], "")


def test_a_range_of_an_image_file_can_be_read_through_a_path_of_its_own(tmp_path: Path) -> None:
    disk = blank(tmp_path / "disk", 4 * MIB)
    place(disk, MIB, noise(MIB, 1))
    with blockdev.partition_path(disk, MIB, MIB) as path:
        assert path.read_bytes() == noise(MIB, 1)
        assert run("blockdev", "--getro", path).strip() == "1"
        name = path.name
    assert name not in run("losetup", "--list", "--noheadings", "--output", "NAME")
    with blockdev.partition_path(disk, 0, 4 * MIB) as path:
        assert path == disk
