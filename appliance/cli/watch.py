"""Waiting for tasks: a bar for each at a terminal, a line for each step elsewhere; then their exit status.

The store is read only when `data_version` says that something changed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from appliance.cli import show
from appliance.cli.context import Context
from appliance.cli.names import state_in_words, subject, task_target
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


def watch(context: Context, task_ids: Sequence[int]) -> int:
    """Follow tasks to their end. Returns 0 when all are done, else the status of the first that is not.

    Interrupting it stops the watching, not the tasks.
    """
    board = Board(context.width or 80) if context.is_terminal else None
    lines = _PlainLines(context)
    try:
        tasks = _follow(context, task_ids, board, lines)
    except KeyboardInterrupt:
        numbers = " ".join(map(str, task_ids))
        context.note(f"\nNo longer watching; the work goes on. Watch again: diecast task watch {numbers}")
        raise
    if board is not None:
        board.draw([])
    for task in tasks:
        context.say(conclusion(context, task))
    return next((EXIT_STATUS[task.state] for task in tasks if task.state is not TaskState.DONE), 0)


def _follow(context: Context, task_ids: Sequence[int], board: Board | None, lines: _PlainLines) -> list[Task]:
    version, drawn = -1, 0.0
    while True:
        now, seen = time.monotonic(), context.store.data_version()
        if seen != version or now - drawn > _REDRAW_S:
            version, drawn = seen, now
            tasks = [context.store.tasks.get(task_id) for task_id in task_ids]
            if all(task.state.is_final for task in tasks):
                return tasks
            if board is not None:
                board.draw([bar_line(task) for task in tasks])
            else:
                lines.show(tasks)
        time.sleep(_POLL_S)


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
    return f"{what}, is done{took}: {task_target(context, task)}."


def _left_s(task: Task) -> float:
    return max(0, task.total_bytes - task.done_bytes) / task.rate_bytes_s


class _PlainLines:
    """A line for each change of state or phase, and for each tenth of the way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last: dict[int, tuple[str, str, int]] = {}

    def show(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            percent = 100 * task.done_bytes // task.total_bytes if task.total_bytes else 0
            key = (str(task.state), task.phase, percent // _STEP_PERCENT)
            if self._last.get(task.id) != key:
                self._last[task.id] = key
                self._context.say(plain_line(task))
