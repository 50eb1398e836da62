"""The master disks of the lab, made once and kept in build/disks until their recipe changes.

`python -m tests.lab.disks [FOLDER]` makes all of them. A disk's file is named after the hash of its recipe's source.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab import debian_disk, small_disk, windows_disk
from tests.lab.command import BUILD, ROOT, LabError
from tests.lab.gptdisk import Partition

FOLDER = BUILD / "disks"
_WALLS = tuple(str(ROOT / "image-build/bootdisk" / name) for name in ("gptdisk.py", "grub.py"))


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one master disk is made."""

    name: str
    build: Callable[[Path, Path], None]
    partitions: tuple[Partition, ...]
    sources: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Hash of the recipe's source: another one means another disk."""
        text = b"".join(Path(name).read_bytes() for name in self.sources)
        return hashlib.sha256(text).hexdigest()[:12]


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("debian", debian_disk.build, debian_disk.PARTITIONS, (str(debian_disk.__file__), *_WALLS)),
        Recipe("small", small_disk.build, small_disk.PARTITIONS, (str(small_disk.__file__), *_WALLS)),
        Recipe("windows", windows_disk.build, windows_disk.PARTITIONS, (str(windows_disk.__file__), *_WALLS)),
    )
}


def master(name: str, folder: Path = FOLDER, *, say: Callable[[str], None] = lambda _: None) -> Path:
    """The image file of a master disk, made now if it is not there. Never write to it: copy it."""
    recipe = RECIPES[name]
    folder.mkdir(parents=True, exist_ok=True)
    disk = folder / f"{name}-{recipe.digest}.img"
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not disk.exists():
            started = time.monotonic()
            say(f"Making the {name} master disk ...")
            _make(recipe, disk, folder)
            say(f"Made the {name} master disk in {time.monotonic() - started:.0f} s.")
    return disk


def _make(recipe: Recipe, disk: Path, folder: Path) -> None:
    for old in folder.glob(f"{recipe.name}-*.img"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix=f".{recipe.name}-", dir=folder) as work:
        half = Path(work, "disk.img")
        inner = Path(work, "work")
        inner.mkdir()
        recipe.build(half, inner)
        shutil.move(half, disk)
    disk.chmod(0o444)


def main() -> int:
    """Make every master disk that is missing."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder = parser.parse_args().folder
    try:
        for name in RECIPES:
            master(name, folder, say=print)
    except LabError as error:
        print(f"The master disks cannot be made: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
