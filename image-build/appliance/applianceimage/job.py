"""One build: what is cached, what is made again, and how OUTDIR changes from one whole state to the next."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bootdisk.command import run

from applianceimage import base, disk, root, sbom
from applianceimage.layout import DISK_MIB
from applianceimage.packages import Packages, date_of, fetch, named, repository
from applianceimage.recipe import (
    BOOTDISK,
    CHRONY,
    CODE,
    FILES,
    PRESET,
    PROJECT,
    RECIPE,
    BuildError,
    digest,
    tree_of,
)

LEAST_FREE_BYTES = 6_000_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """What to build, and where. `deb`: Diecast's package; without one the image has Debian only."""

    outdir: Path
    cache: Path
    deb: Path | None
    refresh: bool = False

    @classmethod
    def of(cls, outdir: Path, cache: Path | None, deb: Path | None, refresh: bool) -> Job:
        """From the command line. Raises `BuildError` when the package is not there."""
        if deb is not None and not deb.is_file():
            raise BuildError(f"{deb} is not there. Run: make deb")
        cache = cache or PROJECT / "build/appliance-cache"
        return cls(outdir.resolve(), cache.resolve(), deb.resolve() if deb else None, refresh)

    @property
    def name(self) -> str:
        """The image's name without its ending: diecast-VERSION."""
        text = (PROJECT / "appliance/__init__.py").read_text()
        (version,) = re.findall(r'^__version__ = "(.+)"$', text, re.MULTILINE)
        return f"diecast-{version}"

    @property
    def image(self) -> Path:
        """The disk image."""
        return self.outdir / f"{self.name}.img"

    def packages_digest(self) -> str:
        """Of what decides which Debian packages are fetched."""
        lists = [RECIPE / name for name in ("packages.txt", "boot-packages.txt", "sources.list")]
        return digest([*lists, CODE / "packages.py"], sbom.depends_of(self.deb))

    def base_digest(self, packages: Packages) -> str:
        """Of what decides the root before Diecast is installed in it."""
        lists = [RECIPE / name for name in ("packages.txt", "path-excludes.txt", "path-includes.txt")]
        sources = [*lists, *tree_of(FILES / "preseed"), CODE / "base.py"]
        names = sorted(path.name for path in packages.debs.iterdir())
        return digest(sources, sbom.depends_of(self.deb), *names)

    def image_digest(self, packages: Packages) -> str:
        """Of everything that decides the image's bytes."""
        sources = [path for folder in (RECIPE, FILES, CODE, BOOTDISK) for path in tree_of(folder)] + [PRESET, CHRONY]
        names = sorted(path.name for path in packages.debs.iterdir()) if packages.debs.exists() else []
        package = hashlib.sha256(self.deb.read_bytes()).hexdigest() if self.deb else ""
        return digest(sources, self.name, package, *names)


def build(job: Job) -> None:
    """Make OUTDIR what the recipe says. Raises `BuildError` or `CommandError`."""
    job.cache.mkdir(parents=True, exist_ok=True)
    with _locked(job.cache / "lock"):
        for left in job.cache.glob("tmp-*"):
            shutil.rmtree(left)
        packages = Packages(job.cache / f"packages-{job.packages_digest()}")
        if not job.refresh and _is_current(job, packages):
            return
        _need_space(job)
        if job.refresh or not packages.path.exists():
            _fetch(job, packages)
        installed = _base(job, packages)
        with _work(job.cache) as work:
            _make(job, packages, installed, work)


def _fetch(job: Job, packages: Packages) -> None:
    with _work(job.cache) as work, _step("fetching Debian 13's packages"):
        fetch(work / "packages", sbom.depends_of(job.deb))
        for older in job.cache.glob("packages-*"):
            shutil.rmtree(older)
        (work / "packages").rename(packages.path)


def _base(job: Job, packages: Packages) -> Path:
    """The root with all of Debian's packages and nothing of ours, from the cache or made."""
    target = job.cache / f"base-{job.base_digest(packages)}"
    if target.exists():
        return target
    for older in job.cache.glob("base-*"):
        shutil.rmtree(older)
    with _work(job.cache) as work, _step("installing Debian 13's packages"):
        work.chmod(0o755)  # apt reads the repository as a user of its own
        debs = sorted(packages.debs.glob("*.deb"))
        epoch_s = _set_date(debs)
        repository(work / "repository", debs)
        base.install(work / "root", work / "repository", tuple(named(sbom.depends_of(job.deb))))
        # Else a package of ours that is younger than this base would leave it the times at which it was made.
        base.fix_times(work / "root", epoch_s)
        (work / "root").rename(target)
    return target


def _set_date(debs: list[Path]) -> int:
    """Take the newest package's date for the date of everything that is made here; programs read it from this name."""
    epoch_s = max(date_of(deb) for deb in debs)
    os.environ["SOURCE_DATE_EPOCH"] = str(epoch_s)
    return epoch_s


def _make(job: Job, packages: Packages, installed: Path, work: Path) -> None:
    tree, out = work / "root", work / "out"
    out.mkdir()
    epoch_s = _set_date([*packages.debs.glob("*.deb"), *([job.deb] if job.deb else [])])
    with _step("installing and configuring Diecast"):
        run(["cp", "-a", "--reflink=auto", installed, tree])
        if job.deb:
            root.add_package(tree, job.deb)
        root.configure(tree)
        disk.add_boot_files(packages, tree)
        root.clean(tree, epoch_s)
    image = out / job.image.name
    with _step("making the disk"):
        disk.make(packages, tree, image, work, epoch_s)
    parts = sbom.installed(tree) + sbom.taken_apart(packages.boot_packages())
    (out / "packages.txt").write_text(sbom.listing(parts))
    (out / f"{job.name}.spdx.json").write_text(sbom.spdx(job.name, parts, sbom.python_parts(job.deb), epoch_s))
    _publish(job, packages, out)


def _publish(job: Job, packages: Packages, out: Path) -> None:
    """Move what was made into OUTDIR. The stamp goes first and comes last."""
    sums = [f"{sha256_of(path)}  {path.name}\n" for path in sorted(out.iterdir())]
    (out / "SHA256SUMS").write_text("".join(sums))
    stored = (out / job.image.name).stat().st_blocks * 512
    facts = {"disk_mib": DISK_MIB, "image_mb": round(stored / 1e6, 1)}
    (out / "size").write_text(json.dumps(facts) + "\n")
    _say(f"{job.image.name}: {DISK_MIB} MiB, of which {facts['image_mb']} MB hold something")
    job.outdir.mkdir(parents=True, exist_ok=True)
    _stamp(job).unlink(missing_ok=True)
    for older in job.outdir.glob("diecast-*"):
        older.unlink()
    for path in sorted(out.iterdir()):
        shutil.move(path, job.outdir / path.name)
    job.image.chmod(0o444)
    _stamp(job).write_text(job.image_digest(packages))


def sha256_of(path: Path) -> str:
    """The digest of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def input_of(job: Job) -> str:
    """The hash of what OUTDIR was made from."""
    return _stamp(job).read_text()


def _stamp(job: Job) -> Path:
    return job.outdir / ".stamp"


def _is_current(job: Job, packages: Packages) -> bool:
    if not (job.image.exists() and _stamp(job).exists()):
        return False
    return _stamp(job).read_text() == job.image_digest(packages)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another build is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _work(cache: Path) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tmp-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _need_space(job: Job) -> None:
    free = shutil.disk_usage(job.cache).free
    if free < LEAST_FREE_BYTES:
        raise BuildError(f"{free / 1e9:.1f} GB are free in {job.cache}, {LEAST_FREE_BYTES / 1e9:.0f} GB are needed.")


@contextmanager
def _step(text: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    _say(f"{text}: {time.monotonic() - start:.1f} s")


def _say(text: str) -> None:
    print(f"appliance: {text}", flush=True)
