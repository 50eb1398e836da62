"""Whether the image can be made again: a second build, from nothing but the same package versions, byte for byte."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from applianceimage.job import Job, build, sha256_of


def check(job: Job) -> int:
    """Build once more in other folders and compare; say what differs. Returns the exit status."""
    with tempfile.TemporaryDirectory(prefix="repro-", dir=job.cache.parent) as folder:
        again = replace(job, outdir=Path(folder, "out"), cache=Path(folder, "cache"), refresh=False)
        build(again)
        names = sorted(path.name for path in job.outdir.iterdir() if not path.name.startswith("."))
        different = [name for name in names if sha256_of(job.outdir / name) != sha256_of(again.outdir / name)]
        if not different:
            print(f"appliance: made twice, {len(names)} files, all the same: {sha256_of(job.image)}")
            return 0
    return 1
