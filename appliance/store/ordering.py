"""How tasks come to be and to start: ordered by the operator, now or later, or ordered again after their end.

Functions here run inside a transaction that the caller has open on `sql`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import peewee

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import AfterTask, CastState, TaskKind, TaskState
from appliance.model import Host, ImageVersion, Task
from appliance.store import casts, hosts, images, lifecycle, waking
from appliance.store.rows import HostRow, TaskRow, dicts

_DUE = (TaskRow.state == TaskState.SCHEDULED) & (TaskRow.held == False)  # noqa: E712


def capture(
    sql: peewee.SqliteDatabase,
    host: Host | None,
    image_name: str,
    now: datetime,
    *,
    after: AfterTask,
    sealed: bool = False,
    start_at: datetime | None = None,
    wake: bool = False,
) -> Task:
    """See `Tasks.capture`."""
    name = images.canonical_name(sql, image_name)
    values: dict[str, Any] = {"kind": TaskKind.CAPTURE, "image_name": name, "after": AfterTask(after)}
    if host is None:
        if start_at is not None or wake:
            raise UsageError("The next unknown PC can be neither woken nor waited for from a later time on.")
        _refuse_second_unknown(sql)
        return lifecycle.create(sql, now, text="waiting for the next unknown PC", sealed=sealed, **values)
    known = hosts.by_id(sql, host.id)
    lifecycle.refuse_if_busy(sql, known.id, known.name)
    if sealed:
        HostRow.update(sealed=True).where(HostRow.id == known.id).execute(sql)
    return _create(sql, known, now, start_at=start_at, wake=wake, sealed=sealed or known.sealed, **values)


def deploy(
    sql: peewee.SqliteDatabase,
    host: Host,
    version: ImageVersion,
    now: datetime,
    *,
    after: AfterTask,
    cast_id: int | None = None,
    start_at: datetime | None = None,
    wake: bool = False,
) -> Task:
    """See `Tasks.deploy`."""
    known = hosts.by_id(sql, host.id)
    images.version(sql, version.id)
    lifecycle.refuse_if_busy(sql, known.id, known.name)
    if known.sealed:
        raise Conflict(
            f"{known.name} is sealed and not captured yet: deploying would destroy the master.",
            hint=f"Capture it first, or run: diecast host edit {known.name} --not-sealed",
        )
    cast = None if cast_id is None else casts.open_sending(sql, cast_id, version)
    task = create_deploy(sql, known, version, now, after=after, start_at=start_at, wake=wake)
    if cast is not None:
        casts.seat(sql, cast, task.id)
    return lifecycle.get(sql, task.id)


def create_deploy(
    sql: peewee.SqliteDatabase, host: Host, version: ImageVersion, now: datetime, *, after: AfterTask, **values: Any
) -> Task:
    """Insert a deploy task for a host that has no other. `values`: `text`, `start_at`, `wake`, `held`, `order_id`."""
    values |= {"kind": TaskKind.DEPLOY, "image_name": version.image_name, "version_id": version.id}
    return _create(sql, host, now, after=AfterTask(after), **values)


def retry(sql: peewee.SqliteDatabase, old: Task, now: datetime) -> Task:
    """See `Tasks.retry`."""
    if not old.state.is_final:
        raise Conflict(f"Task {old.id} has not ended: it is {old.state}.", hint=f"See: diecast task show {old.id}")
    if old.host_id is None and (old.kind is TaskKind.DEPLOY or old.host_name):
        raise NotFound(f"The host of task {old.id}, {old.host_name}, was removed.", hint="See: diecast host list")
    host = None if old.host_id is None else hosts.by_id(sql, old.host_id)
    if host is None or old.kind is TaskKind.CAPTURE:
        return capture(sql, host, old.image_name, now, after=old.after, sealed=host is None and old.sealed)
    version = images.version(sql, old.version_id)
    cast_id = old.cast_id
    if cast_id is not None and casts.get(sql, cast_id).state is not CastState.OPEN:
        cast_id = None
    return deploy(sql, host, version, now, after=old.after, cast_id=cast_id, wake=old.wake)


def due(sql: peewee.SqliteDatabase, now: datetime) -> list[Task]:
    """See `Tasks.due`."""
    query = TaskRow.select(*lifecycle.COLUMNS).where(_DUE, TaskRow.start_at <= now)
    return [Task(**row) for row in dicts(query.order_by(TaskRow.start_at, TaskRow.id), sql)]


def start(sql: peewee.SqliteDatabase, task: Task, now: datetime, text: str, **values: Any) -> Task:
    """Let a scheduled task wait for its PC from now on, and wake that if it was ordered. Raises `IllegalMove`."""
    if task.wake and task.host_id is not None:
        waking.ask(sql, [task.host_id], now)
    return lifecycle.move(sql, task, TaskState.WAITING, now, text=text, **values)


def _create(
    sql: peewee.SqliteDatabase,
    host: Host,
    now: datetime,
    *,
    text: str = "",
    start_at: datetime | None = None,
    wake: bool = False,
    held: bool = False,
    **values: Any,
) -> Task:
    if wake:
        waking.refuse_unwakeable(host)
    later = None if start_at is None else start_at.astimezone(UTC)
    state = TaskState.SCHEDULED if held or (later is not None and later > now) else TaskState.WAITING
    if not text and later is not None and state is TaskState.SCHEDULED:
        text = f"to start at {later:%Y-%m-%d %H:%M} UTC"
    values |= {"host_id": host.id, "host_name": host.name, "start_at": later, "wake": wake, "held": held}
    task = lifecycle.create(sql, now, state=state, text=text or f"waiting for {host.name} to boot", **values)
    if wake and state is TaskState.WAITING:
        waking.ask(sql, [host.id], now)
    return task


def _refuse_second_unknown(sql: peewee.SqliteDatabase) -> None:
    waiting = lifecycle.unfinished(sql, None)
    if waiting is not None:
        raise Conflict(
            f"{lifecycle.describe(waiting).capitalize()} waits for the next unknown PC already.",
            hint=f"Boot that PC, or run: diecast task cancel {waiting.id}",
        )
