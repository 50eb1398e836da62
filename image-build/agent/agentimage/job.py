"""One build: what is cached, what is made again, and how OUTDIR changes from one whole state to the next."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentimage import kernel, userland
from agentimage.archive import Tree
from agentimage.packages import Root, extract
from agentimage.recipe import (
    PROJECT,
    BuildError,
    agent_files,
    agent_version,
    base_digest,
    digest,
    packages_digest,
    words,
)

__all__ = ["BuildError", "Job", "build"]

MOST_BYTES = 60_000_000  # kernel and initrd together
LEAST_FREE_BYTES = 3_000_000_000
# --long=27: a window of 128 MiB, the most the kernel unpacks (lib/decompress_unzstd.c, ZSTD_WINDOWSIZE_MAX).
COMPRESS_BASE = ("-19", "--long=27", "-T2", "-q", "-f")
COMPRESS_CODE = ("-12", "-q", "-f")

# What OUTDIR gets from the packages as it is: name -> (file in the root, package).
LOADERS = {
    "undionly.kpxe": ("usr/lib/ipxe/undionly.kpxe", "ipxe"),
    "snponly.efi": ("usr/lib/ipxe/snponly.efi", "ipxe"),
    "shimx64.efi": ("usr/lib/shim/shimx64.efi.signed", "shim-signed"),
    "grubx64.efi": ("usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed", "grub-efi-amd64-signed"),
}


@dataclass(frozen=True, slots=True)
class Job:
    """What to build, and where."""

    outdir: Path
    cache: Path
    datacentre_firmware: bool = False
    refresh: bool = False

    @classmethod
    def of(cls, outdir: Path, cache: Path | None, datacentre_firmware: bool, refresh: bool) -> Job:
        """From the command line; the environment can ask for the option where `make` is the caller."""
        wanted = datacentre_firmware or os.environ.get("DIECAST_DATACENTRE_FIRMWARE", "") not in ("", "0")
        return cls(outdir.resolve(), (cache or PROJECT / "build/agent").resolve(), wanted, refresh)


def build(job: Job) -> None:
    """Make OUTDIR what the recipe and the code say. Raises `BuildError`."""
    job.cache.mkdir(parents=True, exist_ok=True)
    with _locked(job.cache / "lock"):
        for left in job.cache.glob("tmp-*"):
            shutil.rmtree(left)
        if not job.refresh and _is_current(job):
            return
        root = _packages(job)
        base = _base(job, root)
        _publish(job, root, base)


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
def _work(job: Job) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="tmp-", dir=job.cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _packages(job: Job) -> Root:
    """The extracted packages, from the cache or fetched."""
    target = job.cache / f"packages-{packages_digest()}"
    if target.exists() and not job.refresh:
        return Root(target)
    _need_space(job)
    with _work(job) as work, _step("fetching and unpacking Debian 13's packages"):
        extract(work / "root")
        if target.exists():
            shutil.rmtree(target)
        (work / "root").rename(target)
    _drop_older(job.cache, "packages-*", target)
    return Root(target)


def _base(job: Job, root: Root) -> Path:
    """The folder with the packed base image and its lists, from the cache or made."""
    versions = (root.path / "packages.tsv").read_text()
    target = job.cache / f"base-{base_digest(job.datacentre_firmware, versions)}"
    if target.exists():
        return target
    _need_space(job)
    with _work(job) as work:
        (work / "base").mkdir()
        with _step("choosing drivers, firmware and programs"):
            tree = _base_tree(job, root, work)
        with _step("packing"), (work / "base.cpio").open("wb") as file:
            tree.write_cpio(file)
            file.close()
            root.run("usr/bin/zstd", *COMPRESS_BASE, str(work / "base.cpio"), "-o", str(work / "base/base.zst"))
        (work / "base").rename(target)
    _drop_older(job.cache, "base-*", target)
    return target


def _base_tree(job: Job, root: Root, work: Path) -> Tree:
    tree = Tree()
    modules = kernel.unpack(root, work)
    kernel.choose(modules, words("modules.txt"))
    firmware = kernel.choose_firmware(root, modules, job.datacentre_firmware)
    kernel.drop_others(root, work, modules)
    kernel.add_to(tree, modules, firmware)
    userland.add_to(tree, root, work)
    (work / "base/modules.txt").write_text(kernel.list_modules(modules))
    (work / "base/firmware.txt").write_text(kernel.list_firmware(modules))
    return tree


def _publish(job: Job, root: Root, base: Path) -> None:
    """Put the code behind the base image and everything into OUTDIR. The stamp goes first and comes last."""
    release = kernel.release_of(root)
    versions = root.versions()
    with _work(job) as work, _step("packing the agent's code"):
        new = work / "out"
        new.mkdir()
        with (work / "code.cpio").open("wb") as file:
            userland.agent_tree(root, work).write_cpio(file)
        root.run("usr/bin/zstd", *COMPRESS_CODE, str(work / "code.cpio"), "-o", str(work / "code.zst"))
        _join(new / "initrd.img", [base / "base.zst", work / "code.zst"])
        shutil.copyfile(root.path / f"boot/vmlinuz-{release}", new / "vmlinuz")
        for name, (source, _) in LOADERS.items():
            shutil.copyfile(root.path / source, new / name)
        sources = {name: package for name, (_, package) in LOADERS.items()}
        sources["vmlinuz"] = f"linux-image-{release}"
        catalog = {path.name: _facts(path, sources.get(path.name, ""), versions) for path in sorted(new.iterdir())}
        catalog["initrd.img"]["version"] = release
        catalog["initrd.img"]["diecast"] = agent_version()
        (new / "catalog.json").write_text(json.dumps(catalog, indent=1, sort_keys=True) + "\n")
        for name in ("modules.txt", "firmware.txt"):
            shutil.copyfile(base / name, new / name)
        shutil.copyfile(root.path / "packages.tsv", new / "packages.tsv")
        shutil.copyfile(root.path / "kernel-package.lst", new / "kernel-package.lst")
        _check_size(catalog)
        _replace(job, new)


def _join(target: Path, parts: list[Path]) -> None:
    # The kernel takes archives one behind the other, each at a multiple of four bytes.
    with target.open("wb") as out:
        for part in parts:
            out.write(part.read_bytes())
            out.write(bytes(-out.tell() % 4))


def _facts(path: Path, package: str, versions: dict[str, str]) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "package": package or "diecast",
        "version": versions.get(package, ""),
    }


def _check_size(catalog: dict[str, dict[str, Any]]) -> None:
    size = catalog["vmlinuz"]["size"] + catalog["initrd.img"]["size"]
    _say(f"kernel and initrd together: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        raise BuildError(f"kernel and initrd have {size} bytes, over {MOST_BYTES}. Take something out of the recipe.")


def _replace(job: Job, new: Path) -> None:
    job.outdir.mkdir(parents=True, exist_ok=True)
    stamp = job.outdir / ".stamp"
    stamp.unlink(missing_ok=True)
    for path in sorted(new.iterdir()):
        incoming = job.outdir / f".new-{path.name}"
        shutil.copyfile(path, incoming)  # the cache may be on another file system
        incoming.chmod(0o644)
        incoming.replace(job.outdir / path.name)
    stamp.write_text(_state(job))


def _is_current(job: Job) -> bool:
    stamp = job.outdir / ".stamp"
    return stamp.exists() and stamp.read_text() == _state(job)


def _state(job: Job) -> str:
    """What OUTDIR was made from, and the sizes of what it holds: one text that changes when either does."""
    packages = job.cache / f"packages-{packages_digest()}" / "packages.tsv"
    versions = packages.read_text() if packages.exists() else ""
    sizes = [f"{path.name} {path.stat().st_size}" for path in sorted(job.outdir.glob("[!.]*")) if path.is_file()]
    return json.dumps([base_digest(job.datacentre_firmware, versions), digest(agent_files()), sizes])


def _need_space(job: Job) -> None:
    free = shutil.disk_usage(job.cache).free
    if free < LEAST_FREE_BYTES:
        raise BuildError(f"{free / 1e9:.1f} GB are free in {job.cache}, {LEAST_FREE_BYTES / 1e9:.0f} GB are needed.")


def _drop_older(cache: Path, pattern: str, keep: Path) -> None:
    for path in cache.glob(pattern):
        if path != keep:
            shutil.rmtree(path)


@contextmanager
def _step(text: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    _say(f"{text}: {time.monotonic() - start:.1f} s")


def _say(text: str) -> None:
    print(f"agent image: {text}", flush=True)
