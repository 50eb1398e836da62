"""The questions of a capture: which PC, is it ready, into which image, how it starts and ends, all right?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from textual.events import Key as KeyEvent
from textual.widget import Widget

from appliance.errors import ApplianceError
from appliance.events import AfterTask, TaskKind
from appliance.model import Host, Image, check_name
from appliance.tui import sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs.capture_job import COPY, HANDS, LINUX, UNKNOWN, WAKE, WINDOWS, Capturing
from appliance.tui.jobs.choose import ListPage, paragraphs
from appliance.tui.jobs.steps import Page
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.forms import CHOICE, Entry, Field, FormRows
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine


@dataclass(frozen=True, slots=True)
class PcRow:
    """A PC to be captured, the next unknown one, or (key: the task's number) a capture under way."""

    key: Hashable
    name: str
    state: str
    seen: str = ""
    holds: str = ""
    mac: str = ""
    role: str = ""


class PcPage(ListPage[Capturing]):
    """Answers: `host`, the number of the host; None for the next unknown PC."""

    NAME = "host"
    TITLE = N_("Which PC?")
    ABOUT = N_(
        "The PC whose disk is captured. It may be a known one, or the next unknown PC that starts from the network. A"
        " capture that is under way stands on top: Enter shows how far it is."
    )

    def columns(self) -> list[Column[Any]]:
        return [
            Column[PcRow](N_("PC"), lambda row: row.name, 30, rank=0, most=40),
            Column[PcRow](N_("Now"), lambda row: row.state, 20, rank=0, most=30, role=lambda row: row.role),
            Column[PcRow](N_("Seen"), lambda row: row.seen, 7, rank=1, right=True),
            Column[PcRow](N_("Holds"), lambda row: row.holds, 14, rank=2, most=24),
            Column[PcRow]("MAC", lambda row: row.mac, 17, rank=3, most=35),
        ]

    def rows(self, snapshot: Snapshot) -> Sequence[PcRow]:
        rows = [
            PcRow(
                ("task", task.id),
                "▸ " + _("{pc} into {image}").format(pc=words.subject(task), image=task.image_name),
                words.state(task),
                role=words.STATE_ROLES[task.state],
            )
            for task in snapshot.open_tasks
            if task.kind is TaskKind.CAPTURE
        ]
        rows.append(PcRow(UNKNOWN, _("The next unknown PC that boots"), ""))
        return [*rows, *(_pc_row(host, snapshot) for host in snapshot.hosts)]

    def first(self) -> Hashable:
        return self.answers.get("host") or UNKNOWN

    def answer(self) -> str:
        if self.job.current is not None:
            return words.subject(self.job.current)
        host = self.job.host
        return _("the next unknown PC") if host is None else f"{host.name}  {' '.join(host.macs[:1])}"

    async def row_opened(self, row: PcRow) -> None:
        if isinstance(row.key, tuple):
            await self.job.follow(row.key[1])
            return
        waiting = next((t for t in self.snapshot.open_tasks if t.kind is TaskKind.CAPTURE and t.host_id is None), None)
        if row.key == UNKNOWN and waiting is not None:
            self.console.say(_("Task {n} waits for the next unknown PC already.").format(n=waiting.id), "alarm")
            return
        busy = self.snapshot.task_of_host.get(row.key) if isinstance(row.key, int) else None
        if busy is not None:
            self.console.say(
                _("{host} is busy: {kind} {image}, {state}.").format(
                    host=row.name, kind=_(words.KINDS[busy.kind]), image=busy.image_name, state=words.state(busy)
                ),
                "alarm",
            )
            return
        self.answers["host"] = None if row.key == UNKNOWN else row.key
        await self.job.forward()


def _pc_row(host: Host, snapshot: Snapshot) -> PcRow:
    task = snapshot.task_of_host.get(host.id)
    state, role = words.stage(host.stage), ""
    if task is not None:
        state, role = f"{_(words.KINDS[task.kind])} {words.state(task)}", words.STATE_ROLES[task.state]
    elif host.sealed:
        state, role = _("sealed"), "warn"
    seen = words.ago(host.last_seen, snapshot.at)
    return PcRow(host.id, host.name, state, seen, snapshot.version_name(host.version_id), " ".join(host.macs), role)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One way in which a master is made ready. Texts are message ids."""

    key: str
    label: str
    short: str
    list: tuple[str, ...]


PREPARED: tuple[Prepared, ...] = (
    Prepared(
        WINDOWS,
        N_("Windows, generalised by Sysprep, switched off"),
        N_("Sysprep: generalised, shut down"),
        (
            N_("1 Run: C:\\Windows\\System32\\Sysprep\\sysprep.exe /generalize /oobe /shutdown"),
            N_("2 Leave it switched off. Its own disk must not start again: that undoes Sysprep."),
            N_("3 In its firmware, put the network card before the disk."),
            N_("Until it is captured it is sealed: the box does not let it start its disk."),
        ),
    ),
    Prepared(
        LINUX,
        N_("Linux or another system, switched off"),
        N_("shut down, not sealed"),
        (
            N_("1 Remove what must not be on every PC: keys, logs, temporary files."),
            N_("2 Shut it down properly. A hibernated or crashed system cannot be captured."),
            N_("3 In its firmware, put the network card before the disk."),
        ),
    ),
    Prepared(
        COPY,
        N_("Windows as it is, not generalised: a copy for this PC"),
        N_("as it is, not sealed"),
        (
            N_("1 Switch fast startup off and shut it down: shutdown /s /f /t 0"),
            N_("2 In its firmware, put the network card before the disk."),
            N_("On other PCs such an image makes twins with the same identity."),
        ),
    ),
)


class ReadyPage(ListPage[Capturing]):
    """Answers: `prepared`."""

    NAME = "ready"
    TITLE = N_("Is it ready?")
    ABOUT = N_("How the master was prepared. Below stands what has to be done before it is captured; Enter says: done.")
    NEXT = N_("I have done it")
    TITLES = False

    def columns(self) -> list[Column[Any]]:
        return [Column[Prepared]("", lambda row: _(row.label), 50, rank=0, most=76)]

    def widgets(self) -> Iterable[Widget]:
        yield from super().widgets()
        yield Text(id="check-list")

    def rows(self, snapshot: Snapshot) -> Sequence[Prepared]:
        return PREPARED

    def first(self) -> Hashable:
        return self.answers.get("prepared") or WINDOWS

    def opened(self) -> None:
        self.list.styles.height = len(PREPARED) + 1
        self.job.query_one("#check-list", Text).can_focus = False
        super().opened()

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self.moved()

    def moved(self) -> None:
        row = self.list.row
        if row is not None:
            width = self.job.size.width
            self.job.query_one("#check-list", Text).put(paragraphs([_(line) for line in row.list], width))

    def main_list(self) -> None:  # type: ignore[override]
        return None

    def answer(self) -> str:
        task = self.job.current
        if task is not None and "prepared" not in self.answers:
            return _("sealed") if task.sealed else _("not sealed")
        return next((_(each.short) for each in PREPARED if each.key == self.answers.get("prepared")), "")

    async def row_opened(self, row: Prepared) -> None:
        self.answers["prepared"] = row.key
        await self.job.forward()


class ImagePage(Page[Capturing]):
    """Answers: `image`, a name."""

    NAME = "image"
    TITLE = N_("Into which image?")
    ABOUT = N_("Type a name, or choose an image with the arrows. Each capture makes a new version; older ones stay.")

    def widgets(self) -> Iterable[Widget]:
        yield OneLine(lambda width: ((" " + _("Name of the image, or the arrows:"), "dim"),))
        yield Entry(self.answers.get("image", ""), id="entry")
        yield OneLine(self._becomes, id="becomes")
        columns = [
            Column[Image](N_("Image"), lambda image: image.name, 20, rank=0, most=40),
            Column[Image](N_("Now"), self._now, 24, rank=0, most=30),
            Column[Image](N_("Notes"), lambda image: image.notes, 16, rank=2, most=60),
        ]
        yield RowList[Image](columns, lambda image: image.name, empty=N_("There is no image yet."), id="choices")

    def opened(self) -> None:
        self._list.can_focus = False
        entry = self.job.query_one("#entry", Entry)
        entry.cursor_position = len(entry.value)
        self.job.set_focus(entry)

    @property
    def _list(self) -> RowList[Image]:
        return self.job.query_one("#choices", RowList)

    def _name(self) -> str:
        return self.job.query_one("#entry", Entry).value.strip()

    def keep(self) -> None:
        self.answers["image"] = self._name()

    def show(self, snapshot: Snapshot) -> None:
        self._list.put(snapshot.images)
        self.job.query_one("#becomes", OneLine).renew()

    def typed(self, text: str) -> None:
        self._list.go_to(next((image.name for image in self.snapshot.images if image.name == text), None))
        self.job.query_one("#becomes", OneLine).renew()

    def key(self, event: KeyEvent) -> None:
        step = {"up": -1, "down": 1}.get(event.key)
        if step is None or not self._list.rows:
            return
        event.stop()
        known = any(image.name == self._name() for image in self.snapshot.images)
        self._list.action_cursor(step if known else 0)
        entry = self.job.query_one("#entry", Entry)
        if self._list.row is not None:
            entry.value = self._list.row.name
            entry.cursor_position = len(entry.value)

    def _now(self, image: Image) -> str:
        version = self.job.newest(image.name)
        return "-" if version is None else f"v{version.number}, {words.size(version.used_bytes)}"

    def _becomes(self, width: int) -> Line:
        name = self._name()
        problem = self._problem(name)
        if not name or problem:
            return ((f" {problem}", "bad" if name else "dim"),)
        return ((f" {self.job.becomes(name)}", "strong"),)

    def _problem(self, name: str) -> str:
        try:
            check_name(name, "an image")
        except ApplianceError as error:
            return sentences.explain(error) if name else ""
        return ""

    def answer(self) -> str:
        task = self.job.current  # once ordered, what it was to be: newer versions do not change that
        if task is not None:
            return str(self.answers.get("becomes") or self.snapshot.task_target(task))
        return self.job.becomes(self.answers.get("image", ""))

    async def enter(self) -> None:
        name = self._name()
        problem = self._problem(name) if name else _("The image needs a name.")
        if problem:
            self.console.say(problem, "alarm")
            return
        await self.job.forward()


class StartPage(Page[Capturing]):
    """Answers: `start` and `after`."""

    NAME = "start"
    TITLE = N_("Start and end?")
    ABOUT = N_("How the PC is switched on, and what it does when its disk has been read.")

    def widgets(self) -> Iterable[Widget]:
        ways = [(HANDS, _("by hand, from the network card"))]
        host = self.job.host
        if host is not None and host.macs:
            ways.append((WAKE, _("woken over the network now")))
        after = tuple((str(each), _(words.AFTER[each])) for each in AfterTask)
        yield FormRows(
            [
                Field("start", _("It is switched on"), CHOICE, self.answers.get("start", HANDS), choices=tuple(ways)),
                Field("after", _("Afterwards it will"), CHOICE, self.answers.get("after", "poweroff"), choices=after),
            ]
        )

    def keep(self) -> None:
        self.answers.update(self.job.query_one(FormRows).values)

    def answer(self) -> str:
        after = self.answers.get("after")
        if after is None and self.job.current is not None:
            return _(words.AFTER[self.job.current.after])
        if after is None:
            return ""
        return (_("woken; ") if self.job.wakes else _("by hand; ")) + _(words.AFTER[AfterTask(after)])


class GoPage(Page[Capturing]):
    """Says it all once more; Enter orders."""

    NAME = "go"
    TITLE = N_("All right?")
    ABOUT = N_("What will happen. Nothing on the master's disk is changed: it is only read.")
    NEXT = N_("Capture")

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="summary")

    def opened(self) -> None:
        self.job.set_focus(self.job.query_one("#summary", Text))

    def show(self, snapshot: Snapshot) -> None:
        job = self.job
        pc = job.host.name if job.host is not None else _("the next unknown PC")
        facts = (
            (_("PC"), pc),
            (_("Image"), job.becomes(self.answers["image"])),
            (_("Afterwards"), _(words.AFTER[AfterTask(self.answers["after"])])),
        )
        lines: list[Line] = [((f" {fit(name, 14)}", "dim"), (clean(value), "strong")) for name, value in facts]
        told = [_("Its disk is only read; not a bit of it is changed.")]
        if job.sealed:
            told.append(_("It is sealed: until it is captured the box does not let it start from its own disk."))
        told.append(_("Enter gives the order. Then start the PC from its network card, not from its disk."))
        job.query_one("#summary", Text).put([*lines, EMPTY_LINE, *paragraphs(told, job.size.width)])

    async def enter(self) -> None:
        self.job.order()
