"""Unknown PCs: the standing orders that wait for them, and their adoption.

Functions here run inside a transaction that the caller has open on `sql`.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import peewee

from appliance.errors import NotFound
from appliance.events import CastState, TaskState
from appliance.model import Host, NewPcOrder, Task
from appliance.store import casts, hosts, identity, images, lifecycle, ordering
from appliance.store.rows import OPEN_ORDER, AuditRow, OrderRow, RoomRow, TaskRow, columns, dicts, first

_ORDER = columns(OrderRow, NewPcOrder, without=("room",))
_MASTER_NAME = "{image}-master"
_MAX_MASTER = 50  # characters of the image name used; leaves room for "-master-999" in a name of 63


def create_order(sql: peewee.SqliteDatabase, now: datetime, *, room: str = "", **values: Any) -> NewPcOrder:
    """Insert an order and return it."""
    values |= {"room_id": hosts.room_id(sql, room) if room else None, "taken": 0, "created": now, "cancelled": False}
    return get_order(sql, OrderRow.insert(**values).execute(sql))


def get_order(sql: peewee.SqliteDatabase, order_id: int) -> NewPcOrder:
    """The order, open or closed. Raises `NotFound`."""
    row = first(select().where(OrderRow.id == order_id), sql)
    if row is None:
        raise NotFound(f"There is no order {order_id}.", hint="See: diecast task orders")
    return NewPcOrder(**row)


def open_orders(sql: peewee.SqliteDatabase, now: datetime) -> list[NewPcOrder]:
    """Orders that still wait for PCs, oldest first."""
    query = select().where(OPEN_ORDER, _in_time(now)).order_by(OrderRow.id)
    return [NewPcOrder(**row) for row in dicts(query, sql)]


def all_orders(sql: peewee.SqliteDatabase, limit: int) -> list[NewPcOrder]:
    """Orders, open or closed, newest first."""
    return [NewPcOrder(**row) for row in dicts(select().order_by(OrderRow.id.desc()).limit(limit), sql)]


def cancel_order(sql: peewee.SqliteDatabase, order_id: int, now: datetime) -> None:
    """Close an open order. Raises `NotFound`."""
    values = {"cancelled": True, "closed": now, "why": "cancelled by the operator"}
    if not OrderRow.update(**values).where(OrderRow.id == order_id, OPEN_ORDER, _in_time(now)).execute(sql):
        raise NotFound(f"No order {order_id} waits for new PCs.", hint="See: diecast task orders")


def expired(sql: peewee.SqliteDatabase, now: datetime) -> list[NewPcOrder]:
    """Orders that nobody has closed although their time is over."""
    return [NewPcOrder(**row) for row in dicts(select().where(OPEN_ORDER, OrderRow.until <= now), sql)]


def expire(sql: peewee.SqliteDatabase, order: NewPcOrder, now: datetime) -> NewPcOrder:
    """Close an order whose time is over, in words."""
    why = f"its time was over: {order.taken} of {order.wanted} PCs came"
    OrderRow.update(cancelled=True, closed=now, why=why).where(OrderRow.id == order.id).execute(sql)
    detail = f"order {order.id}, {order.pattern} with {order.image_name}: {why}"
    AuditRow.insert(at=now, actor="scheduler", action="order closed", detail=detail).execute(sql)
    return get_order(sql, order.id)


def held(sql: peewee.SqliteDatabase, order_id: int) -> list[Task]:
    """See `Tasks.held`."""
    waits = (TaskRow.state == TaskState.SCHEDULED) & (TaskRow.held == True)  # noqa: E712
    query = TaskRow.select(*lifecycle.COLUMNS).where(TaskRow.order_id == order_id, waits).order_by(TaskRow.id)
    return [Task(**row) for row in dicts(query, sql)]


def adopt(sql: peewee.SqliteDatabase, macs: list[str], uuid: UUID | None, now: datetime) -> tuple[Host, Task] | None:
    """See `Tasks.adopt`."""
    if hosts.identify(sql, macs, uuid) is not None:
        return None
    docks = hosts.shared_macs(sql)
    own = [mac for mac in macs if identity.usable_mac(mac, docks)]
    sound = identity.usable_uuid(uuid)
    if not own and sound is None:
        return None
    capture = lifecycle.unfinished(sql, None)
    if capture is not None:
        return _adopt_master(sql, capture, own, sound, now)
    orders = open_orders(sql, now)
    return _adopt_for_order(sql, orders[0], own, sound, now) if orders else None


def _adopt_master(
    sql: peewee.SqliteDatabase, task: Task, macs: list[str], uuid: UUID | None, now: datetime
) -> tuple[Host, Task]:
    wanted = _MASTER_NAME.format(image=task.image_name[:_MAX_MASTER])
    host = hosts.insert(sql, hosts.free_name(sql, wanted), macs, now, uuid=uuid, sealed=task.sealed)
    TaskRow.update(host_id=host.id, host_name=host.name).where(TaskRow.id == task.id).execute(sql)
    lifecycle.record(sql, task.id, task.state, f"the unknown PC {_mark(host)} is now host {host.name}", now)
    return host, lifecycle.get(sql, task.id)


def _adopt_for_order(
    sql: peewee.SqliteDatabase, order: NewPcOrder, macs: list[str], uuid: UUID | None, now: datetime
) -> tuple[Host, Task]:
    host = hosts.insert(sql, hosts.next_name(sql, order.pattern), macs, now, uuid=uuid, room=order.room)
    version = images.version(sql, order.version_id)
    text = f"the unknown PC {_mark(host)} is now host {host.name}, {order.taken + 1} of {order.wanted}"
    cast = None if order.cast_id is None else casts.get(sql, order.cast_id)
    if cast is not None and cast.state is CastState.ENDED:
        text += f"; cast {cast.id} has ended, it goes by NFS"
    if order.hold:
        text += "; it waits until the operator confirms it"
    values = {"text": text, "held": order.hold, "order_id": order.id}
    task = ordering.create_deploy(sql, host, version, now, after=order.after, **values)
    if cast is not None and cast.state is CastState.OPEN:
        casts.seat(sql, cast, task.id)
    OrderRow.update(taken=order.taken + 1).where(OrderRow.id == order.id).execute(sql)
    if order.taken + 1 == order.wanted:
        OrderRow.update(closed=now, why="all its PCs came").where(OrderRow.id == order.id).execute(sql)
    return host, lifecycle.get(sql, task.id)


def _mark(host: Host) -> str:
    return host.macs[0] if host.macs else str(host.uuid)


def select() -> Any:
    """Orders, each with the name of its room."""
    room = peewee.fn.COALESCE(RoomRow.name, "").alias("room")
    return OrderRow.select(*_ORDER, room).join(RoomRow, peewee.JOIN.LEFT_OUTER, on=(RoomRow.id == OrderRow.room_id))


def _in_time(now: datetime) -> Any:
    return OrderRow.until.is_null() | (OrderRow.until > now)
