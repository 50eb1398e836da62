"""Tasks: those at work, those that wait, and those that have ended, with the reason and the remedy of what failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance.events import TaskKind, TaskState
from appliance.model import Task, TaskEvent
from appliance.store import Store
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.keys import Key
from appliance.tui.screens.base import NumberedScreen, OverScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text, wrap
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine, rule

_DETAIL = 6  # lines below the list
_ORDER = {
    TaskState.RUNNING: 0,
    TaskState.VERIFYING: 1,
    TaskState.BOOTING: 2,
    TaskState.WAITING: 3,
    TaskState.SCHEDULED: 4,
}
ALL, OPEN, FAILED = "all", "open", "failed"
VIEWS: tuple[tuple[str, str], ...] = (
    (ALL, N_("all tasks")),
    (OPEN, N_("unfinished tasks")),
    (FAILED, N_("failed tasks")),
)


class TasksScreen(NumberedScreen):
    """See the module."""

    NAME = "tasks"
    ABOUT = N_(
        "What PCs do and did. Unfinished tasks stand on top. Below the list: how far the task at the cursor is, and"
        " for a failed one why, and what to do. Enter shows its whole life and the PC's log."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        *keys.take("open"),
        keys.named("stop", N_("Cancel"), N_("Cancel the chosen tasks")),
        keys.named("again", N_("Again"), N_("Do ended tasks once more: the same PC, the same image")),
        keys.named("start", N_("Start now"), N_("Start scheduled tasks now, before their time")),
        keys.named("watch", N_("Watch"), N_("Watch it step by step, with all that were ordered together")),
        keys.named("log", N_("Log"), N_("The log that its PC wrote")),
        keys.named("show", N_("Which"), N_("Show all, unfinished or failed tasks")),
    )

    def __init__(self) -> None:
        super().__init__()
        self._view = ALL
        self._shown: tuple[Any, ...] = ()
        self._rows: list[Task] = []

    def body(self) -> ComposeResult:
        yield RowList[Task](
            self._columns(),
            lambda task: task.id,
            empty=N_("There is no task. d deploys, c captures."),
            marks=True,
            id="rows",
        )
        yield OneLine(lambda width: rule(width, _(dict(VIEWS)[self._view]), "head"), id="view")
        detail = Text(id="detail")
        detail.can_focus = False
        yield detail

    DEFAULT_CSS = f"TasksScreen > #detail {{ height: {_DETAIL}; }}"

    def _columns(self) -> list[Column[Task]]:
        return [
            Column(
                N_("State"),
                lambda task: f"{words.STATE_SHAPES[task.state]} {words.state(task)}",
                12,
                rank=0,
                most=14,
                role=lambda task: words.STATE_ROLES[task.state],
            ),
            Column(N_("Host"), words.subject, 14, rank=0, most=24),
            Column(N_("Kind"), lambda task: _(words.KINDS[task.kind]), 7, rank=4, most=9),
            Column(N_("Image"), self._target, 12, rank=0, most=30),
            Column(N_("Progress"), _how_far, 16, rank=0, most=40, draw=_progress, sort=words.fraction),
            Column(N_("Rate"), _rate, 10, rank=3, right=True, sort=lambda task: task.rate_bytes_s),
            Column(N_("Left"), _left, 7, rank=2, right=True, sort=lambda task: words.seconds_left(task) or 0.0),
            Column(N_("Since"), self._since, 16, rank=5, sort=_began),
            Column(N_("What"), _what, 20, rank=6, most=60),
            Column(N_("ID"), lambda task: str(task.id), 5, rank=3, right=True, sort=lambda task: task.id),
        ]

    def first_focus(self) -> str:
        return "#rows"

    def main_list(self) -> RowList[Task]:
        return self.query_one("#rows", RowList)

    def go_to(self, kind: str, key: Any) -> None:
        if not self.main_list().go_to(key):
            self._view = ALL
            self.show(self.snapshot)
            self.main_list().go_to(key)

    def retranslated(self) -> None:
        self._shown = ()

    def show(self, snapshot: Snapshot) -> None:
        shown = (snapshot.open_tasks, snapshot.ended_tasks, self._view)
        if not all(a is b for a, b in zip(shown, self._shown or (None,) * 3, strict=True)):
            self._shown = shown
            self._rows = arranged(snapshot, self._view)
        self.main_list().put(self._rows)
        self._show_detail()
        self.query_one("#view", OneLine).renew()

    def on_row_list_moved(self) -> None:
        self._show_detail()

    def _show_detail(self) -> None:
        detail, task = self.query_one("#detail", Text), self.main_list().row
        width = max(20, detail.size.width - 2)
        lines = [] if task is None else detail_lines(self.snapshot, task, width)
        detail.put(lines[: max(_DETAIL, detail.size.height)])

    def _target(self, task: Task) -> str:
        return self.snapshot.task_target(task)

    def _since(self, task: Task) -> str:
        return words.moment(_began(task), self.snapshot.at)

    # -- actions

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        self.console.push_screen(TaskPage(event.row.id))

    def do_log(self) -> None:
        task = self.main_list().row
        if task is not None:
            self.console.push_screen(TaskPage(task.id, at_log=True))

    def do_watch(self) -> None:
        from appliance.tui.jobs.take_up import take_up

        task = self.main_list().row
        if task is not None:
            take_up(self.console, self.snapshot, task)

    def do_show(self) -> None:
        names = [name for name, _title in VIEWS]
        self._view = names[(names.index(self._view) + 1) % len(names)]
        self.show(self.snapshot)

    def do_stop(self) -> None:
        tasks = [task for task in self.main_list().chosen if not task.state.is_final]
        if not tasks:
            self.console.say(_("None of them is unfinished."))
            return
        lines = [self._in_words(task) for task in tasks[:8]]
        if len(tasks) > 8:
            lines.append(_("and {n} more").format(n=len(tasks) - 8))
        lines += ["", _("A PC at work stops where it is: a half-written disk does not start.")]
        word = str(len(tasks)) if any(task.state.is_active for task in tasks) else ""
        title = _("Cancel {tasks}?").format(tasks=count_tasks(len(tasks)))
        self.console.push_screen(Confirm(title, lines, word=word), lambda yes: self._cancel(tasks) if yes else None)

    def _in_words(self, task: Task) -> str:
        return (
            f"{words.subject(task)}  {_(words.KINDS[task.kind])} {self.snapshot.task_target(task)}, {words.state(task)}"
        )

    def _cancel(self, tasks: Sequence[Task]) -> None:
        self._each("task cancel", tasks, lambda store, task: store.tasks.cancel(task.id), N_("Cancelled {tasks}."))

    def do_again(self) -> None:
        tasks = [task for task in self.main_list().chosen if task.state.is_final]
        if not tasks:
            self.console.say(_("None of them has ended."))
            return
        lines = [self._in_words(task) for task in tasks[:8]]
        if len(tasks) > 8:
            lines.append(_("and {n} more").format(n=len(tasks) - 8))
        title = _("Do {tasks} once more?").format(tasks=count_tasks(len(tasks)))

        def sure(yes: bool | None) -> None:
            if yes:
                verb = lambda store, task: store.tasks.retry(task.id)  # noqa: E731
                self._each("task retry", tasks, verb, N_("Ordered {tasks} again."))

        erases = any(task.kind is TaskKind.DEPLOY for task in tasks)
        if erases:
            lines += ["", _("A deploy overwrites the whole disk of its PC.")]
        self.console.push_screen(Confirm(title, lines, word=str(len(tasks)) if erases else "", danger=erases), sure)

    def do_start(self) -> None:
        tasks = [task for task in self.main_list().chosen if task.state is TaskState.SCHEDULED and not task.held]
        if not tasks:
            self.console.say(_("None of them waits for its time."))
            return

        self._each("task start", tasks, lambda store, task: store.tasks.start_now(task.id), N_("Started {tasks}."))

    def _each(self, action: str, tasks: Sequence[Task], verb: Callable[[Store, Task], object], said: str) -> None:
        """Do something to tasks; the marks go when it is done."""

        def done(count: int) -> None:
            self.main_list().unmark()
            if count:
                self.console.say(_(said).format(tasks=count_tasks(count)))

        self.session.do_each(
            action, tasks, lambda task: f"{task.id} {task.kind} {task.host_name}".rstrip(), verb, then=done
        )


def arranged(snapshot: Snapshot, view: str) -> list[Task]:
    """The tasks of a view: those at work first, then those that wait, then ended ones, newest first."""
    ended = snapshot.ended_tasks
    if view == FAILED:
        return [task for task in ended if task.state is TaskState.FAILED]
    opened = sorted(snapshot.open_tasks, key=lambda task: (_ORDER[task.state], task.id))
    return opened if view == OPEN else [*opened, *ended]


def count_tasks(count: int) -> str:
    """`1 task`, `3 tasks`."""
    return ngettext("{n} task", "{n} tasks", count).format(n=words.number(count))


def _began(task: Task) -> datetime:
    found = task.finished or task.started or task.start_at or task.created
    assert found is not None
    return found


def _how_far(task: Task) -> str:
    return words.percent(words.fraction(task)).strip() if task.total_bytes else ""


def _progress(task: Task, width: int) -> Line:
    if task.state is TaskState.FAILED or (not task.total_bytes and not task.state.is_final):
        return ((" " * width, ""),)
    share = words.fraction(task)
    return (*bar(share, width - 6), (f" {words.percent(share)}", ""))


def _rate(task: Task) -> str:
    return words.rate(task.rate_bytes_s) if task.state is TaskState.RUNNING and task.rate_bytes_s else ""


def _what(task: Task) -> str:
    """Why it failed, or what its PC is at."""
    return sentences.translate(task.error or ("" if task.state.is_final else task.phase))


def _left(task: Task) -> str:
    left = words.seconds_left(task)
    return "" if left is None else words.duration(left)


def detail_lines(snapshot: Snapshot, task: Task, width: int) -> list[Line]:
    """A task in some lines: what it does, how far it is, and what is wrong with it."""
    head = f" {words.subject(task)}  {_(words.KINDS[task.kind])} {snapshot.task_target(task)}  "
    lines: list[Line] = [((clean(head), "strong"), (words.state(task), words.STATE_ROLES[task.state]))]
    if task.total_bytes:
        text = _("{done} of {total}").format(done=words.size(task.done_bytes), total=words.size(task.total_bytes))
        lines.append(((f" {text}", ""),))
    if task.state is TaskState.RUNNING and task.phase:
        lines.append(((f" {clean(sentences.translate(task.phase))}", ""),))
    if task.start_at is not None and task.state is TaskState.SCHEDULED:
        text = _("starts {time}").format(time=words.moment(task.start_at, snapshot.at))
        lines.append(((f" {text}" + (_(", wakes the PC") if task.wake else ""), ""),))
    if task.held:
        lines.append(((" " + _("waits for the confirmation of its order"), "warn"),))
    for text, role in ((task.error, "bad"), (task.remedy, "")):
        lines += [((f" {part}", role),) for part in wrap(clean(sentences.translate(text)), width)] if text else []
    return lines


class TaskPage(OverScreen):
    """One task: its facts, its life, and the log of its PC; live while it runs."""

    ABOUT = N_("One task: what it is, its life step by step, and the log that its PC wrote. It goes on while you look.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("log", N_("Log"), N_("To the log that its PC wrote")),
        keys.named("history", N_("Steps"), N_("To its life, step by step")),
        keys.named("follow", N_("Follow"), N_("Keep the newest line in sight, or stop doing so")),
    )

    def __init__(self, task_id: int, *, at_log: bool = False) -> None:
        super().__init__()
        self._number = task_id
        self._known: Task | None = None
        self._events: list[TaskEvent] = []
        self._log = ""
        self._at_log = at_log
        self._follows = False
        self._log_at = 0

    def body(self) -> ComposeResult:
        yield Text(id="page")

    def first_focus(self) -> str:
        return "#page"

    def show(self, snapshot: Snapshot) -> None:
        task = snapshot.task(self._number)
        if task is not None and task is self._known:
            return
        self._known = task or self._known
        self.session.fetch(self._read, self._found, group="task-page")

    def _read(self, store: Store) -> tuple[Task, list[TaskEvent], str]:
        return store.tasks.get(self._number), store.tasks.events(self._number), store.tasks.log(self._number)

    def _found(self, found: tuple[Task, list[TaskEvent], str]) -> None:
        self._known, self._events, self._log = found
        self._draw()

    def retranslated(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._known is None or not self.is_there:
            return
        page = self.query_one("#page", Text)
        width = max(20, page.size.width - 3)
        lines = [EMPTY_LINE, *detail_lines(self.snapshot, self._known, width), EMPTY_LINE]
        lines += facts(self._known)
        lines += [EMPTY_LINE, ((" " + _("Steps"), "title"),)]
        for event in self._events:
            text = clean(sentences.translate(event.text))
            head = f" {words.clock(event.at)}  {fit(_(words.STATES[event.state]), 12)} "
            lines.append(((head, words.STATE_ROLES[event.state]), (text, "")))
        lines += [EMPTY_LINE, ((" " + _("The PC's log"), "title"),)]
        self._log_at = len(lines) - 1
        log = self._log.splitlines()
        lines += [((" " + part, ""),) for line in log for part in wrap(clean(line), width)]
        if not log:
            lines.append(((" " + _("It has written none."), "dim"),))
        page.put(lines, at_end=self._follows)
        if self._at_log:
            self._at_log = False
            self.do_log()

    def do_log(self) -> None:
        self._to(self._log_at)

    def do_history(self) -> None:
        self._to(0)

    def do_follow(self) -> None:
        self._follows = not self._follows
        self.console.say(_("Following.") if self._follows else _("Not following any more."))
        self._draw()

    def _to(self, line: int) -> None:
        page = self.query_one("#page", Text)
        page.top = line
        page.renew()


def facts(task: Task) -> list[Line]:
    """What is known of a task beyond its progress."""
    pairs = (
        (_("Task"), str(task.id)),
        (_("Afterwards"), _(words.AFTER[task.after])),
        (_("Sealed"), _("yes") if task.sealed else ""),
        (_("Cast"), str(task.cast_id) if task.cast_id else ""),
        (_("Address"), task.ip),
        (_("Check-ins"), str(task.attempts) if task.attempts else ""),
        (_("Given"), words.moment(task.created)),
        (_("Started"), words.moment(task.started) if task.started else ""),
        (_("Ended"), words.moment(task.finished) if task.finished else ""),
    )
    return [((f" {fit(name, 14)}", "dim"), (clean(value), "")) for name, value in pairs if value]
