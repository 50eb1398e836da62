"""Bars and small histories, made of whole cells only."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.tui.widgets.glyphs import EMPTY, FULL, HALF
from appliance.tui.widgets.lines import Line


def bar(fraction: float, width: int) -> Line:
    """`██████▒░░░`: full cells, one half cell where it is nearer, empty ones."""
    halves = round(max(0.0, min(1.0, fraction)) * width * 2)
    full, half = divmod(halves, 2)
    rest = width - full - half
    return ((FULL * full + HALF * half, "bar"), (EMPTY * rest, "bar-back"))


def spark(values: Sequence[float], width: int, height: int = 1, *, most: float = 0.0) -> tuple[Line, ...]:
    """The last `width` values as columns of whole cells, `height` high, oldest first. `most` is a full column.

    A font without eighth blocks has three heights a cell: nothing, a light and a full one.
    """
    shown = list(values)[-width:]
    top = max(most, max(shown, default=0.0), 1e-9)
    steps = [round(max(0.0, value) / top * height * 2) for value in shown]
    pad = " " * (width - len(shown))
    lines = []
    for row in range(height - 1, -1, -1):
        cells = "".join((" ", HALF, FULL)[max(0, min(2, step - 2 * row))] for step in steps)
        if row == 0:
            cells = cells.replace(" ", EMPTY)
        lines.append(((pad + cells, "bar"),))
    return tuple(lines)
