"""The Debian packages: fetched once, with their signatures checked, and from then on a repository of files.

The root is installed from that repository and nothing else, so that it does not depend on what Debian's servers hold
at that moment: the same repository gives the same image. What is there is kept as `debs/`; the programs that make file
systems and boot code are Debian 13's own and run from `tools/`, whatever this machine has.
References: mmdebstrap(1), apt-patterns(7), deb(5), "Debian repository format".
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from agentimage.packages import Root
from bootdisk.command import CommandError, run

from applianceimage.recipe import RECIPE, BuildError, words

SUITE = "trixie"
_TOOLS = ("usr/bin", "usr/sbin", "usr/lib/grub", "usr/lib/shim", "usr/lib/x86_64-linux-gnu")
# mmdebstrap's variant "extract" fetches what it is told and nothing else, so what every root has is named too.
_ALWAYS = ("apt", "?essential")
_RELEASE = """\
Origin: Debian 13's packages, as fetched for Diecast
Suite: {suite}
Codename: {suite}
Architectures: amd64
Date: Thu, 01 Jan 1970 00:00:00 UTC
SHA256:
 {digest} {size} Packages
"""


@dataclass(frozen=True, slots=True)
class Packages:
    """A folder with `debs/` (a flat repository) and `tools/`."""

    path: Path

    @property
    def debs(self) -> Path:
        """The repository."""
        return self.path / "debs"

    @property
    def tools(self) -> Root:
        """Programs of Debian 13, run with their own libraries."""
        return Root(self.path / "tools")

    def boot_packages(self) -> list[Path]:
        """The packages that the boot sectors and the ESP are taken from."""
        return [path for name in words("boot-packages.txt") for path in sorted(self.debs.glob(f"{name}_*.deb"))]


def fetch(target: Path, depends: str) -> Packages:
    """Fill `target`, which must not exist. `depends`: Diecast's Depends field. Raises `BuildError`."""
    if shutil.which("mmdebstrap") is None:
        raise BuildError("mmdebstrap is missing. Run: image-build/install-packages.sh")
    packages = Packages(target)
    packages.debs.mkdir(parents=True)
    names = [*_ALWAYS, *words("packages.txt"), *words("boot-packages.txt"), *named(depends)]
    tree = target / "all"
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--architectures=amd64", "--skip=cleanup"]
    command += ['--aptopt=APT::Install-Recommends "0"', f"--include={','.join(names)}"]
    command += [f'--extract-hook=cp "$1"/var/cache/apt/archives/*.deb {packages.debs}/']
    try:
        run([*command, SUITE, tree, RECIPE / "sources.list"], timeout_s=1800)
    except CommandError as error:
        raise BuildError(
            f"mmdebstrap could not fetch Debian 13's packages: {error}\n"
            "Check the network, image-build/appliance/recipe/sources.list, and for a signature that cannot be checked: "
            "apt-get install debian-archive-keyring"
        ) from error
    for name in _TOOLS:
        (target / "tools" / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).rename(target / "tools" / name)
    shutil.rmtree(tree)
    return packages


def named(depends: str) -> list[str]:
    """The package names of a Depends field; of alternatives the first."""
    first = (part.split("|")[0].split("(")[0].split(":")[0].strip() for part in depends.split(","))
    return [name for name in first if name]


def field(deb: Path, name: str) -> str:
    """One field of a package's control file; empty when it has none."""
    return run(["dpkg-deb", "--field", deb, name]).strip()


def date_of(deb: Path) -> int:
    """When a package was made, in seconds since 1970: what its first member says (deb(5), ar(5))."""
    with deb.open("rb") as file:
        head = file.read(68)
    return int(head[24:36])


def repository(folder: Path, debs: list[Path]) -> None:
    """Make `folder` a flat repository of these packages, by links."""
    folder.mkdir(parents=True)
    stanzas = []
    for deb in sorted(debs, key=lambda path: path.name):
        (folder / deb.name).hardlink_to(deb)
        content = deb.read_bytes()
        facts = f"Filename: ./{deb.name}\nSize: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
        stanzas.append(run(["dpkg-deb", "--field", deb]) + facts)
    index = "\n".join(stanzas)
    (folder / "Packages").write_text(index)
    encoded = index.encode()
    release = _RELEASE.format(suite=SUITE, digest=hashlib.sha256(encoded).hexdigest(), size=len(encoded))
    (folder / "Release").write_text(release)
