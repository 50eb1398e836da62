"""The audit trail: who changed what, and when. Everybody may read it, nobody can change it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from appliance.model import AuditEvent
from appliance.store import Store
from appliance.tui import keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

LOADED = 2000  # events, the newest


class AuditPart(SystemPart):
    """See the module. It is no part of the snapshot: it is read while it is in sight."""

    NAME = "audit"
    TITLE = N_("Audit")
    EMPTY = N_("Nothing was changed yet.")
    KEYS: ClassVar[tuple[Key, ...]] = (keys.named("show", N_("Show"), N_("Choose what is shown")),)

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._read_for: Snapshot | None = None
        self._rows: list[tuple[int, AuditEvent]] = []

    def columns(self) -> list[Column[Any]]:
        def when(row: tuple[int, AuditEvent]) -> str:
            return f"{words.day(row[1].at)} {words.clock(row[1].at)}"

        return [
            Column(N_("When"), when, 19, rank=0, sort=lambda row: row[0]),
            Column(N_("Who"), lambda row: row[1].actor, 14, rank=0, most=40),
            Column(N_("What"), lambda row: row[1].action, 16, rank=0, most=24),
            Column(N_("Detail"), lambda row: row[1].detail, 20, rank=0, most=200),
        ]

    def key(self, row: Any) -> Hashable:
        return int(row[0])

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        if snapshot is not self._read_for:
            self._read_for = snapshot
            self._read()
        return self._rows

    def entered(self) -> None:
        self._read_for = None
        self.renew()

    def _read(self) -> None:
        def read(store: Store) -> list[AuditEvent]:
            return store.audit.list(LOADED)

        def then(found: list[AuditEvent]) -> None:
            if [event for _age, event in self._rows] != found:
                self._rows = list(enumerate(found))
                self.renew()

        self.session.fetch(read, then, group="audit")

    def note(self) -> str:
        if len(self._rows) < LOADED:
            return ""
        return _("the last {n}").format(n=words.number(LOADED))

    def detail(self, row: Any, width: int) -> list[Line]:
        event: AuditEvent = row[1]
        when = f"{words.day(event.at)} {words.clock(event.at)}"
        lines = told(_("When"), when, width) + told(_("Who"), event.actor, width)
        return lines + told(_("What"), f"{event.action}: {event.detail}" if event.detail else event.action, width)
