"""How GRUB gets onto a disk without its own installers: BIOS boot code, and the files of an EFI system partition.

boot.img goes to the first sector and names the sector of core.img, whose own first sector holds the list of its other
sectors. References: GRUB manual, "Images"; offsets from grub-core/boot/i386/pc/{boot,diskboot}.S; UEFI specification
3.5.1.1 (\\EFI\\BOOT\\BOOTX64.EFI); shim's README.fallback (BOOTX64.CSV).
"""

from __future__ import annotations

import struct
from pathlib import Path

from bootdisk.command import CommandError
from bootdisk.gptdisk import SECTOR, Partition

BOOT_CODE_BYTES = 440  # what of the first sector is code, before the disk's signature and table
_CORE_SECTOR = 0x5C  # boot.img: where core.img begins
_DRIVE_CHECK = 0x66  # boot.img: two bytes that decide whether the BIOS' drive number is trusted
_CORE_SEGMENT = 0x0820  # where the rest of core.img is loaded


def install_bios_boot(disk: Path, bios_boot: Partition, boot_image: bytes, core_image: bytes) -> None:
    """Write boot.img into the MBR and core.img into its partition, linked as grub-bios-setup links them.

    Raises `CommandError` when the partition is too small.
    """
    boot, core = bytearray(boot_image), bytearray(core_image)
    if len(core) > bios_boot.size:
        raise CommandError(f"GRUB's core image has {len(core)} bytes, the BIOS boot partition {bios_boot.size}.")
    first = bios_boot.offset // SECTOR
    sectors = -(-len(core) // SECTOR)
    struct.pack_into("<Q", boot, _CORE_SECTOR, first)
    boot[_DRIVE_CHECK : _DRIVE_CHECK + 2] = b"\x90\x90"
    struct.pack_into("<QHH", core, SECTOR - 12, first + 1, sectors - 1, _CORE_SEGMENT)
    with disk.open("r+b") as stream:
        stream.write(boot[:BOOT_CODE_BYTES])
        stream.seek(bios_boot.offset)
        stream.write(core)


def esp_files(root: Path, config: str) -> dict[str, Path | bytes]:
    """What an ESP holds, from Debian's packages below `root`: signed shim and GRUB, where the installer puts them and
    where a firmware looks by itself, and GRUB's first configuration."""
    shim = root / "usr/lib/shim"
    grub = root / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"
    entry = "shimx64.efi,debian,,This is the boot entry for debian\n"
    return {
        "EFI/debian/shimx64.efi": shim / "shimx64.efi.signed",
        "EFI/debian/grubx64.efi": grub,
        "EFI/debian/mmx64.efi": shim / "mmx64.efi.signed",
        "EFI/debian/BOOTX64.CSV": b"\xff\xfe" + entry.encode("utf-16-le"),
        "EFI/debian/grub.cfg": config.encode(),
        "EFI/BOOT/BOOTX64.EFI": shim / "shimx64.efi.signed",
        "EFI/BOOT/grubx64.efi": grub,
        "EFI/BOOT/mmx64.efi": shim / "mmx64.efi.signed",
    }
