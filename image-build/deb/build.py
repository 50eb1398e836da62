"""Make the Debian package: `build.py OUTDIR` writes diecast_VERSION_amd64.deb and the list of what is in it.

What takes long is kept in the cache folder (build/deb-cache), under names made from a hash of what it is made from.
The package is made again only when something of it changed; the same inputs give the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

# The agent image's builder has what both need: hashes of inputs, and programs of an extracted root.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "agent"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from agentimage.recipe import BuildError
from debpackage.job import Job, build
from debpackage.source import Source


def main() -> int:
    """Parse the command line, build, print the package's path; say errors in words."""
    parser = argparse.ArgumentParser(description="Make Diecast's Debian package.")
    parser.add_argument("outdir", type=Path, help="folder that gets the package, e.g. build/deb")
    parser.add_argument("--cache", type=Path, help="folder for what is kept between builds (default: build/deb-cache)")
    parser.add_argument(
        "--boot", type=Path, help="folder of loaders, kernel and initrd (default: build/boot, made first)"
    )
    parser.add_argument("--source", type=Path, help="the tree to package (default: the one this builder is of)")
    parser.add_argument("--again", action="store_true", help="make the package again although it is there")
    arguments = parser.parse_args()
    try:
        source = Source.of(arguments.source, arguments.boot)
        print(build(Job.of(source, arguments.outdir, arguments.cache, arguments.again)))
    except BuildError as error:
        print(f"package: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
