"""One build: what is cached, and the way from a tree to a package whose bytes follow from its inputs alone."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentimage.recipe import PROJECT, BuildError

from debpackage import python, tree
from debpackage.source import FILES, Source

SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
# Most of it is a kernel and an initrd that are compressed already: xz takes six times as long and saves five percent.
# One thread, since the number of threads shows in the result.
COMPRESSION = ("-Zgzip", "-z6", "--threads-max=1")
LEAST_FREE_BYTES = 1_500_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """What to package, and where to."""

    source: Source
    outdir: Path
    cache: Path
    again: bool = False

    @classmethod
    def of(cls, source: Source, outdir: Path, cache: Path | None, again: bool) -> Job:
        """From the command line."""
        return cls(source, outdir.resolve(), (cache or PROJECT / "build/deb-cache").resolve(), again)

    @property
    def package(self) -> Path:
        """The file that is made."""
        return self.outdir / f"diecast_{self.source.version}_amd64.deb"


def build(job: Job) -> Path:
    """Make the package, if it is not there as its inputs say; return its path. Raises `BuildError`."""
    job.cache.mkdir(parents=True, exist_ok=True)
    job.outdir.mkdir(parents=True, exist_ok=True)
    with (job.cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in job.cache.glob("tmp-*"):
            shutil.rmtree(left)
        _need_space(job)
        parts = _python(job)
        wanted = job.source.digest((parts / python.LIST).read_text(), *COMPRESSION)
        stamp = job.package.with_suffix(".inputs")
        if not job.again and job.package.exists() and stamp.exists() and stamp.read_text() == wanted:
            return job.package
        stamp.unlink(missing_ok=True)
        with _work(job) as work:
            _make(job, parts, work)
            os.replace(work / job.package.name, job.package)
        _write_list(job, parts)
        stamp.write_text(wanted)
    return job.package


def _python(job: Job) -> Path:
    """The folder with wheels and Debian's Python, from the cache or fetched."""
    target = job.cache / f"python-{python.wheels_digest()}"
    if not target.exists():
        with _work(job) as work:
            (work / "python").mkdir()
            python.fetch(work / "python")
            (work / "python").rename(target)
        for old in job.cache.glob("python-*"):
            if old != target:
                shutil.rmtree(old)
    return target


def _make(job: Job, parts: Path, work: Path) -> None:
    root = work / "tree"
    root.mkdir()
    tree.make(job.source, parts, root)
    _control(job.source, root)
    _set_times(root, job.source.time_s)
    command = ["dpkg-deb", "--root-owner-group", *COMPRESSION, "--build", str(root), str(work / job.package.name)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(job.source.time_s), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"dpkg-deb failed:\n{done.stderr.strip()}")


def _control(source: Source, root: Path) -> None:
    """The folder DEBIAN: what dpkg reads and runs."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    conffiles = (FILES / "conffiles").read_text().split()
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n"
        for path in files
        if f"/{path.relative_to(root)}" not in conffiles
    ]
    size_kib = sum(-(-path.stat().st_size // 1024) for path in files)
    folder = root / "DEBIAN"
    folder.mkdir(mode=0o755)
    control = (FILES / "control").read_text().replace("@VERSION@", source.version).replace("@SIZE@", str(size_kib))
    (folder / "control").write_text(control)
    (folder / "md5sums").write_text("".join(sums))
    shutil.copy(FILES / "conffiles", folder / "conffiles")
    for name in SCRIPTS:
        shutil.copy(FILES / name, folder / name)
    for path in folder.iterdir():
        path.chmod(0o755 if path.name in SCRIPTS else 0o644)


def _set_times(root: Path, time_s: int) -> None:
    for path in (root, *root.rglob("*")):
        os.utime(path, (time_s, time_s), follow_symlinks=False)


def _write_list(job: Job, parts: Path) -> None:
    """Beside the package: what is in it, and its digest."""
    with job.package.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    boot = (job.source.boot / "packages.tsv").read_text().splitlines()
    lines = [f"diecast\t{job.source.version}\tsha256:{digest}\t{job.source.time_s}"]
    lines += (parts / python.LIST).read_text().splitlines()
    lines += [f"agent:{line}" for line in boot]
    job.package.with_suffix(".packages.tsv").write_text("".join(f"{line}\n" for line in lines))


@contextmanager
def _work(job: Job) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tmp-", dir=job.cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _need_space(job: Job) -> None:
    free = shutil.disk_usage(job.cache).free
    if free < LEAST_FREE_BYTES:
        raise BuildError(f"{job.cache} has {free // 10**6} MB free; {LEAST_FREE_BYTES // 10**6} MB are needed.")
