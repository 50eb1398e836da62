"""The lines round every screen: tabs above, keys below, rules that carry notices, the banner of trouble."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from appliance.tui import sentences
from appliance.tui.i18n import _
from appliance.tui.keys import Key
from appliance.tui.snapshot import Trouble
from appliance.tui.widgets.glyphs import LINE, clean
from appliance.tui.widgets.lines import Line, Lines, cut, spread, width_of, wrap

_COMMON = 2  # keys of every screen that are worth more than an operator's role


class OneLine(Lines):
    """A line that a function makes whenever it is drawn."""

    DEFAULT_CSS = "OneLine { height: 1; }"

    def __init__(self, make: Callable[[int], Line], *, id: str | None = None) -> None:
        """`make` gets the width in cells."""
        super().__init__(id=id)
        self._make = make

    def line_count(self) -> int:
        return 1

    def make_line(self, index: int, width: int) -> Line:
        return self._make(width)


def rule(width: int, notice: str = "", role: str = "notice") -> Line:
    """A line across the screen, with a notice in it if there is one."""
    if not notice:
        return ((LINE * width, "rule"),)
    text = f" {clean(notice)} "
    if len(text) > width - 4:
        text = text[: width - 5] + "~"
    return ((LINE * 2, "rule"), (text, role), (LINE * (width - 2 - len(text)), "rule"))


def tabs(width: int, box: str, screens: Sequence[tuple[str, str, bool]], right: str) -> Line:
    """` Diecast lab-b204   1 Overview 2 Hosts ...`: key, title and whether it is shown, of each screen."""
    pieces: list[tuple[str, str]] = []
    for key, title, here in screens:
        pieces += [(key, "tab" if here else "key"), (f" {_(title)}", "tab" if here else ""), (" ", "")]
    names = tuple(pieces[:-1])
    room = width - width_of(names)
    head: Line = ((" Diecast", "title"), (" ", ""), (clean(box), ""), ("   ", ""))
    while head and (width_of(head) > room or not head[-1][0].isspace()):  # nothing touches the first key
        head = head[:-1]
    line = cut((*(head or ((" ", ""),)), *names), width)
    return spread(line, ((clean(right) + " ", "dim"),), width) if room - width_of(head) > len(right) + 2 else line


def key_line(width: int, own: Sequence[Key], common: Sequence[Key], right: str) -> Line:
    """The keys that fit: the screen's own first, the last common one (help) always.

    Behind them `right`, who it is; what is after its comma gives way to the screen's own keys and two common ones.
    """
    tail = _pieces(common[-1]) if common else ()
    every = [_pieces(key) for key in (*own, *common[:-1])]
    short = clean(right.partition(",")[0][: width // 4])
    wanted = len(_fitting(every, width - width_of(tail) - len(short) - 2)[: len(own) + _COMMON])
    kept = _fitting(every, width - width_of(tail) - len(right) - 2)
    who = clean(right)
    if len(kept) < wanted or len(right) > width // 3:
        who, kept = short, _fitting(every, width - width_of(tail) - len(short) - 2)
    said: Line = ((who + " ", "dim"),) if who else ()
    return spread(((" ", ""), *(piece for pieces in kept for piece in pieces), *tail), said, width)


def _fitting(every: Sequence[Line], room: int) -> Sequence[Line]:
    """The first ones that fit."""
    used = 1
    for count, pieces in enumerate(every):
        used += width_of(pieces)
        if used > room:
            return every[:count]
    return every


def _pieces(key: Key) -> Line:
    return ((_(key.shown), "key"), (f" {_(key.label)}  ", ""))


class Banner(Lines):
    """Why the picture is old, and what to do. Not there while all is well."""

    DEFAULT_CSS = "Banner { height: auto; display: none; } Banner.-shown { display: block; }"

    def __init__(self) -> None:
        super().__init__(id="banner")
        self._trouble: Trouble | None = None
        self._lines: list[str] = []

    def put(self, trouble: Trouble | None, width: int, *, loaded: bool = True) -> None:
        """Show `trouble`, or nothing. `loaded`: there is a last picture below."""
        lines: list[str] = []
        if trouble is not None:
            text = " ".join(filter(None, (sentences.translate(trouble.message), sentences.translate(trouble.hint))))
            if loaded:
                text += " " + _("What you see is the last that was known.")
            lines = wrap(clean(text), max(20, width - 4))[:4]
        if lines == self._lines:
            return
        self._lines = lines
        self.styles.height = max(1, len(lines))
        self.set_class(bool(lines), "-shown")
        self.redraw()

    def line_count(self) -> int:
        return len(self._lines)

    def make_line(self, index: int, width: int) -> Line:
        text = ("! " if index == 0 else "  ") + self._lines[index]
        return cut(((f" {text}".ljust(width), "alarm"),), width)
