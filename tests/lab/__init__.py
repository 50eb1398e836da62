"""A virtual lab: a network, PCs, a box. What makes disks is the image build's, which is no package of Python's path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "image-build"))
