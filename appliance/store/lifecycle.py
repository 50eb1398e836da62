"""The only place that writes a task's state. `events.TRANSITIONS` says which moves are legal.

Functions here run inside a transaction that the caller has open on `sql`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import peewee

from appliance.errors import Conflict, NotFound
from appliance.events import TaskKind, TaskState, may_move
from appliance.model import Task
from appliance.store.rows import HostRow, TaskEventRow, TaskRow, columns, first

OPEN_STATES = tuple(state for state in TaskState if not state.is_final)
COLUMNS = columns(TaskRow, Task)


class IllegalMove(Conflict):
    """A task was to go from one state to another that cannot follow it."""


def get(sql: peewee.SqliteDatabase, task_id: int) -> Task:
    """The task. Raises `NotFound`."""
    row = first(TaskRow.select(*COLUMNS).where(TaskRow.id == task_id), sql)
    if row is None:
        raise NotFound(f"There is no task {task_id}.", hint="See: diecast task list")
    return Task(**row)


def unfinished(sql: peewee.SqliteDatabase, host_id: int | None) -> Task | None:
    """The one unfinished task of a host; for None, the capture that waits for the next unknown PC."""
    whose = TaskRow.host_id.is_null() if host_id is None else TaskRow.host_id == host_id
    row = first(TaskRow.select(*COLUMNS).where(whose, TaskRow.state.in_(OPEN_STATES)), sql)
    return None if row is None else Task(**row)


def describe(task: Task) -> str:
    """A task in words, for a sentence."""
    return f"task {task.id} ({task.kind} {task.image_name}, {task.state})"


def refuse_if_busy(sql: peewee.SqliteDatabase, host_id: int, host_name: str) -> None:
    """Raise `Conflict` naming the task when the host has an unfinished one."""
    task = unfinished(sql, host_id)
    if task is not None:
        raise Conflict(
            f"{host_name} is busy with {describe(task)}.",
            hint=f"Wait for it, or run: diecast task cancel {task.id}",
        )


def create(
    sql: peewee.SqliteDatabase, now: datetime, *, text: str, state: TaskState = TaskState.WAITING, **values: Any
) -> Task:
    """Insert a task with its first event."""
    task_id = TaskRow.insert(state=state, created=now, **values).execute(sql)
    record(sql, task_id, state, text, now)
    return get(sql, task_id)


def record(sql: peewee.SqliteDatabase, task_id: int, state: TaskState, text: str, now: datetime) -> None:
    """Add one line to the task's life."""
    TaskEventRow.insert(task_id=task_id, at=now, state=state, text=text).execute(sql)


def move(
    sql: peewee.SqliteDatabase,
    task: Task,
    state: TaskState,
    now: datetime,
    *,
    text: str = "",
    **values: Any,
) -> Task:
    """Take `task` to `state`, set `values` as well, and record it. Raises `IllegalMove`."""
    if not may_move(task.state, state):
        raise IllegalMove(
            f"Task {task.id} is {task.state} and cannot become {state}.", hint=f"See: diecast task show {task.id}"
        )
    if state.is_final:
        values.update(finished=now, rate_bytes_s=0.0)
        _note_disk(sql, task, state)
    elif state.is_active:
        values.setdefault("last_heard", now)
    TaskRow.update(state=state, **values).where(TaskRow.id == task.id).execute(sql)
    record(sql, task.id, state, text, now)
    return get(sql, task.id)


def _note_disk(sql: peewee.SqliteDatabase, task: Task, state: TaskState) -> None:
    """Remember which version a deploy left on its host's disk; none that can be named if it ended half-way."""
    if task.kind is not TaskKind.DEPLOY or task.host_id is None:
        return
    touched = state is TaskState.DONE or task.done_bytes > 0
    if touched:
        version_id = task.version_id if state is TaskState.DONE else ""
        HostRow.update(version_id=version_id).where(HostRow.id == task.host_id).execute(sql)
