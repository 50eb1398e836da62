"""What lies where on the appliance's disk, and how it starts.

The disk ends behind the root: the data partition is made by systemd-repart at the first start, over all the rest of
whatever disk the image was written to (files/etc/repart.d). Identifiers are fixed: two builds differ in nothing.
"""

from __future__ import annotations

from bootdisk.gptdisk import Partition

DISK_MIB = 4096
DISK_GUID = "D1ECA570-0B0C-4B39-9F0C-0D1ECA570000"
ROOT_UUID = "d1eca570-0b0c-4b39-9f0c-0d1eca570003"
ESP_SERIAL = "d1eca570"
ESP_LABEL = "DIECAST-ESP"
ROOT_LABEL = "diecast-root"

# ef02 BIOS boot, ef00 ESP, 8304 root of x86-64 (Discoverable Partitions Specification): no type that a definition of
# repart.d has, so that systemd-repart takes none of these for its own.
BIOS_BOOT = Partition(1, "bios-boot", "ef02", "D1ECA570-0B0C-4B39-9F0C-0D1ECA570011", 1, 1)
ESP = Partition(2, "esp", "ef00", "D1ECA570-0B0C-4B39-9F0C-0D1ECA570012", 2, 62)
ROOT = Partition(3, "diecast-root", "8304", "D1ECA570-0B0C-4B39-9F0C-0D1ECA570013", 64, DISK_MIB - 64 - 1)
PARTITIONS = (BIOS_BOOT, ESP, ROOT)

BIOS_GRUB_MODULES = (
    "biosdisk",
    "part_gpt",
    "ext2",
    "normal",
    "linux",
    "configfile",
    "search",
    "search_fs_uuid",
    "echo",
    "minicmd",
    "test",
)

# nomodeset: the console is drawn for 80x25, which a BIOS machine then has as VGA text, and no graphics driver of a
# server can leave the screen black. systemd.gpt_auto=0: what is mounted is in fstab. consoleblank: it is a display.
# panic, fsck.repair: nobody stands beside it. loglevel: the kernel's lines go to the journal, not across the console's
# screen. rw: the initrd has checked the root, and systemd can write the machine's new id at once.
_LINE = f"root=UUID={ROOT_UUID} rw nomodeset consoleblank=0 panic=30 fsck.repair=yes systemd.gpt_auto=0"
KERNEL_LINE = f"{_LINE} quiet loglevel=3 systemd.show_status=auto"

# Kernel and initrd by the links that the kernel's package keeps: a new kernel needs no new configuration.
GRUB_CFG = f"""\
set timeout_style=hidden
set timeout=1
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
if [ -f /boot/grub/custom.cfg ]; then source /boot/grub/custom.cfg; fi
menuentry "Diecast" {{
    linux /vmlinuz {KERNEL_LINE} $diecast_options
    initrd /initrd.img
}}
menuentry "Diecast, previous kernel" {{
    linux /vmlinuz.old {KERNEL_LINE} $diecast_options
    initrd /initrd.img.old
}}
menuentry "Diecast, all messages" {{
    linux /vmlinuz {_LINE} systemd.show_status=yes $diecast_options
    initrd /initrd.img
}}
"""
ESP_CFG = f"""\
search --no-floppy --fs-uuid --set=root {ROOT_UUID}
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
"""
