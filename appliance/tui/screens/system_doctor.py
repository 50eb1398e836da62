"""The doctor: what `diecast doctor` finds, in words, each with its remedy. It looks when the part is first shown."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from appliance.errors import ApplianceError
from appliance.tui import child, keys, sentences, words
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Reading
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, wrap
from appliance.tui.widgets.rowlist import Column

_TIMEOUT_S = 120.0
_LEVELS: dict[str, tuple[int, str, str]] = {  # order, words, role
    "problem": (0, N_("▲ problem"), "bad"),
    "warning": (1, N_("■ look"), "warn"),
    "ok": (2, N_("● ok"), "ok"),
}

AREAS: dict[str, str] = {
    "settings": N_("settings"),
    "network": N_("network"),
    "ports": N_("ports"),
    "boot": N_("boot files"),
    "nfs": "NFS",
    "dhcp": "DHCP",
    "store": N_("store"),
    "space": N_("disks"),
    "hosts": N_("hosts"),
    "cast": N_("multicast"),
    "versions": N_("versions"),
    "disks": N_("disk health"),
    "clock": N_("clock"),
    "notify": N_("notices"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer, in English as the doctor gives it."""

    number: int
    level: str
    area: str
    text: str
    remedy: str


class DoctorPart(SystemPart):
    """See the module."""

    NAME = "doctor"
    TITLE = N_("Doctor")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("The whole finding, and what to do")),
        keys.named("verify", N_("Check"), N_("Check settings, network, boot files, disks and services again"), need=""),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )
    EMPTY = N_("Nothing was found yet. v checks.")

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._rows: list[Finding] = []
        self._at: datetime | None = None
        self._looks = False

    def columns(self) -> list[Column[Any]]:
        return [
            Column[Finding](
                N_("Level"),
                lambda found: _(_LEVELS[found.level][1]),
                10,
                rank=0,
                role=lambda found: _LEVELS[found.level][2],
                sort=lambda found: _LEVELS[found.level][0],
            ),
            Column[Finding](N_("Area"), area, 10, rank=0),
            Column[Finding](N_("Finding"), lambda found: sentences.translate(found.text), 40, rank=0, most=140),
            Column[Finding](N_("Remedy"), lambda found: sentences.translate(found.remedy), 30, rank=2, most=120),
        ]

    def key(self, row: Any) -> Hashable:
        return int(row.number)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return self._rows

    def entered(self) -> None:
        if self._at is None and not self._looks:
            self._look()

    def do_verify(self) -> None:
        self._look()

    def _look(self) -> None:
        self._looks = True
        self.console.say(_("The doctor looks: settings, network, boot files, disks, services ..."))

        def then(found: list[dict[str, Any]]) -> None:
            self._looks, self._at = False, self.console.clock()
            findings = [
                Finding(number, *(str(one.get(name, "")) for name in ("level", "area", "text", "remedy")))
                for number, one in enumerate(found)
            ]
            self._rows = sorted(findings, key=lambda finding: _LEVELS[finding.level][0])
            self.renew()
            self.console.say(self._summary())

        def failed(error: ApplianceError) -> None:
            self._looks = False
            self.console.say(sentences.explain(error), "alarm")

        arguments = ("doctor", "--json")
        child.start(self.console, *arguments, then=then, failed=failed, group="doctor", timeout_s=_TIMEOUT_S)

    def _summary(self) -> str:
        bad = sum(found.level == "problem" for found in self._rows)
        doubtful = sum(found.level == "warning" for found in self._rows)
        if not bad and not doubtful:
            return _("The doctor found nothing wrong.")
        problems = ngettext("{n} problem", "{n} problems", bad).format(n=bad)
        return problems + ", " + ngettext("{n} warning", "{n} warnings", doubtful).format(n=doubtful)

    def note(self) -> str:
        if self._looks:
            return _("looking ...")
        return f"{self._summary()}, {words.moment(self._at, self.snapshot.at)}" if self._at else ""

    def detail(self, row: Any, width: int) -> list[Line]:
        lines = told(_("Finding"), sentences.translate(row.text), width, _LEVELS[row.level][2])
        return lines + told(_("Remedy"), sentences.translate(row.remedy), width)

    def opened(self, row: Any) -> None:
        lines: list[Line] = [((part, ""),) for part in wrap(clean(sentences.translate(row.text)), 70)]
        if row.remedy:
            lines += [(), *(((part, "strong"),) for part in wrap(clean(sentences.translate(row.remedy)), 70))]
        self.screen.app.push_screen(Reading(f"{_(_LEVELS[row.level][1])}: {area(row)}", lines))


def area(found: Finding) -> str:
    """What a finding is about."""
    return _(AREAS.get(found.area, found.area))
