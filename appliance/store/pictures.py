"""The whole store as the console shows it, read again and again at little cost.

A console looks some times a second at a thousand hosts of which two have changed. So rows are fetched raw and compared
with the ones fetched before: only new rows become dataclasses, an unchanged row stays the same object, and a list
without a changed row stays the same tuple. Who shows it can tell by identity what to draw again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from datetime import datetime
from functools import lru_cache
from typing import Any, Generic, TypeVar

import peewee

from appliance.events import CastState, TaskState
from appliance.model import (
    Cast,
    CastMember,
    DhcpServer,
    Host,
    Image,
    ImageVersion,
    Lease,
    NewPcOrder,
    Operator,
    Reservation,
    Room,
    ServiceState,
    Sighting,
    Task,
)
from appliance.store import hosts, images, lifecycle, newcomers, rooms, services
from appliance.store.database import Database
from appliance.store.notices import NOTICE, SECRET
from appliance.store.records import under
from appliance.store.rows import (
    CastMemberRow,
    CastRow,
    DhcpServerRow,
    DockMacRow,
    HostRow,
    LeaseRow,
    MacRow,
    OperatorRow,
    OrderRow,
    ReservationRow,
    ServiceRow,
    SettingRow,
    SightingRow,
    TaskRow,
    columns,
    utc_now,
)
from appliance.store.statements import execute

RECENT_TASKS = 300  # ended ones, the newest
RECENT_CASTS = 50
RECENT_ORDERS = 50
RECENT_SIGHTINGS = 500

T = TypeVar("T")
Raw = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one moment. Lists are in the order in which they are shown."""

    hosts: tuple[Host, ...] = ()
    rooms: tuple[Room, ...] = ()
    images: tuple[Image, ...] = ()
    versions: tuple[ImageVersion, ...] = ()  # newest first
    open_tasks: tuple[Task, ...] = ()  # newest first
    ended_tasks: tuple[Task, ...] = ()  # the last `RECENT_TASKS`, newest first
    casts: tuple[Cast, ...] = ()  # newest first
    members: tuple[tuple[int, CastMember], ...] = ()  # of open casts: cast and PC, by host name
    orders: tuple[NewPcOrder, ...] = ()  # closed ones too, newest first
    leases: tuple[Lease, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    servers: tuple[DhcpServer, ...] = ()
    docks: tuple[str, ...] = ()  # MACs of shared docks, in order
    sightings: tuple[Sighting, ...] = ()  # the last `RECENT_SIGHTINGS` and unknown PCs', newest first
    services: tuple[ServiceState, ...] = ()
    operators: tuple[Operator, ...] = ()  # by name
    settings: tuple[tuple[str, str], ...] = ()


class _List(Generic[T]):
    """One list of the picture: its query as text, and what its rows became."""

    def __init__(
        self, query: Any, make: Callable[..., T], *, key: Callable[[T], Any] | None = None, names: tuple[str, ...] = ()
    ) -> None:
        text, parameters = query.sql()
        self._text, self._parameters = str(text), tuple(parameters)
        selected = [*query._returning]
        self._names = names or tuple(_name(column) for column in selected)
        self._converters = [(i, column.python_value) for i, column in enumerate(selected) if _converts(column)]
        self._make = make
        self._key = key
        self._raw: list[Raw] | None = None
        self._made: dict[Hashable, T] = {}
        self.items: tuple[T, ...] = ()

    def read(self, sql: peewee.SqliteDatabase) -> tuple[T, ...]:
        raw = self.fetch(sql)
        if raw == self._raw:
            return self.items
        self._raw = raw
        before, self._made = self._made, {}
        for row in raw:
            known = before.get(row)
            self._made[row] = self._convert(row) if known is None else known
        found = list(self._made.values())
        if self._key is not None:
            found.sort(key=self._key)
        items = tuple(found)
        if len(items) != len(self.items) or any(a is not b for a, b in zip(items, self.items, strict=True)):
            self.items = items
        return self.items

    def fetch(self, sql: peewee.SqliteDatabase) -> list[Raw]:
        return execute(sql, self._text, self._parameters).fetchall()

    def _convert(self, row: Raw) -> T:
        values = list(row)
        for index, convert in self._converters:
            values[index] = convert(values[index])
        return self._make(**dict(zip(self._names, values, strict=True)))


class _Hosts(_List[Host]):
    """Hosts are made from two tables: their MACs are put behind each row."""

    def fetch(self, sql: peewee.SqliteDatabase) -> list[Raw]:
        macs: dict[int, list[str]] = {}
        for host_id, address in execute(sql, "SELECT host_id, address FROM mac ORDER BY host_id, position"):
            macs.setdefault(host_id, []).append(address)
        return [(*row, tuple(macs.get(row[0], ()))) for row in super().fetch(sql)]


def _name(column: Any) -> str:
    return str(getattr(column, "_alias", None) or column.name)


def _converts(column: Any) -> bool:
    """Whether SQLite's value is not yet ours: Peewee's own fields, and expressions, give what they hold."""
    return isinstance(column, peewee.Field) and type(column).__module__ != peewee.__name__


@lru_cache(8192)
def _natural(name: str) -> Any:
    return hosts.natural(name)


def _kept_apart() -> Any:
    """Secrets and what waits to be sent: no console needs them."""
    return under(SECRET) | under(NOTICE)


def _pair(key: str, value: str) -> tuple[str, str]:
    return key, value


def _address(address: str) -> str:
    return address


def _member(cast_id: int, task_state: str, **values: Any) -> tuple[int, CastMember]:
    return cast_id, CastMember(task_state=TaskState(task_state), **values)


class Pictures:
    """One console's looks at the store. Not for two threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        names = tuple(item.name for item in fields(Host) if item.name not in ("macs", "room"))
        self._lists: dict[str, _List[Any]] = {
            "hosts": _Hosts(hosts.select(), Host, key=lambda host: _natural(host.name), names=(*names, "room", "macs")),
            "rooms": _List(rooms.select(), Room, key=lambda room: _natural(room.name)),
            "images": _List(images.select(), Image, key=lambda image: _natural(image.name)),
            "versions": _List(images.newest_versions(), ImageVersion),
            "open_tasks": _List(_tasks().where(TaskRow.state.in_(lifecycle.OPEN_STATES)), Task),
            "ended_tasks": _List(_tasks().where(TaskRow.state.not_in(lifecycle.OPEN_STATES)).limit(RECENT_TASKS), Task),
            "casts": _List(
                CastRow.select(*columns(CastRow, Cast)).order_by(CastRow.id.desc()).limit(RECENT_CASTS), Cast
            ),
            "members": _List(_members(), _member, key=lambda pair: (pair[0], _natural(pair[1].host_name))),
            "orders": _List(newcomers.select().order_by(OrderRow.id.desc()).limit(RECENT_ORDERS), NewPcOrder),
            "leases": _List(LeaseRow.select(*columns(LeaseRow, Lease)), Lease, key=lambda lease: lease.address),
            "reservations": _List(ReservationRow.select(), Reservation, key=lambda kept: kept.address),
            "servers": _List(
                DhcpServerRow.select(*columns(DhcpServerRow, DhcpServer)).order_by(DhcpServerRow.at.desc()), DhcpServer
            ),
            "docks": _List(DockMacRow.select(DockMacRow.address).order_by(DockMacRow.address), _address),
            "sightings": _List(_sightings(), Sighting),
            "services": _List(
                ServiceRow.select(*columns(ServiceRow, ServiceState)).order_by(ServiceRow.name), ServiceState
            ),
            "operators": _List(
                OperatorRow.select(*columns(OperatorRow, Operator)).order_by(OperatorRow.name), Operator
            ),
            "settings": _List(SettingRow.select().where(~_kept_apart()).order_by(SettingRow.key), _pair),
        }
        self._picture = Picture()

    def read(self, *, now: datetime | None = None) -> Picture:
        """The store now, in one transaction. The same object as before when nothing in it has changed."""
        moment = utc_now(now)
        with self._database.read() as sql:
            parts = {name: part.read(sql) for name, part in self._lists.items()}
        heard = tuple(services.heard(state, moment) for state in parts["services"])
        old = self._picture
        parts["services"] = old.services if heard == old.services else heard
        if any(value is not getattr(old, name) for name, value in parts.items()):
            self._picture = Picture(**parts)
        return self._picture


def _tasks() -> Any:
    return TaskRow.select(*lifecycle.COLUMNS).order_by(TaskRow.id.desc())


def _members() -> Any:
    own = columns(CastMemberRow, CastMember, without=("host_name", "task_state"))
    return (
        CastMemberRow.select(CastMemberRow.cast_id, *own, TaskRow.host_name, TaskRow.state.alias("task_state"))
        .join(TaskRow, on=(TaskRow.id == CastMemberRow.task_id))
        .switch(CastMemberRow)
        .join(CastRow, on=(CastRow.id == CastMemberRow.cast_id))
        .where(CastRow.state == CastState.OPEN)
    )


def _sightings() -> Any:
    """The newest, and every unknown PC that fits: those are few, and a room that boots must not push them out."""
    name = peewee.fn.COALESCE(HostRow.name, "").alias("host_name")
    other = SightingRow.alias()
    newest = other.select(other.mac).order_by(other.at.desc()).limit(RECENT_SIGHTINGS)
    return (
        SightingRow.select(*columns(SightingRow, Sighting, without=("host_name",)), name)
        .join(MacRow, peewee.JOIN.LEFT_OUTER, on=(MacRow.address == SightingRow.mac))
        .join(HostRow, peewee.JOIN.LEFT_OUTER, on=(HostRow.id == MacRow.host_id))
        .where(HostRow.id.is_null() | SightingRow.mac.in_(newest))
        .order_by(SightingRow.at.desc())
        .limit(2 * RECENT_SIGHTINGS)
    )
