"""Tasks: what one host shall do once, from the order to its end."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from appliance.errors import Conflict, UsageError
from appliance.events import AfterTask, TaskState
from appliance.model import Host, ImageVersion, NewPcOrder, Task, TaskEvent, TokenInfo, normalise_mac
from appliance.store import casts, hosts, images, lifecycle, newcomers, ordering, tokens, waking
from appliance.store.database import Database
from appliance.store.rows import TaskEventRow, TaskLogRow, TaskRow, columns, dicts, first, utc_now

MAX_LOG_BYTES = 1 << 20  # of one task; an agent that talks without end must not fill the disk
_HEARD = (TaskState.BOOTING, TaskState.RUNNING)


class Tasks:
    """Verbs on tasks, tokens and standing orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- orders ------------------------------------------------------------------------------------------------------

    def capture(
        self,
        host: Host | None,
        image_name: str,
        *,
        sealed: bool = False,
        after: AfterTask = AfterTask.POWEROFF,
        start_at: datetime | None = None,
        wake: bool = False,
        now: datetime | None = None,
    ) -> Task:
        """Order the capture of `host`, or of the next unknown PC that boots. `sealed` also seals the host.

        With `start_at` the task is SCHEDULED until then; with `wake` the host is woken when it starts. Raises
        `Conflict` when the host is busy or another capture waits for the next unknown PC, `UsageError` when nobody can
        be woken.
        """
        with self._database.write() as sql:
            moment = utc_now(now)
            return ordering.capture(
                sql, host, image_name, moment, after=after, sealed=sealed, start_at=start_at, wake=wake
            )

    def deploy(
        self,
        host: Host,
        version: ImageVersion,
        *,
        after: AfterTask = AfterTask.REBOOT,
        cast_id: int | None = None,
        start_at: datetime | None = None,
        wake: bool = False,
        now: datetime | None = None,
    ) -> Task:
        """Order `version` onto `host`, by a cast if one is named; `start_at` and `wake` as for `capture`.

        Raises `Conflict` when the host is busy or sealed or the cast has ended, `NotFound` when any of them is gone.
        """
        with self._database.write() as sql:
            moment = utc_now(now)
            return ordering.deploy(
                sql, host, version, moment, after=after, cast_id=cast_id, start_at=start_at, wake=wake
            )

    def retry(self, task_id: int, *, now: datetime | None = None) -> Task:
        """Order what a task that has ended was to do once more, from now on; its cast only while that is open.

        Raises `Conflict` when it has not ended or as `deploy`, `NotFound` when its host or version is gone.
        """
        with self._database.write() as sql:
            return ordering.retry(sql, lifecycle.get(sql, task_id), utc_now(now))

    def due(self, now: datetime | None = None) -> builtins.list[Task]:
        """Scheduled tasks whose time has come. Held ones have none."""
        with self._database.read() as sql:
            return ordering.due(sql, utc_now(now))

    def start_now(self, task_id: int, *, text: str = "started by the operator", now: datetime | None = None) -> Task:
        """Let a scheduled task wait for its PC from now on. Raises `IllegalMove`, and `Conflict` for a held one."""
        with self._database.write() as sql:
            task = lifecycle.get(sql, task_id)
            if task.is_held:
                raise Conflict(
                    f"Task {task_id} waits until the new PCs of order {task.order_id} are confirmed.",
                    hint=f"Confirm them: diecast task release {task.order_id}",
                )
            return ordering.start(sql, task, utc_now(now), text)

    # -- new PCs -----------------------------------------------------------------------------------------------------

    def order_new_pcs(
        self,
        version: ImageVersion,
        wanted: int,
        pattern: str,
        after: AfterTask = AfterTask.REBOOT,
        *,
        cast_id: int | None = None,
        until: datetime | None = None,
        hold: bool = False,
        room: str = "",
        now: datetime | None = None,
    ) -> NewPcOrder:
        """Order `version` onto the next `wanted` unknown PCs, named from `pattern`, by a cast if one is named.

        The order takes no PC from `until` on. With `hold` its PCs are named and registered, and wait until they are
        released. They are put into `room`. Raises `UsageError`, `NotFound`, and `Conflict` when the cast has ended or
        sends another version.
        """
        moment = utc_now(now)
        if wanted < 1:
            raise UsageError(f"{wanted} new PCs cannot be ordered.", hint="Ask for one or more.")
        if until is not None and until <= moment:
            raise UsageError(
                f"The order would end at {until:%Y-%m-%d %H:%M}, which is over.", hint="Give a later time."
            )
        with self._database.write() as sql:
            hosts.next_name(sql, pattern)  # refuses a pattern that makes no names, before a PC has booted
            images.version(sql, version.id)
            cast = None if cast_id is None else casts.open_sending(sql, cast_id, version)
            return newcomers.create_order(
                sql,
                moment,
                version_id=version.id,
                image_name=version.image_name,
                pattern=pattern,
                wanted=wanted,
                after=AfterTask(after),
                cast_id=cast.id if cast else None,
                until=until,
                hold=hold,
                room=room,
            )

    def orders(
        self, *, open_only: bool = True, limit: int = 200, now: datetime | None = None
    ) -> builtins.list[NewPcOrder]:
        """Standing orders that still wait for PCs, oldest first; without `open_only` all orders, newest first."""
        with self._database.read() as sql:
            return newcomers.open_orders(sql, utc_now(now)) if open_only else newcomers.all_orders(sql, limit)

    def order(self, order_id: int) -> NewPcOrder:
        """The order, open or closed. Raises `NotFound`."""
        with self._database.read() as sql:
            return newcomers.get_order(sql, order_id)

    def cancel_order(self, order_id: int, *, now: datetime | None = None) -> None:
        """Take no further PCs for an order; tasks it has made go on, held ones stay held. Raises `NotFound`."""
        with self._database.write() as sql:
            newcomers.cancel_order(sql, order_id, utc_now(now))

    def close_expired(self, *, now: datetime | None = None) -> builtins.list[NewPcOrder]:
        """Close the orders whose time is over, with an audit line each; returns them."""
        moment = utc_now(now)
        with self._database.read() as sql:
            if not newcomers.expired(sql, moment):
                return []
        with self._database.write() as sql:
            return [newcomers.expire(sql, order, moment) for order in newcomers.expired(sql, moment)]

    def held(self, order_id: int) -> builtins.list[Task]:
        """The order's tasks that wait for the operator's confirmation, oldest first."""
        with self._database.read() as sql:
            return newcomers.held(sql, order_id)

    def release(
        self, order_id: int, *, shown: Iterable[int] | None = None, now: datetime | None = None
    ) -> builtins.list[Task]:
        """Confirm the order's newcomers of this moment: all their tasks begin, or none. Raises `NotFound`.

        `shown` are the tasks that the operator was shown: `Conflict` when others are held by now. PCs that the order
        takes later are held again.
        """
        moment = utc_now(now)
        with self._database.write() as sql:
            newcomers.get_order(sql, order_id)
            held = newcomers.held(sql, order_id)
            if shown is not None and {task.id for task in held} != set(shown):
                raise Conflict(
                    f"{len(held)} PCs are held now, not those that were shown.",
                    hint="Look at them, then confirm again.",
                )
            return [ordering.start(sql, task, moment, "confirmed by the operator", held=False) for task in held]

    def dismiss(self, order_id: int, *, now: datetime | None = None) -> builtins.list[Task]:
        """Cancel the order's held tasks; their PCs stay registered. Raises `NotFound`."""
        moment = utc_now(now)
        with self._database.write() as sql:
            newcomers.get_order(sql, order_id)
            held, text = newcomers.held(sql, order_id), "not confirmed by the operator"
            return [lifecycle.move(sql, task, TaskState.CANCELLED, moment, text=text) for task in held]

    def adopt(
        self, macs: Iterable[str], uuid: UUID | None = None, *, now: datetime | None = None
    ) -> tuple[Host, Task] | None:
        """An unknown PC boots: make it the awaited master, or the next PC of the oldest order. None if neither waits.

        Also None for a PC that is known, or that has nothing to be known by.
        """
        with self._database.write() as sql:
            return newcomers.adopt(sql, list(map(normalise_mac, macs)), uuid, utc_now(now))

    # -- looking -----------------------------------------------------------------------------------------------------

    def get(self, task_id: int) -> Task:
        """The task. Raises `NotFound`."""
        with self._database.read() as sql:
            return lifecycle.get(sql, task_id)

    def list(self, *, active_only: bool = False, host_id: int | None = None, limit: int = 200) -> builtins.list[Task]:
        """Tasks, newest first; with `active_only` those that are not finished, with `host_id` that host's."""
        query = TaskRow.select(*lifecycle.COLUMNS).order_by(TaskRow.id.desc()).limit(limit)
        if host_id is not None:
            query = query.where(TaskRow.host_id == host_id)
        if active_only:
            query = query.where(TaskRow.state.in_(lifecycle.OPEN_STATES))
        with self._database.read() as sql:
            return [Task(**row) for row in dicts(query, sql)]

    def for_host(self, host_id: int) -> Task | None:
        """The host's unfinished task."""
        with self._database.read() as sql:
            return lifecycle.unfinished(sql, host_id)

    def next_unknown(self) -> Task | None:
        """The capture that waits for the next unknown PC."""
        with self._database.read() as sql:
            return lifecycle.unfinished(sql, None)

    def exports_needed(self) -> builtins.list[Task]:
        """Tasks whose PC needs the chunks, and for a capture its staging folder."""
        return self._in_states((TaskState.RUNNING, TaskState.VERIFYING))

    def silent(self, before: datetime) -> builtins.list[Task]:
        """Booting and running tasks whose PC was last heard before that moment."""
        return [task for task in self._in_states(_HEARD) if task.last_heard is None or task.last_heard < before]

    def _in_states(self, states: tuple[TaskState, ...]) -> builtins.list[Task]:
        query = TaskRow.select(*lifecycle.COLUMNS).where(TaskRow.state.in_(states)).order_by(TaskRow.id)
        with self._database.read() as sql:
            return [Task(**row) for row in dicts(query, sql)]

    def events(self, task_id: int) -> builtins.list[TaskEvent]:
        """The task's life, oldest first. Raises `NotFound`."""
        query = TaskEventRow.select(*columns(TaskEventRow, TaskEvent)).where(TaskEventRow.task_id == task_id)
        with self._database.read() as sql:
            lifecycle.get(sql, task_id)
            return [TaskEvent(**row) for row in dicts(query.order_by(TaskEventRow.id), sql)]

    def log(self, task_id: int) -> str:
        """The agent's log, one line each. Raises `NotFound`."""
        query = TaskLogRow.select(TaskLogRow.text).where(TaskLogRow.task_id == task_id).order_by(TaskLogRow.id)
        with self._database.read() as sql:
            lifecycle.get(sql, task_id)
            return "".join(row["text"] for row in dicts(query, sql))

    # -- going on ----------------------------------------------------------------------------------------------------

    def move(
        self,
        task_id: int,
        state: TaskState,
        *,
        text: str = "",
        error: str = "",
        remedy: str = "",
        now: datetime | None = None,
    ) -> Task:
        """Take a task to another state. Raises `IllegalMove` for what `events.TRANSITIONS` does not have.

        A deploy that is done leaves its version on record with the host; one that ended half-way leaves none.
        """
        values = {"error": error, "remedy": remedy} if error or remedy else {}
        with self._database.write() as sql:
            task = lifecycle.get(sql, task_id)
            return lifecycle.move(sql, task, state, utc_now(now), text=text or error, **values)

    def cancel(self, task_id: int, *, now: datetime | None = None) -> Task:
        """End a task on the operator's word. Raises `Conflict` when it has ended already."""
        with self._database.write() as sql:
            task = lifecycle.get(sql, task_id)
            if task.state.is_final:
                raise Conflict(f"Task {task_id} has ended already: it is {task.state}.")
            if task.wake and task.host_id is not None:
                waking.forget(sql, task.host_id)
            return lifecycle.move(sql, task, TaskState.CANCELLED, utc_now(now), text="cancelled by the operator")

    def checked_in(self, task_id: int, ip: str, mac: str, *, now: datetime | None = None) -> tuple[Task, str]:
        """The agent is there: the task runs. Returns it with a new token; its earlier tokens are revoked.

        A PC that comes back to its running task stays in RUNNING. Raises `IllegalMove` for a finished task.
        """
        moment = utc_now(now)
        with self._database.write() as sql:
            task = lifecycle.get(sql, task_id)
            number = task.attempts + 1
            values = {"attempts": number, "ip": ip, "started": task.started or moment, "last_heard": moment}
            text = f"agent at {ip}" if number == 1 else f"agent at {ip}, check-in {number}"
            if task.state is TaskState.RUNNING:
                TaskRow.update(**values).where(TaskRow.id == task_id).execute(sql)
                lifecycle.record(sql, task_id, TaskState.RUNNING, text, moment)
            else:
                lifecycle.move(sql, task, TaskState.RUNNING, moment, text=text, **values)
            token = tokens.issue(sql, task_id, normalise_mac(mac), ip, moment)
            return lifecycle.get(sql, task_id), token

    def session_token(self, mac: str, ip: str, *, now: datetime | None = None) -> str:
        """A token for a PC without a task, in place of that MAC's earlier ones."""
        with self._database.write() as sql:
            return tokens.issue(sql, None, normalise_mac(mac), ip, utc_now(now))

    def by_token(self, token: str) -> TokenInfo | None:
        """What a token stands for; None for one that was never issued. The caller checks `revoked`, `mac` and `ip`."""
        with self._database.read() as sql:
            return tokens.look_up(sql, token)

    def progress(
        self,
        task_id: int,
        phase: str,
        done_bytes: int,
        total_bytes: int,
        rate_bytes_s: float,
        *,
        now: datetime | None = None,
    ) -> Task:
        """Record how far a running task is, and return it: the agent learns here that it was cancelled.

        Does not wait for the disk: a power cut may lose the last seconds of it.
        """
        values = {
            "phase": phase,
            "done_bytes": done_bytes,
            "total_bytes": total_bytes,
            "rate_bytes_s": rate_bytes_s,
            "last_heard": utc_now(now),
        }
        with self._database.write(durable=False) as sql:
            running = (TaskRow.id == task_id) & (TaskRow.state == TaskState.RUNNING)
            TaskRow.update(**values).where(running).execute(sql)
            return lifecycle.get(sql, task_id)

    def heard(self, task_id: int, *, now: datetime | None = None) -> None:
        """The task's PC gave a sign of life."""
        with self._database.write(durable=False) as sql:
            TaskRow.update(last_heard=utc_now(now)).where(TaskRow.id == task_id).execute(sql)

    def add_log(self, task_id: int, lines: Iterable[str]) -> None:
        """Append the agent's lines; beyond `MAX_LOG_BYTES` they are dropped. Raises `NotFound`."""
        text = "".join(line.rstrip("\n") + "\n" for line in lines)
        if not text:
            return
        with self._database.write(durable=False) as sql:
            row = first(TaskRow.select(TaskRow.log_bytes).where(TaskRow.id == task_id), sql)
            if row is None:
                lifecycle.get(sql, task_id)
                return
            used = row["log_bytes"]
            if used >= MAX_LOG_BYTES:
                return
            size = len(text.encode("utf-8", "replace"))
            if used + size > MAX_LOG_BYTES:
                text, size = "(the log is full; later lines were dropped)\n", MAX_LOG_BYTES - used
            TaskLogRow.insert(task_id=task_id, text=text.encode("utf-8", "replace").decode()).execute(sql)
            TaskRow.update(log_bytes=used + size).where(TaskRow.id == task_id).execute(sql)
