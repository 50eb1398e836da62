"""What is built for others to boot. The builders are no packages of Python's path."""

import sys
from pathlib import Path

for _name in ("", "agent", "appliance"):
    sys.path.append(str(Path(__file__).resolve().parents[2] / "image-build" / _name))
