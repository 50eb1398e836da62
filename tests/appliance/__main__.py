"""`make demo APPLIANCE=1`: the appliance's image in the virtual lab, shown as it goes, with a report at the end.

Exit status 0 only if all held.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.appliance import story, verdict
from tests.lab.command import BUILD, LabError

FOLDER = BUILD / "lab" / "appliance"
REPORT = BUILD / "appliance" / "report.json"


def write(told: story.Story, path: Path) -> None:
    """Write the report file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(told.report.to_dict(), indent=2) + "\n")


def main() -> int:
    """Run the story; 0 only if all held."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    try:
        told = story.run(FOLDER, lambda text: print(text, flush=True))
    except (LabError, AssertionError) as error:
        print(f"The demo broke off: {error}\n    See {FOLDER}", file=sys.stderr)
        return 1
    write(told, options.report)
    print(verdict.table(told.report))
    print(f"Report: {options.report}")
    faults = verdict.faults(told.report)
    if faults:
        print("Not everything held:", *faults, sep="\n  ", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
