"""Make what the PCs boot: `build.py OUTDIR` writes loaders, kernel, initrd and their catalog.

What takes long is kept in the cache folder (build/agent): the extracted Debian packages and the packed base image,
each under a name made from a hash of what it is made from. OUTDIR is rewritten only when something changed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from agentimage.job import BuildError, Job, build


def main() -> int:
    """Parse the command line, build, and say errors in words."""
    parser = argparse.ArgumentParser(description="Make the PCs' loaders, kernel and initrd.")
    parser.add_argument("outdir", type=Path, help="folder that gets the files, e.g. build/boot")
    parser.add_argument("--cache", type=Path, help="folder for what is kept between builds (default: build/agent)")
    parser.add_argument(
        "--datacentre-firmware",
        action="store_true",
        help="include the firmware of data-centre network cards (recipe/firmware-datacentre.txt)",
    )
    parser.add_argument("--refresh", action="store_true", help="fetch the Debian packages again, for security updates")
    arguments = parser.parse_args()
    job = Job.of(arguments.outdir, arguments.cache, arguments.datacentre_firmware, arguments.refresh)
    try:
        build(job)
    except BuildError as error:
        print(f"agent image: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
