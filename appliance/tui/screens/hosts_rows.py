"""Hosts as the list shows them: a host with its task, its columns, and the views of the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.events import TaskState
from appliance.model import Host, Task
from appliance.store.hosts import natural
from appliance.tui import words
from appliance.tui.i18n import N_, _
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.rowlist import Column

ALL, ROOM, ROOMLESS, BUSY, SEALED, NEVER, FAILED, BARE = (
    "all",
    "room",
    "roomless",
    "busy",
    "sealed",
    "never",
    "failed",
    "bare",
)


@dataclass(frozen=True, slots=True)
class HostLine:
    """One host and what goes with it."""

    host: Host
    task: Task | None  # that is not finished
    last: Task | None  # the last one that ended, if that was lately
    holds: str  # the version on its disk


@dataclass(frozen=True, slots=True)
class View:
    """Which hosts are shown."""

    name: str = ALL
    room: str = ""

    def has(self, line: HostLine) -> bool:
        """Whether this host is."""
        return _VIEWS[self.name][1](line, self)

    def words(self) -> str:
        """What is shown, empty for all."""
        if self.name == ROOM:
            return _("room {room}").format(room=self.room)
        return "" if self.name == ALL else _(_VIEWS[self.name][0])


_VIEWS: dict[str, tuple[str, Callable[[HostLine, View], bool]]] = {
    ALL: (N_("all hosts"), lambda line, view: True),
    BUSY: (N_("with an unfinished task"), lambda line, view: line.task is not None),
    FAILED: (N_("failed last"), lambda line, view: failed_last(line)),
    SEALED: (N_("sealed"), lambda line, view: line.host.sealed),
    BARE: (N_("without an image"), lambda line, view: not line.host.version_id),
    NEVER: (N_("never seen"), lambda line, view: line.host.last_seen is None),
    ROOMLESS: (N_("in no room"), lambda line, view: not line.host.room),
    ROOM: (N_("room"), lambda line, view: line.host.room == view.room),
}


def views() -> list[tuple[View, str]]:
    """Every view but those of rooms, in words."""
    return [(View(name), _(title)) for name, (title, _has) in _VIEWS.items() if name != ROOM]


def failed_last(line: HostLine) -> bool:
    """Whether the host's newest task has failed."""
    return line.task is None and line.last is not None and line.last.state is TaskState.FAILED


class HostLines:
    """Makes lines, and keeps those of hosts that nothing has happened to."""

    def __init__(self) -> None:
        self._known: dict[int, HostLine] = {}
        self._parts: tuple[object, ...] = ()
        self._lines: list[HostLine] = []
        self._shown: list[HostLine] = []
        self._view = View()

    def of(self, snapshot: Snapshot, view: View) -> Sequence[HostLine]:
        """The hosts of a view in the order of their names; the same object while nothing changes."""
        parts = (snapshot.hosts, snapshot.open_tasks, snapshot.ended_tasks, snapshot.versions)
        changed = len(self._parts) != len(parts) or any(a is not b for a, b in zip(parts, self._parts, strict=True))
        if changed:
            self._parts = parts
            last: dict[int | None, Task] = {}
            for task in snapshot.ended_tasks:
                last.setdefault(task.host_id, task)
            self._lines = [self._line(snapshot, host, last.get(host.id)) for host in snapshot.hosts]
            self._known = {line.host.id: line for line in self._lines}
        if changed or view != self._view:
            self._view = view
            self._shown = [line for line in self._lines if view.has(line)]
        return self._shown

    def _line(self, snapshot: Snapshot, host: Host, last: Task | None) -> HostLine:
        task, holds = snapshot.task_of_host.get(host.id), snapshot.version_name(host.version_id)
        known = self._known.get(host.id)
        if known and known.host is host and known.task is task and known.last is last and known.holds == holds:
            return known
        return HostLine(host, task, last, holds)


def doing(line: HostLine) -> str:
    """What a host does now: its task, or how it was left."""
    task, host = line.task, line.host
    if task is not None:
        kind = _(words.KINDS[task.kind])
        if task.state is TaskState.RUNNING and task.total_bytes:
            return f"{words.STATE_SHAPES[task.state]} {kind} {words.percent(words.fraction(task)).strip()}"
        return f"{words.STATE_SHAPES[task.state]} {kind} {words.state(task)}"
    if host.sealed:
        return "■ " + _("sealed")
    if failed_last(line):
        assert line.last is not None
        return f"{words.STATE_SHAPES[TaskState.FAILED]} {_(words.KINDS[line.last.kind])} {words.state(line.last)}"
    return words.stage(host.stage)


def role_of(line: HostLine) -> str:
    """The colour of what it does."""
    if line.task is not None:
        return words.STATE_ROLES[line.task.state]
    if line.host.sealed:
        return "warn"
    return "bad" if failed_last(line) else ""


def columns(now: Callable[[], Snapshot]) -> list[Column[HostLine]]:
    """The columns, from what 80 cells show to what 200 do."""

    def seen(line: HostLine) -> str:
        return words.ago(line.host.last_seen, now().at)

    def when(line: HostLine) -> float:
        return -line.host.last_seen.timestamp() if line.host.last_seen else 0.0

    return [
        Column(N_("Name"), lambda line: line.host.name, 14, rank=0, most=24, sort=lambda line: natural(line.host.name)),
        Column(N_("Room"), lambda line: line.host.room, 8, rank=2, most=16, sort=lambda line: natural(line.host.room)),
        Column(N_("Now"), doing, 22, rank=0, most=28, role=role_of),
        Column(N_("Holds"), lambda line: line.holds or "-", 14, rank=1, most=24),
        Column(N_("Seen"), seen, 7, rank=1, right=True, sort=when),
        Column(N_("Firmware"), lambda line: words.firmware(line.host), 8, rank=4),
        Column("MAC", lambda line: " ".join(line.host.macs), 17, rank=3, most=35),
        Column(N_("Address"), lambda line: line.host.ip or "-", 15, rank=5),
        Column(N_("Notes"), lambda line: line.host.notes, 14, rank=6, most=40),
    ]
