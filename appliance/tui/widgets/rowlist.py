"""A list of things in columns: cursor, marks, sort, filter. One widget, whatever the number of rows.

- Rows are any objects; `key` gives each a lasting name. The cursor and the marks stay with the key when rows change.
- Columns have a least width and a rank. In 80 columns those of high rank go, in 200 all of them are there and grow.
- Only visible lines are made, and only lines that differ are redrawn (`widgets.lines`).
- `find(text)` keeps the rows that hold every word of `text` in any column; case and accents do not matter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from appliance.tui.i18n import _
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Lines, cut, with_mark, wrap

R = TypeVar("R")
GAP = 2
_MARKED, _PLAIN = "■ ", "  "


@dataclass(frozen=True)  # no slots: with them `Column[Task](...)` cannot be called
class Column(Generic[R]):
    """One column. `title` is a message id (`N_`); it is translated when it is drawn."""

    title: str
    text: Callable[[R], str]
    width: int  # least cells
    rank: int = 1  # 0 is never left out; the highest goes first where the terminal is narrow
    most: int = 0  # cells it may grow to; 0: it does not grow
    right: bool = False
    role: Callable[[R], str] | None = None
    draw: Callable[[R, int], Line] | None = None  # instead of `text`, for bars
    sort: Callable[[R], Any] | None = None  # by `text` where there is none


def plain(text: str) -> str:
    """`text` for comparing: lower case, no accents."""
    if text.isascii():
        return text.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))


def layout(columns: Sequence[Column[Any]], width: int) -> list[tuple[int, int]]:
    """Which columns fit `width` cells, and how wide each is: pairs of index and cells."""
    kept = list(range(len(columns)))

    def needed() -> int:
        return sum(columns[i].width for i in kept) + GAP * (len(kept) - 1)

    while needed() > width and any(columns[i].rank for i in kept):
        kept.remove(max(kept, key=lambda i: (columns[i].rank, i)))
    cells = {i: columns[i].width for i in kept}
    room = width - needed()
    growing = [i for i in kept if columns[i].most > columns[i].width]
    while room > 0 and growing:
        share = max(1, room // len(growing))
        for i in list(growing):
            step = min(share, columns[i].most - cells[i], room)
            cells[i] += step
            room -= step
            if cells[i] >= columns[i].most:
                growing.remove(i)
    return [(i, cells[i]) for i in kept]


class RowList(Lines, Generic[R], can_focus=True):
    """See the module."""

    DEFAULT_CSS = "RowList { width: 1fr; height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor(-1)", show=False),
        Binding("down", "cursor(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "cursor(-1000000000)", show=False),
        Binding("end", "cursor(1000000000)", show=False),
        Binding("enter", "open", show=False),
        Binding("space", "mark", show=False),
        Binding("asterisk", "mark_all", show=False),
        Binding("s", "sort", show=False),
        Binding("S", "reverse", show=False),
    ]

    class Opened(Message):
        """Enter on a row."""

        def __init__(self, rows: RowList[Any], row: Any) -> None:
            super().__init__()
            self.rows, self.row = rows, row

        @property
        def control(self) -> RowList[Any]:
            return self.rows

    class Moved(Message):
        """The cursor stands on another row, or on none; or marks have changed."""

        def __init__(self, rows: RowList[Any]) -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> RowList[Any]:
            return self.rows

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, RowList.Moved) and message.rows is self.rows

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key: Callable[[R], Hashable],
        *,
        empty: str = "",
        marks: bool = False,
        titles: bool = True,
        sort: int | None = None,
        id: str | None = None,
    ) -> None:
        """`empty` is a message id, shown where there is no row. `marks`: several rows can be chosen.

        `sort` is the column that rows are in the order of; None leaves them as they come.
        """
        super().__init__(id=id)
        self.columns = list(columns)
        self._key = key
        self.empty = empty
        self._marks = marks
        self._titles = titles
        self._sort = sort
        self._reversed = False
        self._source: Sequence[R] = ()
        self._rows: list[R] = []
        self._words: list[str] = []
        self._texts: dict[Hashable, tuple[R, str]] = {}
        self._at = 0
        self._at_key: Hashable = None
        self.marked: set[Hashable] = set()

    # -- what is shown

    def put(self, rows: Sequence[R]) -> None:
        """Show these rows. The same sequence object as before costs only a look at the visible lines."""
        if rows is not self._source:
            self._source = rows
            self._arrange()
        self.renew()

    def find(self, text: str) -> None:
        """Show only rows that hold every word of `text`; an empty text shows all."""
        self._words = plain(text).split()
        self._arrange()
        self.renew()

    @property
    def rows(self) -> list[R]:
        """The rows in sight of filter, in the order shown."""
        return self._rows

    @property
    def row(self) -> R | None:
        """The row at the cursor."""
        return self._rows[self._at] if self._rows else None

    @property
    def chosen(self) -> list[R]:
        """The marked rows in the order shown, those that the filter hides too; without marks the one at the cursor."""
        if self.marked:
            shown = {self._key(row) for row in self._rows}
            hidden = [row for row in self._source if self._key(row) in self.marked - shown]
            return [row for row in self._rows if self._key(row) in self.marked] + hidden
        return [] if self.row is None else [self.row]

    def unmark(self) -> None:
        """Take all marks away."""
        self.marked.clear()
        self.renew()

    def go_to(self, key: Hashable) -> bool:
        """Put the cursor on the row with that key. False when it is not shown."""
        for index, row in enumerate(self._rows):
            if self._key(row) == key:
                self._move(index)
                return True
        return False

    def redraw(self) -> None:
        """Texts may read otherwise in another language: find and sort by them anew."""
        self._texts.clear()
        self._arrange()
        super().redraw()

    def _arrange(self) -> None:
        """Filter and sort; keep cursor and marks by key."""
        rows = list(self._source)
        if len(self._texts) > 2 * len(rows) + 100:  # of rows that are long gone
            self._texts.clear()
        if self._words:
            rows = [row for row in rows if all(word in self._searched(row) for word in self._words)]
        if self._sort is not None:
            column = self.columns[self._sort]
            by = column.sort or (lambda row: plain(column.text(row)))
            rows.sort(key=by, reverse=self._reversed)
        self._rows = rows
        if self.marked:
            self.marked &= {self._key(row) for row in self._source}
        before = self._at_key
        keys = {self._key(row): index for index, row in enumerate(rows)}
        self._at = keys.get(before, max(0, min(self._at, len(rows) - 1)))
        self._at_key = self._key(rows[self._at]) if rows else None
        self._keep_in_sight()
        if self._at_key != before and self.is_mounted:
            self.post_message(self.Moved(self))

    def _searched(self, row: R) -> str:
        """What a row holds, for comparing; made anew when the row is another object."""
        key = self._key(row)
        known = self._texts.get(key)
        if known is not None and known[0] is row:
            return known[1]
        text = plain(" ".join(column.text(row) for column in self.columns))
        self._texts[key] = (row, text)
        return text

    # -- drawing

    @property
    def _head(self) -> int:
        return 1 if self._titles else 0

    def line_count(self) -> int:
        return self._head + max(1, len(self._rows))

    def visible_lines(self) -> list[tuple[Line, str]]:
        width, height = self.size
        places = layout(self.columns, width - (len(_PLAIN) if self._marks else 0) - GAP)
        lines: list[tuple[Line, str]] = []
        if self._titles:
            lines.append((self._title_line(places), "head"))
        body = height - self._head
        if not self._rows:
            text = _("Nothing here matches what you look for.") if self._words else _(self.empty)
            return [*lines, *((((part, "dim"),), "") for part in wrap(clean(text), width - 1)[:body])]
        size = (width, body)
        for y, row in enumerate(self._rows[self.top : self.top + body]):
            line = with_mark(self._row_line(row, places), y, self.top, len(self._rows), size)
            at = self.top + y == self._at
            lines.append((line, ("cursor" if self.has_focus else "cursor-away") if at else ""))
        return lines

    def _title_line(self, places: list[tuple[int, int]]) -> Line:
        pieces: list[tuple[str, str]] = [(_PLAIN, "")] if self._marks else []
        for index, cells in places:
            column = self.columns[index]
            sign = ("▲" if self._reversed else "▸") if index == self._sort and cells > 3 else ""
            title = _(column.title)
            title = fit(title, min(len(title), cells - len(sign))) + sign  # how it is sorted is seen in any case
            pieces.append((fit(title, cells, right=column.right) + " " * GAP, ""))
        return tuple(pieces)

    def _row_line(self, row: R, places: list[tuple[int, int]]) -> Line:
        pieces: list[tuple[str, str]] = []
        if self._marks:
            marked = self._key(row) in self.marked
            pieces.append((_MARKED if marked else _PLAIN, "mark" if marked else ""))
        for index, cells in places:
            column = self.columns[index]
            if column.draw is not None:
                pieces += [*column.draw(row, cells), (" " * GAP, "")]
                continue
            role = column.role(row) if column.role else ""
            pieces.append((fit(clean(column.text(row)), cells, right=column.right) + " " * GAP, role))
        return cut(tuple(pieces), self.size.width) or EMPTY_LINE

    def renew(self) -> None:
        """`Lines.renew`, where the titles stay on top."""
        if not self.is_mounted or not self.size.height:
            return
        self._keep_in_sight()
        old, new = self._drawn, self.visible_lines()
        self._drawn = new
        self._refresh_changed(old, new)

    def _keep_in_sight(self) -> None:
        body = max(1, self.size.height - self._head)
        self.top = max(0, min(self.top, len(self._rows) - body))
        if self._at < self.top:
            self.top = self._at
        elif self._at >= self.top + body:
            self.top = self._at - body + 1

    # -- keys

    def _move(self, index: int) -> None:
        self._at = max(0, min(index, len(self._rows) - 1))
        self._at_key = self._key(self._rows[self._at]) if self._rows else None
        self.renew()
        self.post_message(self.Moved(self))

    def action_cursor(self, step: int) -> None:
        self._move(self._at + step)

    def action_page(self, pages: int) -> None:
        self._move(self._at + pages * max(1, self.size.height - self._head - 1))

    def action_open(self) -> None:
        if self.row is not None:
            self.post_message(self.Opened(self, self.row))

    def action_mark(self) -> None:
        if not self._marks or self._at_key is None:
            return
        self.marked ^= {self._at_key}
        self._move(self._at + 1)

    def action_mark_all(self) -> None:
        """Mark every row in sight of the filter; when all are marked, none."""
        if self._marks:
            shown = {self._key(row) for row in self._rows}
            self.marked = self.marked - shown if shown <= self.marked else self.marked | shown
            self._move(self._at)

    def action_sort(self) -> None:
        """Sort by the next column."""
        self._sort = 0 if self._sort is None else (self._sort + 1) % len(self.columns)
        self._reversed = False
        self._arrange()
        self.renew()

    def action_reverse(self) -> None:
        self._reversed = not self._reversed
        self._sort = self._sort or 0
        self._arrange()
        self.renew()

    def on_click(self, event: events.Click) -> None:
        if event.y >= self._head and self.top + event.y - self._head < len(self._rows):
            self._move(self.top + event.y - self._head)

    def on_mouse_scroll_up(self) -> None:
        self.action_cursor(-3)

    def on_mouse_scroll_down(self) -> None:
        self.action_cursor(3)
