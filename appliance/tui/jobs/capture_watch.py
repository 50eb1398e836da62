"""A capture as it happens, step by step, and what to do at its end."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar

from textual.widget import Widget

from appliance.events import TaskState
from appliance.model import Task, TaskEvent
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs import life
from appliance.tui.jobs.capture_job import Capturing
from appliance.tui.jobs.choose import paragraphs
from appliance.tui.jobs.steps import Page
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text


class WatchPage(Page[Capturing]):
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

    def __init__(self, job: Capturing) -> None:
        super().__init__(job)
        self._state: TaskState | None = None
        self._verifying: datetime | None = None

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="life")

    def opened(self) -> None:
        self._state = None
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
        if self.job.page is self and self.job.is_there:
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
