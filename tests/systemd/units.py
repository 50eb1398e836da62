"""Reading the units as systemd does, for the tests beside this file."""

from __future__ import annotations

import shutil
from pathlib import Path

UNITS = Path(__file__).parents[2] / "systemd"
COMMON = UNITS / "diecast-.service.d" / "common.conf"

Section = dict[str, list[str]]


def read(path: Path) -> dict[str, Section]:
    """Sections and settings of one file, each with all its values in order: systemd's lists grow by repetition."""
    found: dict[str, Section] = {}
    section: Section = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            section.setdefault(name, []).append(value)
    return found


def one(section: Section, name: str) -> str:
    """The only value of a setting."""
    (value,) = section[name]
    return value


def installed(root: Path) -> Path:
    """`root` with the units where a package puts them, and a program of that name; returns the units' folder."""
    folder = root / "usr/lib/systemd/system"
    shutil.copytree(UNITS, folder)
    program = root / "usr/bin/diecast"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return folder
