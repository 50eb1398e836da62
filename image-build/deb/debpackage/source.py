"""What is packaged: a tree of our sources, and the boot files made of it."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from agentimage.job import Job as AgentJob
from agentimage.job import build as build_agent
from agentimage.recipe import PROJECT, BuildError, digest, tree_of

HOME = Path(__file__).resolve().parent.parent
FILES = HOME / "files"
RECIPE = HOME / "recipe"

# Of a tree, what is in the package.
PARTS = ("appliance", "bootfiles", "systemd", "docs", "README.md", "CHANGELOG.md", "LICENSE")
# What PCs boot, and the list with their hashes; `make agent` leaves more than that.
BOOT_FILES = ("vmlinuz", "initrd.img", "undionly.kpxe", "snponly.efi", "shimx64.efi", "grubx64.efi", "catalog.json")
# Of files whose last change is not known: a source without history.
DEFAULT_TIME_S = 1_767_225_600  # 2026-01-01


@dataclass(frozen=True, slots=True)
class Source:
    """One tree and its boot files."""

    tree: Path
    boot: Path

    @classmethod
    def of(cls, tree: Path | None, boot: Path | None) -> Source:
        """From the command line; boot files that are not given are made. Raises `BuildError` when some are lacking."""
        if boot is None:
            boot = PROJECT / "build/boot"
            with redirect_stdout(sys.stderr):  # ours is the package's path and nothing else
                build_agent(AgentJob.of(boot, None, datacentre_firmware=False, refresh=False))
        found = cls((tree or PROJECT).resolve(), boot.resolve())
        lacking = [name for name in (*BOOT_FILES, "packages.tsv") if not (found.boot / name).is_file()]
        if lacking:
            raise BuildError(f"{found.boot} lacks {', '.join(lacking)}. Run: make agent")
        return found

    @property
    def version(self) -> str:
        """As Diecast itself says it; it is the package's."""
        text = (self.tree / "appliance/__init__.py").read_text()
        (version,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
        return str(version)

    @property
    def time_s(self) -> int:
        """The time of everything in the package, since 1970: $SOURCE_DATE_EPOCH, else of the source's last change."""
        given = os.environ.get("SOURCE_DATE_EPOCH", "")
        if given:
            return int(given)
        command = ["git", "-C", str(self.tree), "log", "-1", "--format=%ct", "--", *PARTS, "image-build/deb"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return int(done.stdout) if done.stdout.strip() else DEFAULT_TIME_S

    def digest(self, *more: str) -> str:
        """Of everything that decides the package's bytes, `more` included."""
        ours = [path for part in PARTS for path in tree_of(self.tree / part)]
        names = [f"{path.relative_to(self.tree)}\0{_hash(path)}" for path in ours]
        boot = [f"{name}\0{_hash(self.boot / name)}" for name in (*BOOT_FILES, "packages.tsv")]
        return digest(tree_of(HOME), *names, *boot, self.version, str(self.time_s), *more)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
