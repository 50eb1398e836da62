"""A list of tasks as they go: counts above, a line a PC, the reason of what failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from appliance.events import TaskState
from appliance.model import Task
from appliance.tui import sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, cut
from appliance.tui.widgets.rowlist import Column

TOGETHER = timedelta(seconds=60)  # tasks of one version that were ordered within this time are one job
_ORDER = (
    TaskState.FAILED,
    TaskState.RUNNING,
    TaskState.VERIFYING,
    TaskState.BOOTING,
    TaskState.WAITING,
    TaskState.SCHEDULED,
    TaskState.CANCELLED,
    TaskState.DONE,
)
_COUNTED = (
    TaskState.DONE,
    TaskState.RUNNING,
    TaskState.VERIFYING,
    TaskState.BOOTING,
    TaskState.WAITING,
    TaskState.SCHEDULED,
    TaskState.FAILED,
    TaskState.CANCELLED,
)


def columns(what: Callable[[Task], str] | None = None) -> list[Column[Any]]:
    """Of a list of tasks; `what` are the words at the end of a line."""
    return [
        Column[Task](N_("PC"), lambda task: task.host_name, 14, rank=0, most=18),
        Column[Task](
            N_("State"),
            lambda task: f"{words.STATE_SHAPES[task.state]} {words.state(task)}",
            12,
            rank=0,
            most=14,
            role=lambda task: words.STATE_ROLES[task.state],
        ),
        Column[Task](N_("Progress"), _percent, 16, rank=0, most=24, draw=_bar, sort=words.fraction),
        Column[Task](N_("Rate"), _rate, 9, rank=2, right=True, sort=lambda task: task.rate_bytes_s),
        Column[Task](N_("What"), what or in_words, 20, rank=0, most=90),
    ]


def _percent(task: Task) -> str:
    return words.percent(words.fraction(task)).strip() if task.total_bytes else ""


def _bar(task: Task, width: int) -> Line:
    if not task.total_bytes and task.state is not TaskState.DONE:
        return ((" " * width, ""),)
    share = words.fraction(task)
    return (*bar(share, width - 6), (f" {words.percent(share)}", ""))


def _rate(task: Task) -> str:
    return words.rate(task.rate_bytes_s) if task.state is TaskState.RUNNING and task.rate_bytes_s else ""


def in_words(task: Task) -> str:
    """Why it failed, or what its PC does."""
    return sentences.translate(task.error or (task.phase if not task.state.is_final else ""))


def ordered(tasks: Sequence[Task]) -> list[Task]:
    """What failed first, then what is at work, what waits, what is done."""
    return sorted(tasks, key=lambda task: (_ORDER.index(task.state), task.id))


def of_numbers(snapshot: Snapshot, numbers: Sequence[int]) -> list[Task]:
    """The tasks with these numbers that the picture has."""
    wanted = set(numbers)
    return [task for task in (*snapshot.open_tasks, *snapshot.ended_tasks) if task.id in wanted]


def together(snapshot: Snapshot, task: Task) -> list[Task]:
    """The tasks that were ordered with this one: the same version and cast, at the same time."""
    mine = task.created
    found = [
        other
        for other in (*snapshot.open_tasks, *snapshot.ended_tasks)
        if (other.kind, other.version_id, other.cast_id, other.order_id)
        == (task.kind, task.version_id, task.cast_id, task.order_id)
        and mine is not None
        and other.created is not None
        and abs(other.created - mine) <= TOGETHER
    ]
    return found or [task]


def count_line(tasks: Sequence[Task], expected: int) -> Line:
    """`20 PCs  ● 3 done   ▸ 12 running   ▲ 1 failed`."""
    pieces: list[tuple[str, str]] = [(f" {words.pcs(expected)}  ", "strong")]
    for state in _COUNTED:
        count = sum(task.state is state for task in tasks)
        if count:
            pieces.append(
                (f"{words.STATE_SHAPES[state]} {count} {_(words.STATES[state])}   ", words.STATE_ROLES[state])
            )
    return tuple(pieces)


def sum_line(snapshot: Snapshot, tasks: Sequence[Task], width: int) -> Line:
    """All of them as one bar; with their cast's rate where they have one."""
    if not tasks:
        return ()
    share = sum(map(words.fraction, tasks)) / len(tasks)
    running = [task for task in tasks if task.state is TaskState.RUNNING]
    left = max((seconds for task in running if (seconds := words.seconds_left(task)) is not None), default=None)
    numbers = {task.cast_id for task in tasks}
    cast = next((cast for cast in snapshot.casts if cast.id in numbers), None)
    text = ""
    if cast is not None:
        text = _("cast {n}").format(n=cast.id) + "  "
        text += _("waits for PCs") if cast.waiting else words.rate(cast.rate_bytes_s)
    elif running:
        text = words.rate(sum(task.rate_bytes_s for task in running))
    if left is not None:
        text += "  " + _("{time} left").format(time=words.duration(left))
    cells = max(10, min(60, width - len(text) - 12))
    return cut(((" ", ""), *bar(share, cells), (f" {words.percent(share)}  {clean(text)}", "")), width)
