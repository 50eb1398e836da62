"""Sizes, digests and signatures of what is served, and how a second build behaves."""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from appliance import __version__
from tests.image_build.conftest import PROJECT

pytestmark = pytest.mark.guest

BUILD = [sys.executable, "-B", str(PROJECT / "image-build/agent/build.py")]
SERVED = ["grubx64.efi", "initrd.img", "shimx64.efi", "snponly.efi", "undionly.kpxe", "vmlinuz"]


def test_kernel_and_initrd_have_at_most_60_megabytes(boot: Path) -> None:
    assert (boot / "vmlinuz").stat().st_size + (boot / "initrd.img").stat().st_size <= 60_000_000


def test_the_catalog_tells_digest_size_and_package_of_every_file(
    boot: Path, catalog: dict[str, dict[str, Any]]
) -> None:
    assert sorted(catalog) == SERVED
    for name, facts in catalog.items():
        content = (boot / name).read_bytes()
        assert facts["sha256"] == hashlib.sha256(content).hexdigest()
        assert facts["size"] == len(content)
        assert facts["package"]
        assert facts["version"]
    assert catalog["initrd.img"]["diecast"] == __version__


@pytest.mark.parametrize(
    ("name", "signer"),
    [
        ("shimx64.efi", b"Microsoft Corporation UEFI CA"),
        ("grubx64.efi", b"Debian Secure Boot Signer"),
        ("vmlinuz", b"Debian Secure Boot Signer"),
    ],
)
def test_what_secure_boot_checks_is_signed(name: str, signer: bytes, boot: Path) -> None:
    assert signer in _certificates((boot / name).read_bytes())


def _certificates(image: bytes) -> bytes:
    """The attribute certificate table of a PE32+ file: data directory 4, a file offset (PE format, section 5.7)."""
    header = struct.unpack_from("<I", image, 0x3C)[0]
    assert image[header : header + 4] == b"PE\0\0"
    optional = header + 24
    assert struct.unpack_from("<H", image, optional)[0] == 0x20B
    offset, size = struct.unpack_from("<II", image, optional + 112 + 4 * 8)
    return image[offset : offset + size]


@pytest.mark.parametrize(
    "command", ["regexp", "http", "tftp", "search", "chain", "halt", "smbios", "sleep", "configfile"]
)
def test_the_signed_grub_has_what_the_boot_scripts_use(command: str, boot: Path) -> None:
    assert b"\0" + command.encode() + b"\0" in (boot / "grubx64.efi").read_bytes()


def cpu_seconds() -> float:
    """Of the programs that have ended: the machine may be busy with other things."""
    times = os.times()
    return times.children_user + times.children_system


def test_a_build_with_nothing_to_do_takes_less_than_two_seconds(boot: Path) -> None:
    start = cpu_seconds()
    subprocess.run([*BUILD, str(boot)], check=True)
    assert cpu_seconds() - start < 2


def test_two_builds_at_once_wait_for_each_other_and_make_the_same_bytes(boot: Path, tmp_path: Path) -> None:
    running = [subprocess.Popen([*BUILD, str(tmp_path / name)]) for name in ("one", "two")]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    for name in [*SERVED, "catalog.json", "modules.txt"]:
        contents = {(folder / name).read_bytes() for folder in (boot, tmp_path / "one", tmp_path / "two")}
        assert len(contents) == 1, name


@pytest.mark.parametrize("harm", ["lost", "cut short", "never finished"])
def test_a_folder_that_is_not_whole_is_made_whole(harm: str, boot: Path, tmp_path: Path) -> None:
    folder = tmp_path / "boot"
    shutil.copytree(boot, folder)
    if harm == "lost":
        (folder / "undionly.kpxe").unlink()
    elif harm == "cut short":
        (folder / "initrd.img").write_bytes(b"short")
    else:
        (folder / ".stamp").unlink()
        (folder / "catalog.json").write_text("{")
    subprocess.run([*BUILD, str(folder)], check=True)
    for name in [*SERVED, "catalog.json"]:
        assert (folder / name).read_bytes() == (boot / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_packing_everything_again_makes_the_same_bytes(boot: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    for packages in (PROJECT / "build/agent").glob("packages-*"):
        (cache / packages.name).symlink_to(packages)
    subprocess.run([*BUILD, "--cache", str(cache), str(tmp_path / "boot")], check=True)
    # The agent's code may change between the two builds while somebody works on it; the base may not.
    (again,) = cache.glob("base-*/base.zst")
    base = (PROJECT / "build/agent" / again.relative_to(cache)).read_bytes()
    assert again.read_bytes() == base
    assert (boot / "initrd.img").read_bytes().startswith(base)
