"""Casts: one version sent to many PCs at once, and which tasks and orders for new PCs take part.

The operator's word (stop, limit, prefer, drop, begin) is written here and read by the cast service; that one writes how
it goes, at most once a second, without waiting for the disk.
"""

from __future__ import annotations

import builtins
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from ipaddress import IPv4Network

import peewee

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import CastState
from appliance.model import Cast, CastMember, CastSeat, ImageVersion
from appliance.store import images, lifecycle
from appliance.store.database import Database
from appliance.store.rows import (
    OPEN_ORDER,
    CastMemberRow,
    CastRow,
    OrderRow,
    TaskRow,
    TokenRow,
    columns,
    dicts,
    first,
    utc_now,
)

_CAST = columns(CastRow, Cast)
_MEMBER = columns(CastMemberRow, CastMember, without=("host_name", "task_state"))
# What the service writes of a cast and of each PC.
_LIVE = (
    "present", "waiting", "wanted", "rate_bytes_s", "sent_bytes", "parity_bytes", "forged", "refused", "replayed",
    "broadcast",
)  # fmt: skip
_MEMBER_LIVE = ("status", "written", "total", "loss")
_EMPTY_FOR = timedelta(seconds=60)  # a cast without tasks is being given its tasks just now, or its giver has died


def _open_for(sql: peewee.SqliteDatabase, version_id: str) -> Cast | None:
    query = CastRow.select(*_CAST).where(CastRow.state == CastState.OPEN, CastRow.version_id == version_id)
    row = first(query.order_by(CastRow.id.desc()).limit(1), sql)
    return None if row is None else Cast(**row)


def _open(
    sql: peewee.SqliteDatabase,
    version: ImageVersion,
    wait_for: int,
    wait_seconds: int,
    groups: IPv4Network,
    now: datetime,
) -> Cast:
    images.version(sql, version.id)
    taken = {row["group"] for row in dicts(CastRow.select(CastRow.group).where(_OPEN), sql)}
    group = next((address for address in groups.hosts() if address not in taken), None)
    if group is None:
        raise Conflict(
            f"All groups of {groups} are taken by casts.", hint="Stop one (diecast cast stop), or set cast.groups."
        )
    values = dict.fromkeys(_LIVE, 0) | {
        "version_id": version.id, "image_name": version.image_name, "state": CastState.OPEN,
        "created": now, "why": "", "cast_id": secrets.token_hex(8), "key": secrets.token_hex(32),
        "group": group, "wait_for": wait_for, "wait_seconds": wait_seconds, "rate_mbit": 0, "begun": False,
    }  # fmt: skip
    return get(sql, CastRow.insert(**values).execute(sql))


def get(sql: peewee.SqliteDatabase, number: int) -> Cast:
    """The cast. Raises `NotFound`. In the caller's transaction."""
    row = first(CastRow.select(*_CAST).where(CastRow.id == number), sql)
    if row is None:
        raise NotFound(f"There is no cast {number}.", hint="See: diecast cast list")
    return Cast(**row)


def open_one(sql: peewee.SqliteDatabase, number: int) -> Cast:
    """The cast, which has not ended. Raises `NotFound`, `Conflict`. In the caller's transaction."""
    cast = get(sql, number)
    if cast.state is not CastState.OPEN:
        raise Conflict(f"Cast {number} has ended.", hint="See: diecast cast list")
    return cast


def open_sending(sql: peewee.SqliteDatabase, number: int, version: ImageVersion) -> Cast:
    """The cast, which has not ended and sends `version`. Raises `NotFound`, `Conflict`. In the caller's transaction."""
    cast = open_one(sql, number)
    if cast.version_id != version.id:
        raise Conflict(f"Cast {number} sends another version.", hint="See: diecast cast list")
    return cast


def seat(sql: peewee.SqliteDatabase, cast: Cast, task_id: int) -> None:
    """Let a new task take part. In the caller's transaction."""
    TaskRow.update(cast_id=cast.id).where(TaskRow.id == task_id).execute(sql)
    CastMemberRow.insert(
        task_id=task_id, cast_id=cast.id, preferred=False, dropped=False, status="", written=0, total=0, loss=0.0
    ).execute(sql)


class Casts:
    """Verbs on casts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- looking -----------------------------------------------------------------------------------------------------

    def get(self, number: int) -> Cast:
        """The cast. Raises `NotFound`."""
        with self._database.read() as sql:
            return get(sql, number)

    def list(self, *, open_only: bool = False, limit: int = 200) -> builtins.list[Cast]:
        """Casts, newest first."""
        query = CastRow.select(*_CAST).order_by(CastRow.id.desc()).limit(limit)
        if open_only:
            query = query.where(CastRow.state == CastState.OPEN)
        with self._database.read() as sql:
            return [Cast(**row) for row in dicts(query, sql)]

    def open_for(self, version_id: str) -> Cast | None:
        """The newest open cast of a version."""
        with self._database.read() as sql:
            return _open_for(sql, version_id)

    def sizes(self) -> dict[int, int]:
        """How many PCs each cast has; one that has none is not named."""
        count = peewee.fn.COUNT(CastMemberRow.task_id).alias("pcs")
        query = CastMemberRow.select(CastMemberRow.cast_id, count).group_by(CastMemberRow.cast_id)
        with self._database.read() as sql:
            return {row["cast_id"]: row["pcs"] for row in dicts(query, sql)}

    def members(self, number: int) -> builtins.list[CastMember]:
        """The PCs of a cast, by host name. Raises `NotFound`."""
        task = (TaskRow.host_name, TaskRow.state.alias("task_state"))
        query = CastMemberRow.select(*_MEMBER, *task).join(TaskRow, on=(TaskRow.id == CastMemberRow.task_id))
        with self._database.read() as sql:
            get(sql, number)
            rows = dicts(query.where(CastMemberRow.cast_id == number).order_by(TaskRow.host_name), sql)
            return [CastMember(**row) for row in rows]

    def seats(self, number: int) -> tuple[builtins.list[CastSeat], int]:
        """The PCs that have checked in for an unfinished task of the cast, and how many PCs there are or can still be:
        its unfinished tasks, and the new PCs that its orders wait for."""
        mine = (TaskRow.cast_id == number) & TaskRow.state.in_(lifecycle.OPEN_STATES)
        of_task = (TokenRow.hash, TaskRow.host_name)
        query = (
            CastMemberRow.select(CastMemberRow.task_id, CastMemberRow.preferred, CastMemberRow.dropped, *of_task)
            .join(TaskRow, on=(TaskRow.id == CastMemberRow.task_id))
            .join(TokenRow, on=(TokenRow.task_id == CastMemberRow.task_id))
            .where(mine, TokenRow.revoked == False)  # noqa: E712
            .order_by(CastMemberRow.task_id)
        )
        with self._database.read() as sql:
            rows = builtins.list(dicts(query, sql))
            expected = TaskRow.select().where(mine).count(sql) + _awaited(sql, number)
        found = [
            CastSeat(r["task_id"], bytes.fromhex(r["hash"]), r["preferred"], r["dropped"], r["host_name"]) for r in rows
        ]
        return found, expected

    # -- the operator's word -----------------------------------------------------------------------------------------

    def open(
        self,
        version: ImageVersion,
        wait_for: int = 0,
        wait_seconds: int = 0,
        *,
        groups: IPv4Network,
        now: datetime | None = None,
    ) -> Cast:
        """Open a cast of `version` in a group of its own; tasks join it by `Tasks.deploy(..., cast_id=)`.

        It begins when `wait_for` PCs are there or `wait_seconds` after the first. Raises `NotFound` when the version is
        gone, `Conflict` when every group of `groups` is taken.
        """
        with self._database.write() as sql:
            return _open(sql, version, wait_for, wait_seconds, groups, utc_now(now))

    def join(
        self,
        version: ImageVersion,
        wait_for: int = 0,
        wait_seconds: int = 0,
        *,
        groups: IPv4Network,
        now: datetime | None = None,
    ) -> tuple[Cast, bool]:
        """The newest open cast of `version`, or a new one where there is none; and whether it is new.

        Who waits for a number of PCs gets a new one. Raises as `open`.
        """
        with self._database.write() as sql:
            cast = None if wait_for else _open_for(sql, version.id)
            if cast is not None:
                return cast, False
            return _open(sql, version, wait_for, wait_seconds if wait_for else 0, groups, utc_now(now)), True

    def stop(self, number: int, why: str = "stopped by the operator", *, now: datetime | None = None) -> Cast:
        """End a cast; its PCs go on by NFS. Raises `NotFound`, `Conflict` when it has ended already."""
        with self._database.write() as sql:
            open_one(sql, number)
            _end(sql, number, why, utc_now(now))
            return get(sql, number)

    def limit(self, number: int, rate_mbit: int) -> Cast:
        """Send no faster than so many 10^6 bits/s; 0: only the ceiling of all casts. Raises `NotFound`, `Conflict`."""
        if rate_mbit < 0:
            raise UsageError(f"{rate_mbit} Mbit/s is no rate.", hint="0 takes the limit away.")
        return self._set(number, rate_mbit=rate_mbit)

    def begin(self, number: int) -> Cast:
        """Wait for no more PCs. Raises `NotFound`, `Conflict`."""
        return self._set(number, begun=True)

    def _set(self, number: int, **values: int | bool) -> Cast:
        with self._database.write() as sql:
            open_one(sql, number)
            CastRow.update(**values).where(CastRow.id == number).execute(sql)
            return get(sql, number)

    def prefer(self, number: int, task_id: int, on: bool = True) -> None:
        """Serve a PC's wishes before all others. Raises `NotFound`, `Conflict`."""
        self._set_member(number, task_id, preferred=on)

    def drop(self, number: int, task_id: int, on: bool = True) -> None:
        """Serve a PC no more, so that it goes on by NFS; with `on` false again. Raises `NotFound`, `Conflict`."""
        self._set_member(number, task_id, dropped=on)

    def _set_member(self, number: int, task_id: int, **values: bool) -> None:
        with self._database.write() as sql:
            open_one(sql, number)
            which = (CastMemberRow.cast_id == number) & (CastMemberRow.task_id == task_id)
            if not CastMemberRow.update(**values).where(which).execute(sql):
                raise NotFound(f"Task {task_id} does not take part in cast {number}.", hint="See: diecast cast show")

    # -- the service's word ------------------------------------------------------------------------------------------

    def record(self, figures: Iterable[tuple[Cast, Sequence[CastMember]]]) -> None:
        """How casts and their PCs are going. Only figures are taken; a power cut may lose the last seconds of them."""
        with self._database.write(durable=False) as sql:
            for cast, members in figures:
                CastRow.update(**{name: getattr(cast, name) for name in _LIVE}).where(CastRow.id == cast.id).execute(
                    sql
                )
                for member in members:
                    values = {name: getattr(member, name) for name in _MEMBER_LIVE}
                    CastMemberRow.update(**values).where(CastMemberRow.task_id == member.task_id).execute(sql)

    def end_finished(self, *, now: datetime | None = None) -> builtins.list[Cast]:
        """End the casts whose tasks have all ended while no order waits for more PCs, and those that never got one;
        returns them."""
        moment = utc_now(now)
        working = TaskRow.select(TaskRow.cast_id).where(
            TaskRow.cast_id.is_null(False), TaskRow.state.in_(lifecycle.OPEN_STATES)
        )
        awaiting = OrderRow.select(OrderRow.cast_id).where(OrderRow.cast_id.is_null(False), OPEN_ORDER)
        had_tasks = CastRow.id.in_(TaskRow.select(TaskRow.cast_id))
        idle = CastRow.select(CastRow.id).where(
            _OPEN, CastRow.id.not_in(working), CastRow.id.not_in(awaiting),
            had_tasks | (CastRow.created < moment - _EMPTY_FOR),
        )  # fmt: skip
        with self._database.read() as sql:
            numbers = [row["id"] for row in dicts(idle, sql)]
        return [cast for number in numbers if (cast := self._end_if_idle(number, moment))]

    def _end_if_idle(self, number: int, moment: datetime) -> Cast | None:
        """A task or an order may have joined since it was looked at."""
        with self._database.write() as sql:
            busy = (TaskRow.cast_id == number) & TaskRow.state.in_(lifecycle.OPEN_STATES)
            if get(sql, number).state is not CastState.OPEN or first(TaskRow.select(TaskRow.id).where(busy), sql):
                return None
            if _awaited(sql, number):
                return None
            _end(sql, number, "all its tasks have ended", moment)
            return get(sql, number)


_OPEN = CastRow.state == CastState.OPEN


def _awaited(sql: peewee.SqliteDatabase, number: int) -> int:
    """How many new PCs the cast's orders still wait for."""
    rows = dicts(OrderRow.select(OrderRow.wanted, OrderRow.taken).where(OrderRow.cast_id == number, OPEN_ORDER), sql)
    return sum(row["wanted"] - row["taken"] for row in rows)


def _end(sql: peewee.SqliteDatabase, number: int, why: str, moment: datetime) -> None:
    values = {"state": CastState.ENDED, "ended": moment, "why": why, "rate_bytes_s": 0.0, "present": 0, "wanted": 0}
    CastRow.update(**values).where(CastRow.id == number).execute(sql)
