"""What every screen has: tabs above, keys below, a notice in the rule between, one way from key to action.

A screen says
- `KEYS`: which meanings of `keys.TABLE` it has, and a method `do_<name>` for each (plain or async);
- `ABOUT`: some sentences for its help page (message id);
- `body()`: its widgets;
- `show(snapshot)`: draw. Called with every new snapshot while the screen is in sight, when it comes into sight, and
  after a change of language. It must be cheap: hand rows to a `RowList`, lines to a `Board` or a `Text`, and they find
  out what has changed;
- `main_list()`: the list that `/` filters, if there is one.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Input

from appliance.tui import keys
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.table import JOBS, SCREENS
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.forms import Entry
from appliance.tui.widgets.lines import Line, Lines
from appliance.tui.widgets.rowlist import RowList
from appliance.tui.widgets.status import Banner, OneLine, key_line, rule, tabs

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp
    from appliance.tui.session import Session

_BY_LIST = {key.name for key in keys.LIST}  # the focused list does these


_FINDING = (
    Key("open", "enter", N_("Enter"), N_("Keep"), ""),
    Key("back", "escape", N_("Esc"), N_("Show all"), ""),
)


class FindLine(Entry):
    """What `/` opens: letters filter the list at once; Enter keeps the filter, Esc takes it away."""

    DEFAULT_CSS = "FindLine { display: none; } FindLine.-shown { display: block; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "screen.find_nothing", show=False),
        Binding("up,down,tab", "screen.find_done", show=False),
    ]

    def watch_has_focus(self, has_focus: bool) -> None:
        """The keys below say what they are now."""
        super().watch_has_focus(has_focus)
        if isinstance(self.screen, ConsoleScreen):
            self.screen.renew_frame()


class ConsoleScreen(Screen[None], inherit_bindings=False):
    """See the module."""

    DEFAULT_CSS = "ConsoleScreen { layout: vertical; overflow: hidden hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "app.focus_next", show=False),
        Binding("shift+tab", "app.focus_previous", show=False),
    ]
    NAME: ClassVar[str] = ""  # of its entry in `screens.table`
    KEYS: ClassVar[tuple[Key, ...]] = ()
    ABOUT: ClassVar[str] = ""
    TABS: ClassVar[bool] = True  # whether it is one of the numbered screens
    CAN_LEAVE: ClassVar[bool] = True  # whether number keys lead to another screen from here

    def __init_subclass__(cls, **settings: Any) -> None:
        own = [] if "BINDINGS" not in cls.__dict__ else list(cls.__dict__["BINDINGS"])
        found = [_binding(key) for key in cls.__dict__.get("KEYS", ()) if key.name not in _BY_LIST]
        cls.BINDINGS = own + found
        super().__init_subclass__(**settings)

    @property
    def console(self) -> ConsoleApp:
        """The application."""
        return self.app  # type: ignore[return-value]

    @property
    def session(self) -> Session:
        """Who sits here; every change goes through it."""
        return self.console.session

    @property
    def snapshot(self) -> Snapshot:
        """The newest picture that may be shown: none before somebody has signed in, the last one while it is locked."""
        return self.console.picture

    @property
    def is_there(self) -> bool:
        """Whether its widgets can be drawn. What was read for a page may come when that has been closed."""
        return self.is_mounted and self.is_attached and bool(self.children)

    # -- for subclasses

    def body(self) -> ComposeResult:
        """The widgets between the rules."""
        raise NotImplementedError

    def show(self, snapshot: Snapshot) -> None:
        """Draw this picture."""

    def main_list(self) -> RowList[Any] | None:
        """The list that `/` filters."""
        return None

    def go_to(self, kind: str, key: Any) -> None:
        """Put the cursor on that thing (`screens.table.Entry.kinds`)."""

    def first_focus(self) -> str:
        """Selector of the widget that has the keys first; empty: the first that can."""
        return ""

    def retranslated(self) -> None:
        """The language or theme has changed: draw what `show` does not."""

    # -- frame

    def compose(self) -> ComposeResult:
        yield OneLine(self._tabs, id="tabs")
        yield OneLine(lambda width: rule(width), id="rule")
        yield Banner()
        yield from self.body()
        yield FindLine(id="find")
        yield OneLine(self._notice, id="notice")
        yield OneLine(self._keys, id="keys")

    def _tabs(self, width: int) -> Line:
        shown = [(entry.key, entry.title, entry.name == self.NAME) for entry in SCREENS]
        return tabs(width, self.console.box, shown, self.console.clock_text())

    def _notice(self, width: int) -> Line:
        return rule(width, *self.console.notice)

    def _keys(self, width: int) -> Line:
        if self.query_one(FindLine).has_focus:  # letters are letters now
            return key_line(width, _FINDING, [], self.console.who())
        return key_line(width, self.own_keys(), self.common_keys(), self.console.who())

    def own_keys(self) -> list[Key]:
        """This screen's keys that the session may use."""
        return [key for key in self.KEYS if not self.session.may(key.need)]

    @classmethod
    def actions(cls) -> list[tuple[str, Key]]:
        """All that can be done here, for the palette: a name that `action_act` understands, and the key."""
        return [(key.name, key) for key in cls.KEYS]

    def common_keys(self) -> list[Key]:
        """The keys of every screen that the session may use; help is the last."""
        jobs = [keys.TABLE[job.name] for job in JOBS if job.name in keys.TABLE]
        found = [*jobs, *keys.take("find", "palette", "leave", "help")]
        return [key for key in found if not self.session.may(key.need)]

    def on_mount(self) -> None:
        selector = self.first_focus()
        if selector:
            self.query_one(selector).focus()
        self.receive(self.snapshot)

    def on_screen_resume(self) -> None:
        self.receive(self.snapshot)
        self.renew_frame()

    def receive(self, snapshot: Snapshot) -> None:
        """A new picture: the banner, then the screen's own."""
        if not self.is_there:
            return
        self.query_one(Banner).put(snapshot.trouble, self.size.width, loaded=snapshot.loaded)
        self.show(snapshot)

    def renew_frame(self) -> None:
        """Draw notice, keys and tabs again if they have changed."""
        if not self.is_there:
            return
        for line in self.query("#tabs, #notice, #keys").results(OneLine):  # none yet while the screen is being made
            line.renew()

    def redraw(self) -> None:
        """Everything again, in the language and theme in use."""
        self.retranslated()
        self.receive(self.snapshot)
        for widget in self.query(Lines):
            widget.redraw()

    # -- keys

    async def action_act(self, name: str) -> None:
        """The one way from a key to an action: refused in words when the session may not."""
        key = next((key for key in (*self.KEYS, *keys.GLOBAL) if key.name == name), None)
        if key is None:
            return
        refusal = self.session.may(key.need) or self.session.may_not_yet(key.need)
        if refusal:
            self.console.say(refusal, "alarm")
            return
        done = getattr(self, f"do_{name}")()
        if inspect.isawaitable(done):
            await done

    def do_find(self) -> None:
        """Filter the main list; without one, look for a thing by name."""
        if self.main_list() is None:
            self.do_palette()
            return
        line = self.query_one(FindLine)
        line.add_class("-shown")
        line.focus()
        self.console.say(_("Type to filter."))

    def action_find_done(self) -> None:
        shown = self.main_list()
        line = self.query_one(FindLine)
        line.set_class(bool(line.value), "-shown")
        self.console.say("")
        if shown is not None:
            shown.focus()

    def action_find_nothing(self) -> None:
        line = self.query_one(FindLine)
        line.value = ""
        self.action_find_done()

    def on_input_changed(self, event: Input.Changed) -> None:
        shown = self.main_list()
        if event.input.id == "find" and shown is not None:
            event.stop()
            shown.find(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.input.id == "find":
            event.stop()
            self.action_find_done()

    def do_back(self) -> None:
        """Take a filter or marks away; a screen over another one goes."""
        shown = self.main_list()
        line = self.query_one(FindLine)
        if line.value:
            self.action_find_nothing()
        elif shown is not None and shown.marked:
            shown.unmark()
        elif not self.TABS:
            self.dismiss(None)

    def do_palette(self) -> None:
        self.console.open_palette()

    def do_help(self) -> None:
        from appliance.tui.screens.help import help_on

        self.console.push_screen(help_on(self))

    def do_language(self) -> None:
        self.console.next_language()

    def do_theme(self) -> None:
        self.console.next_theme()

    def do_leave(self) -> None:
        self.console.ask_leave()

    def do_capture(self) -> None:
        self.console.open_job("capture")

    def do_deploy(self) -> None:
        self.console.open_job("deploy")

    def do_new_pcs(self) -> None:
        self.console.open_job("new_pcs")

    def action_go(self, name: str) -> None:
        if self.CAN_LEAVE:
            self.console.say("")  # what was said of the screen before
            self.console.go(name)


def _binding(key: Key) -> Binding:
    return Binding(key.key, f"act('{key.name}')", show=False, id=None)


def common_bindings() -> list[BindingType]:
    """Number keys for the screens of the table, and the keys of every screen."""
    there = {job.name for job in JOBS}
    absent = {"capture", "deploy", "new_pcs"} - there
    numbers: list[BindingType] = [Binding(entry.key, f"go('{entry.name}')", show=False) for entry in SCREENS]
    return numbers + [_binding(key) for key in keys.GLOBAL if key.name not in absent]


class NumberedScreen(ConsoleScreen):
    """One of the screens behind a number key."""

    BINDINGS: ClassVar[list[BindingType]] = common_bindings()


class OverScreen(ConsoleScreen):
    """A screen over another one, for one thing or one job: Esc leads back. Push it with `app.push_screen`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _binding(key) for key in keys.GLOBAL if key.name in ("back", "help", "language", "theme", "find")
    ]
    TABS: ClassVar[bool] = False
    CAN_LEAVE: ClassVar[bool] = False

    def common_keys(self) -> list[Key]:
        return list(keys.take("back", "help"))
