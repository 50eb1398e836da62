"""Forms: rows of a label and a control, checked in words.

A `Field` says what is asked; `FormRows` shows a list of them; `widgets.dialogs.Form` puts them into a dialog. Values
are text for `text`, `secret` and `choice`, and a bool for `flag`. Keys: arrows or Tab from row to row, Left and Right
(or Space) change a choice, Enter is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.text import Text as RichText
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from appliance.tui.i18n import _
from appliance.tui.widgets.glyphs import clean, drawable, fit
from appliance.tui.widgets.lines import Line, Lines, wrap
from appliance.tui.widgets.status import OneLine

TEXT, SECRET, CHOICE, FLAG = "text", "secret", "choice", "flag"


@dataclass(frozen=True, slots=True)
class Field:
    """One row. `label` and `hint` are texts in the language in use."""

    name: str
    label: str
    kind: str = TEXT
    value: str | bool = ""
    hint: str = ""  # shown below while the row has the cursor
    choices: tuple[tuple[str, str], ...] = ()  # value and text, for `choice`
    check: Callable[[str], str] | None = None  # what is wrong with a value, empty when it is sound; or ApplianceError


class Entry(Input):
    """A text field on one line. What no console can draw cannot be typed."""

    DEFAULT_CSS = """
    Entry, Entry:focus, Entry:ansi, Entry:ansi:focus, Entry.-invalid, Entry.-invalid:focus {
        border: none; height: 1; padding: 0; background: ansi_default; color: ansi_default;
        text-style: underline; background-tint: transparent;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, value: str = "", *, password: bool = False, id: str | None = None) -> None:
        super().__init__(value, password=password, id=id, select_on_focus=False)
        self.cursor_blink = False

    @property
    def _value(self) -> RichText:
        """What is drawn: a secret in signs that every font has, unlike Textual's own."""
        shown = "*" * len(self.value) if self.password else self.value
        return RichText(shown, no_wrap=True, overflow="ignore", end="")

    def insert_text_at_cursor(self, text: str) -> None:
        super().insert_text_at_cursor("".join(char for char in text if drawable(char) or char.isprintable()))


class Choice(Lines, can_focus=True):
    """One of several values: `« win11@3 »`."""

    DEFAULT_CSS = "Choice { height: 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "turn(-1)", show=False),
        Binding("right,space", "turn(1)", show=False),
        Binding("enter", "done", show=False),
    ]

    class Changed(Message):
        """Another value stands there."""

        def __init__(self, choice: Choice) -> None:
            super().__init__()
            self.choice = choice

    class Done(Message):
        """Enter."""

    def __init__(self, choices: Sequence[tuple[str, str]], value: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._choices = list(choices)
        self._at = next((i for i, (known, _text) in enumerate(self._choices) if known == value), 0)

    @property
    def value(self) -> str:
        """The value that stands there."""
        return self._choices[self._at][0] if self._choices else ""

    def choose(self, value: str) -> None:
        """Put `value` there."""
        self._at = next((i for i, (known, _text) in enumerate(self._choices) if known == value), self._at)
        self.renew()

    def line_count(self) -> int:
        return 1

    def make_line(self, index: int, width: int) -> Line:
        text = clean(self._choices[self._at][1]) if self._choices else ""
        if len(self._choices) < 2:
            return ((fit(text, min(width, len(text))), "cursor" if self.has_focus else ""),)
        shown = f"« {text[: max(0, width - 4)]} »"
        return ((shown, "cursor" if self.has_focus else ""),)

    def action_turn(self, step: int) -> None:
        if len(self._choices) > 1:
            self._at = (self._at + step) % len(self._choices)
            self.renew()
            self.post_message(self.Changed(self))

    def action_done(self) -> None:
        self.post_message(self.Done())

    def on_click(self) -> None:
        self.action_turn(1)


class _Row(Horizontal):
    """A label and its control."""

    DEFAULT_CSS = "_Row { height: 1; } _Row > OneLine { width: 26; }"

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field
        self.problem = ""
        self.control: Entry | Choice
        if field.kind == CHOICE:
            self.control = Choice(field.choices, str(field.value), id=f"field-{field.name}")
        elif field.kind == FLAG:
            words = (("yes", _("yes")), ("no", _("no")))
            self.control = Choice(words, "yes" if field.value else "no", id=f"field-{field.name}")
        else:
            self.control = Entry(str(field.value), password=field.kind == SECRET, id=f"field-{field.name}")

    def compose(self) -> ComposeResult:
        yield OneLine(lambda width: ((fit(clean(self.field.label), width - 1), "bad" if self.problem else ""),))
        yield self.control

    @property
    def value(self) -> str | bool:
        text = self.control.value
        return text == "yes" if self.field.kind == FLAG else text


class FormRows(Widget):
    """The rows of a form, and below them the hint or the complaint that goes with the cursor."""

    DEFAULT_CSS = """
    FormRows { height: auto; }
    FormRows > VerticalScroll { height: auto; max-height: 16; scrollbar-size: 0 0; }
    FormRows > #form-words { height: 2; margin-top: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "row(1)", show=False),
        Binding("up", "row(-1)", show=False),
    ]

    class Submitted(Message):
        """Enter, and every value is sound."""

        def __init__(self, values: dict[str, Any]) -> None:
            super().__init__()
            self.values = values

    class Changed(Message):
        """The operator has changed a value."""

        def __init__(self, name: str, value: str | bool) -> None:
            super().__init__()
            self.name, self.value = name, value

    def __init__(self, fields: Sequence[Field], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._rows = [_Row(field) for field in fields]
        self._general = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(can_focus=False):
            yield from self._rows
        yield _Words(self, id="form-words")

    def on_mount(self) -> None:
        if self._rows:
            self._rows[0].control.focus()

    @property
    def values(self) -> dict[str, Any]:
        """What stands in the rows, by field name."""
        return {row.field.name: row.value for row in self._rows}

    def set_value(self, name: str, value: str) -> None:
        """Put a value into a row."""
        row = next(row for row in self._rows if row.field.name == name)
        if isinstance(row.control, Choice):
            row.control.choose(value)
        else:
            row.control.value = value

    def complain(self, problems: Mapping[str, str]) -> None:
        """Show what is wrong, by field name; `""` for the form as a whole. The cursor goes to the first one."""
        self._general = problems.get("", "")
        first = None
        for row in self._rows:
            row.problem = problems.get(row.field.name, "")
            row.query_one(OneLine).renew()
            first = first or (row if row.problem else None)
        if first is not None:
            first.control.focus()
        self.query_one(_Words).renew()

    def submit(self) -> None:
        """As Enter: check, and complain or post `Submitted`."""
        from appliance.errors import ApplianceError
        from appliance.tui import sentences

        problems = {}
        for row in self._rows:
            if row.field.check is None:
                continue
            try:
                problem = row.field.check(str(row.control.value).strip())
            except ApplianceError as error:
                problem = sentences.explain(error)
            if problem:
                problems[row.field.name] = problem
        self.complain(problems)
        if not problems:
            self.post_message(self.Submitted(self.values))

    def words(self) -> tuple[str, str]:
        """What to say below the rows, and its role."""
        here = next((row for row in self._rows if row.control.has_focus), None)
        if here is not None and here.problem:
            return here.problem, "bad"
        if self._general:
            return self._general, "bad"
        if here is not None and isinstance(here.control, Choice) and not here.field.hint:
            return _("Left and right choose."), "dim"
        return (here.field.hint if here is not None else "", "dim")

    def action_row(self, step: int) -> None:
        at = next((i for i, row in enumerate(self._rows) if row.control.has_focus), 0)
        self._rows[max(0, min(at + step, len(self._rows) - 1))].control.focus()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.submit()

    def on_choice_done(self, event: Choice.Done) -> None:
        event.stop()
        self.submit()

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._changed(event.input)

    def on_choice_changed(self, event: Choice.Changed) -> None:
        event.stop()
        self._changed(event.choice)

    def _changed(self, control: Widget) -> None:
        for row in self._rows:
            if row.control is control:
                self.post_message(self.Changed(row.field.name, row.value))

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        self.query_one(_Words).renew()


class _Words(Lines):
    """Two lines of hint or complaint."""

    def __init__(self, form: FormRows, *, id: str) -> None:
        super().__init__(id=id)
        self._form = form

    def line_count(self) -> int:
        return 2

    def make_line(self, index: int, width: int) -> Line:
        text, role = self._form.words()
        lines = wrap(clean(text), width)
        if len(lines) > 2:
            lines[1] = fit(lines[1] + " ...", width).rstrip()
        return ((lines[index], role),) if index < len(lines) else ()
