"""The Debian packages, extracted by mmdebstrap, and how programs of them run on this machine.

`--variant=extract` only unpacks: nothing of Debian 13 runs or is configured, so no privileges, chroot or matching
kernel are needed. mmdebstrap verifies signatures with the keys of `debian-archive-keyring`; Debian 13's lists are
signed with Debian 12's key too, so that the keyring of either serves.
References: mmdebstrap(1), deb(5).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from agentimage.recipe import RECIPE, BuildError, words

SUITE = "trixie"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = f"{LIBRARIES}/ld-linux-x86-64.so.2"

# Runs on this machine with the new root as $1, while the .deb files are still there.
NOTE_PACKAGES = r"""
for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --show --showformat='${Package}\t${Version}\t${source:Package}\t${source:Version}\n' "$deb"
done | LC_ALL=C sort >"$1/packages.tsv"
dpkg-deb --contents "$1"/var/cache/apt/archives/linux-image-6*.deb >"$1/kernel-package.lst"
"""


@dataclass(frozen=True, slots=True)
class Root:
    """A folder with the extracted packages."""

    path: Path

    def versions(self) -> dict[str, str]:
        """Package name -> version, of all that were extracted."""
        lines = (self.path / "packages.tsv").read_text().splitlines()
        return {line.split("\t")[0]: line.split("\t")[1] for line in lines}

    def run(self, program: str, *arguments: str, **environment: str) -> str:
        """Run a program of the root with the root's own libraries; return its output. Raises `BuildError`."""
        command = [str(self.path / LOADER), "--argv0", Path(program).name]
        command += ["--library-path", str(self.path / LIBRARIES), str(self.path / program)]
        done = subprocess.run(
            [*command, *arguments], capture_output=True, text=True, env={**os.environ, **environment}, check=False
        )
        if done.returncode:
            raise BuildError(f"{program} ended with status {done.returncode}: {_tail(done.stderr or done.stdout)}")
        return done.stdout

    def python(self, *arguments: str) -> None:
        """Run the root's own Python, with the root's standard library."""
        self.run("usr/bin/python3.13", *arguments, PYTHONHOME=str(self.path / "usr"), PYTHONDONTWRITEBYTECODE="1")


def extract(target: Path) -> Root:
    """Fetch and unpack the packages into `target`, which must not exist. Raises `BuildError`."""
    if shutil.which("mmdebstrap") is None:
        raise BuildError("mmdebstrap is missing. Run: image-build/install-packages.sh")
    command = [
        "mmdebstrap",
        "--variant=extract",
        "--architectures=amd64",
        f"--include={','.join(words('packages.txt'))}",
    ]
    command += [f"--extract-hook={NOTE_PACKAGES}", SUITE, str(target), str(RECIPE / "sources.list")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(
            f"mmdebstrap could not fetch Debian 13's packages:\n{_tail(done.stderr)}\n"
            "Check the network, image-build/agent/recipe/sources.list, and for a signature that cannot be checked: "
            "apt-get install debian-archive-keyring"
        )
    _fetch_wheels(target)
    return Root(target)


def _fetch_wheels(root: Path) -> None:
    """Unpack the wheels of requirements.txt where Debian's packages put theirs."""
    wheels = root / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--python-version=3.13", "--platform=manylinux_2_17_x86_64", "--only-binary=:all:"]
    command += ["--dest", str(wheels), "--requirement", str(RECIPE / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pip could not fetch recipe/requirements.txt:\n{_tail(done.stderr)}\nRun: make venv")
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "usr/lib/python3/dist-packages")
        name, version = wheel.name.split("-")[:2]
        with (root / "packages.tsv").open("a") as file:
            file.write(f"pypi:{name}\t{version}\tpypi:{name}\t{version}\n")


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])
