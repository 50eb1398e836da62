"""PCs that booted from the network and are no hosts yet: the third list of the hosts screen, also of the network's."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from appliance.events import BootStage
from appliance.model import Sighting
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens import hosts_forms
from appliance.tui.screens.parts import Part
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.rowlist import Column

# DHCP option 93 (IANA "Processor Architecture Types"), as far as an operator tells PCs apart.
_ARCHITECTURES: dict[int, str] = {
    0: "bios",
    6: "uefi 32-bit",
    7: "uefi",
    9: "uefi",
    11: "uefi ARM64",
    16: "uefi HTTP",
}


def architecture(sighting: Sighting) -> str:
    """The firmware that asked."""
    if sighting.arch is None:
        return "-"
    return _ARCHITECTURES.get(sighting.arch, _("type {n}").format(n=sighting.arch))


class UnknownPart(Part):
    """See the module."""

    NAME = "unknown"
    TITLE = N_("Unknown PCs")
    EMPTY = N_("No unknown PC has booted from the network.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Register"), N_("Register this PC as a host")),
        keys.named("add", N_("Register"), N_("Register the PCs chosen as hosts; several are named from a pattern")),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._source: object = None
        self._rows: list[Sighting] = []

    def columns(self) -> list[Column[Any]]:
        def seen(sighting: Sighting) -> str:
            return words.ago(sighting.at, self.snapshot.at)

        def came_to(sighting: Sighting) -> str:
            return words.stage(sighting.stage)

        return [
            Column[Sighting]("MAC", lambda sighting: sighting.mac, 17, rank=0),
            Column[Sighting](N_("Firmware"), architecture, 11, rank=2),
            Column[Sighting](N_("Came to"), came_to, 16, rank=0, most=24, role=_role),
            Column[Sighting](N_("Seen"), seen, 7, rank=1, right=True, sort=lambda sighting: -sighting.at.timestamp()),
            Column[Sighting](N_("Address"), lambda sighting: sighting.ip or "-", 15, rank=1),
            Column[Sighting]("UUID", lambda sighting: str(sighting.uuid or "-"), 36, rank=5),
            Column[Sighting](N_("Detail"), lambda sighting: sentences.translate(sighting.detail), 20, rank=6, most=50),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.mac)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        if snapshot.sightings is not self._source:
            self._source = snapshot.sightings
            self._rows = [sighting for sighting in snapshot.sightings if not sighting.host_name]
        return self._rows

    def opened(self, row: Any) -> None:
        refusal = self.session.may(keys.OPERATOR)
        if refusal:
            self.console.say(refusal, "alarm")
            return
        hosts_forms.register(self.screen, row, lambda host: self.table.unmark())

    def do_add(self) -> None:
        chosen = self.table.chosen
        if len(chosen) == 1:
            self.opened(chosen[0])
        elif chosen:
            hosts_forms.register_all(self.screen, chosen, self.table.unmark)


def _role(sighting: Sighting) -> str:
    return "busy" if sighting.stage not in (BootStage.LOCAL, BootStage.MENU, BootStage.REFUSED) else ""
