"""Taking another disk for images, for whoever asks: a choice, a typed word, then how far it is.

choose(console, then)     # `then` is called when images lie on another disk
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult

from appliance.errors import ApplianceError
from appliance.store import Store
from appliance.system import image_disk
from appliance.system.image_disk import Disk, State
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.dialogs import Confirm, Dialog, Item, Pick
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text, wrap

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp

_EVERY_S = 0.5
_BEGUN_S = 15.0  # in which root's unit has begun
_ROOM = 68
_BAR = 40
_STAGES = {
    image_disk.CHECKING: N_("{disk} is being looked at ..."),
    image_disk.FORMATTING: N_("{disk} is being formatted ..."),
    image_disk.COPYING: N_("Images are being copied to {disk} and read back. Services go on meanwhile."),
    image_disk.SWITCHING: N_("Services stop for a moment and start with {disk} ..."),
}

Then = Callable[[], object]


def choose(console: ConsoleApp, then: Then) -> None:
    """Ask which disk, and for the word; watch what is under way already."""
    session, paths = console.session, console.settings.paths
    refusal = session.may(keys.ADMIN)
    if refusal:
        console.say(refusal, "alarm")
        return
    state = image_disk.state(paths.run)
    if state is not None and state.under_way:
        _watch(console, state.id, state.disk, then)
        return
    session.fetch(
        lambda _store: image_disk.disks(paths.images), lambda found: _pick(console, found, then), group="image-disk"
    )


def _pick(console: ConsoleApp, found: list[Disk], then: Then) -> None:
    by_name = {disk.name: disk for disk in found}

    def chosen(name: str | None) -> None:
        if name is None:
            return
        disk = by_name[name]
        if disk.obstacle:
            console.say(sentences.translate(disk.obstacle), "alarm")
        else:
            _confirm(console, disk, then)

    items = [Item(disk.name, _label(disk), _hint(disk)) for disk in found]
    console.push_screen(
        Pick(_("Which disk shall hold the images?"), items, empty=N_("This machine has no disk.")), chosen
    )


def _label(disk: Disk) -> str:
    return f"{disk.name}  {words.size(disk.size_bytes)}  {disk.model}".rstrip()


def _hint(disk: Disk) -> str:
    if disk.obstacle:
        return _("cannot be taken")
    return ", ".join(disk.contents) or _("empty")


def _confirm(console: ConsoleApp, disk: Disk, then: Then) -> None:
    lost = _("On it, and lost for ever: {contents}.").format(contents=", ".join(disk.contents))
    serial = disk.serial or disk.wwn or _("without a number")
    lines = [
        _("{disk} ({model}, {size}, {serial}) is formatted.").format(
            disk=disk.name, model=disk.model or _("unknown model"), size=words.size(disk.size_bytes), serial=serial
        ),
        lost if disk.contents else _("Nothing is on it."),
        _("Images that are there are moved: copied, read back, and left on the old disk."),
    ]
    run = console.settings.paths.run

    def work(store: Store) -> str:
        image_disk.refuse_while_at_work(store.tasks.list(active_only=True))
        return image_disk.ask(run, disk, erase=True)

    def sure(yes: bool | None) -> None:
        if yes:
            console.session.do(
                "box disk take",
                f"{disk.name}: {disk.identity}",
                work,
                then=lambda number: _watch(console, number, disk.name, then),
                need=keys.ADMIN,
            )

    console.push_screen(Confirm(_("Take {disk} for images").format(disk=disk.name), lines, word=disk.name), sure)


def _watch(console: ConsoleApp, number: str, name: str, then: Then) -> None:
    def ended(state: State | None) -> None:
        if state is not None and state.stage == image_disk.DONE:
            console.say(sentences.translate(state.text))
            then()

    console.push_screen(Taking(number, name), ended)


class Taking(Dialog[State]):
    """How far it is. Esc leaves it, and root goes on. Gives how it ended."""

    DEFAULT_CSS = "Taking > #box > #how { height: 4; }"
    KEYS = ((N_("Esc"), N_("Away; it goes on")),)

    def __init__(self, number: str, name: str) -> None:
        super().__init__(_("Take {disk} for images").format(disk=name))
        self._number = number
        self._name = name
        self._state: State | None = None
        self._opened_at = time.monotonic()

    def body(self) -> ComposeResult:
        text = Text(id="how")
        text.can_focus = False
        yield text

    def on_mount(self) -> None:
        self.set_interval(_EVERY_S, self._look)
        self._look()

    def _look(self) -> None:
        """Read what root says: a file of some hundred bytes."""
        app: Any = self.app
        found = image_disk.state(app.settings.paths.run)
        if found is not None and found.id == self._number:
            self._state = found
        state = self._state
        if state is not None and state.stage == image_disk.DONE:
            self.dismiss(state)
            return
        lines: list[Line] = []
        if state is None and time.monotonic() - self._opened_at > _BEGUN_S:
            lines += _wrapped(_("Nothing has begun. The log of diecast-image-disk.service says why."), "bad")
        elif state is not None and not state.under_way:
            why = ApplianceError(state.text, hint=state.hint)
            lines += _wrapped(sentences.explain(why), "bad")
        else:
            stage = state.stage if state is not None else image_disk.CHECKING
            lines += _wrapped(_(_STAGES[stage]).format(disk=self._name), "busy")
            if state is not None and state.total_bytes:
                share = min(1.0, state.done_bytes / state.total_bytes)
                lines += [EMPTY_LINE, (*bar(share, _BAR), (f" {words.percent(share)}", ""))]
        self.query_one("#how", Text).put(lines)

    def action_back(self) -> None:
        self.dismiss(self._state)


def _wrapped(text: str, role: str) -> list[Line]:
    return [((part, role),) for part in wrap(clean(text), _ROOM)]
