"""The room of a cast as a grid: one cell a PC, as large as they all fit, else one line a PC and the list scrolls.

Cursor, marks, filter and order are a `RowList`'s; arrows move in both directions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from appliance.tui.i18n import N_, _
from appliance.tui.screens.casts_cells import Cell, how, percent
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.glyphs import LINE, clean, fit
from appliance.tui.widgets.lines import Line, with_mark
from appliance.tui.widgets.rowlist import Column, RowList

_MARK, _MOVES = "■", 3
_PERCENT = 5
_BESIDE = _PERCENT + 4  # in the smallest cell: mark, shape, and the gap to the next one


@dataclass(frozen=True, slots=True)
class Size:
    """How large cells are drawn."""

    height: int  # lines
    least: int  # cells of the terminal, with the gap to the next one
    most: int


BOXES, PAIRS, SINGLES = Size(4, 19, 24), Size(2, 19, 26), Size(1, 15, 24)
SIZES = (BOXES, PAIRS, SINGLES)


@dataclass(frozen=True, slots=True)
class Plan:
    """How a room is laid out."""

    size: Size
    columns: int
    width: int  # of a cell, with the gap


def plan(count: int, width: int, height: int, longest: int = 0) -> Plan:
    """The largest cells in which all fit; else the smallest ones. `longest` is the longest name."""
    for size in SIZES:
        least = min(size.most, max(size.least, longest + (_BESIDE if size is SINGLES else 0)))
        columns = max(1, width // least)
        lines = -(-count // columns) * size.height
        if lines <= height or size is SINGLES:
            return Plan(size, columns, min(size.most, max(least, width // columns)))
    raise AssertionError("the last size always fits")


class RoomGrid(RowList[Cell]):
    """See the module."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "line(-1)", show=False),
        Binding("down", "line(1)", show=False),
        Binding("left", "cursor(-1)", show=False),
        Binding("right", "cursor(1)", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        columns = [
            Column[Cell](N_("Name"), lambda cell: cell.name, 8),
            Column[Cell](N_("Progress"), percent, 5, sort=lambda cell: cell.share),
            Column[Cell](N_("How"), how, 8, sort=lambda cell: (not cell.in_trouble, cell.how, cell.why)),
        ]
        super().__init__(columns, lambda cell: cell.member.task_id, marks=True, titles=False, id=id)

    @property
    def _plan(self) -> Plan:
        width, height = self.size
        longest = max((len(cell.name) for cell in self._rows), default=0)
        return plan(len(self._rows), max(1, width - 2), height, longest)

    # -- drawing

    def visible_lines(self) -> list[tuple[Line, str]]:
        width, height = self.size
        if not self._rows:
            text = _("Nothing here matches what you look for.") if self._words else _(self.empty)
            return [(((f" {clean(text)}", "dim"),), "")]
        found = self._plan
        draw = _DRAW[found.size]
        rows = -(-len(self._rows) // found.columns)
        shown = max(1, height // found.size.height)
        lines: list[tuple[Line, str]] = []
        for row in range(self.top, min(rows, self.top + shown)):
            first = row * found.columns
            drawn = [
                draw(cell, found.width - 1, self._mark(cell), self._over(first + index))
                for index, cell in enumerate(self._rows[first : first + found.columns])
            ]
            for y in range(found.size.height):
                line = tuple(piece for cell in drawn for piece in (*cell[y], (" ", "")))
                at = len(lines)
                line = with_mark(line, at, self.top * found.size.height, rows * found.size.height, (width, height))
                lines.append((line, ""))
        return lines

    def _mark(self, cell: Cell) -> str:
        return _MARK if self._key(cell) in self.marked else ""

    def _over(self, index: int) -> str:
        if index != self._at:
            return ""
        return "cursor" if self.has_focus else "cursor-away"

    def _keep_in_sight(self) -> None:
        found = self._plan
        shown = max(1, self.size.height // found.size.height)
        rows = -(-len(self._rows) // found.columns)
        here = self._at // found.columns
        self.top = max(0, min(self.top, rows - shown))
        if here < self.top:
            self.top = here
        elif here >= self.top + shown:
            self.top = here - shown + 1

    # -- keys

    def action_line(self, step: int) -> None:
        columns, last = self._plan.columns, len(self._rows) - 1
        target = self._at + step * columns
        if target > last and self._at // columns < last // columns:
            target = last
        if 0 <= target <= last:
            self._move(target)

    def action_page(self, pages: int) -> None:
        found = self._plan
        self._move(self._at + pages * found.columns * max(1, self.size.height // found.size.height - 1))

    def on_click(self, event: events.Click) -> None:
        found = self._plan
        column, row = event.x // found.width, self.top + event.y // found.size.height
        if column < found.columns and row * found.columns + column < len(self._rows):
            self._move(row * found.columns + column)

    def on_mouse_scroll_up(self) -> None:
        self.action_line(-_MOVES)

    def on_mouse_scroll_down(self) -> None:
        self.action_line(_MOVES)


# -- one cell, `width` without the gap; `over` is the role of the cursor -----------------------------------------------


def _box(cell: Cell, width: int, mark: str, over: str) -> list[Line]:
    inner, edge = width - 2, over or ("mark" if mark else "rule")
    name = f" {clean(cell.name)} "[:inner]
    head = f"{mark or LINE}{name}"[:inner]
    done = (*bar(cell.share, inner - _PERCENT - 2), (f" {percent(cell)}", over))
    text = fit(f" {clean(how(cell))}", inner)
    return [
        (("┌", edge), (head, over or "strong"), (LINE * (inner - len(head)), edge), ("┐", edge)),
        (("│", edge), (" ", ""), *done, ("│", edge)),
        (("│", edge), (text, over or cell.role), ("│", edge)),
        (("└", edge), (LINE * inner, edge), ("┘", edge)),
    ]


def _pair(cell: Cell, width: int, mark: str, over: str) -> list[Line]:
    room = width - _PERCENT - 1
    name = fit(f"{mark or ' '}{clean(cell.name)}", room)
    below = fit(f"  {cell.shape} {clean(how(cell))}", width)
    return [
        ((name, over or ("mark" if mark else "strong")), (f"{percent(cell)} ", over)),
        ((below, over or cell.role),),
    ]


def _single(cell: Cell, width: int, mark: str, over: str) -> list[Line]:
    room = width - _PERCENT - 3
    head = f"{mark or ' '}{cell.shape} "
    return [((head, over or cell.role), (fit(clean(cell.name), room), over), (percent(cell), over or cell.role))]


_DRAW: dict[Size, Callable[[Cell, int, str, str], list[Line]]] = {BOXES: _box, PAIRS: _pair, SINGLES: _single}
