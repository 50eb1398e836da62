"""The services' log: the last lines, new ones as they are written, by service, and searched.

Lines come from `appliance.system.logs`, read in a worker and followed in a thread. `/` filters what is loaded while
letters are typed; Enter then searches the whole log.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from textual.message import Message

from appliance.errors import ApplianceError
from appliance.system import logs, units
from appliance.system.logs import LogLine
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Item, Reading
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, wrap
from appliance.tui.widgets.rowlist import Column

LOADED = 1000  # lines
_KEPT = 5000  # lines, when following
_FOUND = 1000  # lines
_READY_S = 2.0
_LEVELS: dict[str, tuple[str, str]] = {  # words and role
    "debug": (N_("debug"), "dim"),
    "info": (N_("info"), ""),
    "warning": (N_("warning"), "warn"),
    "error": (N_("error"), "bad"),
}
Entry = tuple[int, LogLine]  # numbered, for the cursor


class Written(Message):
    """Lines were written to the log."""

    def __init__(self, follower: Follower, lines: Sequence[LogLine]) -> None:
        super().__init__()
        self.follower, self.lines = follower, tuple(lines)


class Follower(threading.Thread):
    """Reads the log as it grows and tells the screen, until it is stopped."""

    def __init__(self, part: LogPart, services: Sequence[str]) -> None:
        super().__init__(name="log", daemon=True)
        self._part = part
        self._services = tuple(services)
        self._ended = threading.Event()
        self.ready = threading.Event()  # it misses no line from now on
        self.start()

    def stop(self) -> None:
        """End soon."""
        self._ended.set()

    def run(self) -> None:
        batch: list[LogLine] = []
        try:
            source = self._part.source()
            for line in source.follow(self._ended.is_set, self._services):
                self.ready.set()
                if line is not None:
                    batch.append(line)
                if batch and (line is None or len(batch) >= LOADED):
                    self._part.screen.post_message(Written(self, batch))
                    batch = []
        except ApplianceError:
            return  # reading the last lines has said why


class LogPart(SystemPart):
    """See the module."""

    NAME = "log"
    TITLE = N_("Log")
    EMPTY = N_("There is no such line.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("The whole message, with what it says below its first line")),
        keys.named("follow", N_("Follow"), N_("Show new lines as they are written, or stop doing so")),
        keys.named("show", N_("Service"), N_("Choose what is shown: a part, or the log of one service")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._services: tuple[str, ...] = ()
        self._lines: list[Entry] = []
        self._found: list[Entry] = []  # by searching; older than the others, their numbers are negative
        self._early: list[LogLine] | None = None  # written while the last ones were being read
        self._next = 0
        self._rows: list[Entry] = []
        self._why: ApplianceError | None = None
        self._follows = True
        self._follower: Follower | None = None

    def columns(self) -> list[Column[Any]]:
        def when(entry: Entry) -> str:
            at = entry[1].at
            return words.clock(at) if words.day(at) == words.day(self.snapshot.at) else words.moment(at)

        return [
            Column[Entry](N_("When"), when, 16, rank=0, sort=lambda entry: entry[0]),
            Column[Entry](N_("Level"), lambda e: _(_LEVELS[e[1].level][0]), 8, rank=1, role=_role),
            Column[Entry](N_("Service"), lambda entry: entry[1].service or "-", 9, rank=0),
            Column[Entry](N_("PC"), lambda entry: entry[1].host or "-", 10, rank=1, most=20),
            Column[Entry](N_("Task"), lambda entry: str(entry[1].task or "-"), 5, rank=2, right=True),
            Column[Entry](
                N_("Message"), lambda entry: entry[1].text.partition("\n")[0], 30, rank=0, most=400, role=_role
            ),
        ]

    def key(self, row: Any) -> Hashable:
        return int(row[0])

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return self._rows

    def note(self) -> str:
        return ", ".join([*self._services, *([_("following")] if self._follows else [])])

    def instead(self, width: int) -> list[Line]:
        return told(_("Remark"), sentences.explain(self._why), width, "warn") if self._why else []

    def detail(self, row: Any, width: int) -> list[Line]:
        line: LogLine = row[1]
        head = f"{words.day(line.at)} {words.clock(line.at)}, {line.service or '-'}, {_(_LEVELS[line.level][0])}"
        return [((f" {head}", "dim"),), *(((f" {text}", _role(row)),) for text in _wrapped(line, width - 2))]

    def opened(self, row: Any) -> None:
        line: LogLine = row[1]
        title = f"{words.day(line.at)} {words.clock(line.at)} {line.service}"
        self.screen.app.push_screen(Reading(title, [((text, ""),) for text in _wrapped(line, 70)]))

    def choices(self) -> list[Item]:
        items = [Item((self.NAME, ""), _("Log of all services"))]
        return items + [Item((self.NAME, name), _("Log of {service}").format(service=name)) for name in units.SERVICES]

    def choose(self, what: Any) -> None:
        self.only([what] if what else [])

    def only(self, services: Sequence[str]) -> None:
        """Show the lines of these services; none: all."""
        if tuple(services) != self._services:
            self._services = tuple(services)
            if self.screen.part is self:
                self.entered()

    # -- reading

    def source(self) -> logs.LogSource:
        """Where lines come from. Raises `Unavailable`."""
        return logs.source(self.console.settings.paths.state)

    def entered(self) -> None:
        """Follow first, then read the last lines: none is lost in between, and none shown twice."""
        services = self._services
        self.left()
        self._early = []
        follower = self._follower = Follower(self, services) if self._follows else None

        def work() -> list[LogLine]:
            if follower is not None:
                follower.ready.wait(_READY_S)
            return self.source().last(LOADED, services)

        def failed(error: ApplianceError) -> None:
            self._loaded([], error)

        self.session.fetch(lambda store: work(), lambda lines: self._loaded(lines, None), failed=failed, group="log")

    def _loaded(self, lines: list[LogLine], why: ApplianceError | None) -> None:
        known = set(lines)
        lines = [*lines, *(line for line in self._early or () if line not in known)]
        self._early, self._found, self._why = None, [], why
        self._lines, self._next = list(enumerate(lines)), len(lines)
        self._put(to_end=True)

    def left(self) -> None:
        if self._follower is not None:
            self._follower.stop()
            self._follower = None

    def written(self, follower: Follower, lines: Sequence[LogLine]) -> None:
        """New lines; the cursor stays at the end if it is there."""
        if follower is not self._follower:
            return
        if self._early is not None:
            self._early += lines
            return
        self._why = None
        self._lines = [*self._lines, *enumerate(lines, self._next)][-_KEPT:]
        self._next += len(lines)
        self._put(to_end=self._at_end())

    def searched(self, text: str) -> None:
        services, wanted = self._services, text.strip()
        if not wanted:
            self._found = []
            self._put(to_end=self._at_end())
            return

        def then(found: list[LogLine]) -> None:
            known = {line for _number, line in self._lines}
            older = [line for line in found if line not in known]
            self._found = list(enumerate(older, -len(older)))
            self._put(to_end=self._at_end())

        self.session.fetch(lambda store: self.source().last(_FOUND, services, wanted), then, group="log-find")

    def _at_end(self) -> bool:
        rows = self.table.rows
        return not rows or self.table.row is rows[-1]

    def _put(self, *, to_end: bool) -> None:
        self._rows = [*self._found, *self._lines]
        self.renew()
        rows = self.table.rows
        if to_end and rows:
            self.table.go_to(rows[-1][0])

    # -- keys

    def do_follow(self) -> None:
        self._follows = not self._follows
        self.console.say(_("Following.") if self._follows else _("Not following any more."))
        if self._follows:
            self.entered()
        else:
            self.left()
            self.renew()


def _role(entry: Entry) -> str:
    return _LEVELS[entry[1].level][1]


def _wrapped(line: LogLine, width: int) -> list[str]:
    return [text for part in line.text.split("\n") for text in wrap(clean(part), width)]
