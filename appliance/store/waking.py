"""PCs that are to be woken: asked for by the operator or a task's start, done by the scheduler.

A PC is sent magic packets until it is seen, `INTERVAL` apart and `TIMES` times at most: a packet may be lost, a switch
port may still be coming up, and a PC that does not wake will not do so the sixth time. Functions here run inside a
transaction that the caller has open on `sql`.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import peewee

from appliance.errors import UsageError
from appliance.model import Host, WakeCall
from appliance.store.rows import HostRow, MacRow, WakeRow, dicts

INTERVAL = timedelta(minutes=1)
TIMES = 5


def refuse_unwakeable(host: Host) -> None:
    """Raise `UsageError` for a host that no packet can be sent to."""
    if not host.macs:
        raise UsageError(
            f"{host.name} has no MAC address and cannot be woken.",
            hint=f"Give it one: diecast host edit {host.name} --mac MAC",
        )


def ask(sql: peewee.SqliteDatabase, host_ids: Iterable[int], now: datetime) -> None:
    """Wake these hosts from now on; whoever is being woken already is begun with anew."""
    for host_id in host_ids:
        forget(sql, host_id)
        WakeRow.insert(host_id=host_id, asked=now, next_at=now, sent=0).execute(sql)


def forget(sql: peewee.SqliteDatabase, host_id: int) -> None:
    """Wake this host no more."""
    WakeRow.delete().where(WakeRow.host_id == host_id).execute(sql)


def over(sql: peewee.SqliteDatabase) -> list[int]:
    """The requests that are over: the PC was seen, or the packet after which there is none was sent."""
    seen = HostRow.last_seen.is_null(False) & (HostRow.last_seen > WakeRow.asked)
    query = WakeRow.select(WakeRow.id).join(HostRow, on=(HostRow.id == WakeRow.host_id))
    return [row["id"] for row in dicts(query.where(seen | (WakeRow.sent >= TIMES)), sql)]


def due(sql: peewee.SqliteDatabase, now: datetime) -> list[WakeCall]:
    """Whom to send a packet now."""
    query = (
        WakeRow.select(WakeRow.id, WakeRow.host_id, WakeRow.sent, HostRow.name)
        .join(HostRow, on=(HostRow.id == WakeRow.host_id))
        .where(WakeRow.next_at <= now, WakeRow.sent < TIMES)
        .order_by(WakeRow.id)
    )
    rows = list(dicts(query, sql))
    macs: dict[int, list[str]] = {row["host_id"]: [] for row in rows}
    cards = MacRow.select().where(MacRow.host_id.in_(list(macs))).order_by(MacRow.host_id, MacRow.position)
    for card in dicts(cards, sql) if rows else ():
        macs[card["host_id"]].append(card["address"])
    return [WakeCall(row["id"], row["name"], tuple(macs[row["host_id"]]), row["sent"]) for row in rows]


def sent(sql: peewee.SqliteDatabase, ids: list[int], now: datetime) -> None:
    """A packet went out for these requests; the next one is due an interval later."""
    values = {"sent": WakeRow.sent + 1, "next_at": now + INTERVAL}
    WakeRow.update(values).where(WakeRow.id.in_(ids)).execute(sql)
