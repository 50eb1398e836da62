"""Disk images with a GPT, made of files by foreign tools (sgdisk, mtools, mkfs): no loop devices, no mounts.

Sectors have 512 bytes. Partitions lie where their recipe says; identifiers are fixed, so that a rebuilt disk differs
from the last one only where its content does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bootdisk.command import run

SECTOR = 512
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Partition:
    """One entry of the table."""

    number: int
    name: str
    type_code: str  # sgdisk's four digits
    guid: str
    first_mib: int
    size_mib: int

    @property
    def offset(self) -> int:
        """Where it begins on the disk, in bytes."""
        return self.first_mib * MIB

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.size_mib * MIB


def make_table(disk: Path, disk_mib: int, disk_guid: str, partitions: tuple[Partition, ...]) -> None:
    """Create the image file `disk`, all holes, with a GPT of `partitions`."""
    with disk.open("wb") as stream:
        stream.truncate(disk_mib * MIB)
    words = ["sgdisk", "--clear", f"--disk-guid={disk_guid}"]
    for part in partitions:
        first = part.offset // SECTOR
        last = (part.offset + part.size) // SECTOR - 1
        words += [f"--new={part.number}:{first}:{last}", f"--typecode={part.number}:{part.type_code}"]
        words += [f"--partition-guid={part.number}:{part.guid}", f"--change-name={part.number}:{part.name}"]
    run([*words, disk])


def data_extents(path: Path, start: int = 0, length: int | None = None) -> Iterator[tuple[int, int]]:
    """The parts of a file that are not holes, as (offset, length), cut to the range asked for."""
    end = path.stat().st_size if length is None else start + length
    with path.open("rb") as stream:
        position = start
        while position < end:
            try:
                data = os.lseek(stream.fileno(), position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            if data >= end:
                return
            hole = os.lseek(stream.fileno(), data, os.SEEK_HOLE)
            yield data, min(hole, end) - data
            position = hole


def copy_range(source: Path, start: int, length: int, target: Path, target_start: int = 0) -> None:
    """Copy a range of one image into another (or a new file), leaving holes as holes."""
    with source.open("rb") as reader, target.open("r+b" if target.exists() else "w+b") as writer:
        if writer.seek(0, os.SEEK_END) < target_start + length:
            writer.truncate(target_start + length)
        for offset, size in data_extents(source, start, length):
            reader.seek(offset)
            writer.seek(target_start + offset - start)
            left = size
            while left:
                block = reader.read(min(left, 4 * MIB))
                if not block:
                    break
                if block.count(0) != len(block):
                    writer.write(block)
                else:
                    writer.seek(len(block), os.SEEK_CUR)
                left -= len(block)


def copy_disk(source: Path, target: Path) -> None:
    """Copy a whole image; reflinked where the file system can, else sparse."""
    run(["cp", "--reflink=auto", "--sparse=always", source, target])


def make_fat(
    disk: Path,
    part: Partition,
    label: str,
    serial: str,
    files: dict[str, Path | bytes],
    work: Path,
    *,
    epoch_s: int | None = None,
) -> None:
    """Put a FAT32 with `files` (path -> content) into a partition, through mtools.

    With `epoch_s`, in seconds since 1970, that is the time of everything in it, and the same files give the same bytes.
    """
    env = {**os.environ, "TZ": "UTC"}
    if epoch_s is not None:
        env["SOURCE_DATE_EPOCH"] = str(epoch_s)
    image = work / f"fat-{part.number}.img"
    image.unlink(missing_ok=True)
    with image.open("wb") as stream:
        stream.truncate(part.size)
    # mkfs.vfat dates the label by the clock unless it is told to be invariant.
    fixed = ["--invariant"] if epoch_s is not None else []
    run(["mkfs.vfat", *fixed, "-F", "32", "-s", "1", "-n", label, "-i", serial, image], env=env)
    made: set[str] = set()
    for index, (name, content) in enumerate(files.items()):
        for depth in range(1, name.count("/") + 1):
            folder = "/".join(name.split("/")[:depth])
            if folder not in made:
                run(["mmd", "-i", image, f"::/{folder}"], env=env)
                made.add(folder)
        source = content
        if isinstance(source, bytes):
            source = work / f"fat-file-{index}"
            source.write_bytes(content if isinstance(content, bytes) else b"")
        # Without -m a copy has the present time, which mtools takes from SOURCE_DATE_EPOCH.
        run(["mcopy", "-i", image, source, f"::/{name}"], env=env)
    copy_range(image, 0, part.size, disk, part.offset)
    image.unlink()
