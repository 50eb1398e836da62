"""The loader of drivers, run as the program it is, on a made-up /sys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.image_build.conftest import PROJECT

COLDPLUG = PROJECT / "image-build/agent/files/coldplug.py"
E1000 = "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00"
AHCI = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"
LATER = "scsi:t-0x00"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Folders `sys` and `state`, and a `modprobe` that notes what it is asked for and makes a disk appear."""
    for folder in ("sys/bus", "state"):
        (tmp_path / folder).mkdir(parents=True)
    script = f"""#!/bin/sh
echo "$*" >>{tmp_path}/asked
case "$*" in *{AHCI}*)
    mkdir -p {tmp_path}/sys/bus/scsi/devices/0 && echo {LATER} >{tmp_path}/sys/bus/scsi/devices/0/modalias ;;
esac
exit 1  # as modprobe does when one alias of many is unknown
"""
    (tmp_path / "modprobe").write_text(script)
    (tmp_path / "modprobe").chmod(0o755)
    return tmp_path


def _device(machine: Path, bus: str, name: str, alias: str | None) -> None:
    folder = machine / "sys/bus" / bus / "devices" / name
    folder.mkdir(parents=True)
    if alias is not None:
        (folder / "modalias").write_text(alias)


def _run(machine: Path) -> list[str]:
    command = [sys.executable, "-I", str(COLDPLUG), "--once"]
    places = [str(machine / "sys"), str(machine / "modprobe"), str(machine / "state")]
    subprocess.run([*command, *places], check=True, timeout=30)
    asked = machine / "asked"
    return asked.read_text().splitlines() if asked.exists() else []


def test_network_cards_are_served_before_everything_else(machine: Path) -> None:
    _device(machine, "pci", "a", AHCI + "\n")
    _device(machine, "pci", "b", E1000 + "\n")
    asked = _run(machine)
    assert asked[0] == f"-abq -- {E1000}"
    assert asked[1] == f"-abq -- {AHCI}"


def test_what_a_driver_brings_to_light_is_loaded_too(machine: Path) -> None:
    _device(machine, "pci", "a", AHCI)
    assert _run(machine) == [f"-abq -- {AHCI}", f"-abq -- {LATER}"]


def test_an_alias_is_asked_for_once_however_many_devices_have_it(machine: Path) -> None:
    for name in "abc":
        _device(machine, "usb", name, "usb:v0BDAp8153")
    assert _run(machine) == ["-abq -- usb:v0BDAp8153"]


def test_devices_without_an_alias_and_empty_buses_do_no_harm(machine: Path) -> None:
    _device(machine, "cpu", "cpu0", None)
    _device(machine, "cpu", "cpu1", "\n")
    (machine / "sys/bus/empty").mkdir()
    assert _run(machine) == []
    assert (machine / "state/settled").exists()


def test_a_long_list_of_devices_is_cut_into_pieces(machine: Path) -> None:
    for number in range(700):
        _device(machine, "acpi", f"d{number}", f"acpi:DEV{number:04}:")
    asked = _run(machine)
    assert len(asked) == 6
    assert sorted(word for line in asked for word in line.split()[2:]) == [f"acpi:DEV{n:04}:" for n in range(700)]
