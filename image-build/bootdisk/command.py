"""One way to run a foreign program: its output is kept, and a failure says what it printed."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


class CommandError(Exception):
    """A program could not be run, or said no; the message holds its last words."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600,
    ok: Sequence[int] = (0,),
) -> str:
    """Run `command` and return its standard output.

    Raises `CommandError` with both outputs unless its status is in `ok`.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=stdin, env=env, timeout=timeout_s, capture_output=True, check=False)
    except subprocess.TimeoutExpired as expired:
        raise CommandError(f"{' '.join(words)[:300]} did not end within {timeout_s:g} s.") from expired
    except OSError as error:
        raise CommandError(
            f"{words[0]} cannot be run: {error.strerror}. Run: image-build/install-packages.sh"
        ) from error
    if done.returncode not in ok:
        said = (done.stderr + done.stdout).decode(errors="replace").strip()
        raise CommandError(f"{' '.join(words)[:300]} ended with status {done.returncode}: {said[-2000:]}")
    return done.stdout.decode(errors="replace")
