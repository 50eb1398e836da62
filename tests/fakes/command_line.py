"""Our own command line as the console runs it: a program that records how it is called and answers from files."""

from __future__ import annotations

import json
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# It says its errors, waits while it is held, then prints its answer.
_PROGRAM = """#!/bin/sh
cd {folder} || exit 70
echo "$*" >> calls
echo $$ > pid
name="$1"
[ -e "$1-$2.out" ] && name="$1-$2"
cat "$name.err" >&2
while [ -e held ]; do sleep 0.02; done
cat "$name.out"
exit "$(cat "$name.status")"
"""


@dataclass(frozen=True, slots=True)
class FakeCommandLine:
    """What it answers, and what it was asked."""

    folder: Path

    @classmethod
    def install(cls, folder: Path) -> FakeCommandLine:
        """A program that knows nothing yet."""
        folder.mkdir(parents=True)
        program = folder / "diecast"
        program.write_text(_PROGRAM.format(folder=shlex.quote(str(folder))))
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return cls(folder)

    @property
    def command(self) -> tuple[str, ...]:
        """How a console runs it."""
        return (str(self.folder / "diecast"),)

    def answers(self, words: str, answer: Any = None, *, errors: str = "", status: int = 0) -> None:
        """To a call that begins with `words` (one or two): JSON on standard output, `errors`, an exit status."""
        name = words.replace(" ", "-")
        (self.folder / f"{name}.err").write_text(errors)
        (self.folder / f"{name}.status").write_text(str(status))
        (self.folder / f"{name}.out").write_text("" if answer is None else json.dumps(answer))

    def hold(self) -> None:
        """Let calls wait after their errors, until `release`."""
        (self.folder / "held").touch()

    def release(self) -> None:
        """Let them end."""
        (self.folder / "held").unlink()

    @property
    def runs(self) -> bool:
        """Whether the last call is still at work."""
        try:
            os.kill(int((self.folder / "pid").read_text()), 0)
        except ProcessLookupError:
            return False
        return True

    def calls(self, words: str = "") -> list[str]:
        """The calls that begin with `words`."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(words)]
