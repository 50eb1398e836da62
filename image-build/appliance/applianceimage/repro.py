"""Whether the image can be made again: a second build, from nothing but the same package versions, byte for byte."""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from bootdisk.gptdisk import MIB

from applianceimage.job import Job, build, input_of, sha256_of
from applianceimage.layout import PARTITIONS, ROOT

_TELL = 40  # differences that are told


def check(job: Job) -> int:
    """Build once more in other folders and compare; say what differs. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="repro-", dir=job.cache.parent) as folder:
        again = replace(job, outdir=Path(folder, "out"), cache=Path(folder, "cache"), refresh=False)
        build(again)
        if input_of(job) != input_of(again):
            print("appliance: what the image is made from has changed during the second build; start again.")
            return 1
        names = sorted(path.name for path in job.outdir.glob("[!.]*") if (again.outdir / path.name).exists())
        different = [name for name in names if sha256_of(job.outdir / name) != sha256_of(again.outdir / name)]
        if not different:
            print(f"appliance: made twice, {len(names)} files, all the same; {job.image.name}: {sha256_of(job.image)}")
            return 0
        print(f"appliance: made twice, and these differ: {', '.join(different)}")
        for line in _explained(job.image, again.image, Path(folder)):
            print(f"  {line}")
    return 1


def first_difference(one: Path, other: Path, start: int = 0) -> int | None:
    """The first MiB, as an offset in bytes, in which two image files differ from `start` on; None when none does."""
    with one.open("rb") as first, other.open("rb") as second:
        for offset in range(start, max(one.stat().st_size, other.stat().st_size), MIB):
            first.seek(offset)
            second.seek(offset)
            if first.read(MIB) != second.read(MIB):
                return offset
    return None


def _explained(one: Path, other: Path, work: Path) -> list[str]:
    """Which partitions differ, and in the root which files."""
    offset = first_difference(one, other)
    if offset is None:
        return ["the images are the same; only lists differ."]
    inside = next((part.name for part in PARTITIONS if part.offset <= offset < part.offset + part.size), "the table")
    lines = [f"first in the MiB at {offset}, in {inside}"]
    roots = []
    for name, image in (("one", one), ("other", other)):
        roots.append(work / name)
        roots[-1].mkdir()
        words = ["debugfs", "-R", f"rdump /boot /etc /usr /var {roots[-1]}", f"{image}?offset={ROOT.offset}"]
        subprocess.run(words, capture_output=True, check=False)
    words = ["diff", "--recursive", "--brief", "--no-dereference", *map(str, roots)]
    found = subprocess.run(words, capture_output=True, text=True, check=False).stdout.splitlines()
    lines += found[:_TELL] or ["no file's content differs: times, owners or the order of blocks do; see debugfs' stat."]
    return lines
