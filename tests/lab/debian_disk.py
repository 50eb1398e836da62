"""The Debian master: a real Debian 13 that starts under BIOS, UEFI and Secure Boot to a login prompt on ttyS0.

GPT with a BIOS boot partition, an ESP, ext4 and swap. The ESP carries Debian's signed shim and GRUB where the installer
puts them; BIOS boot code and ESP are made as those of the appliance (image-build/bootdisk).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bootdisk import grub

from tests.lab.command import run
from tests.lab.gptdisk import MIB, Partition, copy_range, make_fat, make_table

SUITE = "trixie"
MIRROR = "http://deb.debian.org/debian"
DISK_MIB = 1536
HOST_NAME = "diecast-master"
ROOT_UUID = "5f1d6f0e-3d0b-4b39-9f0c-0d1eca570003"
SWAP_UUID = "5f1d6f0e-3d0b-4b39-9f0c-0d1eca570004"
DISK_GUID = "5F1D6F0E-3D0B-4B39-9F0C-0D1ECA570000"

BIOS_BOOT = Partition(1, "bios-boot", "ef02", "5F1D6F0E-3D0B-4B39-9F0C-0D1ECA570011", 1, 1)
ESP = Partition(2, "esp", "ef00", "5F1D6F0E-3D0B-4B39-9F0C-0D1ECA570012", 2, 48)
ROOT = Partition(3, "root", "8300", "5F1D6F0E-3D0B-4B39-9F0C-0D1ECA570013", 50, 1356)
SWAP = Partition(4, "swap", "8200", "5F1D6F0E-3D0B-4B39-9F0C-0D1ECA570014", 1406, 128)
PARTITIONS = (BIOS_BOOT, ESP, ROOT, SWAP)

_PACKAGES = (
    "systemd-sysv",
    "udev",
    "login",
    "dbus",
    "linux-image-amd64",
    "initramfs-tools",
    "grub-efi-amd64-signed",
    "shim-signed",
    "grub-pc-bin",
    "iproute2",
    "attr",
    "libcap2-bin",
    "zstd",
)

# What a PC in a lab does not need and a test should not wait for.
_LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    *(
        f"/usr/lib/modules/*/kernel/{folder}/*"
        for folder in (
            "sound",
            "drivers/gpu",
            "drivers/media",
            "drivers/net/wireless",
            "drivers/infiniband",
            "drivers/staging",
            "drivers/iio",
            "drivers/isdn",
            "drivers/comedi",
        )
    ),
)

_INITRAMFS_MODULES = (
    "virtio_pci virtio_blk virtio_scsi nvme ahci ata_piix sd_mod ext4 crc32c_generic libcrc32c usb_storage xhci_pci"
)
_BIOS_GRUB_MODULES = "biosdisk part_gpt ext2 normal linux configfile search search_fs_uuid serial echo minicmd test"

_GRUB_CFG = f"""\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
menuentry "Debian" {{
    linux /vmlinuz root=UUID={ROOT_UUID} ro console=tty0 console=ttyS0,115200 systemd.show_status=0 net.ifnames=0
    initrd /initrd.img
}}
"""
_ESP_CFG = f"""\
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
"""
_FSTAB = f"""\
UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1
UUID={SWAP_UUID} none swap sw 0 0
"""
_NETWORK = "[Match]\nName=eth*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\n"


def build(disk: Path, work: Path) -> None:
    """Make the whole disk as the image file `disk`; `work` is an empty folder for what comes between."""
    root = work / "root"
    _bootstrap(root, work)
    _configure(root)
    _oddities(root)
    make_table(disk, DISK_MIB, DISK_GUID, PARTITIONS)
    _install_bios_boot(root, disk)
    make_fat(disk, ESP, "ESP", "d1eca572", grub.esp_files(root, _ESP_CFG), work)
    _make_root(root, disk)
    swap = work / "swap.img"
    with swap.open("wb") as stream:
        stream.truncate(SWAP.size)
    swap.chmod(0o600)
    run(["mkswap", "-U", SWAP_UUID, swap])
    copy_range(swap, 0, SWAP.size, disk, SWAP.offset)


def _bootstrap(root: Path, work: Path) -> None:
    prepare = work / "prepare.sh"
    prepare.write_text(
        "#!/bin/sh\nset -e\n"
        'mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"\n'
        'printf "MODULES=list\\nCOMPRESS=zstd\\n" >"$1/etc/initramfs-tools/conf.d/lab"\n'
        f'printf "%s\\n" {_INITRAMFS_MODULES} >"$1/usr/share/initramfs-tools/modules.d/lab"\n'
    )
    prepare.chmod(0o755)
    words = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(_PACKAGES)}"]
    words += ['--aptopt=APT::Install-Recommends "0"', f"--essential-hook={prepare}"]
    words += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    run([*words, SUITE, str(root), MIRROR], timeout_s=900)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _configure(root: Path) -> None:
    """Name, file systems, network and an empty root password: enough for a login prompt and a shell."""
    _write(root / "etc/hostname", HOST_NAME + "\n")
    _write(root / "etc/hosts", f"127.0.0.1 localhost\n127.0.1.1 {HOST_NAME}\n")
    _write(root / "etc/fstab", _FSTAB)
    _write(root / "etc/systemd/network/lab.network", _NETWORK)
    _write(root / "etc/machine-id", "5f1d6f0e3d0b4b399f0c0d1eca57beef\n")
    _write(root / "boot/grub/grub.cfg", _GRUB_CFG)
    run(["chroot", root, "passwd", "-d", "root"])
    run(["chroot", root, "systemctl", "-q", "enable", "systemd-networkd"])
    run(["chroot", root, "systemctl", "-q", "mask", "systemd-networkd-wait-online.service", "apt-daily.timer"])


def _oddities(root: Path) -> None:
    """Files that a careless copy would spoil: holes, hard links, attributes, capabilities, odd names and times."""
    folder = root / "srv/oddities"
    folder.mkdir(parents=True)
    with (folder / "sparse").open("wb") as stream:
        for offset in (0, 3 * MIB, 40 * MIB):
            stream.seek(offset)
            stream.write(b"data between holes" * 300)
        stream.truncate(64 * MIB)
    _write(folder / "linked", "one inode, two names\n", 0o640)
    os.link(folder / "linked", folder / "linked again")
    _write(folder / "attributes", "with extended attributes\n")
    os.setxattr(folder / "attributes", "user.diecast.long", b"x" * 900)
    os.setxattr(folder / "attributes", "user.diecast.short", b"short")
    _write(folder / "capable", "#!/bin/true\n", 0o755)
    run(["setcap", "cap_net_bind_service,cap_net_raw+ep", folder / "capable"])
    _write(folder / "ünï cödé \n with newline", "odd name\n")
    _write(folder / ("long" * 60), "long name\n")
    _write(folder / "old", "from 1999\n", 0o4751)
    os.chown(folder / "old", 1234, 5678)
    os.chmod(folder / "old", 0o4751)
    os.utime(folder / "old", ns=(946_598_400_123_456_789, 946_598_400_987_654_321))
    os.symlink("../nowhere/" + "deep/" * 30, folder / "dangling")
    os.mkfifo(folder / "fifo", 0o600)
    (folder / "empty").touch()
    (folder / "random").write_bytes(bytes((i * 197 + (i >> 8) * 31) & 0xFF for i in range(3 * MIB)))


def _install_bios_boot(root: Path, disk: Path) -> None:
    core = root / "tmp/core.img"
    words = ["grub-mkimage", "-O", "i386-pc", "-o", "/tmp/core.img", "-p", f"(,gpt{ROOT.number})/boot/grub"]
    run(["chroot", root, *words, *_BIOS_GRUB_MODULES.split()])
    modules = root / "usr/lib/grub/i386-pc"
    shutil.copytree(modules, root / "boot/grub/i386-pc")
    grub.install_bios_boot(disk, BIOS_BOOT, (modules / "boot.img").read_bytes(), core.read_bytes())
    core.unlink()


def _make_root(root: Path, disk: Path) -> None:
    words = ["mke2fs", "-q", "-t", "ext4", "-L", "root", "-U", ROOT_UUID, "-m", "1", "-b", "4096"]
    words += ["-E", f"offset={ROOT.offset},hash_seed={ROOT_UUID},nodiscard,lazy_itable_init=0", "-d", str(root)]
    run([*words, str(disk), str(ROOT.size // 4096)])
