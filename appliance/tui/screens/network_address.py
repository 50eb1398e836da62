"""The box's own interfaces on the network screen: their addresses, and giving one another."""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from appliance.errors import ApplianceError
from appliance.system import address, links, networkd
from appliance.system.address import State
from appliance.system.links import Link
from appliance.tui import box_address, keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.parts import Part, PartsScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Reading
from appliance.tui.widgets.lines import Line, wrap
from appliance.tui.widgets.rowlist import Column

_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Card:
    """One interface, what sets its address, and why that cannot be set here."""

    link: Link
    file: str = ""  # networkd's
    obstacle: str = ""

    @property
    def source(self) -> str:
        """Where its address comes from, for the list."""
        return self.file.rpartition("/")[2] or sentences.translate(self.obstacle) or "-"


def cards() -> tuple[Card, ...]:
    """The machine's interfaces at this moment, without the loopback."""
    found = []
    for link in links.links():
        if link.name == "lo":
            continue
        try:
            networkd.refuse_unless_ours(link.name)
            obstacle = ""
        except ApplianceError as error:
            obstacle = str(error)
        found.append(Card(link, networkd.managed(link.name).file, obstacle))
    return tuple(found)


class InterfacesPart(Part):
    """See the module. They are looked at only while they are in sight."""

    NAME = "interfaces"
    TITLE = N_("Own")
    MARKS = False
    EMPTY = N_("Being looked at ...")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("What sets its address; an address on trial is kept or taken back")),
        keys.named("edit", N_("Address"), N_("Give the interface another address, on trial first"), need=keys.ADMIN),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def __init__(self, screen: PartsScreen) -> None:
        super().__init__(screen)
        self._cards: tuple[Card, ...] = ()
        self._at = float("-inf")

    def columns(self) -> list[Column[Any]]:
        def has(card: Card) -> str:
            return ", ".join(map(str, card.link.addresses)) or _("no address")

        def cable(card: Card) -> str:
            if not card.link.up:
                return _("no link")
            return f"{words.number(card.link.speed_mbit)} Mbit/s" if card.link.speed_mbit else _("link")

        return [
            Column[Card](N_("Interface"), lambda card: card.link.name, 12, rank=0, most=16),
            Column[Card](N_("Address"), has, 20, rank=0, most=40),
            Column[Card](N_("Link"), cable, 14, rank=1, role=lambda card: "ok" if card.link.up else "warn"),
            Column[Card](N_("Set by"), lambda card: card.source, 24, rank=2, most=60),
            Column[Card]("MAC", lambda card: card.link.mac, 17, rank=3),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.link.name)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        if self.screen.is_there and self.screen.part is self and time.monotonic() - self._at > _EVERY_S:
            self._look()
        return self._cards

    def _look(self) -> None:
        self._at = time.monotonic()

        def then(found: tuple[Card, ...]) -> None:
            if found != self._cards:
                self._cards = found
                if self.screen.is_there:
                    self.screen.show(self.screen.snapshot)

        self.session.fetch(lambda _store: cards(), then, group="interfaces")

    def do_edit(self) -> None:
        card: Card | None = self.table.row
        if card is None:
            self.console.say(_("There is no interface at the cursor."))
        elif not self._is_watched():
            box_address.ask(self.console, card.link.name, "", self._ended, self._cannot)

    def opened(self, row: Any) -> None:
        if self._is_watched():
            return
        lines: list[Line] = []
        texts = [_("Set by {file}.").format(file=row.file)] if row.file else []
        texts += [sentences.translate(row.obstacle)] if row.obstacle else []
        for text in texts or [_("Nothing is known to set its address. e gives it one.")]:
            lines += [((part, ""),) for part in wrap(text, 68)]
        self.console.push_screen(Reading(row.link.name, lines))

    def _is_watched(self) -> bool:
        """A change that is under way, also another session's, comes first."""
        state = address.state(self.console.settings.paths.run)
        if state is None or not state.under_way or self.session.may(keys.ADMIN):
            return False
        box_address.watch(self.console, state, self._ended)
        return True

    def _cannot(self, why: str) -> None:
        self.console.say(why, "alarm")

    def _ended(self, state: State) -> None:
        self._at = float("-inf")
        if state.stage == address.KEPT:
            more = _("Services take it when they start: key 7, r.")
            self.console.say(f"{sentences.translate(state.text)} {more}")
        if self.screen.is_there:
            self.screen.show(self.screen.snapshot)
