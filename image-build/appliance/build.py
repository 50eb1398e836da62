"""Make the appliance's disk image: `build.py OUTDIR` writes diecast-VERSION.img, what it consists of, and its digest.

What takes long is kept in the cache folder (build/appliance-cache), under names made from a hash of what it is made
from. `--repro` builds a second time, from nothing, and compares.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[1]))
# The agent image's builder has what both need: hashes of inputs, and programs of an extracted root.
sys.path.insert(2, str(Path(__file__).resolve().parents[1] / "agent"))

from applianceimage import repro
from applianceimage.job import Job, build
from applianceimage.recipe import BuildError
from bootdisk.command import CommandError


def main() -> int:
    """Parse the command line, build, and say errors in words."""
    parser = argparse.ArgumentParser(description="Make the appliance's disk image.")
    parser.add_argument("outdir", type=Path, help="folder that gets the files, e.g. build/appliance")
    parser.add_argument("--cache", type=Path, help="folder for what is kept (default: build/appliance-cache)")
    parser.add_argument("--deb", type=Path, help="Diecast's package, as image-build/deb makes it")
    parser.add_argument("--refresh", action="store_true", help="fetch the Debian packages again, for security updates")
    parser.add_argument("--repro", action="store_true", help="build a second time in another folder, and compare")
    arguments = parser.parse_args()
    job = Job.of(arguments.outdir, arguments.cache, arguments.deb, arguments.refresh)
    try:
        build(job)
        if arguments.repro:
            return repro.check(job)
    except (BuildError, CommandError) as error:
        print(f"appliance: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
