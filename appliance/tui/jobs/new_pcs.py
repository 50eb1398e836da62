"""Deploy to new PCs: for some minutes every unknown PC that boots is named and shown, then confirmed once for all.

Their tasks are held by the store until the order is released; giving up dismisses them.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from textual.widget import Widget

from appliance.errors import ApplianceError
from appliance.events import AfterTask, BootStage, TaskState
from appliance.host_fields import name_from_pattern
from appliance.model import Inventory, NewPcOrder, Task
from appliance.store import Store
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.jobs import orders, progress
from appliance.tui.jobs.choose import Paragraphs, VersionPage, VersionRow, paragraphs, selected_version
from appliance.tui.jobs.deploy_job import ALONE, CAST, whole
from appliance.tui.jobs.orders import Way
from appliance.tui.jobs.steps import JobScreen, Page
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.forms import CHOICE, Field, FormRows
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text
from appliance.tui.widgets.rowlist import Column, RowList

_PREVIEW = 4  # names shown of a pattern
_MINUTES = "30"
_ON_THE_WAY = timedelta(minutes=3)  # how long an unknown PC that came no further is thought to be booting


class WhichImage(VersionPage["NewPcsJob"]):
    """See `VersionPage`."""

    def under_way(self, snapshot: Snapshot) -> list[VersionRow]:
        rows = []
        for order in snapshot.orders:
            held = len(held_of(snapshot, order.id))
            if is_open(order, snapshot) or held:
                text = _("{taken} of {wanted} came").format(taken=order.taken, wanted=order.wanted)
                if held:
                    text += ", " + _("{n} to confirm").format(n=held)
                name = f"▸ {snapshot.version_name(order.version_id)}  {order.pattern}"
                rows.append(VersionRow((order.id,), name, text))
        return rows

    def answer(self) -> str:
        order = self.job.current
        return super().answer() if order is None else self.snapshot.version_name(order.version_id)

    async def take_up(self, key: Any) -> None:
        await self.job.follow(key[0])


class Names(Page["NewPcsJob"]):
    """Answers: `pattern` and `room`."""

    NAME = "names"
    TITLE = N_("Which names, which room?")
    ABOUT = N_("A pattern such as LAB1-{nn}: the number counts up, with as many digits as there are n.")

    def widgets(self) -> Iterable[Widget]:
        rooms = (("", _("none")), *((room.name, room.name) for room in self.snapshot.rooms))
        pattern = self.answers.get("pattern", self.console.settings.tasks.name_pattern)
        yield FormRows(
            [
                Field("pattern", _("Names"), value=pattern, hint=_("For example: LAB1-{nn}"), check=self._check),
                Field("room", _("Room"), CHOICE, self.answers.get("room", ""), choices=rooms),
            ]
        )
        yield Paragraphs(id="preview")

    def opened(self) -> None:
        self._preview(self.answers.get("pattern", self.console.settings.tasks.name_pattern))

    def keep(self) -> None:
        self.answers.update(self.job.query_one(FormRows).values)

    def _check(self, pattern: str) -> str:
        self.job.names(pattern, 1)
        return ""

    def changed(self, name: str, value: str | bool) -> None:
        if name == "pattern":
            self._preview(str(value))

    def _preview(self, pattern: str) -> None:
        try:
            text = _("The next names: {names} ...").format(names=", ".join(self.job.names(pattern.strip(), _PREVIEW)))
            role = "strong"
        except ApplianceError as error:
            text, role = sentences.explain(error), "bad"
        self.job.query_one("#preview", Paragraphs).tell(paragraphs([text], self.job.size.width, role))

    def answer(self) -> str:
        order = self.job.current
        pattern, room = self.answers.get("pattern", ""), self.answers.get("room")
        if order is not None:
            pattern, room = order.pattern, order.room
        return str(pattern) + (", " + _("room {room}").format(room=room) if room else "")


class HowMany(Page["NewPcsJob"]):
    """Answers: `wanted`, `minutes`, `way`, `after`."""

    NAME = "many"
    TITLE = N_("How many, how long?")
    ABOUT = N_("The order takes so many unknown PCs at most, and none any more when its minutes are over.")

    def widgets(self) -> Iterable[Widget]:
        answers = self.answers
        ways = ((CAST, _("by cast: once for all")), (ALONE, _("each PC by itself")))
        after = tuple((str(each), _(words.AFTER[each])) for each in AfterTask)
        yield FormRows(
            [
                Field("wanted", _("New PCs at most"), value=answers.get("wanted", "20"), check=whole(1, 10_000)),
                Field("minutes", _("For minutes"), value=answers.get("minutes", _MINUTES), check=whole(1, 10_080)),
                Field("way", _("The image is sent"), CHOICE, answers.get("way", CAST), choices=ways),
                Field("after", _("Afterwards they will"), CHOICE, answers.get("after", "reboot"), choices=after),
            ]
        )

    def keep(self) -> None:
        self.answers.update(self.job.query_one(FormRows).values)

    def answer(self) -> str:
        if "wanted" not in self.answers or not self.answers["wanted"].isdecimal():
            return words.pcs(self.job.current.wanted) if self.job.current is not None else ""
        text = _("{pcs}, {minutes} minutes, {way}")
        way = _("by cast") if self.answers["way"] == CAST else _("each by itself")
        return text.format(pcs=words.pcs(int(self.answers["wanted"])), minutes=self.answers["minutes"], way=way)


class Go(Page["NewPcsJob"]):
    """Says it all once more; Enter orders."""

    NAME = "go"
    TITLE = N_("All right?")
    ABOUT = N_("What will happen. No disk is written before you have confirmed the PCs that came.")
    NEXT = N_("Begin")

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="summary")

    def opened(self) -> None:
        self.job.set_focus(self.job.query_one("#summary", Text))

    def show(self, snapshot: Snapshot) -> None:
        answers = self.answers
        text = _("For {minutes} minutes, up to {pcs} that this box does not know get a name from {pattern}.")
        told = [
            text.format(minutes=answers["minutes"], pcs=words.pcs(int(answers["wanted"])), pattern=answers["pattern"]),
            _("They wait in the agent and are shown here one by one. Nothing is written before you confirm them."),
            _("Then everything on their disks is lost, overwritten by {image}.").format(
                image=self.job.named("image").answer()
            ),
            "",
            _("Enter begins. Then start the PCs from their network cards, in the order of the names."),
        ]
        self.job.query_one("#summary", Text).put(paragraphs(told, self.job.size.width))

    async def enter(self) -> None:
        self.job.order()


class Arrivals(Page["NewPcsJob"]):
    """The PCs as they come; confirmed once for all, or given up."""

    NAME = "arrivals"
    TITLE = N_("Who has come?")
    ABOUT = N_(
        "New PCs appear as they boot. Enter confirms all that are held, by their number; what comes later is confirmed"
        " again. x gives up: no more PCs are taken, and those that are held are not written."
    )
    LIVE = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        *keys.take("open"),
        keys.named("remove", N_("Give up"), N_("Take no more PCs, and write none of those that are held")),
        keys.named("log", N_("Log"), N_("The steps of the PC at the cursor, and its log")),
    )

    def __init__(self, job: NewPcsJob) -> None:
        super().__init__(job)
        self._models: dict[int, str] = {}
        self._asked: tuple[object, ...] = ()
        self._tasks: list[Task] = []

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="sums")
        name, state, bar, *rest = progress.columns(self._what)
        mac = Column[Task]("MAC", self._mac, 17, rank=0)
        yield RowList[Task](
            [name, mac, state, dataclasses.replace(bar, rank=1), *rest],  # in 80 columns the words have the percent
            lambda task: task.id,
            empty=N_("None has come yet. Start the PCs from their network cards."),
            id="choices",
        )

    def opened(self) -> None:
        head = self.job.query_one("#sums", Text)
        head.can_focus = False
        head.styles.height = 3
        self._asked = ()
        self.job.set_focus(self._list)

    @property
    def _list(self) -> RowList[Task]:
        return self.job.query_one("#choices", RowList)

    def main_list(self) -> RowList[Any]:
        return self._list

    def _mac(self, task: Task) -> str:
        host = self.snapshot.host_by_id.get(task.host_id or 0)
        return " ".join(host.macs[:1]) if host is not None else ""

    def _what(self, task: Task) -> str:
        share = f"{words.percent(words.fraction(task)).strip()}  " if task.state is TaskState.RUNNING else ""
        return share + (progress.in_words(task) or self._models.get(task.host_id or 0, ""))

    def held(self) -> list[Task]:
        """Those that wait for the confirmation."""
        return [task for task in self._tasks if task.is_held]

    def own_keys(self) -> list[Key]:
        order = self.job.current
        going = order is not None and (is_open(order, self.snapshot) or bool(self.held()))
        return [key for key in self.KEYS if key.name != "remove" or going]

    def next_label(self) -> str:
        return N_("Confirm") if self.held() else ""

    def show(self, snapshot: Snapshot) -> None:
        order = self.job.current
        if order is None:
            return
        seen = (snapshot.open_tasks, snapshot.ended_tasks, snapshot.hosts)
        if not all(a is b for a, b in zip(seen, self._asked or (None,) * 3, strict=True)):
            self._asked = seen
            found = [t for t in (*snapshot.open_tasks, *snapshot.ended_tasks) if t.order_id == order.id]
            self._tasks = sorted(found, key=lambda task: task.id)
            self._ask_models()
            self.job.renew_frame()
        self.job.query_one("#sums", Text).put(self._head(snapshot, order))
        self._list.put(self._tasks)

    def _head(self, snapshot: Snapshot, order: NewPcOrder) -> list[Line]:
        held = len(self.held())
        text = _("{taken} of {wanted} PCs have come as {pattern}, {image}").format(
            taken=order.taken,
            wanted=order.wanted,
            pattern=order.pattern,
            image=snapshot.version_name(order.version_id),
        )
        lines: list[Line] = [((f" {text}", "strong"), (f"  {self._until(snapshot, order)}", "dim"))]
        if held:
            told = ngettext("{n} PC waits for your confirmation: Enter.", "{n} PCs wait for it: Enter.", held)
            told = told.format(n=words.number(held))
            return [*lines, ((f" {told}", "warn"),), self._coming(snapshot)]
        if self._tasks:
            count = progress.count_line(self._tasks, len(self._tasks))
            return [*lines, count, progress.sum_line(snapshot, self._tasks, self.job.size.width)]
        return [*lines, self._coming(snapshot), EMPTY_LINE]

    def _until(self, snapshot: Snapshot, order: NewPcOrder) -> str:
        if order.closed is not None:
            return sentences.translate(order.why) or _("closed")
        if order.until is None:
            return ""
        left = (order.until - snapshot.at).total_seconds()
        return _("{time} left").format(time=words.duration(left)) if left > 0 else _("its time is over")

    def _coming(self, snapshot: Snapshot) -> Line:
        """Unknown PCs that are booting now and are not in the list yet."""
        coming = [
            sighting
            for sighting in snapshot.sightings
            if not sighting.host_name
            and sighting.stage not in (BootStage.LOCAL, BootStage.MENU, BootStage.REFUSED)
            and timedelta() <= snapshot.at - sighting.at < _ON_THE_WAY
        ]
        if not coming:
            return EMPTY_LINE
        text = ", ".join(f"{sighting.mac} {words.stage(sighting.stage)}" for sighting in coming[:3])
        return ((" " + _("On the way: {pcs}").format(pcs=text), "busy"),)

    def _ask_models(self) -> None:
        wanted = [task.host_id for task in self._tasks if task.host_id and task.host_id not in self._models]
        if wanted:
            self.session.fetch(lambda store: _models(store, wanted), self._found, group="job-models")

    def _found(self, models: dict[int, str]) -> None:
        self._models.update(models)
        if self.job.page is self and self.job.is_there:
            self._list.renew()

    async def row_opened(self, row: Task) -> None:
        if self.held():
            await self.enter()
        else:
            self.do_log()

    async def enter(self) -> None:
        held, order = self.held(), self.job.current
        if not held or order is None:
            return
        lines = [
            _("Everything on the disks of these PCs is lost, overwritten by {image}:").format(
                image=self.snapshot.version_name(order.version_id)
            ),
            _some([task.host_name for task in held]),
        ]
        title = _("Deploy to {pcs}?").format(pcs=words.pcs(len(held)))

        def sure(yes: bool | None) -> None:
            if yes:
                self._release(order, [task.id for task in held])

        self.job.app.push_screen(Confirm(title, lines, word=str(len(held))), sure)

    def _release(self, order: NewPcOrder, shown: Sequence[int]) -> None:
        """Release, unless other PCs are held than the operator has counted."""

        def work(store: Store) -> list[Task]:
            return store.tasks.release(order.id, shown=shown, now=self.snapshot.at)

        self.session.do(
            "order release",
            lambda tasks: f"order {order.id}: {len(tasks)} PCs",
            work,
            said=lambda tasks: _("{pcs} confirmed.").format(pcs=words.pcs(len(tasks))),
        )

    def do_remove(self) -> None:
        order, held = self.job.current, self.held()
        if order is None:
            return
        lines = [_("No more PCs are taken.")]
        if held:
            lines.append(_("These are not written; they stay known under their names:"))
            lines.append(_some([task.host_name for task in held]))

        def work(store: Store) -> list[Task]:
            if any(each.id == order.id for each in store.tasks.orders(now=self.snapshot.at)):
                store.tasks.cancel_order(order.id, now=self.snapshot.at)
            return store.tasks.dismiss(order.id, now=self.snapshot.at)

        def sure(yes: bool | None) -> None:
            if yes:
                self.session.do(
                    "order give up",
                    lambda tasks: f"order {order.id}: {len(tasks)} PCs dismissed",
                    work,
                    said=_("Given up."),
                )

        self.job.app.push_screen(Confirm(_("Give this order up?"), lines, danger=bool(held)), sure)

    def do_log(self) -> None:
        from appliance.tui.screens.tasks import TaskPage

        row = self._list.row
        if row is not None:
            self.job.app.push_screen(TaskPage(row.id, at_log=True))


def held_of(snapshot: Snapshot, order_id: int) -> list[Task]:
    """The order's tasks that wait for the confirmation."""
    return [task for task in snapshot.open_tasks if task.is_held and task.order_id == order_id]


def is_open(order: NewPcOrder, snapshot: Snapshot) -> bool:
    """Whether it still takes PCs."""
    return order.closed is None and (order.until is None or order.until > snapshot.at)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return shown if len(names) <= 12 else f"{shown} {_('and {n} more').format(n=words.number(len(names) - 12))}"


def _models(store: Store, hosts: Sequence[int]) -> dict[int, str]:
    found = {number: store.hosts.inventory(number) for number in hosts}
    return {number: model_of(inventory) for number, inventory in found.items() if inventory is not None}


def model_of(inventory: Inventory) -> str:
    """What a PC says it is."""
    return " ".join(filter(None, (str(inventory.data.get(name) or "").strip() for name in ("vendor", "model"))))


class NewPcsJob(JobScreen):
    """See the module. With an order's number it shows who has come for that."""

    TITLE = N_("Deploy to new PCs")
    NAME = "new_pcs"
    PAGES: ClassVar[tuple[type[Page[Any]], ...]] = (WhichImage, Names, HowMany, Go, Arrivals)

    def __init__(self, order_id: int | None = None) -> None:
        super().__init__()
        self._number = order_id

    def begin(self) -> str:
        if self._number is not None:
            return Arrivals.NAME
        version = selected_version(self.console.base_screen)
        if version is not None:
            self.answers["version"] = version.id
        return WhichImage.NAME

    def takes_up(self) -> bool:
        return self._number is None

    @property
    def current(self) -> NewPcOrder | None:
        """The order that is watched."""
        return next((order for order in self.snapshot.orders if order.id == self._number), None)

    def names(self, pattern: str, count: int) -> list[str]:
        """The next names of a pattern. Raises `UsageError`."""
        taken = {host.name.lower() for host in self.snapshot.hosts}
        found: list[str] = []
        for _each in range(count):
            found.append(name_from_pattern(pattern, taken))
            taken.add(found[-1].lower())
        return found

    def order(self) -> None:
        """Give the order, and watch."""
        answers, actor, settings = dict(self.answers), self.session.actor, self.console.settings
        wanted, minutes = int(answers["wanted"]), int(answers["minutes"])
        now = self.console.clock()
        way = Way(cast=answers["way"] == CAST, after=AfterTask(answers["after"]), now=now)
        until = now + timedelta(minutes=minutes)
        name = self.named("image").answer()

        def work(store: Store) -> NewPcOrder:
            return orders.order_new_pcs(
                store,
                answers["version"],
                wanted,
                answers["pattern"].strip(),
                way,
                settings.cast.groups,
                actor,
                until=until,
                room=answers.get("room", ""),
            )

        self.session.do(
            "deploy",
            lambda order: f"order {order.id}: {name} onto up to {wanted} new PCs as {order.pattern}",
            work,
            then=self._ordered,
        )

    def _ordered(self, order: NewPcOrder) -> None:
        self.ordered()
        self.call_later(self.follow, order.id)

    async def follow(self, order_id: int) -> None:
        """Show who has come for an order."""
        self._number = order_id
        await asyncio.to_thread(self.console.model.look)
        await self.turn_to(Arrivals.NAME)
