"""The recipe: word lists with comments, and the hashes that tell when a part has to be made again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
RECIPE = HOME / "recipe"
FILES = HOME / "files"
CODE = HOME / "agentimage"
PROJECT = HOME.parent.parent

# What of our package the agent needs; everything else of `appliance` stays on the box.
AGENT_CODE = ("__init__.py", "errors.py", "events.py", "model.py", "wire", "cast", "engine", "disk", "agent")


class BuildError(Exception):
    """The image cannot be built: one sentence why, one what to do."""


def words(name: str) -> list[str]:
    """The lines of a recipe file without comments and blanks."""
    lines = (line.partition("#")[0].strip() for line in (RECIPE / name).read_text().splitlines())
    return [line for line in lines if line]


def tree_of(folder: Path) -> list[Path]:
    """All files below `folder` but byte code, sorted."""
    if folder.is_file():
        return [folder]
    found = (path for path in folder.rglob("*") if "__pycache__" not in path.parts and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def digest(paths: Iterable[Path], *more: str) -> str:
    """A short hash of the names, modes and contents of these files and of `more`."""
    total = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        total.update(f"{path.relative_to(PROJECT)}\0{path.stat().st_mode & 0o111}\0{len(content)}\0".encode())
        total.update(content)
    for text in more:
        total.update(text.encode() + b"\0")
    return total.hexdigest()[:16]


def packages_digest() -> str:
    """Of what decides which packages are extracted."""
    lists = [RECIPE / "packages.txt", RECIPE / "sources.list", RECIPE / "requirements.txt"]
    return digest([*lists, CODE / "packages.py"])


def base_digest(datacentre_firmware: bool, packages: str) -> str:
    """Of what decides the base image; `packages` names the packages in use, with their versions."""
    return digest([*tree_of(RECIPE), *tree_of(FILES), *tree_of(CODE)], str(datacentre_firmware), packages)


def agent_version() -> str:
    """Which Diecast the agent is of."""
    (version,) = re.findall(r'^__version__ = "(.+)"$', (PROJECT / "appliance/__init__.py").read_text(), re.MULTILINE)
    return str(version)


def agent_files() -> list[Path]:
    """The files of our package that go into the image, of any kind."""
    package = PROJECT / "appliance"
    return [path for name in AGENT_CODE if (package / name).exists() for path in tree_of(package / name)]
