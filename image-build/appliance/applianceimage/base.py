"""The root with Debian's packages only: installed from the repository, with the recipe's answers to their questions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from bootdisk.command import CommandError, run

from applianceimage.packages import SUITE
from applianceimage.recipe import FILES, BuildError, words

DPKG_OPTIONS = "etc/dpkg/dpkg.cfg.d/99mmdebstrap"
UNSAFE = "force-unsafe-io"  # while the image is made, a power cut costs nothing


def install(root: Path, repository: Path, more: tuple[str, ...]) -> None:
    """Install the recipe's packages and `more` into `root`, from the repository only. Raises `BuildError`."""
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", "--architectures=amd64"]
    command += ['--aptopt=APT::Install-Recommends "0"', f"--dpkgopt={UNSAFE}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in words("path-excludes.txt")]
    command += [f"--dpkgopt=path-include={pattern}" for pattern in words("path-includes.txt")]
    command += [f"--include={','.join([*words('packages.txt'), *more])}"]
    # Before packages are configured: what their scripts read.
    command += [f'--essential-hook=cp -rT --no-preserve=ownership {FILES}/preseed "$1"']
    try:
        run([*command, SUITE, root, f"deb [trusted=yes] copy:{repository} ./"], timeout_s=1800)
    except CommandError as error:
        raise BuildError(f"the packages could not be installed: {error}") from error


def fix_times(root: Path, epoch_s: int) -> None:
    """Let nothing be younger than `epoch_s`, in seconds since 1970, and be read later than it was written."""
    for path in _everything(root):
        # The time of the last access too, which copies keep: mke2fs takes it over.
        time_s = min(int(path.lstat().st_mtime), epoch_s)
        os.utime(path, (time_s, time_s), follow_symlinks=False)


def _everything(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root, topdown=False):
        yield from (Path(parent, name) for name in (*names, *folders))
    yield root
