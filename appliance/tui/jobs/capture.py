"""Capture a master: which PC, is it ready, into which image, and then every step of it as it happens."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from textual.events import Key as KeyEvent
from textual.widget import Widget

from appliance.errors import ApplianceError
from appliance.events import AfterTask, TaskKind, TaskState
from appliance.model import Host, Image, Task, TaskEvent, check_name
from appliance.store import Store
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs import life
from appliance.tui.jobs.choose import ListPage, paragraphs, selected_hosts
from appliance.tui.jobs.steps import JobScreen, Page
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.forms import CHOICE, Entry, Field, FormRows
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine

UNKNOWN = "next"  # key of the next unknown PC
WINDOWS, LINUX, COPY = "windows", "linux", "copy"  # how a master was prepared; only `windows` is sealed
_HANDS, _WAKE = "hands", "wake"


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


class PcPage(ListPage["CaptureJob"]):
    """Answers: `host`, the number of the host; None for the next unknown PC."""

    NAME = "host"
    TITLE = N_("Which PC?")
    ABOUT = N_(
        "The PC whose disk is captured. It may be a known one, or the next unknown PC that starts from the network. A"
        " capture that is under way stands on top: Enter shows how far it is."
    )

    def columns(self) -> list[Column[Any]]:
        return [
            Column[PcRow](N_("PC"), lambda row: row.name, 31, rank=0, most=40),
            Column[PcRow](N_("Now"), lambda row: row.state, 16, rank=0, most=30, role=lambda row: row.role),
            Column[PcRow](N_("Seen"), lambda row: row.seen, 7, rank=1, right=True),
            Column[PcRow](N_("Holds"), lambda row: row.holds, 16, rank=2, most=24),
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


class ReadyPage(ListPage["CaptureJob"]):
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
        return next((_(each.short) for each in PREPARED if each.key == self.answers.get("prepared")), "")

    async def row_opened(self, row: Prepared) -> None:
        self.answers["prepared"] = row.key
        await self.job.forward()


class ImagePage(Page["CaptureJob"]):
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
        return self.job.becomes(self.answers.get("image", ""))

    async def enter(self) -> None:
        name = self._name()
        problem = self._problem(name) if name else _("The image needs a name.")
        if problem:
            self.console.say(problem, "alarm")
            return
        await self.job.forward()


class StartPage(Page["CaptureJob"]):
    """Answers: `start` and `after`."""

    NAME = "start"
    TITLE = N_("Start and end?")
    ABOUT = N_("How the PC is switched on, and what it does when its disk has been read.")

    def widgets(self) -> Iterable[Widget]:
        ways = [(_HANDS, _("by hand, from the network card"))]
        host = self.job.host
        if host is not None and host.macs:
            ways.append((_WAKE, _("woken over the network now")))
        after = tuple((str(each), _(words.AFTER[each])) for each in AfterTask)
        yield FormRows(
            [
                Field("start", _("It is switched on"), CHOICE, self.answers.get("start", _HANDS), choices=tuple(ways)),
                Field("after", _("Afterwards it will"), CHOICE, self.answers.get("after", "poweroff"), choices=after),
            ]
        )

    def keep(self) -> None:
        self.answers.update(self.job.query_one(FormRows).values)

    def answer(self) -> str:
        after = self.answers.get("after")
        if after is None:
            return ""
        return (_("woken; ") if self.job.wakes else _("by hand; ")) + _(words.AFTER[AfterTask(after)])


class GoPage(Page["CaptureJob"]):
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


class WatchPage(Page["CaptureJob"]):
    """Every step as it happens, and what to do at the end."""

    NAME = "watch"
    TITLE = N_("Start it and watch")
    ABOUT = N_(
        "Every step of the PC with the time at which it was reached. You may leave: the capture goes on, and c or Enter"
        " on its task shows this page again."
    )
    LIVE = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("stop", N_("Cancel"), N_("Cancel this capture")),
        keys.named("again", N_("Again"), N_("Capture once more: the same PC, the same image")),
        keys.named("log", N_("Log"), N_("The steps and the log that its PC wrote")),
    )

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="life")

    def opened(self) -> None:
        self._state: TaskState | None = None
        self._verifying: datetime | None = None
        self.job.set_focus(self.job.query_one("#life", Text))

    def answer(self) -> str:
        task = self.job.current
        return "" if task is None else words.state(task)

    def own_keys(self) -> list[Key]:
        task = self.job.current
        if task is None:
            return []
        absent = "stop" if task.state.is_final else "again"
        return [key for key in self.KEYS if key.name != absent and (key.name != "again" or self._failed(task))]

    def _failed(self, task: Task) -> bool:
        return task.state in (TaskState.FAILED, TaskState.CANCELLED)

    def next_label(self) -> str:
        task = self.job.current
        return N_("Deploy it") if task is not None and task.state is TaskState.DONE else ""

    def show(self, snapshot: Snapshot) -> None:
        task = self.job.current
        if task is None:
            return
        if task.state is not self._state:
            self._state = task.state
            self.session.fetch(lambda store: store.tasks.events(task.id), self._found, group="job-events")
            self.job.renew_frame()
        width = self.job.size.width
        lines: list[Line] = [self._head(snapshot, task), *life.step_lines(snapshot, task, width, self._verifying)]
        if task.state in (TaskState.WAITING, TaskState.SCHEDULED):
            lines += paragraphs([_("Start it from the network card now, not from its disk.")], width, "strong")
        lines += paragraphs(life.hints(snapshot, task), width, "warn")
        if self._failed(task):
            told = [sentences.translate(text) for text in (task.error, task.remedy) if text]
            lines += [EMPTY_LINE, *paragraphs(told, width, "bad")]
        if task.state is TaskState.DONE:
            lines += paragraphs(self._stored(snapshot, task), width, "strong")
        self.job.query_one("#life", Text).put(lines)

    def _found(self, events: list[TaskEvent]) -> None:
        self._verifying = next((each.at for each in events if each.state is TaskState.VERIFYING), None)
        if self.job.page is self:
            self.job.show(self.snapshot)

    def _head(self, snapshot: Snapshot, task: Task) -> Line:
        pc = words.subject(task)
        text = f" {pc}  {_('capture into')} {snapshot.task_target(task)}  "
        end = task.finished or snapshot.at
        since = words.duration((end - (task.created or end)).total_seconds())
        return ((text, "strong"), (words.state(task), words.STATE_ROLES[task.state]), (f"  {since}", "dim"))

    def _stored(self, snapshot: Snapshot, task: Task) -> list[str]:
        version = snapshot.version_by_id.get(task.version_id)
        if version is None:
            return []
        text = _("Stored as {version}: {used} read, {stored} compressed, {new} of it new.").format(
            version=f"{version.image_name}@{version.number}",
            used=words.size(version.used_bytes),
            stored=words.size(version.stored_bytes),
            new=words.size(version.new_bytes),
        )
        return [text, _("Enter deploys it to other PCs; Esc leaves.")]

    async def enter(self) -> None:
        task = self.job.current
        if task is not None and task.state is TaskState.DONE:
            self.job.deploy(task.version_id)

    def do_stop(self) -> None:
        task = self.job.current
        if task is None:
            return
        lines = [_("What was read so far is thrown away. The master's disk is as it was.")]

        def sure(yes: bool | None) -> None:
            if yes:
                detail = f"{task.id} {task.kind} {task.host_name}".rstrip()
                said = _("The capture is cancelled.")
                self.session.do("task cancel", detail, lambda store: store.tasks.cancel(task.id), said=said)

        self.job.app.push_screen(Confirm(_("Cancel this capture?"), lines, danger=False), sure)

    def do_again(self) -> None:
        task = self.job.current
        if task is not None:
            self.session.do(
                "task retry",
                lambda made: f"{task.id} as {made.id}",
                lambda store: store.tasks.retry(task.id),
                then=self.job.ordered_as,
            )

    def do_log(self) -> None:
        from appliance.tui.screens.tasks import TaskPage

        if self.job.current is not None:
            self.job.app.push_screen(TaskPage(self.job.current.id))


class CaptureJob(JobScreen):
    """See the module. `hosts` are names to begin with; with a task's number it shows how far that capture is."""

    TITLE = N_("Capture a master")
    NAME = "capture"
    PAGES: ClassVar[tuple[type[Page[Any]], ...]] = (PcPage, ReadyPage, ImagePage, StartPage, GoPage, WatchPage)

    def __init__(self, hosts: Sequence[str] = (), task_id: int | None = None) -> None:
        super().__init__()
        self._given = tuple(hosts)
        self._watched = task_id
        self._current: Task | None = None

    def begin(self) -> str:
        if self._watched is not None:
            return WatchPage.NAME
        hosts = [host for host in self.snapshot.hosts if host.name in self._given]
        hosts = hosts or selected_hosts(self.console.base_screen)
        if len(hosts) == 1 and hosts[0].id not in self.snapshot.task_of_host:
            self.answers["host"] = hosts[0].id
        return PcPage.NAME

    def takes_up(self) -> bool:
        return self._watched is None

    @property
    def host(self) -> Host | None:
        """The PC that was chosen; None for the next unknown one."""
        return self.snapshot.host_by_id.get(self.answers.get("host") or 0)

    @property
    def sealed(self) -> bool:
        """Whether the master was generalised."""
        return self.answers.get("prepared") == WINDOWS

    @property
    def wakes(self) -> bool:
        """Whether the PC is woken."""
        return self.host is not None and self.answers.get("start") == _WAKE

    @property
    def current(self) -> Task | None:
        """The capture that is watched."""
        if self._watched is not None:
            self._current = self.snapshot.task(self._watched) or self._current
        return self._current

    def newest(self, image_name: str) -> Any:
        """The newest version of an image, in any case of its name."""
        found = (v for v in self.snapshot.versions if v.image_name.lower() == image_name.lower())
        return max(found, key=lambda version: version.number, default=None)

    def becomes(self, image_name: str) -> str:
        """What the capture will be, in words."""
        version = self.newest(image_name)
        if not image_name:
            return ""
        if version is None:
            return _("{image}, a new image -> v1").format(image=image_name)
        return _("{image} (now v{old}, {size}) -> v{new}").format(
            image=version.image_name, old=version.number, size=words.size(version.used_bytes), new=version.number + 1
        )

    def order(self) -> None:
        """Give the order, and watch."""
        host, answers, sealed, wake = self.host, dict(self.answers), self.sealed, self.wakes
        now = self.console.clock()

        def work(store: Store) -> Task:
            return store.tasks.capture(
                host, answers["image"], sealed=sealed, after=AfterTask(answers["after"]), wake=wake, now=now
            )

        def detail(task: Task) -> str:
            return f"task {task.id}: {task.host_name or 'the next unknown PC'} as {task.image_name}"

        self.session.do("capture", detail, work, then=self.ordered_as)

    def ordered_as(self, task: Task) -> None:
        """The order was given."""
        self.ordered()
        self._current = task
        self.call_later(self.follow, task.id)

    async def follow(self, task_id: int) -> None:
        """Show how far a capture is."""
        self._watched = task_id
        self._current = self.snapshot.task(task_id) or (
            self._current if self._current and self._current.id == task_id else None
        )
        await self.turn_to(WatchPage.NAME)

    def deploy(self, version_id: str) -> None:
        """Go on with a deploy of what was captured."""
        self.dismiss(None)
        self.console.open_job("deploy", (), version_id)
