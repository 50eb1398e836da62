"""The appliance's image as it was built: read through debugfs, mtools and sgdisk, which have no part in making it."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from applianceimage.layout import BIOS_BOOT, ESP, ROOT
from bootdisk.gptdisk import SECTOR

from tests.image_build.conftest import PROJECT

FOLDER = PROJECT / "build/appliance"

pytestmark = pytest.mark.guest  # needs what `make appliance` makes, as the guests do


@dataclass(frozen=True, slots=True)
class Disk:
    """The image, and its root file system by debugfs."""

    path: Path

    def _ask(self, request: str) -> str:
        words = ["debugfs", "-R", request, f"{self.path}?offset={ROOT.offset}"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout

    def text(self, name: str) -> str:
        """A file's content; empty when it is empty or not there."""
        return self._ask(f"cat {name}")

    def names(self, folder: str) -> dict[str, int]:
        """What is in a folder: name -> mode, type and permissions."""
        rows = re.findall(r"^/\d+/(\d+)/\d+/\d+/([^/]+)/", self._ask(f"ls -p {folder}"), re.MULTILINE)
        return {name: int(mode, 8) for mode, name in rows if name not in (".", "..")}

    def target(self, name: str) -> str:
        """Where a symbolic link points to; empty when it is none."""
        found = re.search(r'Fast link dest: "(.*)"', self._ask(f"stat {name}"))
        return found[1] if found else ""


@pytest.fixture(scope="module")
def disk() -> Disk:
    found = sorted(FOLDER.glob("diecast-*.img"))
    assert found, "run `make appliance` first"
    return Disk(found[-1])


def test_the_table_is_whole_and_nothing_is_behind_the_root(disk: Disk) -> None:
    said = subprocess.run(["sgdisk", "--verify", "--print", disk.path], capture_output=True, text=True, check=True)
    assert "No problems found" in said.stdout
    rows = re.findall(r"^ +(\d) +\d+ +\d+ .* ([0-9A-F]{4}) ", said.stdout, re.MULTILINE)
    assert rows == [("1", "EF02"), ("2", "EF00"), ("3", "8304")]


def test_a_bios_finds_grub(disk: Disk) -> None:
    with disk.path.open("rb") as file:
        first = file.read(SECTOR)
        file.seek(BIOS_BOOT.offset)
        core = file.read(SECTOR)
    assert first[-2:] == b"\x55\xaa"
    assert struct.unpack_from("<Q", first, 0x5C)[0] * SECTOR == BIOS_BOOT.offset
    assert struct.unpack_from("<Q", core, SECTOR - 12)[0] * SECTOR == BIOS_BOOT.offset + SECTOR
    assert "i386-pc" in disk.names("/boot/grub")


def test_a_uefi_firmware_finds_a_signed_shim_and_it_a_signed_grub(disk: Disk) -> None:
    place = f"{disk.path}@@{ESP.offset}"
    for name in ("BOOTX64.EFI", "grubx64.efi", "mmx64.efi"):
        content = subprocess.run(["mtype", "-i", place, f"::/EFI/BOOT/{name}"], capture_output=True, check=True).stdout
        assert content[:2] == b"MZ"
        header = struct.unpack_from("<I", content, 0x3C)[0]
        # PE/COFF, optional header, data directory 4: where signatures are (Authenticode).
        where, size = struct.unpack_from("<II", content, header + 24 + 112 + 4 * 8)
        assert size > 1000
        assert where + size <= len(content)
    config = subprocess.run(["mtype", "-i", place, "::/EFI/debian/grub.cfg"], capture_output=True, check=True).stdout
    assert b"configfile ($root)/boot/grub/grub.cfg" in config


def test_kernel_and_initrd_have_the_names_that_grub_asks_for(disk: Disk) -> None:
    for name in ("vmlinuz", "initrd.img"):
        assert disk.target(f"/{name}").removeprefix("boot/") in disk.names("/boot")
        assert f" /{name}" in disk.text("/boot/grub/grub.cfg")


def test_the_lists_name_what_dpkg_has_installed_and_nothing_else(disk: Disk) -> None:
    status = disk.text("/var/lib/dpkg/status")
    stanzas = [dict(re.findall(r"^(\S+): (.*)$", part, re.MULTILINE)) for part in status.split("\n\n") if part.strip()]
    there = {(stanza["Package"], stanza["Version"]) for stanza in stanzas if stanza["Status"].endswith(" installed")}
    assert len(there) > 150
    assert "diecast" in {name for name, _ in there}
    rows = [line.split("\t") for line in (FOLDER / "packages.txt").read_text().splitlines()[1:]]
    assert {(row[0], row[1]) for row in rows if row[4] == "installed"} == there
    boot = {(row[0], row[1]) for row in rows if row[4] == "boot"}
    assert {name for name, _ in boot} == {"grub-common", "grub-efi-amd64-signed", "grub-pc-bin", "shim-signed"}
    (document,) = FOLDER.glob("*.spdx.json")
    packages = json.loads(document.read_text())["packages"]
    assert {(one["name"], one["versionInfo"]) for one in packages if "-deb-" in one["SPDXID"]} == there | boot
    wheels = {one["name"] for one in packages if "-pypi-" in one["SPDXID"]}
    assert {"textual", "aiohttp", "peewee"} <= wheels


def test_sums_are_those_of_the_files(disk: Disk) -> None:
    lines = [line.split("  ") for line in (FOLDER / "SHA256SUMS").read_text().splitlines()]
    assert disk.path.name in {name for _, name in lines}
    for digest, name in lines:
        with (FOLDER / name).open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == digest


def test_no_machine_is_born_with_anothers_secrets(disk: Disk) -> None:
    assert disk.names("/etc/ssh")["sshd_config"]
    assert [name for name in disk.names("/etc/ssh") if "host" in name and "key" in name] == []
    assert disk.text("/etc/machine-id") == ""
    assert "random-seed" not in disk.names("/var/lib/systemd")
    home = "/root"
    assert set(disk.names(home)) <= {".ssh"}
    assert disk.names(f"{home}/.ssh") == {}
    assert disk.names("/var/lib/diecast").keys() <= {"diecast.sqlite"}
    hashes = {line.split(":")[0]: line.split(":")[1] for line in disk.text("/etc/shadow").splitlines()}
    assert hashes["root"].startswith(("!", "*"))
    assert {name for name, value in hashes.items() if not value.startswith(("!", "*"))} == set()


def test_the_console_has_tty1_and_a_login_tty2(disk: Disk) -> None:
    wanted = disk.names("/etc/systemd/system/getty.target.wants")
    assert set(wanted) == {"getty@tty2.service"}
    assert "diecast-console@tty1.service" in disk.names("/etc/systemd/system/multi-user.target.wants")
    assert "diecast.target" in disk.names("/etc/systemd/system/multi-user.target.wants")
    assert disk.target("/etc/systemd/system/default.target").endswith("/multi-user.target")
    assert "diecast-recovery" in disk.text("/etc/pam.d/login")
    assert disk.names("/usr/local/sbin")["diecast-recovery"] == 0o100755


@pytest.mark.parametrize(
    "unit", ["rpcbind.service", "rpcbind.socket", "rpc-statd.service", "apt-daily.timer", "apt-daily-upgrade.timer"]
)
def test_nothing_starts_what_the_box_must_not_have(disk: Disk, unit: str) -> None:
    assert disk.target(f"/etc/systemd/system/{unit}") == "/dev/null"


def test_the_packet_filter_is_asked_for_and_nfs_is_the_kernels_fourth_version(disk: Disk) -> None:
    assert "firewall" in disk.names("/etc/diecast")
    assert "vers3=n" in disk.text("/etc/nfs.conf.d/appliance.conf")


def test_the_initrd_can_check_the_root(disk: Disk) -> None:
    """The initrd's maker puts the check in when fstab tells it of the root (hook "fsck" of initramfs-tools)."""
    assert re.search(r"^LABEL=diecast-root\s+/\s+ext4\s.* 1$", disk.text("/etc/fstab"), re.MULTILINE)
    assert "MODULES=most" in disk.text("/etc/initramfs-tools/conf.d/diecast")
