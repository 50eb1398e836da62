"""What the kernel says is in a PC."""

from __future__ import annotations

import pytest

from appliance.agent import hardware
from appliance.agent.hardware import EFI_GLOBAL
from appliance.agent.machine import Machine
from tests.agent.conftest import FakeTools, write

_VARIABLE = f"firmware/efi/efivars/SecureBoot-{EFI_GLOBAL}"


def boot_params(mode: int) -> bytes:
    """The zero page with `secure_boot` set."""
    page = bytearray(4096)
    page[0x1EC] = mode
    return bytes(page)


def card(machine: Machine, name: str, mac: str, *, carrier: str = "1", kind: str = "1", physical: bool = True) -> None:
    """A network card in sysfs."""
    write(
        machine.sys,
        {
            f"class/net/{name}/address": mac + "\n",
            f"class/net/{name}/type": kind + "\n",
            f"class/net/{name}/carrier": carrier + "\n",
            f"class/net/{name}/speed": "1000\n",
        },
    )
    if physical:
        driver = machine.sys / "bus/drivers/e1000e"
        driver.mkdir(parents=True, exist_ok=True)
        device = machine.sys / "class/net" / name / "device"
        device.mkdir()
        (device / "driver").symlink_to(driver)


def test_a_pc_without_an_efi_folder_is_bios(machine: Machine) -> None:
    assert hardware.firmware(machine).kind == "bios"


@pytest.mark.parametrize(
    ("variable", "kernel", "enabled"),
    [
        (1, 3, True),
        (1, 2, False),  # the firmware says on, the kernel found it disabled (shim's own switch)
        (0, 3, False),
        (1, 0, True),  # a loader without EFI stub leaves the kernel's word unset
        (0, 0, False),
    ],
)
def test_secure_boot_is_on_only_when_nobody_denies_it(
    machine: Machine, variable: int, kernel: int, enabled: bool
) -> None:
    write(
        machine.sys,
        {_VARIABLE: bytes([6, 0, 0, 0, variable]), "kernel/boot_params/data": boot_params(kernel)},
    )
    assert hardware.firmware(machine).secure_boot is enabled


def test_lockdown_is_the_kernels_word_when_boot_params_say_nothing(machine: Machine) -> None:
    write(machine.sys, {_VARIABLE: b"\6\0\0\0\1", "kernel/security/lockdown": "none [integrity] confidentiality\n"})
    assert hardware.firmware(machine).secure_boot
    write(machine.sys, {"kernel/security/lockdown": "[none] integrity confidentiality\n"})
    assert not hardware.firmware(machine).secure_boot


def test_efivarfs_is_mounted_when_nobody_did(machine: Machine, tools: FakeTools) -> None:
    (machine.sys / "firmware/efi/efivars").mkdir(parents=True)
    assert not hardware.firmware(machine).secure_boot
    assert tools.ran("mount")[0][2] == "efivarfs"


def test_only_wired_cards_are_listed(machine: Machine) -> None:
    card(machine, "eth0", "52:54:00:AA:01:02")
    card(machine, "lo", "00:00:00:00:00:00", kind="772", physical=False)
    card(machine, "br0", "52:54:00:aa:01:09", physical=False)
    card(machine, "wlan0", "52:54:00:aa:01:03")
    (machine.sys / "class/net/wlan0/wireless").mkdir()
    (found,) = hardware.nics(machine)
    assert (found.name, found.mac, found.driver, found.speed_mbit, found.link) == (
        "eth0",
        "52:54:00:aa:01:02",
        "e1000e",
        1000,
        True,
    )


def test_the_inventory_of_an_ordinary_pc(machine: Machine) -> None:
    write(
        machine.sys,
        {
            "class/dmi/id/sys_vendor": "Dell Inc.\n",
            "class/dmi/id/product_name": "OptiPlex 7010\n",
            "class/dmi/id/product_uuid": "4C4C4544-0031-3010-8054-B1C04F4B3233\n",
            "devices/system/cpu/online": "0-3,8-11\n",
            "block/nvme0n1/size": "1000215216\n",
            "block/nvme0n1/device/model": "Samsung SSD 980\n",
        },
    )
    write(machine.proc, {"cpuinfo": "processor\t: 0\nmodel name\t: Intel i5\n", "meminfo": "MemTotal:  16318412 kB\n"})
    found = hardware.inventory(machine)
    assert (found.vendor, found.model, found.cpu, found.cpu_threads) == ("Dell Inc.", "OptiPlex 7010", "Intel i5", 8)
    assert found.memory_bytes == 16318412 * 1024
    assert (found.disks[0].bus, found.disks[0].size_bytes) == ("nvme", 1000215216 * 512)
    assert hardware.system_uuid(machine) == "4c4c4544-0031-3010-8054-b1c04f4b3233"


def test_a_kernel_that_says_nothing_makes_an_empty_inventory_not_an_error(machine: Machine) -> None:
    found = hardware.inventory(machine)
    assert (found.vendor, found.cpu_threads, found.disks, found.nics, found.firmware) == ("", 0, [], [], "bios")
