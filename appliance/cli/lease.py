"""`diecast lease`: who has which address."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.model import Lease


def _state(lease: Lease, now: datetime) -> str:
    if lease.expires <= now:
        return "expired"
    return "declined" if lease.declined else "lent"


def _rows(context: Context, *, with_expired: bool) -> list[dict[str, Any]]:
    """Leases and reservations as one list by address."""
    now = datetime.now(UTC)
    names = {mac: host.name for host in context.store.hosts.list() for mac in host.macs}
    reserved = {item.address: item.mac for item in context.store.leases.reservations()}
    rows: list[dict[str, Any]] = []
    for lease in context.store.leases.all():
        state = _state(lease, now)
        if state == "expired" and not with_expired:
            continue
        is_reserved = reserved.get(lease.address) == lease.mac
        rows.append({**show.plain(lease), "host": names.get(lease.mac, ""), "state": state, "reserved": is_reserved})
    listed = {row["address"] for row in rows}
    for address, mac in reserved.items():
        if str(address) not in listed:
            free = {"address": str(address), "mac": mac, "expires": None, "hostname": "", "client_id": ""}
            rows.append({**free, "host": names.get(mac, ""), "state": "reserved", "reserved": True})
    return sorted(rows, key=lambda row: IPv4Address(row["address"]))


def _list(context: Context, options: argparse.Namespace) -> int:
    rows = _rows(context, with_expired=options.all)
    if options.json:
        context.say(show.as_json(rows))
        return 0
    cells = [
        (
            row["address"],
            row["mac"],
            row["host"] or row["hostname"] or "-",
            show.moment(datetime.fromisoformat(row["expires"])) if row["expires"] else "-",
            row["state"] + (" *" if row["reserved"] and row["state"] != "reserved" else ""),
        )
        for row in rows
    ]
    if not cells:
        context.say("No address is lent.")
        return 0
    context.say(show.table(("ADDRESS", "MAC", "NAME", "EXPIRES", "STATE"), cells, width=context.width))
    if any(row["reserved"] and row["state"] != "reserved" for row in rows):
        context.say("* reserved")
    return 0


COMMAND = Command(
    "lease",
    "list DHCP leases and reservations",
    parts=(
        Command(
            "list",
            "list the addresses that are lent or reserved",
            _list,
            (argument("--all", action="store_true", help="expired leases too"), JSON),
        ),
    ),
)
