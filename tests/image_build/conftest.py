"""The built files, and the initrd unpacked as the kernel would."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import zstandard

PROJECT = Path(__file__).resolve().parents[2]
BOOT = PROJECT / "build/boot"
RECIPE = PROJECT / "image-build/agent/recipe"


@dataclass(frozen=True, slots=True)
class Image:
    """The initrd's content in a folder, and the kernel package's own list of modules."""

    root: Path
    release: str

    @property
    def modules(self) -> Path:
        """The folder with `kernel/` and the indexes."""
        return self.root / "usr/lib/modules" / self.release

    def chroot(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the image with the image as its root."""
        environment = {"PATH": "/usr/sbin:/usr/bin", "PYTHONPATH": "/usr/lib/diecast", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            ["chroot", str(self.root), *command], capture_output=True, text=True, env=environment, check=False
        )


@pytest.fixture(scope="session")
def boot() -> Path:
    """The folder that `make agent` filled."""
    assert (BOOT / "initrd.img").exists(), "run `make agent` first"
    return BOOT


@pytest.fixture(scope="session")
def catalog(boot: Path) -> dict[str, dict[str, Any]]:
    """`catalog.json`."""
    result: dict[str, dict[str, Any]] = json.loads((boot / "catalog.json").read_text())
    return result


@pytest.fixture(scope="session")
def image(boot: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    """The unpacked initrd: one zstd frame after the other, zeros between them, as init/initramfs.c reads it."""
    root = tmp_path_factory.mktemp("initrd")
    rest = (boot / "initrd.img").read_bytes()
    archives = 0
    while rest:
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        cpio = unpacker.decompress(rest)
        rest = unpacker.unused_data.lstrip(b"\0")
        subprocess.run(
            ["cpio", "--extract", "--make-directories", "--quiet", "--nonmatching", "dev/*"],
            input=cpio,
            cwd=root,
            check=True,
        )
        archives += 1
    assert archives == 2
    release = next((root / "usr/lib/modules").iterdir()).name
    return Image(root, release)


@pytest.fixture(scope="session")
def packaged_modules(boot: Path, image: Image) -> list[str]:
    """Every module of the Debian kernel package, as dpkg-deb lists it: `drivers/net/.../e1000e.ko`."""
    marker = f"./usr/lib/modules/{image.release}/kernel/"
    lines = (boot / "kernel-package.lst").read_text().splitlines()
    names = [line.split(marker, 1)[1] for line in lines if marker in line]
    return sorted(name.removesuffix(".xz") for name in names if name.endswith(".ko.xz"))
