"""Dialogs: a box over the screen, with one question. Esc always gives None.

    self.app.push_screen(Confirm(title, lines, word="lab-07"), self._really)
    self.app.push_screen(Form(title, fields), self._with_values)

Texts given to a dialog are in the language in use: it does not outlive a switch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from appliance.errors import ApplianceError
from appliance.tui import sentences
from appliance.tui.i18n import N_, _
from appliance.tui.widgets.forms import Entry, Field, FormRows
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, Text, wrap
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine

T = TypeVar("T")
WIDTH = 72
_ROOM = WIDTH - 4  # cells inside border and padding
_FEWEST, _MOST = 3, 14  # lines of a list to pick from
_HINT = 28  # cells of what stands behind a name that can be picked, at most


class Dialog(ModalScreen[T], Generic[T], inherit_bindings=False):
    """A titled box in the middle. Subclasses fill it (`body`) and dismiss with the answer."""

    DEFAULT_CSS = f"""
    Dialog, Dialog:ansi {{ align: center middle; background: transparent; }}
    Dialog > #box {{
        width: {WIDTH}; max-width: 100%; height: auto; max-height: 100%;
        border: solid $border; padding: 0 1; background: ansi_default;
    }}
    Dialog > #box > .words {{ height: auto; margin-bottom: 1; }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c", "back", show=False),
        Binding("tab", "app.focus_next", show=False),
        Binding("shift+tab", "app.focus_previous", show=False),
    ]
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ((N_("Enter"), N_("Done")), (N_("Esc"), N_("Back")))

    def __init__(self, title: str) -> None:
        super().__init__()
        self.heading = title
        self.keys = self.KEYS  # shown below; key and label

    def compose(self) -> ComposeResult:
        box = Vertical(id="box")
        box.border_title = clean(self.heading).replace("[", "(").replace("]", ")")
        with box:
            yield from self.body()
            if self.keys:
                yield OneLine(self._key_line)

    def body(self) -> ComposeResult:
        """The widgets of the box."""
        raise NotImplementedError

    def _key_line(self, width: int) -> Line:
        pieces: list[tuple[str, str]] = []
        for shown, label in self.keys:
            pieces += [(_(shown), "key"), (f" {_(label)}   ", "")]
        return tuple(pieces)

    def action_back(self) -> None:
        self.dismiss(None)


def words(lines: Sequence[str], role: str = "") -> Text:
    """Sentences in a box, wrapped."""
    wrapped = [part for line in lines for part in wrap(clean(line), _ROOM)]
    text = Text([((part, role),) for part in wrapped], classes="words")
    text.can_focus = False
    text.styles.height = max(1, len(wrapped))
    return text


class Form(Dialog[dict[str, Any]]):
    """Some fields. Gives their values by name."""

    def __init__(
        self,
        title: str,
        fields: Sequence[Field],
        *,
        lines: Sequence[str] = (),
        check: Callable[[dict[str, Any]], Mapping[str, str]] | None = None,
        save: Callable[[Form, dict[str, Any]], None] | None = None,
    ) -> None:
        """`check` complains about values that do not go together.

        With `save` the form stays open until that closes it by `dismiss(values)`, or complains by `complain`: an error
        of the store then stands beside what was typed.
        """
        super().__init__(title)
        self._fields = fields
        self._lines = lines
        self._check = check
        self._save = save
        self._saving = False

    def body(self) -> ComposeResult:
        if self._lines:
            yield words(self._lines)
        yield FormRows(self._fields)

    def complain(self, problems: Mapping[str, str]) -> None:
        """Show what is wrong, by field name; `""` for the form as a whole."""
        self._saving = False
        if self.is_mounted:
            self.query_one(FormRows).complain(problems)

    def refuse(self, error: ApplianceError) -> None:
        """Show why the store would not have it."""
        self.complain({"": sentences.explain(error)})

    @property
    def values(self) -> dict[str, Any]:
        """What stands in the rows now."""
        return self.query_one(FormRows).values

    def set_value(self, name: str, value: str) -> None:
        """Put a value into a row."""
        self.query_one(FormRows).set_value(name, value)

    def on_form_rows_submitted(self, event: FormRows.Submitted) -> None:
        problems = self._check(event.values) if self._check else {}
        if problems:
            self.complain(problems)
        elif self._save is not None:
            if not self._saving:  # a second Enter while the store writes is none
                self._saving = True
                self._save(self, event.values)
        else:
            self.dismiss(event.values)


class Confirm(Dialog[bool]):
    """Says what will be lost or changed, and wants a yes: Enter, or a typed word or number. Gives True."""

    def __init__(self, title: str, lines: Sequence[str], *, word: str = "", danger: bool = True) -> None:
        """`word` is what has to be typed; empty: Enter is enough. `danger` draws the lines as a warning."""
        super().__init__(title)
        self._lines = lines
        self._word = word
        self._danger = danger
        self._yes: Yes | None = None
        if not word:
            self.keys = ()  # `Yes` says it

    def refuses(self, typed_at: float) -> bool:
        """A warning that nobody can have read is not answered by a key that was on its way (`tui.typeahead`)."""
        return self._danger and not self._word and (self._yes is None or typed_at <= self._yes.drawn_at)

    def body(self) -> ComposeResult:
        yield words(self._lines, "warn" if self._danger else "")
        if self._word:
            label = _("Type {word} to go ahead").format(word=self._word)
            yield FormRows([Field("word", _("Confirm"), hint=label, check=self._is_typed)])
        else:
            self._yes = Yes()
            yield self._yes

    def _is_typed(self, text: str) -> str:
        if text == self._word:
            return ""
        return _("That is not {word}. Nothing was done.").format(word=self._word)

    def on_form_rows_submitted(self) -> None:
        self.dismiss(True)

    def on_yes_said(self) -> None:
        self.dismiss(True)


class Yes(OneLine, can_focus=True):
    """Enter means yes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "say", show=False)]

    class Said(Message):
        """It was said."""

    def __init__(self) -> None:
        super().__init__(lambda width: ((_("Enter: go ahead. Esc: leave it."), "strong"),))
        self.drawn_at = math.inf  # when it was first made for the terminal, in seconds of `time.monotonic`

    def on_mount(self) -> None:
        self.focus()

    def make_line(self, index: int, width: int) -> Line:
        self.drawn_at = min(self.drawn_at, time.monotonic())
        return super().make_line(index, width)

    def action_say(self) -> None:
        self.post_message(self.Said())


class Reading(Dialog[None]):
    """Lines to read: help, a log, facts. Arrows and page keys move them."""

    DEFAULT_CSS = "Reading > #box { width: 76; } Reading > #box > Text { height: auto; max-height: 18; }"
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ((N_("Esc"), N_("Back")), (N_("PgUp PgDn"), N_("Move")))

    def __init__(self, title: str, lines: Sequence[Line], *, at_end: bool = False) -> None:
        super().__init__(title)
        self._lines = list(lines)
        self._at_end = at_end

    def body(self) -> ComposeResult:
        text = Text(self._lines, id="reading")
        text.styles.height = max(1, min(len(self._lines), self.app.size.height - 6))
        yield text

    def on_mount(self) -> None:
        text = self.query_one("#reading", Text)
        text.focus()
        if self._at_end:
            self.call_after_refresh(lambda: text.put(self._lines, at_end=True))


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a `Pick`."""

    key: Hashable
    label: str
    hint: str = ""


class Pick(Dialog[Any]):
    """Choose one of a list by arrows, or by typing some letters of it. Gives its key."""

    DEFAULT_CSS = "Pick > #box > Entry { margin-bottom: 1; }"
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = (
        (N_("Enter"), N_("Choose")),
        (N_("Esc"), N_("Back")),
        (N_("arrows"), N_("Move")),
        (N_("letters"), N_("Find")),
    )

    def __init__(self, title: str, items: Sequence[Item], *, empty: str = N_("There is nothing to choose.")) -> None:
        super().__init__(title)
        self._items = items
        self._empty = empty

    def body(self) -> ComposeResult:
        yield Entry(id="pick-find")
        hint = min(_HINT, max((len(item.hint) for item in self._items), default=0))
        columns = [
            Column[Item](N_("Name"), lambda item: item.label, 30, rank=0, most=_ROOM),
            Column[Item](N_("What"), lambda item: item.hint, hint, role=lambda item: "dim"),
        ]
        rows = RowList[Item](columns, lambda item: item.key, empty=self._empty, titles=False, id="pick-rows")
        rows.styles.height = max(_FEWEST, min(len(self._items), _MOST))
        yield rows

    def on_mount(self) -> None:
        self._list.put(self._items)
        self.query_one(Entry).focus()

    @property
    def _list(self) -> RowList[Item]:
        return self.query_one("#pick-rows", RowList)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._list.find(event.value)

    def on_input_submitted(self) -> None:
        row = self._list.row
        if row is not None:
            self.dismiss(row.key)

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self.dismiss(event.row.key)

    def on_key(self, event: Any) -> None:
        """Arrows go to the list while letters go to the field."""
        moves = {"up": -1, "down": 1}
        if event.key in moves:
            self._list.action_cursor(moves[event.key])
        elif event.key in ("pageup", "pagedown"):
            self._list.action_page(-1 if event.key == "pageup" else 1)
        else:
            return
        event.stop()
        event.prevent_default()
