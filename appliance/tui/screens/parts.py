"""A numbered screen that shows several lists in turn: hosts, rooms, unknown PCs; leases, reservations.

Each list is a `Part`: its columns, its rows out of a snapshot, and the actions on them. The line on top names the parts
with their numbers of rows. Tab goes to the next part. Footer, help and palette show the keys of the part in sight; a
key that only another part has leads there, and the palette's entry also does it. Who comes back to the screen finds
its first part.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partialmethod
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input

from appliance.tui import keys, words
from appliance.tui.i18n import _
from appliance.tui.keys import Key
from appliance.tui.screens.base import NumberedScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Item, Pick
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, spread, width_of
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp
    from appliance.tui.session import Session


class Part:
    """One list of a screen. A method `do_<name>` for each of `KEYS` but those of every list."""

    NAME: ClassVar[str]
    TITLE: ClassVar[str]  # message id
    EMPTY: ClassVar[str] = ""  # message id, shown where there is no row
    MARKS: ClassVar[bool] = True
    KEYS: ClassVar[tuple[Key, ...]] = ()

    def __init__(self, screen: PartsScreen) -> None:
        self.screen = screen

    @property
    def console(self) -> ConsoleApp:
        """The application."""
        return self.screen.console

    @property
    def session(self) -> Session:
        """Who sits here."""
        return self.screen.session

    @property
    def snapshot(self) -> Snapshot:
        """The newest picture."""
        return self.screen.snapshot

    @property
    def table(self) -> RowList[Any]:
        """Its widget."""
        return self.screen.query_one(f"#part-{self.NAME}", RowList)

    def columns(self) -> list[Column[Any]]:
        """Its columns."""
        raise NotImplementedError

    def key(self, row: Any) -> Hashable:
        """The lasting name of a row."""
        raise NotImplementedError

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        """Its rows; the same object while nothing has changed."""
        raise NotImplementedError

    def count(self, snapshot: Snapshot) -> int:
        """The number that stands behind its title."""
        return len(self.rows(snapshot))

    def note(self) -> str:
        """Words on what is shown, for the end of the line on top."""
        return ""

    def opened(self, row: Any) -> None:
        """Enter on a row."""

    def choices(self) -> list[Item]:
        """What can be chosen to be shown of this part, by a key that `choose` understands."""
        return [Item((self.NAME, ""), _(self.TITLE))]

    def choose(self, what: Any) -> None:
        """Show that choice."""


class PartsScreen(NumberedScreen):
    """See the module. Subclasses name their `PARTS`; `KEYS` comes from them."""

    PARTS: ClassVar[tuple[type[Part], ...]] = ()
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "part(1)", show=False),
        Binding("shift+tab", "part(-1)", show=False),
    ]

    def __init_subclass__(cls, **settings: Any) -> None:
        union: dict[str, Key] = {}
        for part in cls.PARTS:
            for key in part.KEYS:
                union.setdefault(key.name, key)
        cls.KEYS = (*union.values(), *keys.take("pane"))
        in_lists = {key.name for key in keys.LIST}
        for name in union.keys() - in_lists:
            if not hasattr(cls, f"do_{name}"):
                setattr(cls, f"do_{name}", partialmethod(cls._do, name))
        super().__init_subclass__(**settings)

    def __init__(self) -> None:
        super().__init__()
        self.parts = [part(self) for part in self.PARTS]
        self.part = self.parts[0]

    def head(self) -> ComposeResult:
        """Widgets above the lists."""
        return iter(())

    def body(self) -> ComposeResult:
        yield from self.head()
        yield OneLine(self._parts_line, id="parts")
        for part in self.parts:
            shown = RowList[Any](part.columns(), part.key, empty=part.EMPTY, marks=part.MARKS, id=f"part-{part.NAME}")
            shown.display = part is self.part
            yield shown

    def first_focus(self) -> str:
        return f"#part-{self.part.NAME}"

    def main_list(self) -> RowList[Any]:
        return self.part.table

    def show(self, snapshot: Snapshot) -> None:
        self.part.table.put(self.part.rows(snapshot))
        self.query_one("#parts", OneLine).renew()

    def own_keys(self) -> list[Key]:
        found = (*self.part.KEYS, *keys.take("pane"))
        return [key for key in found if not self.session.may(key.need)]

    # -- parts

    def named_part(self, name: str) -> Part:
        """The part of that name."""
        return next(part for part in self.parts if name == part.NAME)

    def change_part(self, part: Part) -> None:
        """Show another part; what the one before was filtered by goes."""
        if part is self.part:
            return
        if self.query_one("#find").has_class("-shown"):
            self.action_find_nothing()
        self.part = part
        for each in self.parts:
            each.table.display = each is part
        part.table.focus()
        self.show(self.snapshot)
        self.renew_frame()

    def action_part(self, step: int) -> None:
        at = self.parts.index(self.part)
        self.change_part(self.parts[(at + step) % len(self.parts)])

    def do_show(self) -> None:
        """Choose what is shown: a part, or some of one."""

        def chosen(key: tuple[str, Any] | None) -> None:
            if key is not None:
                part = self.named_part(key[0])
                part.choose(key[1])
                self.change_part(part)
                self.show(self.snapshot)

        items = [item for part in self.parts for item in part.choices()]
        self.app.push_screen(Pick(_("What do you want to see?"), items), chosen)

    def on_screen_suspend(self) -> None:
        if self.console.base_screen is not self:
            self.change_part(self.parts[0])

    def _parts_line(self, width: int) -> Line:
        line = self._titles()
        if width_of(line) > width:
            line = self._titles(nought=False)
        marked = len(self.part.table.marked)
        notes = [self.part.note(), _("{n} marked").format(n=words.number(marked)) if marked else ""]
        note = clean(", ".join(filter(None, notes)))
        room = width - width_of(line) - 2
        return spread(line, ((note[: max(0, room)] + " ", "strong"),), width) if note and room > 3 else line

    def _titles(self, *, nought: bool = True) -> Line:
        """The parts, each with its number of rows; without `nought` a part that has none shows no number."""
        pieces: list[tuple[str, str]] = []
        for part in self.parts:
            count = part.count(self.snapshot)
            number = f"{words.number(count)} " if count or nought else ""
            pieces.append((f" {_(part.TITLE)} {number}", "tab" if part is self.part else "dim"))
        return tuple(pieces)

    # -- keys

    @classmethod
    def actions(cls) -> list[tuple[str, Key]]:
        return [(f"{part.NAME}.{key.name}", key) for part in cls.PARTS for key in part.KEYS]

    async def action_act(self, name: str) -> None:
        """`part.action` does it in that part; `part.` only leads there."""
        part, dot, action = name.partition(".")
        if dot:
            self.change_part(self.named_part(part))
        if action or not dot:
            await super().action_act(action or name)

    def _do(self, name: str) -> Any:
        """An action of the part in sight. What only another part has leads there: what it is done to is seen first."""
        if any(key.name == name for key in self.part.KEYS):
            return getattr(self.part, f"do_{name}")()
        part, key = next((part, key) for part in self.parts for key in part.KEYS if key.name == name)
        self.change_part(part)
        text = _("{key} {label} is for what you see now: press it again to do it.")
        self.console.say(text.format(key=_(key.shown), label=_(key.label)))
        return None

    def do_back(self) -> None:
        super().do_back()
        self.query_one("#parts", OneLine).renew()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Textual calls the handler of the class above too, but after this one: the number is not known yet."""
        self.call_after_refresh(self.query_one("#parts", OneLine).renew)

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self.part.opened(event.row)

    def on_row_list_moved(self) -> None:
        self.query_one("#parts", OneLine).renew()
