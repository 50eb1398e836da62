"""Services: how they are, by their own word and systemd's, and starting, stopping and restarting them.

A service takes settings when it starts: one that began before a change says that it wants a restart.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from appliance import overrides
from appliance.errors import ApplianceError
from appliance.events import ServiceHealth
from appliance.model import ServiceState
from appliance.system import units
from appliance.system.units import Unit, Verb
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

_ASK_EVERY_S = 5.0  # systemd, while the list is in sight

ABOUT: dict[str, str] = {
    "dhcp": N_("Lends addresses and tells PCs how to boot from here."),
    "tftp": N_("Gives PCs their loader."),
    "http": N_("Gives boot scripts, kernel and agent, and hears what agents report."),
    "nfs": N_("Gives images to PCs and takes what captures bring."),
    "scheduler": N_("Starts tasks at their time, wakes PCs, takes captures into the store, frees space."),
    "cast": N_("Sends images by multicast."),
}
_DOING: dict[Verb, str] = {Verb.START: N_("Starting"), Verb.STOP: N_("Stopping"), Verb.RESTART: N_("Restarting")}
_DONE: dict[Verb, str] = {
    Verb.START: N_("Started {names}."),
    Verb.STOP: N_("Stopped {names}."),
    Verb.RESTART: N_("Restarted {names}."),
}


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service. `old` are the settings that were changed since it started."""

    name: str
    state: ServiceState | None
    unit: Unit | None
    old: tuple[str, ...] = ()

    @property
    def health(self) -> str:
        """How it says it is."""
        return _(words.HEALTH[self.state.state]) if self.state else _("never ran")

    @property
    def role(self) -> str:
        """The role of `health`."""
        return words.HEALTH_ROLES[self.state.state] if self.state else "dim"

    @property
    def remark(self) -> str:
        """What somebody should know."""
        if self.state is not None and self.state.words:
            return sentences.translate(self.state.words)
        return _("restart needed: {names}").format(names=", ".join(self.old)) if self.old else ""


def service_rows(snapshot: Snapshot, found: Sequence[Unit]) -> list[ServiceRow]:
    """All services in starting order."""
    states = {state.name: state for state in snapshot.services}
    by_service = {unit.service: unit for unit in found}
    old = overrides.older_than_changes(snapshot.settings, snapshot.services)
    return [ServiceRow(name, states.get(name), by_service.get(name), old.get(name, ())) for name in units.SERVICES]


class ServicesPart(SystemPart):
    """See the module."""

    NAME = "services"
    TITLE = N_("Services")
    MARKS = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named(
            "again", N_("Restart"), N_("Restart the services chosen; transfers wait and go on"), need=keys.ADMIN
        ),
        keys.named("start", N_("Start"), N_("Start the services chosen"), need=keys.ADMIN),
        keys.named("stop", N_("Stop"), N_("Stop the services chosen; transfers wait"), need=keys.ADMIN),
        keys.named("log", N_("Log"), N_("The log of the services chosen")),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._units: tuple[Unit, ...] = ()
        self._asked_at = float("-inf")
        self._made_of: tuple[Any, ...] = ()
        self._rows: list[ServiceRow] = []

    def columns(self) -> list[Column[Any]]:
        def since(row: ServiceRow) -> str:
            return words.moment(row.state.since, self.snapshot.at) if row.state else "-"

        def pid(row: ServiceRow) -> str:
            gone = row.state is None or row.state.state in (ServiceHealth.STOPPED, ServiceHealth.FAILED)
            return "-" if gone or row.state is None else str(row.state.pid)

        return [
            Column[ServiceRow](N_("Service"), lambda row: row.name, 10, rank=0),
            Column[ServiceRow](N_("State"), lambda row: row.health, 10, rank=0, role=lambda row: row.role),
            Column[ServiceRow](N_("Since"), since, 16, rank=1),
            Column[ServiceRow](N_("PID"), pid, 7, rank=3, right=True),
            Column[ServiceRow]("systemd", lambda row: row.unit.words if row.unit else "-", 14, rank=2, most=28),
            Column[ServiceRow](N_("Remark"), lambda row: row.remark, 16, rank=0, most=80, role=lambda row: "warn"),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.name)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        if time.monotonic() - self._asked_at > _ASK_EVERY_S and self.screen.is_current:
            self._ask()
        made_of = (snapshot.services, snapshot.settings, self._units)
        if not self._made_of or not all(a is b for a, b in zip(made_of, self._made_of, strict=True)):
            self._made_of = made_of
            self._rows = service_rows(snapshot, self._units)
        return self._rows

    def _ask(self) -> None:
        """What systemd says; it may take its time. Without an answer its column is empty."""
        self._asked_at = time.monotonic()

        def then(found: list[Unit]) -> None:
            if tuple(found) != self._units:
                self._units = tuple(found)
                self.renew()

        self.session.fetch(lambda store: units.list_units(), then, failed=lambda error: None, group="units")

    def detail(self, row: Any, width: int) -> list[Line]:
        lines = told(_("What for"), _(ABOUT[row.name]), width)
        lines += told(_("Remark"), row.remark, width, "warn")
        if row.state is not None and row.state.state is ServiceHealth.SILENT:
            text = _("It gives no sign of life: killed, or it hangs. Restart it; the reason may be in its log (l).")
            lines += told(_("Remedy"), text, width)
        elif row.state is not None and row.state.state is ServiceHealth.FAILED:
            lines += told(_("Remedy"), _("Look into its log (l) and at the doctor, then start it (t)."), width)
        elif row.old:
            lines += told(_("Remedy"), _("It took the old values when it started: restart it (r)."), width)
        if row.state is not None:
            text = _("{beat} ago, process {pid} since {started}").format(
                beat=words.ago(row.state.beat, self.snapshot.at),
                pid=row.state.pid,
                started=words.moment(row.state.started),
            )
            lines += told(_("Last heard"), text, width)
        return lines

    # -- actions

    def _chosen(self) -> list[str]:
        return [row.name for row in self.table.chosen]

    def do_log(self) -> None:
        self.screen.show_log(self._chosen())

    def do_start(self) -> None:
        if self._there_is_systemd():
            self._act(Verb.START, self._chosen())

    def do_again(self) -> None:
        names = self._chosen()
        if not names or not self._there_is_systemd():
            return
        lines = [_("Transfers in progress wait, and go on when it runs again.")]
        title = _("Restart {names}?").format(names=", ".join(names))
        self.screen.app.push_screen(
            Confirm(title, lines, danger=False), lambda yes: self._act(Verb.RESTART, names) if yes else None
        )

    def do_stop(self) -> None:
        names = self._chosen()
        if not names or not self._there_is_systemd():
            return
        at_work = sum(task.state.is_active for task in self.snapshot.open_tasks)
        lines = [_(ABOUT[name]) for name in names]
        text = ngettext("{n} PC is at work; it waits until the services run again.",
                        "{n} PCs are at work; they wait until the services run again.", at_work)  # fmt: skip
        lines += ["", text.format(n=at_work)] if at_work else []
        word = names[0] if len(names) == 1 else str(len(names))
        title = _("Stop {names}?").format(names=", ".join(names))
        self.screen.app.push_screen(
            Confirm(title, lines, word=word), lambda yes: self._act(Verb.STOP, names) if yes else None
        )

    def _there_is_systemd(self) -> bool:
        if units.systemd_runs():
            return True
        text = _("systemd does not run this machine: whoever started the services (diecast serve) ends them too.")
        self.console.say(text, "alarm")
        return False

    def _act(self, verb: Verb, names: Sequence[str]) -> None:
        if not names:
            return
        shown = ", ".join(names)
        self.console.say(f"{_(_DOING[verb])} {shown} ...")

        def done(_names: tuple[str, ...]) -> None:
            said = _(_DONE[verb]).format(names=shown)
            self.session.do(f"service {verb}", shown, lambda store: None, said=said, need=keys.ADMIN)
            self.table.unmark()
            self._ask()

        def failed(error: ApplianceError) -> None:
            self.console.say(sentences.explain(error), "alarm")
            self._ask()

        # It takes systemd seconds, and the store has nothing to do with it: only the audit line is a change there.
        group = f"{verb} {shown}"
        self.session.fetch(lambda store: units.act(verb, names), done, failed=failed, group=group)
