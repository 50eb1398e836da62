"""How a deploy goes: all its PCs, failed ones on top."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from textual.widget import Widget

from appliance.events import TaskState
from appliance.model import Task
from appliance.store import Store
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs import progress
from appliance.tui.jobs.deploy_job import Deploying
from appliance.tui.jobs.steps import Page
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text
from appliance.tui.widgets.rowlist import RowList


class Watch(Page[Deploying]):
    """How it goes with all of them."""

    NAME = "watch"
    TITLE = N_("How it goes")
    ABOUT = N_(
        "All PCs of this deploy: failed ones on top, with the reason. You may leave: it goes on, and d shows it again"
        " among what is under way. Enter shows a PC's task with its log."
    )
    LIVE = True
    KEYS: ClassVar[tuple[Key, ...]] = (
        *keys.take("open", "mark"),
        keys.named("stop", N_("Cancel"), N_("Cancel the chosen tasks, or all without marks")),
        keys.named("again", N_("Again"), N_("Do the failed ones once more")),
    )

    def __init__(self, job: Deploying) -> None:
        super().__init__(job)
        self._seen: tuple[object, ...] = ()
        self._rows: list[Task] = []

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="sums")
        yield RowList[Task](
            progress.columns(), lambda task: task.id, empty=N_("No task yet."), marks=True, id="choices"
        )

    def opened(self) -> None:
        head = self.job.query_one("#sums", Text)
        head.can_focus = False
        head.styles.height = 3
        self._seen = ()
        self.job.set_focus(self._list)

    @property
    def _list(self) -> RowList[Task]:
        return self.job.query_one("#choices", RowList)

    def main_list(self) -> RowList[Any]:
        return self._list

    def next_label(self) -> str:
        return N_("Its log")

    def answer(self) -> str:
        return ""

    def show(self, snapshot: Snapshot) -> None:
        tasks = self.job.tasks
        width = self.job.size.width
        seen = (snapshot.open_tasks, snapshot.ended_tasks, self.job.numbers)
        if not all(a is b for a, b in zip(seen, self._seen or (None,) * 3, strict=True)):
            self._seen = seen
            self._rows = progress.ordered(tasks)
        self._list.put(self._rows)
        count, total = progress.count_line(tasks, len(self.job.numbers)), progress.sum_line(snapshot, tasks, width)
        self.job.query_one("#sums", Text).put([count, total, self._note(snapshot, tasks)])

    def moved(self) -> None:
        self.show(self.snapshot)

    def _note(self, snapshot: Snapshot, tasks: Sequence[Task]) -> Line:
        """What to know just now: why the PC at the cursor failed, before anything about all of them."""
        if self.job.refused:
            host, error = self.job.refused[0]
            text = f"{host}: {sentences.explain(error)}"
            return ((f" {clean(text)}", "bad"),)
        row = self._list.row
        if row is not None and row.error:
            text = f"{row.host_name}: {sentences.translate(row.error)} {sentences.translate(row.remedy)}"
            return ((f" {clean(text)}", "bad"),)
        later = next((task for task in tasks if task.state is TaskState.SCHEDULED and task.start_at), None)
        if later is not None:
            text = _("They begin {time}.").format(time=words.moment(later.start_at, snapshot.at))
            return ((f" {text}", ""),)
        waiting = sum(task.state is TaskState.WAITING for task in tasks)
        if waiting:
            text = _("{pcs} not seen yet: start them from the network card.").format(pcs=words.pcs(waiting))
            return ((f" {text}", "warn"),)
        if tasks and all(task.state.is_final for task in tasks):
            return ((" " + _("All have ended."), "strong"),)
        return EMPTY_LINE

    async def row_opened(self, row: Task) -> None:
        from appliance.tui.screens.tasks import TaskPage

        self.job.app.push_screen(TaskPage(row.id))

    async def enter(self) -> None:
        """Without a row there is nothing to show."""

    def do_stop(self) -> None:
        chosen = self._list.chosen if self._list.marked else self.job.tasks
        tasks = [task for task in chosen if not task.state.is_final]
        if not tasks:
            self.console.say(_("None of them is unfinished."))
            return
        lines = [_("A PC at work stops where it is: a half-written disk does not start.")]
        title = _("Cancel the deploy of {pcs}?").format(pcs=words.pcs(len(tasks)))

        def sure(yes: bool | None) -> None:
            if yes:
                self.session.do_each("task cancel", tasks, _detail, lambda store, task: store.tasks.cancel(task.id))

        self.job.app.push_screen(Confirm(title, lines, word=str(len(tasks))), sure)

    def do_again(self) -> None:
        failed = [task for task in self.job.tasks if task.state in (TaskState.FAILED, TaskState.CANCELLED)]
        free = [task for task in failed if task.host_id not in self.snapshot.task_of_host]
        if not free:
            self.console.say(_("None of them has failed."))
            return
        lines = [_("The whole disks of these PCs are overwritten."), ", ".join(task.host_name for task in free[:12])]
        title = _("Deploy to {pcs} once more?").format(pcs=words.pcs(len(free)))

        def sure(yes: bool | None) -> None:
            if yes:
                self.session.do_each("task retry", free, _detail, self._retry)

        self.job.app.push_screen(Confirm(title, lines, word=str(len(free))), sure)

    def _retry(self, store: Store, task: Task) -> None:
        made = store.tasks.retry(task.id)
        self.job.numbers = (*(number for number in self.job.numbers if number != task.id), made.id)


def _detail(task: Task) -> str:
    return f"{task.id} {task.kind} {task.host_name}".rstrip()
