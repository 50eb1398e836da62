"""One way to run a foreign program in the lab: its output is kept, and a failure says what it printed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"


class LabError(Exception):
    """The lab itself could not do what a test asked; the message names the log to read."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600,
    ok: Sequence[int] = (0,),
) -> str:
    """Run `command` and return its standard output.

    Raises `LabError` with both outputs unless its status is in `ok`.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, env=env, timeout=timeout_s, capture_output=True, check=False)
    except subprocess.TimeoutExpired as expired:
        raise LabError(f"{' '.join(words)[:300]} did not end within {timeout_s:g} s.") from expired
    if done.returncode not in ok:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()
        raise LabError(f"{' '.join(words)[:300]} ended with status {done.returncode}: {said[-2000:]}")
    return done.stdout.decode(errors="replace")
