"""Unknown PCs: the standing orders that wait for them, and their adoption.

Functions here run inside a transaction that the caller has open on `sql`.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import peewee

from appliance.errors import NotFound
from appliance.events import AfterTask, CastState, TaskKind
from appliance.model import Cast, Host, ImageVersion, NewPcOrder, Task
from appliance.store import casts, hosts, identity, images, lifecycle
from appliance.store.rows import OPEN_ORDER, OrderRow, TaskRow, columns, dicts

_ORDER = columns(OrderRow, NewPcOrder)
_MASTER_NAME = "{image}-master"
_MAX_MASTER = 50  # characters of the image name used; leaves room for "-master-999" in a name of 63


def create_order(
    sql: peewee.SqliteDatabase,
    version: ImageVersion,
    wanted: int,
    pattern: str,
    after: AfterTask,
    now: datetime,
    cast: Cast | None = None,
) -> NewPcOrder:
    """Insert an order and return it."""
    order_id = OrderRow.insert(
        version_id=version.id,
        image_name=version.image_name,
        pattern=pattern,
        wanted=wanted,
        taken=0,
        after=after,
        created=now,
        cancelled=False,
        cast_id=cast.id if cast else None,
    ).execute(sql)
    return next(order for order in open_orders(sql) if order.id == order_id)


def open_orders(sql: peewee.SqliteDatabase) -> list[NewPcOrder]:
    """Orders that still wait for PCs, oldest first."""
    query = OrderRow.select(*_ORDER).where(OPEN_ORDER).order_by(OrderRow.id)
    return [NewPcOrder(**row) for row in dicts(query, sql)]


def cancel_order(sql: peewee.SqliteDatabase, order_id: int) -> None:
    """Close an open order. Raises `NotFound`."""
    if not OrderRow.update(cancelled=True).where(OrderRow.id == order_id, OPEN_ORDER).execute(sql):
        raise NotFound(f"No order {order_id} waits for new PCs.", hint="See: diecast task orders")


def create_deploy(
    sql: peewee.SqliteDatabase, host: Host, version: ImageVersion, after: AfterTask, now: datetime, text: str = ""
) -> Task:
    """Insert a deploy task for a host that has no other."""
    return lifecycle.create(
        sql,
        now,
        text=text or f"waiting for {host.name} to boot",
        kind=TaskKind.DEPLOY,
        image_name=version.image_name,
        host_id=host.id,
        host_name=host.name,
        version_id=version.id,
        after=after,
    )


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
    orders = open_orders(sql)
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
    host = hosts.insert(sql, hosts.next_name(sql, order.pattern), macs, now, uuid=uuid)
    version = images.version(sql, order.version_id)
    text = f"the unknown PC {_mark(host)} is now host {host.name}, {order.taken + 1} of {order.wanted}"
    cast = None if order.cast_id is None else casts.get(sql, order.cast_id)
    if cast is not None and cast.state is CastState.ENDED:
        text += f"; cast {cast.id} has ended, it goes by NFS"
    task = create_deploy(sql, host, version, order.after, now, text)
    if cast is not None and cast.state is CastState.OPEN:
        casts.seat(sql, cast, task.id)
    OrderRow.update(taken=order.taken + 1).where(OrderRow.id == order.id).execute(sql)
    return host, lifecycle.get(sql, task.id)


def _mark(host: Host) -> str:
    return host.macs[0] if host.macs else str(host.uuid)
