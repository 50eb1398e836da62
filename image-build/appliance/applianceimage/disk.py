"""The disk of a finished root: table, BIOS boot code, EFI system partition, ext4."""

from __future__ import annotations

import shutil
from pathlib import Path

from bootdisk import grub
from bootdisk.gptdisk import make_fat, make_table

from applianceimage.layout import (
    BIOS_BOOT,
    BIOS_GRUB_MODULES,
    DISK_GUID,
    DISK_MIB,
    ESP,
    ESP_CFG,
    ESP_LABEL,
    ESP_SERIAL,
    PARTITIONS,
    ROOT,
    ROOT_LABEL,
    ROOT_UUID,
)
from applianceimage.packages import Packages

_BLOCK = 4096


def add_boot_files(packages: Packages, root: Path) -> None:
    """GRUB's modules for BIOS machines, which core.img loads others from."""
    shutil.copytree(packages.path / "tools/usr/lib/grub/i386-pc", root / "boot/grub/i386-pc", dirs_exist_ok=True)


def make(packages: Packages, root: Path, disk: Path, work: Path, epoch_s: int) -> None:
    """Write the disk's image file. `work` is an empty folder. Raises `CommandError` or `BuildError`."""
    make_table(disk, DISK_MIB, DISK_GUID, PARTITIONS)
    core = work / "core.img"
    words = ["-d", str(packages.path / "tools/usr/lib/grub/i386-pc"), "-O", "i386-pc", "-o", str(core)]
    words += ["-p", f"(,gpt{ROOT.number})/boot/grub"]
    packages.tools.run("usr/bin/grub-mkimage", *words, *BIOS_GRUB_MODULES)
    boot = packages.path / "tools/usr/lib/grub/i386-pc/boot.img"
    grub.install_bios_boot(disk, BIOS_BOOT, boot.read_bytes(), core.read_bytes())
    files = grub.esp_files(packages.path / "tools", ESP_CFG)
    make_fat(disk, ESP, ESP_LABEL, ESP_SERIAL, files, work, epoch_s=epoch_s)
    _make_root(packages, root, disk, epoch_s)


def _make_root(packages: Packages, root: Path, disk: Path, epoch_s: int) -> None:
    extended = f"offset={ROOT.offset},hash_seed={ROOT_UUID},nodiscard,lazy_itable_init=0,lazy_journal_init=0"
    words = ["-q", "-F", "-t", "ext4", "-L", ROOT_LABEL, "-U", ROOT_UUID, "-m", "1", "-b", str(_BLOCK), "-I", "256"]
    words += ["-E", extended, "-d", str(root), str(disk), str(ROOT.size // _BLOCK)]
    # The recipe's e2fsprogs takes every time of the file system from the first of these (mke2fs(8)).
    environment = {"SOURCE_DATE_EPOCH": str(epoch_s), "MKE2FS_CONFIG": str(root / "etc/mke2fs.conf")}
    packages.tools.run("usr/sbin/mke2fs", *words, **environment)
