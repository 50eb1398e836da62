"""The one way we draw: lines of pieces, each a text and the role it has in the theme.

`Lines` is a widget that keeps the lines it shows. After a change it makes the visible ones anew, compares, and has only
those redrawn that differ: a screen with two hundred moving bars costs what the bars in sight cost. There is one widget
for a whole list, not one a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rich.segment import Segment
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from appliance.tui import theme
from appliance.tui.widgets.glyphs import FULL

Piece = tuple[str, str]  # text, role (`theme.ROLES`)
Line = tuple[Piece, ...]
EMPTY_LINE: Line = ()


def width_of(line: Line) -> int:
    """Cells that `line` takes. All our characters take one."""
    return sum(len(text) for text, _ in line)


def spread(left: Line, right: Line, width: int) -> Line:
    """`left` at the left and `right` at the right of `width` cells; the left gives way."""
    room = width - width_of(right)
    kept = cut(left, room - 1 if right else room)
    return (*kept, (" " * (room - width_of(kept)), ""), *right)


def cut(line: Line, width: int) -> Line:
    """`line` in at most `width` cells."""
    kept: list[Piece] = []
    left = max(0, width)
    for text, role in line:
        if left <= 0:
            break
        kept.append((text[:left], role))
        left -= len(text)
    return tuple(kept)


def wrap(text: str, width: int) -> list[str]:
    """`text` broken at spaces into lines of at most `width`; line breaks in it stay."""
    import textwrap

    lines: list[str] = []
    for part in text.split("\n"):
        lines += textwrap.wrap(part, max(1, width)) or [""]
    return lines


def to_strip(line: Line, width: int, over: str = "") -> Strip:
    """`line` as Textual draws it, `over` a role laid on the whole of it."""
    pieces = cut(line, width)
    used = width_of(pieces)
    segments = [Segment(text, theme.style(role, over)) for text, role in pieces if text]
    if used < width:
        segments.append(Segment(" " * (width - used), theme.style("", over)))
    return Strip(segments, width)


class Lines(Widget, can_focus=False):
    """Some lines, the first at the top. Subclasses say how many there are and make each."""

    DEFAULT_CSS = "Lines { width: 1fr; height: 1fr; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.top = 0
        self._drawn: list[tuple[Line, str]] = []

    def line_count(self) -> int:
        """How many lines there are."""
        raise NotImplementedError

    def make_line(self, index: int, width: int) -> Line:
        """Line `index` for `width` cells."""
        raise NotImplementedError

    def role_of(self, index: int) -> str:
        """A role laid over line `index`, such as `cursor`."""
        return ""

    def visible_lines(self) -> list[tuple[Line, str]]:
        """What each line of the widget shows now."""
        width, height = self.size
        last = min(self.line_count(), self.top + height)
        return [(self.make_line(index, width), self.role_of(index)) for index in range(self.top, last)]

    def renew(self) -> None:
        """Make the visible lines again, and redraw those that changed."""
        if not self.is_mounted or not self.size.height:
            return
        self.top = max(0, min(self.top, self.line_count() - self.size.height))
        old, new = self._drawn, self.visible_lines()
        self._drawn = new
        self._refresh_changed(old, new)

    def _refresh_changed(self, old: list[tuple[Line, str]], new: list[tuple[Line, str]]) -> None:
        changed = [y for y in range(max(len(old), len(new))) if old[y : y + 1] != new[y : y + 1]]
        if len(changed) > self.size.height // 2:
            self.refresh()
        elif changed:
            self.refresh(*(Region(0, y, self.size.width, 1) for y in changed))

    def redraw(self) -> None:
        """Draw everything again: language, theme or size have changed."""
        self._drawn = []
        self.renew()
        self.refresh()

    def watch_has_focus(self, has_focus: bool) -> None:
        """The cursor looks otherwise. Focus and blur events would come before Textual has noted the change."""
        super().watch_has_focus(has_focus)
        self.renew()

    def on_resize(self, event: events.Resize) -> None:
        self._drawn = []
        self.renew()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Textual asks for one line of the widget."""
        width = self.size.width
        if y < len(self._drawn):
            line, over = self._drawn[y]
            return to_strip(line, width, over)
        return to_strip(EMPTY_LINE, width)


def thumb(top: int, count: int, height: int) -> range:
    """Which lines of a scroll mark are thick, of a list of `count` lines shown from `top` in `height` lines."""
    if count <= height or height <= 0:
        return range(0)
    size = max(1, height * height // count)
    first = round(top * (height - size) / (count - height))
    return range(first, first + size)


def with_mark(line: Line, y: int, top: int, count: int, size: tuple[int, int]) -> Line:
    """`line` with the scroll mark in its last cell, where there is more than fits."""
    width, height = size
    if count <= height:
        return line
    char = FULL if y in thumb(top, count, height) else "│"
    return spread(cut(line, width - 2), ((char, "dim"),), width)


class Scrolling(Lines, can_focus=True):
    """Lines to be read: arrows, page keys, Home and End move them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_by(-1)", show=False),
        Binding("down", "scroll_by(1)", show=False),
        Binding("pageup", "scroll_page(-1)", show=False),
        Binding("pagedown", "scroll_page(1)", show=False),
        Binding("home", "scroll_by(-1000000000)", show=False),
        Binding("end", "scroll_by(1000000000)", show=False),
    ]

    def action_scroll_by(self, lines: int) -> None:
        self.top = max(0, min(self.top + lines, self.line_count() - self.size.height))
        self.renew()

    def action_scroll_page(self, pages: int) -> None:
        self.action_scroll_by(pages * max(1, self.size.height - 1))

    def visible_lines(self) -> list[tuple[Line, str]]:
        count, size = self.line_count(), (self.size.width, self.size.height)
        found = super().visible_lines()
        return [(with_mark(line, y, self.top, count, size), over) for y, (line, over) in enumerate(found)]

    def on_mouse_scroll_up(self) -> None:
        self.action_scroll_by(-3)

    def on_mouse_scroll_down(self) -> None:
        self.action_scroll_by(3)


class Text(Scrolling):
    """Lines given once or now and then: a log, a help page, facts."""

    def __init__(self, lines: list[Line] | None = None, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._lines: list[Line] = lines or []

    def put(self, lines: list[Line], *, at_end: bool = False) -> None:
        """Show `lines`; `at_end` keeps the last one in sight."""
        self._lines = lines
        if at_end:
            self.top = max(0, len(lines) - self.size.height)
        self.renew()

    def line_count(self) -> int:
        return len(self._lines)

    def make_line(self, index: int, width: int) -> Line:
        return self._lines[index]


@dataclass(frozen=True, slots=True)
class BoardLine:
    """A line of a `Board`; with a target the cursor stops at it, and Enter opens the target."""

    pieces: Line
    target: Any = None


class Board(Scrolling):
    """Lines of several kinds below one another, some of which lead somewhere."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", show=False),
        Binding("down", "cursor(1)", show=False),
        Binding("home", "edge(0)", show=False),
        Binding("end", "edge(-1)", show=False),
        Binding("enter", "open", show=False),
    ]

    class Opened(Message):
        """Enter on a line with a target."""

        def __init__(self, target: Any) -> None:
            super().__init__()
            self.target = target

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines: list[BoardLine] = []
        self.target: Any = None

    def put(self, lines: list[BoardLine]) -> None:
        """Show `lines`; the cursor stays at its target while that is there."""
        self._lines = lines
        targets = self._targets()
        if self.target not in targets:
            self.target = targets[0] if targets else None
        self.renew()

    def _targets(self) -> list[Any]:
        return [line.target for line in self._lines if line.target is not None]

    def line_count(self) -> int:
        return len(self._lines)

    def make_line(self, index: int, width: int) -> Line:
        return self._lines[index].pieces

    def role_of(self, index: int) -> str:
        here = self._lines[index].target is not None and self._lines[index].target == self.target
        return "cursor" if here and self.has_focus else ""

    def action_cursor(self, step: int) -> None:
        """To the next target; beyond the last one the lines move."""
        targets = self._targets()
        place = targets.index(self.target) + step if self.target in targets else 0
        if 0 <= place < len(targets):
            self._go(targets[place])
        else:
            self.action_scroll_by(step)

    def action_edge(self, end: int) -> None:
        """To the first target and line, or to the last ones."""
        targets = self._targets()
        if targets:
            self._go(targets[end])
        self.action_scroll_by(-self.line_count() if end == 0 else self.line_count())

    def action_scroll_page(self, pages: int) -> None:
        """A page of lines; where all are in sight, to the first or last target."""
        if self.line_count() <= self.size.height:
            self.action_edge(0 if pages < 0 else -1)
        else:
            super().action_scroll_page(pages)

    def _go(self, target: Any) -> None:
        self.target = target
        index = next(i for i, line in enumerate(self._lines) if line.target == target)
        if target == self._targets()[0]:
            self.top = 0
        elif not self.top <= index < self.top + self.size.height:
            self.top = index if index < self.top else index - self.size.height + 1
        self.renew()

    def action_open(self) -> None:
        if self.target is not None:
            self.post_message(self.Opened(self.target))
