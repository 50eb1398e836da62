"""How the appliance's image is made, piece by piece, without making one."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from applianceimage import layout, packages, recipe, repro, root, sbom
from bootdisk import grub
from bootdisk.command import CommandError
from bootdisk.gptdisk import MIB, SECTOR, make_table

from tests.image_build.conftest import PROJECT

EPOCH_S = 1_700_000_000
NFS = sbom.Package(
    "nfs-kernel-server", "1:2.8.3-1", "amd64", "nfs-utils", "1:2.8.3-1", "Debian <a@b.invalid>", "installed"
)


def test_partitions_lie_one_behind_the_other_and_fill_the_image(tmp_path: Path) -> None:
    ends = [part.first_mib + part.size_mib for part in layout.PARTITIONS]
    assert [part.first_mib for part in layout.PARTITIONS[1:]] == ends[:-1]
    assert ends[-1] == layout.DISK_MIB - 1, "the table's second copy has the last MiB"
    disk = tmp_path / "disk.img"
    make_table(disk, layout.DISK_MIB, layout.DISK_GUID, layout.PARTITIONS)
    said = subprocess.run(["sgdisk", "--verify", disk], capture_output=True, text=True, check=True).stdout
    assert "No problems found" in said


def test_no_partition_of_the_image_is_one_that_repart_would_take_for_the_data() -> None:
    text = (recipe.FILES / "root/etc/repart.d/50-data.conf").read_text()
    assert "Type=srv\n" in text
    # sgdisk's codes: BIOS boot, ESP, root of x86-64.
    assert {part.type_code for part in layout.PARTITIONS} == {"ef02", "ef00", "8304"}


def test_what_is_mounted_has_the_labels_that_are_made() -> None:
    text = (recipe.FILES / "preseed/etc/fstab").read_text()
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line and not line.startswith("#")}
    assert lines[f"LABEL={layout.ROOT_LABEL}"][1] == "/"
    label = (recipe.FILES / "root/etc/repart.d/50-data.conf").read_text().partition("Label=")[2].split()[0]
    assert len(label) <= 12, "XFS has labels of at most 12 letters"
    where, kind, options = lines[f"LABEL={label}"][1:4]
    assert (where, kind) == ("/srv/diecast", "xfs")
    assert {"nofail", "prjquota"} <= set(options.split(","))
    unit = (recipe.FILES / "root/etc/systemd/system/srv-diecast-folders.service").read_text()
    assert "systemd-growfs /srv/diecast" in unit


def test_the_kernel_leaves_the_screen_to_the_console() -> None:
    words = layout.KERNEL_LINE.split()
    assert {"nomodeset", "quiet", "consoleblank=0", "fsck.repair=yes"} <= set(words)
    assert f"root=UUID={layout.ROOT_UUID}" in words
    assert layout.ROOT_UUID in layout.ESP_CFG


def test_boot_code_names_the_sectors_of_the_core_image(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    make_table(disk, 8, layout.DISK_GUID, (layout.BIOS_BOOT,))
    table = disk.read_bytes()[grub.BOOT_CODE_BYTES : SECTOR]
    core = bytes(range(256)) * 5  # two and a half sectors
    grub.install_bios_boot(disk, layout.BIOS_BOOT, b"\xeb" * SECTOR, core)
    content = disk.read_bytes()
    first = layout.BIOS_BOOT.offset // SECTOR
    assert struct.unpack_from("<Q", content, 0x5C) == (first,)
    assert content[0x66:0x68] == b"\x90\x90"
    assert content[grub.BOOT_CODE_BYTES : SECTOR] == table, "disk signature and table stay"
    assert struct.unpack_from("<QHH", content, MIB + SECTOR - 12) == (first + 1, 2, 0x0820)
    assert content[MIB + SECTOR : MIB + len(core)] == core[SECTOR:]


def test_a_core_image_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    make_table(disk, 8, layout.DISK_GUID, (layout.BIOS_BOOT,))
    with pytest.raises(CommandError, match="1048577 bytes, the BIOS boot partition 1048576"):
        grub.install_bios_boot(disk, layout.BIOS_BOOT, bytes(SECTOR), bytes(MIB + 1))


def test_of_alternatives_the_first_package_is_fetched() -> None:
    depends = "python3 (>= 3.13), python3 (<< 3.14), libc6:amd64, nfs-kernel-server | nfs-ganesha-vfs, polkitd"
    assert packages.named(depends) == ["python3", "python3", "libc6", "nfs-kernel-server", "polkitd"]
    assert packages.named("") == []


@pytest.fixture
def deb(tmp_path: Path) -> Path:
    """A package with nothing in it, of a known date."""
    tree = tmp_path / "tree/DEBIAN"
    tree.mkdir(parents=True)
    control = "Package: nothing\nVersion: 1.0\nArchitecture: amd64\nMaintainer: A <a@b.invalid>\nDescription: none\n"
    (tree / "control").write_text(control)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": str(EPOCH_S)}
    target = tmp_path / "nothing_1.0_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "--root-owner-group", tmp_path / "tree", target],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return target


def test_a_package_says_when_it_was_made(deb: Path) -> None:
    assert packages.date_of(deb) == EPOCH_S


def test_apt_finds_a_package_in_the_repository_and_takes_no_other_bytes(deb: Path, tmp_path: Path) -> None:
    folder = tmp_path / "repository"
    packages.repository(folder, [deb])
    assert "Package: nothing\n" in (folder / "Packages").read_text()
    digest = subprocess.run(["sha256sum", folder / "Packages"], capture_output=True, text=True, check=True).stdout[:64]
    assert digest in (folder / "Release").read_text()


def test_what_chance_left_is_removed_and_nothing_is_younger_than_the_newest_package(tmp_path: Path) -> None:
    tree = tmp_path / "root"
    left = ("etc/ssh/ssh_host_ed25519_key", "var/log/apt/history.log", "var/lib/systemd/random-seed", "etc/shadow-")
    for name in (*left, "etc/default/keyboard", "etc/default/console-setup", "etc/old", "var/x", "usr/lib/x"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("x")
    (tree / "etc/machine-id").write_text("5f1d6f0e3d0b4b399f0c0d1eca57beef\n")
    os.utime(tree / "etc/old", (EPOCH_S - 5, EPOCH_S - 9))
    root.clean(tree, EPOCH_S)
    assert [name for name in left if (tree / name).exists()] == []
    assert (tree / "var/log/apt").is_dir(), "folders stay, with their owners"
    assert (tree / "etc/machine-id").read_text() == ""
    times = {path.relative_to(tree): path.lstat().st_mtime for path in tree.rglob("*")}
    assert max(times.values()) == EPOCH_S
    assert times[Path("etc/old")] == EPOCH_S - 9
    assert {path.lstat().st_atime for path in (tree / "etc/old", tree / "var/x")} == {EPOCH_S - 9, EPOCH_S}
    assert times[Path("etc/default/keyboard")] < EPOCH_S, "what the first start would else make again"


def test_the_list_of_parts_is_a_whole_spdx_document() -> None:
    document = json.loads(sbom.spdx("diecast-0.1.0", [NFS], [("aiohttp", "3.14.5")], EPOCH_S))
    assert (document["spdxVersion"], document["creationInfo"]["created"]) == ("SPDX-2.3", "2023-11-14T22:13:20Z")
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(set(ids)) == len(ids) == 3
    assert {relation["relatedSpdxElement"] for relation in document["relationships"]} == set(ids)
    (reference,) = document["packages"][1]["externalRefs"]
    assert reference["referenceLocator"] == "pkg:deb/debian/nfs-kernel-server@1%3A2.8.3-1?arch=amd64"


def test_other_versions_are_another_document() -> None:
    one = json.loads(sbom.spdx("diecast-0.1.0", [NFS], [], EPOCH_S))
    other = json.loads(sbom.spdx("diecast-0.1.0", [replace(NFS, version="1:2.8.4-1")], [], EPOCH_S))
    assert one["documentNamespace"] != other["documentNamespace"]


def test_two_images_that_differ_are_told_apart_by_their_files(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(bytes(3 * MIB))
    second.write_bytes(bytes(2 * MIB) + b"x" + bytes(MIB - 1))
    assert repro.first_difference(first, first) is None
    assert repro.first_difference(first, second) == 2 * MIB


def test_every_program_of_the_recipe_is_of_a_package_that_is_named() -> None:
    """The folder is shared with nobody: what is in files/ lands in the image."""
    scripts = [path for path in recipe.tree_of(recipe.FILES) if path.stat().st_mode & 0o111]
    assert [path.name for path in scripts] == ["diecast-recovery"]
    for path in scripts:
        subprocess.run(["sh", "-n", path], check=True)


def test_the_package_of_diecast_names_what_the_image_builder_asks_for() -> None:
    """The preset of the package and the image's list of units agree."""
    preset = (PROJECT / "systemd/system-preset/80-diecast.preset").read_text()
    units = set(recipe.words("units-preset.txt"))
    known = {path.name for path in (PROJECT / "systemd").glob("diecast-*.timer")}
    assert known <= units
    assert {"getty@tty1.service", "getty@tty2.service", "diecast-console@tty1.service", "diecast.target"} <= units
    assert "disable getty@tty1.service" in preset
