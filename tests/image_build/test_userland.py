"""The programs of the image really run: in a chroot of the unpacked initrd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.image_build.conftest import RECIPE, Image

pytestmark = pytest.mark.guest


def _recipe(name: str) -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (RECIPE / name).read_text().splitlines())
    return [line for line in lines if line]


@pytest.mark.parametrize("statement", ["zstandard.backend", "blake3.blake3(b'x').hexdigest()", "hivex.Hivex"])
def test_python_has_the_libraries_of_the_agent(statement: str, image: Image) -> None:
    done = image.chroot("python3", "-c", f"import {statement.split('.')[0]}; print({statement})")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_python_has_the_standard_library_that_programs_expect(image: Image) -> None:
    names = (
        "asyncio concurrent.futures ctypes dataclasses email.message fcntl hashlib http.client ipaddress json logging"
    )
    names += (
        " mmap multiprocessing pathlib select socket struct subprocess tempfile termios threading urllib.request uuid"
    )
    done = image.chroot(
        "python3", "-c", f"import {', '.join(names.split())}; print(hashlib.sha256(b'').hexdigest()[:8])"
    )
    assert (done.stdout.strip(), done.stderr) == ("e3b0c442", "")


def test_every_module_of_the_agent_can_be_imported(image: Image) -> None:
    base = image.root / "usr/lib/diecast"
    names = sorted(str(path.relative_to(base))[:-3].replace("/", ".") for path in base.glob("appliance/**/*.py"))
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    assert "appliance.agent" in names
    done = image.chroot("python3", "-P", "-c", f"import {', '.join(names)}")
    assert done.returncode == 0, done.stderr


def test_the_image_knows_no_store_service_or_command_line(image: Image) -> None:
    folder = image.root / "usr/lib/diecast/appliance"
    assert not [name for name in ("store", "services", "cli", "config.py") if (folder / name).exists()]


def test_every_program_finds_all_its_libraries(image: Image) -> None:
    lacking = {}
    for name in _recipe("programs.txt"):
        path = image.root / name
        assert path.is_symlink() or os.access(path, os.X_OK), name
        done = image.chroot("/usr/lib64/ld-linux-x86-64.so.2", "--list", f"/{name}")
        if done.returncode or "not found" in done.stdout:
            lacking[name] = done.stdout + done.stderr
    assert lacking == {}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["partclone.ntfs", "--version"], "Partclone"),
        (["partclone.ext4", "--version"], "Partclone"),
        (["ntfsresize", "--version"], "ntfsresize"),
        (["ntfs-3g", "--version"], "ntfs-3g"),
        (["ntfscat", "--version"], "ntfscat"),
        (["mount.nfs4", "-V"], "nfs-utils"),
        (["sgdisk", "--version"], "GPT fdisk"),
        (["sfdisk", "--version"], "util-linux"),
        (["lvm", "version"], "LVM version"),
        (["blkid", "--version"], "util-linux"),
        (["xfs_repair", "-V"], "xfs_repair"),
        (["btrfs", "--version"], "btrfs-progs"),
        (["resize2fs", "-h"], "resize2fs"),
        (["udhcpc", "--help"], "BusyBox"),
        (["modprobe", "--version"], "kmod"),
    ],
)
def test_a_tool_of_the_agent_runs(command: list[str], said: str, image: Image) -> None:
    done = image.chroot(*command)
    assert said in done.stdout + done.stderr


def test_the_scripts_of_the_image_are_valid_for_its_shell(image: Image) -> None:
    for name in ("/init", "/usr/lib/diecast/appliance/agent/udhcpc.sh"):
        done = image.chroot("sh", "-n", name)
        assert (done.returncode, done.stderr) == (0, ""), name
        assert os.access(image.root / name[1:], os.X_OK)


def test_nothing_of_the_build_machine_is_in_the_byte_code(image: Image) -> None:
    folder = str(Path(__file__).resolve().parents[2]).encode()
    found = [path.name for path in image.root.rglob("*.pyc") if folder in path.read_bytes()]
    assert found == []
