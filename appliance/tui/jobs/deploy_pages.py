"""The questions of a deploy: which image, which PCs, how, when, and what is lost."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, ClassVar

from textual.events import Key as KeyEvent
from textual.widget import Widget

from appliance.errors import ApplianceError
from appliance.events import AfterTask, TaskKind, TaskState
from appliance.model import Host, Task
from appliance.store import Store
from appliance.store.hosts import natural
from appliance.tui import child, keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs import lost, progress
from appliance.tui.jobs.choose import (
    ListPage,
    Paragraphs,
    VersionPage,
    VersionRow,
    paragraphs,
)
from appliance.tui.jobs.deploy_job import ALONE, CAST, LATER, NOW, Deploying, whole
from appliance.tui.jobs.steps import Page
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Item, Pick
from appliance.tui.widgets.forms import CHOICE, FLAG, Field, FormRows
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.when import start_time


class WhichImage(VersionPage[Deploying]):
    """See `VersionPage`."""

    def under_way(self, snapshot: Snapshot) -> list[VersionRow]:
        found: dict[tuple[int, ...], list[Task]] = {}
        for task in snapshot.open_tasks:
            if task.kind is TaskKind.DEPLOY and task.order_id is None:
                batch = progress.together(snapshot, task)
                found[tuple(sorted(each.id for each in batch))] = batch
        rows = []
        for numbers, batch in found.items():
            done = sum(each.state is TaskState.DONE for each in batch)
            text = _("{done} of {pcs} done").format(done=done, pcs=words.pcs(len(batch)))
            rows.append(VersionRow(numbers, f"▸ {snapshot.task_target(batch[0])}", text))
        return rows

    def answer(self) -> str:
        tasks = self.job.tasks
        return self.snapshot.task_target(tasks[0]) if tasks else super().answer()

    async def take_up(self, key: Any) -> None:
        await self.job.follow(key)


class WhichPcs(ListPage[Deploying]):
    """Answers: `hosts`, their numbers."""

    NAME = "hosts"
    TITLE = N_("Onto which PCs?")
    ABOUT = N_("Space marks a PC, g a whole room, * all that are shown; / finds. Enter goes on with the marked ones.")
    EMPTY = N_("There is no host yet. New PCs are deployed with n, or add hosts on the screen Hosts.")
    MARKS = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        *keys.take("mark", "mark_all"),
        keys.named("group", N_("Room"), N_("Mark all PCs of a room")),
    )

    def columns(self) -> list[Column[Any]]:
        return [
            Column[Host](N_("PC"), lambda host: host.name, 14, rank=0, most=24, sort=lambda host: natural(host.name)),
            Column[Host](N_("Room"), lambda host: host.room, 10, rank=1, most=16),
            Column[Host](N_("Holds"), self._holds, 16, rank=1, most=24),
            Column[Host](N_("Now"), self._now, 20, rank=0, most=30, role=self._role),
            Column[Host](N_("Seen"), self._seen, 7, rank=2, right=True),
        ]

    def _holds(self, host: Host) -> str:
        return self.snapshot.version_name(host.version_id) or "-"

    def _now(self, host: Host) -> str:
        task = self.snapshot.task_of_host.get(host.id)
        if task is not None:
            return f"{_(words.KINDS[task.kind])} {words.state(task)}"
        return _("sealed") if host.sealed else words.stage(host.stage)

    def _role(self, host: Host) -> str:
        return "warn" if host.sealed or host.id in self.snapshot.task_of_host else ""

    def _seen(self, host: Host) -> str:
        return words.ago(host.last_seen, self.snapshot.at)

    def key_of(self, row: Host) -> Hashable:
        return row.id

    def rows(self, snapshot: Snapshot) -> Sequence[Host]:
        return snapshot.hosts

    def said(self, snapshot: Snapshot, width: int) -> Sequence[Line]:
        marked = len(self.list.marked)
        if marked:
            return [((" " + _("{pcs} marked.").format(pcs=words.pcs(marked)), "strong"),)]
        return [((" " + _("Space marks, g takes a whole room. Without marks: the PC at the cursor."), "dim"),)]

    def opened(self) -> None:
        self.list.marked = set(self.answers.get("hosts", ()))
        super().opened()
        self.list.renew()

    def moved(self) -> None:
        self.show(self.snapshot)

    def keep(self) -> None:
        if self.list.marked:
            self.answers["hosts"] = [host.id for host in self.list.chosen]

    def answer(self) -> str:
        hosts = self.job.hosts
        if not hosts and self.job.numbers:
            return words.pcs(len(self.job.numbers))
        names = ", ".join(host.name for host in hosts[:3]) + (" ..." if len(hosts) > 3 else "")
        rooms = {host.room for host in hosts}
        room = next(iter(rooms)) if len(rooms) == 1 else ""
        if room and len(hosts) == sum(host.room == room for host in self.snapshot.hosts):
            names = _("room {room}").format(room=room)
        return _("{pcs}: {names}").format(pcs=words.pcs(len(hosts)), names=names) if hosts else ""

    async def row_opened(self, row: Host) -> None:
        self.answers["hosts"] = [host.id for host in self.list.chosen]
        await self.job.forward()

    async def enter(self) -> None:
        """No row, no PC."""

    def do_group(self) -> None:
        rooms = [Item(room.name, room.name, words.pcs(room.hosts)) for room in self.snapshot.rooms]

        def chosen(name: str | None) -> None:
            if name is not None:
                self.list.marked |= {host.id for host in self.snapshot.hosts if host.room == name}
                self.list.renew()
                self.moved()

        self.job.app.push_screen(Pick(_("Which room?"), rooms, empty=N_("There is no room yet.")), chosen)


class How(Page[Deploying]):
    """Answers: `way` (cast or alone) and `wait_for`."""

    NAME = "how"
    TITLE = N_("All at once?")
    ABOUT = N_(
        "A cast sends the image once for all PCs. PCs may come late or leave; with a number to wait for it begins when"
        " so many are there, or some minutes after the first."
    )

    def widgets(self) -> Iterable[Widget]:
        count = len(self.job.hosts)
        usual = CAST if count > 1 else ALONE
        ways = ((CAST, _("by cast: once for all")), (ALONE, _("each PC by itself")))
        yield FormRows(
            [
                Field("way", _("The image is sent"), CHOICE, self.answers.get("way", usual), choices=ways),
                Field(
                    "wait_for",
                    _("Cast waits for PCs"),
                    value=self.answers.get("wait_for", "0"),
                    hint=_("0: it begins with the first PC. Else: so many PCs, or {n} s after the first.").format(
                        n=self.console.settings.cast.wait_s
                    ),
                    check=whole(0, max(1, count)),
                ),
            ]
        )
        yield Paragraphs(id="joins")

    def opened(self) -> None:
        cast = next(
            (c for c in self.snapshot.casts if c.ended is None and c.version_id == self.answers.get("version")), None
        )
        told = [_("Cast {n} sends this image already: the PCs join it.").format(n=cast.id)] if cast else []
        self.job.query_one("#joins", Paragraphs).tell(paragraphs(told, self.job.size.width))

    def keep(self) -> None:
        self.answers.update(self.job.query_one(FormRows).values)

    def answer(self) -> str:
        if "way" not in self.answers and self.job.tasks:
            number = self.job.tasks[0].cast_id
            return _("each by itself") if number is None else _("cast {n}").format(n=number)
        if self.answers.get("way") != CAST:
            return _("each by itself") if "way" in self.answers else ""
        wait = int(self.answers.get("wait_for") or 0)
        return _("by cast, waits for {pcs}").format(pcs=words.pcs(wait)) if wait else _("by cast")


class When(Page[Deploying]):
    """Answers: `when`, `at`, `wake`, `after`."""

    NAME = "when"
    TITLE = N_("When, and then?")
    ABOUT = N_("Now or at a time of this box's clock; whether the PCs are woken; and what they do when they are done.")

    def widgets(self) -> Iterable[Widget]:
        after = tuple((str(each), _(words.AFTER[each])) for each in AfterTask)
        times = ((NOW, _("now")), (LATER, _("at a time")))
        yield FormRows(
            [
                Field("when", _("Begin"), CHOICE, self.answers.get("when", NOW), choices=times),
                Field(
                    "at",
                    _("Time"),
                    value=self.answers.get("at", ""),
                    hint=_("22:30, or 2026-11-30 22:30. It counts when the line above says: at a time."),
                ),
                Field(
                    "wake",
                    _("Wake the PCs"),
                    FLAG,
                    self.answers.get("wake", False),
                    hint=_("By Wake-on-LAN, when it begins. Without it, start them from the network card."),
                ),
                Field("after", _("Afterwards they will"), CHOICE, self.answers.get("after", "reboot"), choices=after),
            ]
        )

    def keep(self) -> None:
        self.answers.update(self.job.query_one(FormRows).values)

    def changed(self, name: str, value: str | bool) -> None:
        """Who types a time means it."""
        rows = self.job.query_one(FormRows)
        if name == "at" and value and rows.values["when"] == NOW:
            rows.set_value("when", LATER)

    async def submitted(self, values: dict[str, Any]) -> None:
        if values["when"] == LATER:
            try:
                start_time(values["at"].strip(), self.console.clock().astimezone())
            except ApplianceError as error:
                self.job.query_one(FormRows).complain({"at": sentences.explain(error)})
                return
        await super().submitted(values)

    def answer(self) -> str:
        if "when" not in self.answers:
            return ""
        when = self.answers["at"] if self.answers["when"] == LATER else _("now")
        woken = ", " + _("woken") if self.answers.get("wake") else ""
        return f"{when}{woken}, {_(words.AFTER[AfterTask(self.answers['after'])])}"


class Lost(Page[Deploying]):
    """What is overwritten; the number of PCs has to be typed."""

    NAME = "lost"
    TITLE = N_("What is lost?")
    ABOUT = N_(
        "Everything on the disks of these PCs is lost. PCs that are sealed or busy take no part. Type the number of PCs"
        " to go ahead; PgUp and PgDn move the list."
    )
    NEXT = N_("Deploy")

    def __init__(self, job: Deploying) -> None:
        super().__init__(job)
        self._needed = 0
        self._inventories: dict[int, Any] = {}

    def widgets(self) -> Iterable[Widget]:
        yield Paragraphs(id="warning", gap=False)
        columns = [
            Column[lost.Target](N_("PC"), lambda row: row.host.name, 14, rank=0, most=18),
            Column[lost.Target](N_("Lost"), lambda row: row.holds, 14, rank=0, most=18),
            Column[lost.Target](N_("Seen"), lambda row: row.seen, 6, rank=2, right=True),
            Column[lost.Target](N_("Disk"), lambda row: row.disk, 14, rank=1, most=26),
            Column[lost.Target](
                N_("Remark"),
                lambda row: row.remark,
                22,
                rank=0,
                most=60,
                role=_remark_role,
            ),
        ]
        yield RowList[lost.Target](columns, lambda row: row.host.id, empty=N_("Nobody."), id="targets")
        yield FormRows([Field("word", _("How many PCs?"), check=self._typed)])

    def opened(self) -> None:
        self._list.can_focus = False
        self._needed = lost.minimum_bytes(self.job.version, None)
        hosts = self.job.hosts
        self.session.fetch(lambda store: _inventories(store, hosts), self._found, group="job-inventories")
        self.job.background(self._ask, "job-manifest")

    @property
    def _list(self) -> RowList[lost.Target]:
        return self.job.query_one("#targets", RowList)

    def _found(self, inventories: dict[int, Any]) -> None:
        self._inventories = inventories
        self._again()

    async def _ask(self) -> None:
        """How small a disk the image fits on stands in its manifest."""
        version = self.job.version
        if version is None:
            return
        try:
            told = await child.ask(self.console, "image", "show", f"{version.image_name}@{version.number}", "--json")
        except ApplianceError:
            return  # as large as the master's disk, then
        self._needed = lost.minimum_bytes(version, told)
        self._again()

    def _again(self) -> None:
        if self.job.page is self and self.job.is_there:
            self.job.show(self.snapshot)

    def targets(self) -> list[lost.Target]:
        """Every chosen PC; those that cannot take part last."""
        found = lost.targets(self.snapshot, self.job.hosts, self._inventories, self._needed)
        return sorted(found, key=lambda target: bool(target.excluded))

    def show(self, snapshot: Snapshot) -> None:
        found = self.targets()
        count = len(lost.taking_part(found))
        text = _("Everything on the disks of {pcs} is lost, overwritten by {image}.")
        told = [text.format(pcs=words.pcs(count), image=self.job.named("image").answer())]
        typed = _("Type {n} below to go ahead.").format(n=count)
        out = len(found) - count
        if not count:
            told = [_("None of these PCs can be deployed; the remarks say why.")]
        elif out:
            told.append(_("{pcs} take no part, see the remarks.").format(pcs=words.pcs(out)) + " " + typed)
        else:
            told.append(typed)
        self.job.query_one("#warning", Paragraphs).tell(paragraphs(told, self.job.size.width, "warn"))
        self._list.put(found)

    def _typed(self, text: str) -> str:
        count = len(lost.taking_part(self.targets()))
        if not count:
            return _("None of these PCs can be deployed; the remarks say why.")
        if text == str(count):
            return ""
        return _("That is not {word}. Nothing was done.").format(word=count)

    def key(self, event: KeyEvent) -> None:
        pages = {"pageup": -1, "pagedown": 1}.get(event.key)
        if pages:
            event.stop()
            self._list.action_page(pages)

    async def submitted(self, values: dict[str, Any]) -> None:
        self.job.order(lost.taking_part(self.targets()))


def _inventories(store: Store, hosts: Sequence[Host]) -> dict[int, Any]:
    found = {host.id: store.hosts.inventory(host.id) for host in hosts}
    return {number: inventory.data for number, inventory in found.items() if inventory is not None}


def _remark_role(target: lost.Target) -> str:
    return "bad" if target.excluded else "warn"
