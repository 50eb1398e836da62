"""The package, built; and a fresh Debian 13 in a folder, to install it into.

That Debian is made by mmdebstrap once, with every package that ours wants already downloaded, and kept; each module of
tests unpacks it anew. Commands run in it without any network, so that an installation shows what it really needs.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
BUILDER = PROJECT / "image-build/deb/build.sh"
FILES = PROJECT / "image-build/deb/files"
CACHE = PROJECT / "build/deb-cache"
SOURCES = PROJECT / "image-build/agent/recipe/sources.list"
OLDER = "0.0.9"
OLDER_SCHEMA = 3

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "DEBIAN_FRONTEND": "noninteractive",
    "LC_ALL": "C.UTF-8",
}
# In namespaces of its own: /proc comes and goes with the command, and there is no network.
ENTER = 'mount -t proc proc "$1/proc" && root=$1 && shift && exec chroot "$root" "$@"'


@dataclass(frozen=True, slots=True)
class Machine:
    """A root folder with a Debian in it, without a running systemd."""

    root: Path

    def inside(self, *command: str) -> list[str]:
        """What to start on this machine to have a command run in that one, with `ENVIRONMENT`."""
        return ["unshare", "--mount", "--net", "sh", "-c", ENTER, "sh", str(self.root), *command]

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside; standard error is part of the output."""
        done = subprocess.run(
            self.inside(*command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}")
        return done

    def bring(self, package: Path) -> str:
        """Copy a package in; its path there."""
        shutil.copy(package, self.root / "tmp" / package.name)
        return f"/tmp/{package.name}"

    def path(self, name: str) -> Path:
        """A file of it, by its name inside."""
        return self.root / name.lstrip("/")

    def owner(self, name: str) -> str:
        """User, group and permissions of a file."""
        return self.run("stat", "-c", "%U:%G %a", name).stdout.strip()

    def listing(self) -> dict[str, str]:
        """Every file with its type, permissions, owners and size, but for what apt and dpkg write down themselves."""
        found = {}
        for path in self.root.rglob("*"):
            name = f"/{path.relative_to(self.root)}"
            if not re.match(r"/(var/lib/(dpkg|apt|systemd/deb-systemd)|var/cache|var/log|tmp|proc|run)(/|$)", name):
                info = path.lstat()
                size = 0 if path.is_dir() else info.st_size
                found[name] = f"{info.st_mode:o} {info.st_uid}:{info.st_gid} {size}"
        return found


@pytest.fixture(scope="session")
def package() -> Path:
    """The package, built if it is not as its inputs say."""
    return build("build/deb")


def build(*arguments: str) -> Path:
    """Run the builder; the package's path, which is all it prints."""
    done = subprocess.run([str(BUILDER), *arguments], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.strip())
    assert path.is_file()
    return path


@pytest.fixture(scope="session")
def older_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same program as if it were an earlier release: its version, and a store without the last migration."""
    folder = tmp_path_factory.mktemp("older")
    tree, boot = folder / "tree", folder / "boot"
    for name in ("appliance", "bootfiles", "systemd", "docs"):
        shutil.copytree(PROJECT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(PROJECT / name, tree / name)
    replace(tree / "appliance/__init__.py", r'__version__ = ".*"', f'__version__ = "{OLDER}"')
    replace(tree / "appliance/store/migrations/__init__.py", r"(    m000[4-9]_\w+\.STATEMENTS,\n)+\)", ")")
    boot.mkdir()
    for name in ("vmlinuz", "initrd.img", "undionly.kpxe", "snponly.efi", "shimx64.efi", "grubx64.efi", "packages.tsv"):
        (boot / name).write_text(name)
    (boot / "catalog.json").write_text("{}")
    return build(str(folder), "--source", str(tree), "--boot", str(boot))


def replace(path: Path, pattern: str, by: str) -> None:
    """Change a source file in one place."""
    text, count = re.subn(pattern, by, path.read_text())
    assert count == 1, path
    path.write_text(text)


@pytest.fixture(scope="session")
def fresh_archive(package: Path) -> Path:
    """A tar archive of a fresh Debian 13, with the packages that ours wants in apt's cache."""
    key = hashlib.sha256(b"1" + (FILES / "control").read_bytes() + SOURCES.read_bytes()).hexdigest()[:16]
    archive = CACHE / f"debian-{key}.tar"
    if archive.exists():
        return archive
    for old in CACHE.glob("debian-*.tar"):
        old.unlink()
    fetch = "apt-get install -q -y --download-only -o APT::Install-Recommends=true /tmp/diecast.deb"
    hooks = [
        f'cp {package} "$1/tmp/diecast.deb" && chmod 644 "$1/tmp/diecast.deb"',
        f'chroot "$1" {fetch}',
        'rm "$1/tmp/diecast.deb"',
    ]
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--include=systemd-sysv,dbus", "--skip=cleanup/apt"]
    command += [*(f"--customize-hook={hook}" for hook in hooks), "trixie"]
    done = subprocess.run(
        [*command, str(archive.with_suffix(".new.tar")), str(SOURCES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    archive.with_suffix(".new.tar").rename(archive)
    return archive


@pytest.fixture(scope="module")
def fresh(fresh_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """That Debian, unpacked."""
    root = tmp_path_factory.mktemp("debian")
    subprocess.run(["tar", "-xf", str(fresh_archive), "-C", str(root)], check=True)
    (root / "etc/dpkg/dpkg.cfg.d/speed").write_text("force-unsafe-io\n")
    yield Machine(root)
    shutil.rmtree(root)
