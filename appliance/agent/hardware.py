"""What is in this PC, as its kernel says.

References: Documentation/ABI/testing/sysfs-firmware-dmi-tables, sysfs-class-net; Documentation/arch/x86/zero-page.rst
(boot_params.secure_boot at 0x1EC); UEFI 2.10 section 3.3 (SecureBoot is one byte); efivarfs (4 attribute bytes first).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from appliance.agent.machine import Machine
from appliance.disk import blockdev
from appliance.wire.agentapi import MAX_LIST, MAX_TEXT, DiskInfo, Inventory, NicInfo

EFI_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
ARPHRD_ETHER = "1"
_BOOT_PARAMS_SECURE_BOOT = 0x1EC
_SECURE_BOOT_ENABLED = 3  # enum efi_secureboot_mode: 0 unset, 1 unknown, 2 disabled, 3 enabled


@dataclass(frozen=True, slots=True)
class Firmware:
    """How this PC was started."""

    kind: str  # bios | uefi
    secure_boot: bool = False  # as the running kernel says
    evidence: str = ""  # for the log

    def __str__(self) -> str:
        """For the screen."""
        return f"UEFI, Secure Boot {'on' if self.secure_boot else 'off'}" if self.kind == "uefi" else "BIOS"


def firmware(machine: Machine) -> Firmware:
    """Tell BIOS from UEFI, and whether Secure Boot was in force.

    The firmware's variable alone is not believed: only the kernel knows whether it was checked.
    """
    if not (machine.sys / "firmware/efi").is_dir():
        return Firmware("bios", evidence="no /sys/firmware/efi")
    variable = _efi_secure_boot(machine)
    kernel = _kernel_secure_boot(machine)
    enabled = kernel if kernel is not None else bool(variable)
    if variable is False:
        enabled = False
    return Firmware("uefi", enabled, f"EFI variable {_word(variable)}, kernel {_word(kernel)}")


def _word(value: bool | None) -> str:
    return {None: "silent", True: "on", False: "off"}[value]


def _efi_secure_boot(machine: Machine) -> bool | None:
    variables = machine.sys / "firmware/efi/efivars"
    path = variables / f"SecureBoot-{EFI_GLOBAL}"
    if not path.exists() and variables.is_dir():
        machine.run(["mount", "-t", "efivarfs", "-o", "ro,nosuid,nodev,noexec", "efivarfs", str(variables)], 10)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content[4] == 1 if len(content) >= 5 else None


def _kernel_secure_boot(machine: Machine) -> bool | None:
    try:
        content = (machine.sys / "kernel/boot_params/data").read_bytes()
        mode = content[_BOOT_PARAMS_SECURE_BOOT]
    except (OSError, IndexError):
        mode = 0
    if mode > 1:
        return mode == _SECURE_BOOT_ENABLED
    # Debian's kernel locks itself down when, and only when, Secure Boot is on (or `lockdown=` is on its line).
    lockdown = machine.text(machine.sys / "kernel/security/lockdown")
    return "[none]" not in lockdown if lockdown else None


def system_uuid(machine: Machine) -> str:
    """The SMBIOS system UUID as the kernel prints it; empty when there is none."""
    return _dmi(machine, "product_uuid").lower()[:36]


def _dmi(machine: Machine, name: str) -> str:
    return machine.text(machine.sys / "class/dmi/id" / name)[:MAX_TEXT]


def nics(machine: Machine) -> list[NicInfo]:
    """The wired network cards, by name; no wireless, bridges, tunnels or the loopback."""
    found = []
    try:
        folders = sorted((machine.sys / "class/net").iterdir())
    except OSError:
        folders = []
    for folder in folders:
        wireless = (folder / "wireless").exists() or (folder / "phy80211").exists()
        if wireless or machine.text(folder / "type") != ARPHRD_ETHER or not (folder / "device").exists():
            continue
        found.append(_nic(machine, folder))
    return found[:MAX_LIST]


def _nic(machine: Machine, folder: Path) -> NicInfo:
    speed = machine.text(folder / "speed")
    driver = folder / "device/driver"
    return NicInfo(
        name=folder.name,
        mac=machine.text(folder / "address").lower(),
        driver=driver.resolve().name if driver.exists() else "",
        speed_mbit=max(0, int(speed)) if speed.lstrip("-").isdecimal() else 0,  # -1: unknown
        link=machine.text(folder / "carrier") == "1",
    )


def disks(machine: Machine) -> list[DiskInfo]:
    """Every disk, in the words of the agent calls."""
    return [
        DiskInfo(
            path=str(disk.path),
            size_bytes=disk.size_bytes,
            logical_sector=disk.logical_sector,
            physical_sector=disk.physical_sector,
            model=disk.model,
            serial=disk.serial,
            wwn=disk.wwn,
            bus=disk.bus,
            removable=disk.removable,
            rotational=disk.rotational,
        )
        for disk in blockdev.list_disks(machine.sys, machine.dev)[:MAX_LIST]
    ]


def inventory(machine: Machine) -> Inventory:
    """Everything the box wants to know. A part that cannot be read is left empty."""
    booted = firmware(machine)
    cpus = [line.split(":", 1) for line in machine.text(machine.proc / "cpuinfo").splitlines() if ":" in line]
    models = [value.strip() for key, value in cpus if key.strip() == "model name"]
    try:
        found = disks(machine)
    except OSError:
        found = []
    return Inventory(
        vendor=_dmi(machine, "sys_vendor"),
        model=_dmi(machine, "product_name"),
        serial=_dmi(machine, "product_serial"),
        board=_dmi(machine, "board_name"),
        bios_version=_dmi(machine, "bios_version"),
        cpu=models[0][:MAX_TEXT] if models else "",
        cpu_threads=_cpu_threads(machine),
        memory_bytes=_memory_bytes(machine),
        firmware=booted.kind,
        secure_boot=booted.secure_boot,
        disks=found,
        nics=nics(machine),
    )


def _cpu_threads(machine: Machine) -> int:
    """From the list of online CPUs, e.g. `0-3,6`: /proc/cpuinfo of a large machine is long."""
    total = 0
    for part in machine.text(machine.sys / "devices/system/cpu/online").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            total += int(last or first) - int(first) + 1
    return total


def _memory_bytes(machine: Machine) -> int:
    for line in machine.text(machine.proc / "meminfo").splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "MemTotal:" and words[1].isdecimal():
            return int(words[1]) * 1024
    return 0
