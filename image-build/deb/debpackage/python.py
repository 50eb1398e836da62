"""The Python of the package: wheels and netifaces, compiled by Debian 13's own Python, in a folder that is kept.

Byte code is of the kind that is never compared with its source (PEP 552, unchecked): times of files then change
nothing, and root never writes beside it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import HeaderParser
from pathlib import Path

from agentimage.packages import Root
from agentimage.recipe import RECIPE as AGENT_RECIPE
from agentimage.recipe import BuildError, digest

from debpackage.source import RECIPE

NETIFACES = "python3-netifaces"
PLATFORMS = ("manylinux_2_17_x86_64", "manylinux_2_28_x86_64")
DIST_PACKAGES = "usr/lib/python3/dist-packages"
# Babel knows a thousand locales in 30 MB; the console speaks these.
LOCALES = ("root", "en", "fr")
LIST = "packages.tsv"

NOTE_PACKAGES = r"""
for deb in "$1"/var/cache/apt/archives/*.deb; do
    dpkg-deb --show --showformat='${Package}\t${Version}\t${source:Package}\t${source:Version}\n' "$deb"
done | LC_ALL=C sort >"$1/packages.tsv"
"""


def wheels_digest() -> str:
    """Of what decides which packages and wheels are fetched."""
    lists = [RECIPE / "requirements.txt", RECIPE / "debian-packages.txt", AGENT_RECIPE / "sources.list"]
    return digest([*lists, Path(__file__)])


def fetch(target: Path) -> None:
    """Make `target`: `root/` with Debian's Python, `site/` with everything but our code. Raises `BuildError`."""
    root = _extract(target / "root")
    wheels = _download(target / "wheels")
    site = target / "site"
    site.mkdir()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            if any(".data/" in name for name in archive.namelist()):
                raise BuildError(f"{wheel.name} has files outside its packages, which this builder does not place.")
            archive.extractall(site)
    for found in sorted((root.path / DIST_PACKAGES).glob("netifaces*")):
        copy = shutil.copytree if found.is_dir() else shutil.copy
        copy(found, site / found.name)
    _drop_locales(site / "babel/locale-data")
    compile_all(root, site)
    (target / LIST).write_text(_list(root, site))
    shutil.rmtree(target / "wheels")


def compile_all(root: Root, folder: Path) -> None:
    """Byte code beside every source below `folder`, with names as they will be once installed."""
    command = ["-m", "compileall", "-q", "-j", "1", "--invalidation-mode", "unchecked-hash"]
    command += ["-s", str(folder), "-p", "/usr/lib/diecast/venv/lib/python3.13/site-packages", str(folder)]
    # The order of sets inside byte code follows the seed of hashes.
    environment = {"PYTHONHOME": str(root.path / "usr"), "PYTHONHASHSEED": "0"}
    root.run("usr/bin/python3.13", *command, **environment)


def _extract(target: Path) -> Root:
    if shutil.which("mmdebstrap") is None:
        raise BuildError("mmdebstrap is missing. Run: image-build/install-packages.sh")
    lines = (line.partition("#")[0].strip() for line in (RECIPE / "debian-packages.txt").read_text().splitlines())
    command = ["mmdebstrap", "--variant=extract", "--architectures=amd64"]
    command += [f"--include={','.join(line for line in lines if line)}", f"--extract-hook={NOTE_PACKAGES}"]
    command += ["trixie", str(target), str(AGENT_RECIPE / "sources.list")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"mmdebstrap could not fetch Debian 13's packages:\n{_tail(done.stderr)}\nCheck the network.")
    return Root(target)


def _download(target: Path) -> list[Path]:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--python-version=3.13", *(f"--platform={name}" for name in PLATFORMS), "--only-binary=:all:"]
    command += ["--dest", str(target), "--requirement", str(RECIPE / "requirements.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pip could not fetch recipe/requirements.txt:\n{_tail(done.stderr)}\nRun: make venv")
    return sorted(target.glob("*.whl"))


def _drop_locales(folder: Path) -> None:
    for path in folder.glob("*.dat"):
        if path.stem.partition("_")[0] not in LOCALES:
            path.unlink()


def _list(root: Root, site: Path) -> str:
    """Name, version, where from and licence of everything in `site`: one line each, as the package's list has it."""
    lines = [f"netifaces\t{root.versions()[NETIFACES]}\tdebian:{NETIFACES}\tMIT"]
    for metadata in sorted(site.glob("*.dist-info/METADATA"), key=lambda path: path.parent.name.lower()):
        fields = HeaderParser().parsestr(metadata.read_text(encoding="utf-8"))
        words = fields["License-Expression"] or fields["License"] or ""
        kinds = [kind.rpartition(" :: ")[2] for kind in fields.get_all("Classifier", []) if kind.startswith("License")]
        words = words if 0 < len(words) < 60 else ", ".join(kinds)
        name, version = fields["Name"], fields["Version"]
        lines.append(f"{name}\t{version}\tpypi:{name}\t{words or 'see its LICENSE'}")
    return "".join(f"{line}\n" for line in lines)


def _tail(text: str) -> str:
    return "\n".join(text.strip().splitlines()[-8:])
