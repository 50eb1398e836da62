"""What was last seen of each MAC, inside a transaction: see `Hosts.seen`."""

from __future__ import annotations

from typing import Any

import peewee

from appliance.events import BootStage
from appliance.store.bootsteps import reached
from appliance.store.rows import MacRow, SightingRow, first

MAX_SIGHTINGS = 5000  # beyond it unknown PCs' are forgotten: a flood of invented MACs must not fill the disk


def record(sql: peewee.SqliteDatabase, mac: str, values: dict[str, Any]) -> None:
    """Insert or update one sighting. Later stages of one boot know less than its DHCP request: what they lack stays."""
    known = first(SightingRow.select().where(SightingRow.mac == mac), sql)
    values["steps"] = reached(known["steps"] if known else (), values["stage"], values["at"])
    if known is not None:
        keep = {"uuid": None, "arch": None, "ip": ""} if values["stage"] is not BootStage.DHCP else {"ip": ""}
        values = {key: known[key] if key in keep and value == keep[key] else value for key, value in values.items()}
        SightingRow.update(**values).where(SightingRow.mac == mac).execute(sql)
        return
    SightingRow.insert(mac=mac, **values).execute(sql)
    surplus = SightingRow.select().count(sql) - MAX_SIGHTINGS
    if surplus > 0:
        unknown = SightingRow.mac.not_in(MacRow.select(MacRow.address))
        oldest = SightingRow.select(SightingRow.mac).where(unknown).order_by(SightingRow.at).limit(surplus)
        SightingRow.delete().where(SightingRow.mac.in_(oldest)).execute(sql)
