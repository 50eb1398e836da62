"""Foreign programs are run as the image build runs them: their output is kept, and a failure says what they printed."""

from __future__ import annotations

from pathlib import Path

from bootdisk.command import CommandError as LabError
from bootdisk.command import run

__all__ = ["BUILD", "ROOT", "LabError", "run"]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
