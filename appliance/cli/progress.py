"""How far something is: a bar that replaces itself at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from appliance.cli import show
from appliance.cli.context import Context

BAR_WIDTH = 20
_REDRAW_S = 0.2  # a serial console is not to be flooded
_STEP_PERCENT = 10  # plain lines: one for each step


def bar(fraction: float) -> str:
    """`[#####---------------]`; plain characters, which every console's font has."""
    full = round(max(0.0, min(1.0, fraction)) * BAR_WIDTH)
    return "[" + "#" * full + "-" * (BAR_WIDTH - full) + "]"


class Board:
    """Some lines at the bottom of a terminal that are drawn over one another."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._drawn = 0

    def draw(self, lines: list[str]) -> None:
        """Show `lines` in place of those drawn before."""
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"\r\x1b[2K{line[: self._width - 1]}\n" for line in lines)
        gone = max(0, self._drawn - len(lines))
        blank = "\x1b[2K\n" * gone + (f"\x1b[{gone}A" if gone else "")
        sys.stdout.write(up + text + blank)
        sys.stdout.flush()
        self._drawn = len(lines)


class Meter:
    """Progress of one thing of this process that counts units. Use it in a `with` statement."""

    def __init__(self, context: Context, what: str, *, unit: str, quiet: bool = False) -> None:
        self._what = what
        self._unit = unit
        self._quiet = quiet
        self._board = Board(context.width or 80) if context.is_terminal and not quiet else None
        self._start = time.monotonic()
        self._last_drawn = 0.0
        self._last_step = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self._board is not None:
            self._board.draw([])

    def update(self, done: int, total: int) -> None:
        """So many of so many."""
        if self._quiet or total <= 0:
            return
        fraction = done / total
        line = f"{self._what}  {100 * fraction:3.0f} %  {done} of {total} {self._unit}"
        now = time.monotonic()
        if self._board is not None:
            if now - self._last_drawn >= _REDRAW_S:
                self._last_drawn = now
                left = (now - self._start) * (1 - fraction) / fraction if fraction else 0.0
                self._board.draw([f"{bar(fraction)} {line}" + (f"  {show.duration(left)} left" if fraction else "")])
            return
        step = int(100 * fraction) // _STEP_PERCENT
        if step > self._last_step:
            self._last_step = step
            print(line, flush=True)


class Counter:
    """Progress for a program that reads our standard error: a line `DONE TOTAL` for each percent."""

    def __init__(self) -> None:
        self._last = -1

    def __call__(self, done: int, total: int) -> None:
        """So many of so many."""
        step = 100 * done // total if total else 0
        if step > self._last:
            self._last = step
            print(done, total, file=sys.stderr, flush=True)
