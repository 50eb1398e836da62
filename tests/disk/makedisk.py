"""Disks for the tests, made by other people's tools: sgdisk, sfdisk, mke2fs, mkntfs, mkfs.fat, mkswap, mtools, ntfscp.

Every file system is made in a file of its own and copied to its place: no mount, no loop device.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20


def run(*command: str | Path, stdin: str | None = None, ok: tuple[int, ...] = (0,)) -> str:
    """Run a program and return what it printed; anything but an exit status in `ok` fails the test."""
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode in ok, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def noise(size: int, seed: int) -> bytes:
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def blank(path: Path, size: int) -> Path:
    """A sparse file."""
    with path.open("wb") as file:
        file.truncate(size)
    return path


def tree(folder: Path, seed: int, size: int) -> Path:
    """A folder with a few files: small, large, nested, with holes, and a link."""
    (folder / "deep/er").mkdir(parents=True)
    (folder / "large.bin").write_bytes(noise(size, seed))
    (folder / "deep/er/text.txt").write_text("text\n" * 1000)
    for number in range(20):
        (folder / f"deep/small{number}").write_bytes(noise(100 * number, seed + number))
    with (folder / "sparse").open("wb") as file:
        file.seek(3 * MIB)
        file.write(b"end of a hole")
    (folder / "link").symlink_to("large.bin")
    (folder / "etc").mkdir()
    (folder / "etc/os-release").write_text('NAME=Test\nPRETTY_NAME="Test Linux 13 (quoted)"\n')
    return folder


def ext(path: Path, size: int, folder: Path, *, kind: str = "ext4", block: int = 4096) -> Path:
    """An ext file system with the content of `folder`, and dirt in its free blocks."""
    blank(path, size)
    path.write_bytes(noise(size, 7))
    run("mke2fs", "-q", "-F", "-t", kind, "-b", str(block), "-L", "data", "-d", folder, path)
    return path


def fat(path: Path, size: int, folder: Path, bits: int) -> Path:
    """A FAT file system with the files of `folder`, and dirt in its free clusters."""
    path.write_bytes(noise(size, 8))
    run("mkfs.fat", f"-F{bits}", "-n", "ESP", path)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink():
            run("mcopy", "-o", "-i", path, file, f"::{file.name}")
    run("mdel", "-i", path, "::text.txt")
    return path


def ntfs(path: Path, size: int, files: dict[str, bytes], work: Path) -> Path:
    """An NTFS volume with files in its root, closed properly."""
    path.write_bytes(noise(size, 9))
    run("mkntfs", "-F", "-f", "-q", "-L", "Windows", path)
    for name, content in files.items():
        source = work / "copy"
        source.write_bytes(content)
        run("ntfscp", "-q", path, source, name)
    return path


def swap(path: Path, size: int) -> Path:
    """Swap space with dirt where pages go."""
    path.write_bytes(noise(size, 10))
    run("mkswap", "-L", "swapspace", path)
    return path


def place(disk: Path, offset: int, content: Path | bytes) -> None:
    """Copy a file system to its place on a disk."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    with disk.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@dataclass(frozen=True, slots=True)
class Made:
    """A disk and where its partitions lie: name -> (offset, length)."""

    path: Path
    parts: dict[str, tuple[int, int]]

    def extract(self, name: str, to: Path) -> Path:
        """A partition's bytes as a file of its own, for foreign tools."""
        return cut_out(self.path, self.parts[name], to)


def cut_out(disk: Path, span: tuple[int, int], to: Path) -> Path:
    """A range of a disk as a file."""
    with disk.open("rb") as file:
        file.seek(span[0])
        to.write_bytes(file.read(span[1]))
    return to


def gpt_disk(work: Path, *, size: int = 160 * MIB) -> Made:
    """A GPT disk with boot code, BIOS boot, ESP (FAT16), ext4, NTFS, swap and something unknown, all with dirt."""
    disk = blank(work / "gpt.img", size)
    commands = []
    spans: dict[str, tuple[int, int]] = {}
    at = MIB
    for number, (length, code) in enumerate(
        [(1, "EF02"), (16, "EF00"), (64, "8300"), (32, "0700"), (8, "8200"), (4, "8300")], start=1
    ):
        spans[f"p{number}"] = (at, length * MIB)
        first = at // 512
        commands += [
            f"-n{number}:{first}:{first + length * 2048 - 1}",
            f"-t{number}:{code}",
            f"-c{number}:part {number}",
        ]
        at += length * MIB
    run("sgdisk", *commands, disk)
    files = tree(work / "tree", 1, 5 * MIB)
    place(disk, 0, noise(440, 20))  # boot code before the MBR's table
    place(disk, 40 * 512, noise(300 * 512, 21))  # and something in the gap
    place(disk, spans["p1"][0], noise(MIB, 22))
    place(disk, spans["p2"][0], fat(work / "esp", 16 * MIB, files, 16))
    place(disk, spans["p3"][0], ext(work / "root", 64 * MIB, files))
    place(disk, spans["p4"][0], ntfs(work / "win", 32 * MIB, {"a.bin": noise(3 * MIB, 30), "b.txt": b"b"}, work))
    place(disk, spans["p5"][0], swap(work / "swap", 8 * MIB))
    place(disk, spans["p6"][0], noise(4 * MIB, 23))
    return Made(disk, spans)


def mbr_disk(work: Path) -> Made:
    """An MBR disk: FAT32 active, NTFS, and an extended partition with two ext file systems and a FAT12."""
    disk = blank(work / "mbr.img", 160 * MIB)
    script = """label: dos
label-id: 0xcafe1234
start=2048, size=90112, type=c, bootable
start=92160, size=40960, type=7
start=133120, size=190000, type=5
start=135168, size=65536, type=83
start=202752, size=65536, type=83
start=270336, size=8192, type=1
"""
    run("sfdisk", "-q", disk, stdin=script)
    spans = {
        "p1": (2048 * 512, 90112 * 512),
        "p2": (92160 * 512, 40960 * 512),
        "p5": (135168 * 512, 65536 * 512),
        "p6": (202752 * 512, 65536 * 512),
        "p7": (270336 * 512, 8192 * 512),
    }
    files = tree(work / "mbrtree", 2, 2 * MIB)
    place(disk, 0, noise(440, 40))
    place(disk, 512, noise(200 * 512, 41))  # GRUB's core image would be here
    place(disk, spans["p1"][0], fat(work / "fat32", spans["p1"][1], files, 32))
    place(disk, spans["p2"][0], ntfs(work / "ntfs2", spans["p2"][1], {"x": noise(MIB, 42)}, work))
    place(disk, spans["p5"][0], ext(work / "ext2", spans["p5"][1], files, kind="ext2", block=1024))
    place(disk, spans["p6"][0], ext(work / "ext3", spans["p6"][1], files, kind="ext3", block=2048))
    small = tree(work / "small", 3, 100_000)
    (small / "sparse").unlink()
    place(disk, spans["p7"][0], fat(work / "fat12", spans["p7"][1], small, 12))
    return Made(disk, spans)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def files_of_ext(image: Path, work: Path) -> dict[str, str]:
    """Path, mode, owner, times and SHA-256 of everything in an ext file system, as debugfs reads it."""
    folder = work / f"dump-{image.name}-{os.urandom(4).hex()}"
    folder.mkdir()
    run("debugfs", "-R", f"rdump / {folder}", image)
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*"))]
    script = work / "debugfs.commands"
    script.write_text("".join(f"stat /{name}\n" for name in names))
    blocks = run("debugfs", "-f", script, image).split("debugfs: stat /")[1:]
    about = dict(zip(names, blocks, strict=True))
    return _walk(folder, lambda name: about[name])


def files_of_fat(image: Path, work: Path) -> dict[str, str]:
    """Everything in a FAT file system, as mtools read it."""
    folder = work / f"dump-{image.name}-{os.urandom(4).hex()}"
    folder.mkdir()
    run("mcopy", "-s", "-i", image, "::*", folder)
    return _walk(folder, lambda path: "")


def _walk(folder: Path, about: Callable[[str], str]) -> dict[str, str]:
    result = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        content = digest(path) if path.is_file() and not path.is_symlink() else ""
        result[name] = content + about(name)
    return result
