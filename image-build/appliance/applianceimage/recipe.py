"""The recipe: word lists with comments, and the hashes that tell when a part has to be made again."""

from __future__ import annotations

from pathlib import Path

from agentimage.recipe import BuildError, digest, tree_of

__all__ = [
    "BOOTDISK",
    "CHRONY",
    "CODE",
    "FILES",
    "HOME",
    "PRESET",
    "PROJECT",
    "RECIPE",
    "BuildError",
    "digest",
    "tree_of",
    "words",
]

HOME = Path(__file__).resolve().parent.parent
RECIPE = HOME / "recipe"
FILES = HOME / "files"
CODE = HOME / "applianceimage"
BOOTDISK = HOME.parent / "bootdisk"
PROJECT = HOME.parent.parent
# For this image only, so that the package has it not: on somebody else's server it would speak about his terminals.
PRESET = PROJECT / "systemd/system-preset/80-diecast.preset"
CHRONY = PROJECT / "systemd/chrony/diecast.conf"  # there it lies among the documents


def words(name: str) -> list[str]:
    """The lines of a recipe file without comments and blanks."""
    lines = (line.partition("#")[0].strip() for line in (RECIPE / name).read_text().splitlines())
    return [line for line in lines if line]
