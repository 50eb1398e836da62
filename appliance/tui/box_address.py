"""Giving the box another address, for whoever asks: a form, then the trial with its question.

ask(console, "eth1", value, then)     # `then` gets how it ended; not called when nobody went on
watch(console, state)                 # a trial that another session, or this one before it was cut off, has begun
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from appliance.errors import ApplianceError
from appliance.store import Store
from appliance.system import address, networkd
from appliance.system.address import State, Wish
from appliance.tui import keys, sentences
from appliance.tui.i18n import N_, _
from appliance.tui.widgets.dialogs import Dialog, Form, Yes
from appliance.tui.widgets.forms import Field
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, Text, wrap

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp

_EVERY_S = 0.25
_BEGUN_S = 15.0  # in which root's unit has begun
_ROOM = 68
_FEW_LINES = 4

Then = Callable[[State], object]


def ask(console: ConsoleApp, interface: str, value: str, then: Then, failed: Callable[[str], object]) -> None:
    """Ask for an address, have root try it, ask whether to keep it. `failed` gets why it cannot be set here."""

    def refused(error: ApplianceError) -> None:
        failed(sentences.explain(error))

    session = console.session
    refusal = session.may(keys.ADMIN)
    if refusal:
        console.say(refusal, "alarm")
        return
    session.fetch(
        lambda _store: networkd.refuse_unless_ours(interface),
        lambda _nothing: _form(console, interface, value, then),
        failed=refused,
        group="address",
    )


def _form(console: ConsoleApp, interface: str, value: str, then: Then) -> None:
    hint = _("With its prefix length, as 10.20.4.1/22. Or dhcp: a DHCP server gives it one.")
    fields = [
        Field("address", _("Address"), value=value, hint=hint),
        Field("gateway", _("Router"), hint=_("Empty: none, as in a lab of its own.")),
        Field("dns", _("Name servers"), hint=_("Empty: none. Several with commas.")),
    ]
    run = console.settings.paths.run

    def save(form: Form, values: dict[str, Any]) -> None:
        try:
            wish = address.typed(interface, values["address"], values["gateway"], values["dns"])
        except ApplianceError as error:
            form.refuse(error)
            return

        def work(_store: Store) -> Wish:
            address.ask(run, wish)
            return wish

        def begun(_wish: Wish) -> None:
            form.dismiss(None)
            console.push_screen(Trial(wish.id, interface, wish.words), _told(then))

        detail = f"{interface}: {wish.words}"
        console.session.do("box address set", detail, work, then=begun, failed=form.refuse, need=keys.ADMIN)

    lines = [
        _("It is on trial for {n} s first: unless you keep it then, it is taken back.").format(n=address.CONFIRM_S)
    ]
    console.push_screen(
        Form(_("Another address for {interface}").format(interface=interface), fields, lines=lines, save=save)
    )


def _told(then: Then) -> Callable[[State | None], None]:
    def ended(state: State | None) -> None:
        if state is not None:
            then(state)

    return ended


def watch(console: ConsoleApp, state: State, then: Then) -> None:
    """Show a trial that is under way, and take the answer."""
    console.push_screen(Trial(state.id, state.interface, state.wanted), _told(then))


class Trial(Dialog[State]):
    """How it stands; while it is on trial Enter keeps the address and Esc takes it back. Gives how it ended."""

    DEFAULT_CSS = "Trial > #box > #how { height: 4; } Trial > #box > Yes { margin-top: 1; }"
    KEYS = ((N_("Enter"), N_("Keep it")), (N_("Esc"), N_("Take it back")))

    def __init__(self, number: str, interface: str, wanted: str) -> None:
        super().__init__(_("{interface}: {address}").format(interface=interface, address=wanted))
        self._number = number
        self._interface = interface
        self._wanted = wanted
        self._state: State | None = None
        self._answered = ""
        self._opened_at = time.monotonic()
        self._asked_at = math.inf  # when the question was first drawn

    def refuses(self, typed_at: float) -> bool:
        """Nobody answers a question that was not there (`tui.typeahead`)."""
        return typed_at <= self._asked_at and not self._over

    @property
    def _over(self) -> bool:
        return self._state is not None and not self._state.under_way

    def body(self) -> ComposeResult:
        text = Text(id="how")
        text.can_focus = False
        yield text
        yield Asked()

    def on_mount(self) -> None:
        self.set_interval(_EVERY_S, self._look)
        self._look()

    def _look(self) -> None:
        """Read what root says: a file of some hundred bytes."""
        app: Any = self.app
        found = address.state(app.settings.paths.run)
        if found is not None and found.id == self._number:
            self._state = found
        if self._state is not None and self._state.stage == address.KEPT:
            self.dismiss(self._state)
            return
        text, role = self._words()
        lines: list[Line] = [((part, role),) for part in wrap(clean(text), _ROOM)]
        self.query_one("#how", Text).put(lines[:_FEW_LINES])
        if self._state is not None and self._state.stage == address.WAITING:
            self._asked_at = min(self._asked_at, time.monotonic())

    def _words(self) -> tuple[str, str]:
        """How it stands, and in which role."""
        state = self._state
        names = {"interface": self._interface, "address": self._wanted}
        if state is None:
            if time.monotonic() - self._opened_at > _BEGUN_S:
                return _("Nothing has begun. The log of diecast-address.service says why."), "bad"
            return _("{interface} is being given {address} ...").format(**names), "busy"
        if self._over:
            return f"{sentences.translate(state.text)} {sentences.translate(state.hint)}".strip(), "warn"
        if state.stage != address.WAITING or self._answered:
            return _("{interface} is being given {address} ...").format(**names), "busy"
        text = _("{interface} has {address} now. Keep it? In {n} s it is taken back.")
        return text.format(**names, n=round(state.left_s)), "strong"

    def on_yes_said(self) -> None:
        """Enter."""
        if self._over:
            self.dismiss(self._state)
        elif self._state is not None and self._state.stage == address.WAITING:
            self._answer(address.KEEP)

    def action_back(self) -> None:
        if self._state is not None and self._state.stage == address.WAITING and not self._over:
            self._answer(address.UNDO)
        elif self._over or time.monotonic() - self._opened_at > _BEGUN_S:
            self.dismiss(self._state)

    def _answer(self, word: str) -> None:
        if self._answered:
            return
        self._answered = word
        app: Any = self.app
        run, detail = app.settings.paths.run, f"{self._interface}: {self._wanted}"

        def failed(error: ApplianceError) -> None:
            self._answered = ""
            app.say(sentences.explain(error), "alarm")

        app.session.do(
            f"box address {word}", detail, lambda _store: address.answer(run, word), failed=failed, need=keys.ADMIN
        )
        if app.session.may(keys.ADMIN):
            self._answered = ""


class Asked(Yes):
    """Enter, without words of its own: the dialog's line of keys has them."""

    def make_line(self, index: int, width: int) -> Line:
        self.drawn_at = min(self.drawn_at, time.monotonic())
        return ()
