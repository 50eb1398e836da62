"""What the benchmarks share: a server that is started, logged and ended by its own process id."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """Run `command` with its output in `log` while the body runs."""
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
