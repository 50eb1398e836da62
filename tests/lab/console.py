"""What a guest prints on its serial line: kept in a file, waited for, read back as text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

# Cursor movements, colours and modes of VT100 and its heirs, and characters that only move.
_ESCAPES = re.compile(r"\x1b\[[0-9;?=]*[A-Za-z]|\x1b[()][0-9A-B]|\x1b[=>78cDEHM]|[\x00\x07\x0f]")


def plain(raw: bytes) -> str:
    """Serial output as text: no escape sequences, carriage returns as line ends."""
    text = _ESCAPES.sub("", raw.decode(errors="replace"))
    return re.sub(r"\r+\n?", "\n", text)


class NeverPrinted(AssertionError):
    """A guest did not print what was waited for; the message holds its last lines and the log's path."""


class Console:
    """The saved serial line of one PC. `mark` makes later waits look only at what comes after it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self._mark = 0

    def mark(self) -> None:
        """Forget what was printed so far."""
        self._mark = self.path.stat().st_size if self.path.exists() else 0

    def text(self, *, everything: bool = False) -> str:
        """What was printed since the mark, or ever."""
        if not self.path.exists():
            return ""
        with self.path.open("rb") as stream:
            stream.seek(0 if everything else self._mark)
            return plain(stream.read())

    def last_lines(self, count: int = 25) -> str:
        """The end of what was printed, for an error message."""
        lines = [line.rstrip() for line in self.text().splitlines() if line.strip()]
        return "\n".join("    " + line[:160] for line in lines[-count:]) or "    (nothing)"

    def says(self, pattern: str) -> re.Match[str] | None:
        """Whether `pattern` was printed since the mark."""
        return re.search(pattern, self.text(), re.MULTILINE)

    def waits_for(
        self, pattern: str, timeout_s: float, *, never: str = "", alive: Callable[[], bool] = lambda: True
    ) -> re.Match[str]:
        """Wait until `pattern` is printed. Raises `NeverPrinted` at the time-out, at `never`, or when the PC is off."""
        deadline = time.monotonic() + timeout_s
        while True:
            running = alive()
            text = self.text()
            if match := re.search(pattern, text, re.MULTILINE):
                return match
            if never and (bad := re.search(never, text, re.MULTILINE)):
                raise self._failure(pattern, f"but printed '{bad[0]}'")
            if not running:
                raise self._failure(pattern, "and is off")
            if time.monotonic() > deadline:
                raise self._failure(pattern, f"within {timeout_s:g} s")
            time.sleep(0.2)

    def _failure(self, pattern: str, how: str) -> NeverPrinted:
        lines = self.last_lines()
        return NeverPrinted(
            f"{self.name} did not print /{pattern}/ {how}. Its last lines:\n{lines}\n    See {self.path}"
        )
