"""The console: one Textual application over the read model.

It owns the session, the screens (made when first shown, then kept), the notice line, language and theme, and the idle
lock. Nothing here or in a screen waits for the store: see `readmodel` and `session`.
"""

from __future__ import annotations

import gc
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from appliance.errors import ConfigError
from appliance.model import Operator
from appliance.tui import i18n, theme, words
from appliance.tui.driver import PromptDriver
from appliance.tui.i18n import _
from appliance.tui.readmodel import Measure, ReadModel
from appliance.tui.screens.base import ConsoleScreen
from appliance.tui.screens.table import JOBS, SCREENS, load
from appliance.tui.session import Session
from appliance.tui.snapshot import Snapshot
from appliance.tui.typeahead import TypeAhead
from appliance.tui.widgets.dialogs import Confirm, Dialog, Item, Pick

if TYPE_CHECKING:
    from appliance.config import Settings
    from appliance.store import Store

NOTICE_S = 6.0
LOCK_SETTING = "console.lock_minutes"  # 0 or empty: the console never locks by itself
LANGUAGE_SETTING = "console.language"  # of the box; an operator's own comes first
THEME_SETTING = "console.theme"  # of the box; `console.theme.<operator>` of one operator
SETUP_SETTING = "console.setup"  # `done` when the guided first start was finished, or is not wanted
_TICK_S = 1.0
_ONE_SCREEN = 2  # Textual's own, and a numbered one


class Changed(Message):
    """The read model has a new snapshot."""


class ConsoleApp(App[None], inherit_bindings=False):
    """See the module."""

    TITLE = "Diecast"
    ENABLE_COMMAND_PALETTE = False
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c,ctrl+q", "ask_leave", show=False)]
    CSS = """
    * { scrollbar-size: 0 0; }
    ConsoleScreen, ConsoleScreen:ansi { background: ansi_default; color: ansi_default; }
    Screen:ansi.-screen-suspended { text-style: none; }
    """

    def __init__(
        self,
        opener: Callable[[], Store],
        session: Session,
        settings: Settings,
        *,
        measure: Measure | None = None,
        box: str = "",
        clock: Callable[[], datetime] = words.utc_now,
        command: Sequence[str] = (sys.executable, "-m", "appliance"),
    ) -> None:
        """`opener` opens the store; `measure` gives the machine's gauges; `box` is shown as this box's name.

        `settings` are the file's; what the store overrides is laid over them as it changes.
        `clock` is what screens and snapshots take as the time; tests stop it. `command` runs our own command line with
        this console's settings file (`tui.child`).
        """
        super().__init__(driver_class=PromptDriver)
        if measure is None:
            from appliance.tui.gauges import Machine

            measure = Machine(settings.paths.images, lambda: self.settings.network.interfaces, settings.paths.run)
        self._base = settings
        self.command = tuple(command)
        self._in_force: tuple[object, Settings] = (None, settings)
        self.session = session
        self.clock = clock
        self.box = box or socket.gethostname().partition(".")[0]
        self.model = ReadModel(opener, self._told, measure=measure, clock=clock)
        self.notice: tuple[str, str] = ("", "notice")
        self._notice_until = 0.0
        self._kept: dict[str, ConsoleScreen] = {}
        self._touched = time.monotonic()
        self.asked_who = False  # whether the store was read, and the console locked if it has operators
        self.picture = Snapshot()  # what screens may show
        self.locked = False
        self._waiting: list[Callable[[], object]] = []
        self.typed = TypeAhead(self, super().on_event)
        session.attach(self)
        for made in theme.textual_themes():
            self.register_theme(made)
        self._chosen_language = bool(session.language)
        session.language = session.language or "en"
        i18n.use(session.language)

    @property
    def file_settings(self) -> Settings:
        """What the settings file says by itself."""
        return self._base

    @property
    def settings(self) -> Settings:
        """The settings in force, with what operators have set. A broken one is ignored here; `serve` tells of it."""
        stored = self.model.latest.settings
        if stored is not self._in_force[0]:
            self._in_force = (stored, _laid_over(self._base, stored))
        return self._in_force[1]

    # -- start and end

    def on_mount(self) -> None:
        theme.use(theme.current())
        self.theme = theme.current()
        self.model.start()
        self.go(SCREENS[0].name)
        self.set_interval(_TICK_S, self._tick)
        self.set_timer(_TICK_S, self._warm_up)

    def on_unmount(self) -> None:
        self.typed.stop()
        self.model.stop()

    def _warm_up(self) -> None:
        """Import what was not needed to start, so that the first press of a key is as fast as the second."""

        def load_all() -> None:
            for path in [*(entry.path for entry in SCREENS), *(job.path for job in JOBS)]:
                load(path)
            gc.freeze()  # what is there now stays: later collections need not look at it

        threading.Thread(target=load_all, name="warm-up", daemon=True).start()

    def _told(self) -> None:
        self.post_message(Changed())

    def on_changed(self) -> None:
        snapshot = self.model.take()
        if snapshot.loaded and not self.asked_who:
            self.asked_who = True
            self._apply_settings()
            if snapshot.operators:
                self.lock()
            else:
                self._begin()
        self._follow_operator(snapshot)
        if not self.locked:
            self._show(snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        self.picture = snapshot
        for screen in self.screen_stack:
            if isinstance(screen, ConsoleScreen) and (screen.is_current or screen is self.base_screen):
                screen.receive(snapshot)

    def _follow_operator(self, snapshot: Snapshot) -> None:
        """Somebody may have given this operator another role, or removed them."""
        known = self.session.operator
        if known is None or self.locked:
            return
        found = next((operator for operator in snapshot.operators if operator.name == known.name), None)
        if found is None:
            self.session.operator = None
            self.lock()
        elif found.role is not known.role:
            self.session.sign_in(found)
            self._redraw()

    def _apply_settings(self) -> None:
        settings = self.model.latest.settings
        chosen = settings.get(self._theme_key()) or settings.get(THEME_SETTING)
        if chosen and chosen != theme.current():
            self._use_theme(chosen)
        mine = self.session.operator and self.session.operator.language
        if settings.get(LANGUAGE_SETTING) and not self._chosen_language and not mine:
            self._use_language(settings[LANGUAGE_SETTING])

    def _tick(self) -> None:
        """Once a second: notices go, clocks move, an idle console locks."""
        now = time.monotonic()
        if self.notice[0] and now > self._notice_until:
            self.notice = ("", "notice")
        base = self.base_screen
        if base is not None and base.is_attached:
            base.renew_frame()
        top = self.screen_stack[-1] if self.screen_stack else None  # none when it is ending
        if isinstance(top, ConsoleScreen) and top is not base:
            top.renew_frame()
        minutes = self.model.latest.settings.get(LOCK_SETTING, "")
        if minutes.isdigit() and 0 < int(minutes) * 60 <= now - self._touched and self.model.latest.operators:
            self.lock()

    def _fatal_error(self) -> None:
        """A defect: leave the terminal clean, and let the command say it in words (`cli.tui`)."""
        self.bell()
        self._close_messages_no_wait()

    @property
    def defect(self) -> Exception | None:
        """The exception that ended the console."""
        return self._exception

    # -- screens

    @property
    def base_screen(self) -> ConsoleScreen | None:
        """The numbered screen below whatever is over it."""
        return next((screen for screen in self.screen_stack if isinstance(screen, ConsoleScreen)), None)

    def numbered(self, name: str) -> ConsoleScreen:
        """The numbered screen of that name; made at the first call."""
        if name not in self._kept:
            entry = next(entry for entry in SCREENS if entry.name == name)
            made: ConsoleScreen = load(entry.path)()
            self._kept[name] = made
            self.install_screen(made, name)
        return self._kept[name]

    def go(self, name: str) -> ConsoleScreen:
        """Show a numbered screen. What is over the present one goes."""
        screen, base = self.numbered(name), self.base_screen
        if self.locked:
            return screen
        if base is None:
            self.push_screen(name)
            return screen
        while self.screen is not base:
            self.pop_screen()
        if base is not screen:
            self.switch_screen(name)
        return screen

    def show_thing(self, kind: str, key: Any) -> None:
        """Show the screen that has things of that kind, with the cursor on this one."""
        entry = next((entry for entry in SCREENS if kind in entry.kinds), None)
        if entry is not None:
            screen = self.go(entry.name)
            self.call_later(screen.go_to, kind, key)

    def act(self, screen: str, name: str) -> None:
        """Do an action by its name, on a numbered screen or, with none named, on the one shown."""
        target = self.go(screen) if screen else self.base_screen
        if target is not None:
            self.call_later(target.action_act, name)

    def open_job(self, name: str, *arguments: Any) -> None:
        """Put a guided job over the screen."""
        job = next((job for job in JOBS if job.name == name), None)
        if job is not None:
            self.push_screen(load(job.path)(*arguments))

    def open_palette(self) -> None:
        """Every action, host and image by name."""
        from appliance.tui.palette import open_palette

        open_palette(self)

    # -- notices and the frame

    def say(self, text: str, role: str = "notice") -> None:
        """Show `text` in the rule above the keys for a moment."""
        self.notice = (text, role)
        self._notice_until = time.monotonic() + NOTICE_S
        for screen in self.screen_stack:
            if isinstance(screen, ConsoleScreen) and screen.is_there:
                screen.renew_frame()

    def who(self) -> str:
        """Whose session this is, and what it may."""
        role = _("read only") if self.session.read_only else _(words.ROLES[self.session.role])
        return f"{self.session.name}, {role}"

    def clock_text(self) -> str:
        """The time, for a wide screen's upper right corner."""
        return words.clock(self.clock())

    # -- language and theme

    def next_language(self, *, keep: bool = True) -> None:
        """Switch in place. `keep` remembers it for the operator."""
        language = i18n.following(self.session.language)
        self._chosen_language = True
        self._use_language(language)
        operator = self.session.operator
        if keep and operator is not None:
            self.session.do(
                "operator language",
                f"{operator.name}: {language}",
                lambda store: store.operators.set_language(operator.name, language),
                need="",
            )

    def _use_language(self, language: str) -> None:
        self.session.language = language
        i18n.use(language)
        self._redraw()

    def next_theme(self) -> None:
        """Go to the next theme; kept for the operator, or for the box when nobody in particular sits here."""
        name = theme.following(theme.current())
        self._use_theme(name)
        self.say(_(theme.THEMES[name]))
        key, need = self._theme_key(), "" if self.session.operator else "admin"
        if not self.session.read_only and not self.session.may(need):
            self.session.do("console theme", name, lambda store: store.settings.set(key, name), need=need)

    def _theme_key(self) -> str:
        operator = self.session.operator
        return f"{THEME_SETTING}.{operator.name.lower()}" if operator else THEME_SETTING

    def _use_theme(self, name: str) -> None:
        theme.use(name)
        self.theme = theme.current()
        self._redraw()

    def _redraw(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ConsoleScreen) and screen.is_there:
                screen.redraw()

    # -- lock and leaving

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.MouseDown)):
            self._touched = time.monotonic()
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            self.typed.add(event)
        else:
            await super().on_event(event)

    def _begin(self) -> None:
        """Nobody is known here. On a box that was never set up, the guided first start opens by itself."""
        snapshot = self.model.latest
        fresh = not snapshot.hosts and not snapshot.images and snapshot.settings.get(SETUP_SETTING) != "done"
        if fresh and len(self.screen_stack) <= _ONE_SCREEN:
            self.open_job("setup")

    def lock(self) -> None:
        """Hide everything until an operator has signed in. Who only looks (`--read-only`) is not asked."""
        from appliance.tui.screens.lock import LockScreen

        if self.locked or self.session.read_only:
            return
        self.locked = True
        name = self.session.operator.name if self.session.operator else ""
        self.push_screen(LockScreen(self.box, name), self._signed_in)

    def when_open(self, then: Callable[[], object]) -> None:
        """Call `then` now or, while the console is locked, when somebody has signed in: it may show something."""
        if self.locked:
            self._waiting.append(then)
        else:
            then()

    def _signed_in(self, operator: Operator | None) -> None:
        if operator is None:
            return
        self.locked = False
        self._touched = time.monotonic()
        self.session.sign_in(operator)
        if operator.language and not self._chosen_language:
            self._use_language(operator.language)
        else:
            self.session.language = i18n.current().language
        self._apply_settings()
        self._show(self.model.latest)
        self._redraw()
        waiting, self._waiting = self._waiting, []
        for then in waiting:
            then()

    def action_ask_leave(self) -> None:
        self.ask_leave()

    def ask_leave(self) -> None:
        """Leave after a yes, or lock; tasks go on without a console."""
        if isinstance(self.screen, Dialog):
            return
        if self.session.operator is None:
            lines = [_("Tasks and services go on without the console.")]
            question: Dialog[bool] = Confirm(_("Leave the console?"), lines, danger=False)
            self.push_screen(question, lambda yes: self.exit() if yes else None)
            return
        ways = [
            Item("lock", _("Lock"), _("until an operator signs in")),
            Item("leave", _("Leave"), _("tasks and services go on")),
        ]
        self.push_screen(Pick(_("Leave the console?"), ways), self._leave)

    def _leave(self, way: str | None) -> None:
        if way == "lock":
            self.lock()
        elif way == "leave":
            self.exit()


def _laid_over(base: Settings, stored: Mapping[str, str]) -> Settings:
    from appliance import config

    prefix = "config."
    try:
        values = {
            name.removeprefix(prefix): json.loads(text) for name, text in stored.items() if name.startswith(prefix)
        }
        return config.with_overrides(base, values) if values else base
    except (ValueError, ConfigError):
        return base
