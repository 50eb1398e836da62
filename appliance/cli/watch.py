"""Waiting for tasks: a bar for each at a terminal, a line for each step elsewhere; then their exit status.

The store is read only when `data_version` says that something changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from appliance.cli import show
from appliance.cli.context import Context
from appliance.cli.names import Known, order_in_words, state_in_words, subject
from appliance.cli.progress import Board, bar
from appliance.errors import ApplianceError, Cancelled
from appliance.events import TaskState
from appliance.model import Task

_POLL_S = 0.25
_REDRAW_S = 5.0  # at a terminal, although nothing changed
_STEP_PERCENT = 10

# What a task's end is to the shell.
EXIT_STATUS: dict[TaskState, int] = {
    TaskState.DONE: 0,
    TaskState.FAILED: ApplianceError.exit_status,
    TaskState.CANCELLED: Cancelled.exit_status,
}


def _no_heads() -> list[str]:
    return []


def _nobody_else(known: list[int]) -> list[str]:
    return []


def watch(
    context: Context,
    task_ids: Sequence[int] = (),
    heads: Callable[[], list[str]] = _no_heads,
    take_in: Callable[[list[int]], list[str]] | None = None,
) -> int:
    """Follow tasks to their end; none named: all open ones, and those that standing orders still make.

    At a terminal, the lines of `heads` stand above the tasks. `take_in` may add to the tasks that are watched, and
    returns what is still to come, in words. Returns 0 when all are done, else the status of the first that is not.
    Interrupting it stops the watching, not the tasks.
    """
    if take_in is None:
        take_in = _nobody_else if task_ids else partial(_take_in, context)
    board = Board(context.width or 80) if context.is_terminal else None
    try:
        tasks = _follow(context, list(task_ids), board, heads, take_in)
    except KeyboardInterrupt:
        again = " ".join(["diecast task watch", *map(str, task_ids)])
        context.note(f"\nNo longer watching; the work goes on. Watch again: {again}")
        raise
    if board is not None:
        board.draw([])
    for task in tasks:
        context.say(conclusion(context, task))
    return next((EXIT_STATUS[task.state] for task in tasks if task.state is not TaskState.DONE), 0)


def _follow(
    context: Context,
    known: list[int],
    board: Board | None,
    heads: Callable[[], list[str]],
    take_in: Callable[[list[int]], list[str]],
) -> list[Task]:
    version, drawn = -1, 0.0
    lines = _PlainLines(context)
    while True:
        now, seen = time.monotonic(), context.store.data_version()
        if seen != version or now - drawn > _REDRAW_S:
            version, drawn = seen, now
            waiting = take_in(known)
            tasks = [context.store.tasks.get(task_id) for task_id in known]
            if not waiting and all(task.state.is_final for task in tasks):
                return tasks
            if board is not None:
                bars = [bar_line(task) for task in _by_urgency(tasks)]
                board.draw(_fitting([*heads(), *bars, *waiting], context.height))
            else:
                lines.show(tasks, waiting)
        time.sleep(_POLL_S)


def _take_in(context: Context, known: list[int]) -> list[str]:
    """Add open tasks to `known`; return what is still to come, in words."""
    known += [task.id for task in reversed(context.store.tasks.list(active_only=True)) if task.id not in known]
    return [order_in_words(order) for order in context.store.tasks.orders()]


def _by_urgency(tasks: list[Task]) -> list[Task]:
    """Those at work before those that wait, those that have ended last."""
    return sorted(tasks, key=lambda task: (task.state.is_final, not task.state.is_active, task.id))


def _fitting(lines: list[str], height: int) -> list[str]:
    """As many lines as the terminal can draw over; the rest as a number."""
    room = height - 2
    return lines if len(lines) <= room else [*lines[: room - 1], f"... and {len(lines) - room + 1} more"]


def bar_line(task: Task) -> str:
    """One task in one line of a terminal, the most telling first."""
    fraction = task.done_bytes / task.total_bytes if task.total_bytes else 0.0
    if task.state is not TaskState.RUNNING or not task.total_bytes:
        return f"{subject(task):14.14} {bar(fraction)}        {show.clean(state_in_words(task))}"
    left = f"{show.duration(_left_s(task))} left" if task.rate_bytes_s > 0 else ""
    return (
        f"{subject(task):14.14} {bar(fraction)} {100 * fraction:3.0f} % {show.rate(task.rate_bytes_s):>9} {left:>12}"
        f"  {show.clean(task.phase)}"
    )


def plain_line(task: Task) -> str:
    """One task in one line of a log."""
    text = f"{subject(task)}: {show.clean(state_in_words(task))}"
    if task.state is TaskState.RUNNING and task.total_bytes:
        text += f" {100 * task.done_bytes / task.total_bytes:.0f} %"
        if task.rate_bytes_s > 0:
            text += f", {show.rate(task.rate_bytes_s)}, {show.duration(_left_s(task))} left"
    return text


def conclusion(context: Context, task: Task) -> str:
    """The end of a task in a sentence or two."""
    what = f"Task {task.id}, {task.kind} of {subject(task)}"
    if task.state is TaskState.FAILED:
        return show.clean(f"{what}, failed: {task.error} {task.remedy}".rstrip())
    if task.state is not TaskState.DONE:
        return f"{what}: {task.state}."
    took = ""
    if task.started and task.finished:
        took = f" in {show.duration((task.finished - task.started).total_seconds())}"
    return f"{what}, is done{took}: {Known(context).target(task)}."


def _left_s(task: Task) -> float:
    return max(0, task.total_bytes - task.done_bytes) / task.rate_bytes_s


class _PlainLines:
    """A line for each change of state or phase, and for each tenth of the way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last: dict[int, tuple[str, str, int]] = {}
        self._said: set[str] = set()

    def show(self, tasks: Sequence[Task], waiting: Sequence[str]) -> None:
        for line in waiting:
            if line not in self._said:
                self._said.add(line)
                self._context.say(line)
        for task in tasks:
            percent = 100 * task.done_bytes // task.total_bytes if task.total_bytes else 0
            key = (str(task.state), task.phase, percent // _STEP_PERCENT)
            if self._last.get(task.id) != key:
                self._last[task.id] = key
                self._context.say(plain_line(task))
