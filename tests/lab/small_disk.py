"""A small master for tests of many PCs at once: GPT, ESP, ext4, 90 MB that do not compress. It does not boot."""

from __future__ import annotations

import os
import random
from pathlib import Path

from tests.lab.command import run
from tests.lab.gptdisk import MIB, Partition, copy_range, make_fat, make_table

DISK_MIB = 192
DISK_GUID = "5A11D6F0-3D0B-4B39-9F0C-0D1ECA570000"
ESP = Partition(1, "esp", "ef00", "5A11D6F0-3D0B-4B39-9F0C-0D1ECA570011", 1, 40)
ROOT = Partition(2, "root", "8300", "5A11D6F0-3D0B-4B39-9F0C-0D1ECA570012", 41, 144)
PARTITIONS = (ESP, ROOT)
_ROOT_UUID = "5a11d6f0-3d0b-4b39-9f0c-0d1eca570021"


def build(disk: Path, work: Path) -> None:
    """Make the whole disk as the image file `disk`; `work` is an empty folder for what comes between."""
    make_table(disk, DISK_MIB, DISK_GUID, PARTITIONS)
    files: dict[str, Path | bytes] = {"EFI/Boot/bootx64.efi": b"MZ" + bytes(62) + b"not a real loader " * 400}
    make_fat(disk, ESP, "SYSTEM", "d1eca574", files, work)
    root = work / "root"
    _fill(root)
    image = work / "root.img"
    with image.open("wb") as stream:
        stream.truncate(ROOT.size)
    words = ["mke2fs", "-q", "-t", "ext4", "-L", "small", "-U", _ROOT_UUID, "-E", f"hash_seed={_ROOT_UUID}"]
    run([*words, "-d", root, image])
    copy_range(image, 0, ROOT.size, disk, ROOT.offset)


def _fill(root: Path) -> None:
    folder = root / "srv"
    folder.mkdir(parents=True)
    for number in range(40):
        rng = random.Random(number)
        (folder / f"file {number:02}").write_bytes(rng.randbytes(rng.randint(1, 4 * MIB)))
    (folder / "text").write_text("the same line over and over again\n" * 50_000)
    os.link(folder / "text", folder / "text again")
