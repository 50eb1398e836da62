"""Small records: values that services leave for one another, the audit trail, other DHCP servers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import peewee

from appliance.model import AuditEvent, DhcpServer
from appliance.store.database import Database
from appliance.store.rows import AuditRow, DhcpServerRow, SettingRow, columns, dicts, first, utc_now


class SettingValues:
    """Named values; what is not there has a default."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str, default: str = "") -> str:
        """The value of `key`."""
        with self._database.read() as sql:
            return value(sql, key, default)

    def set(self, key: str, value: str) -> None:
        """Keep `value`; an empty one removes the key."""
        with self._database.write() as sql:
            put(sql, key, value)

    def set_all(self, values: Mapping[str, str]) -> None:
        """Keep several values, as `set` does, all or none."""
        with self._database.write() as sql:
            put_all(sql, values)

    def set_if(self, values: Mapping[str, str], prefix: str, seen: Mapping[str, str]) -> bool:
        """Keep several values, as `set` does, if what begins with `prefix` is still as it was `seen`; whether so."""
        with self._database.write() as sql:
            if values_under(sql, prefix) != seen:
                return False
            put_all(sql, values)
            return True

    def unset(self, key: str) -> None:
        """Take `key` away, so that its default counts."""
        self.set(key, "")

    def all(self, prefix: str = "") -> dict[str, str]:
        """Every key that begins with `prefix`, with its value."""
        with self._database.read() as sql:
            return values_under(sql, prefix)


class Audit:
    """Who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, actor: str, action: str, detail: str = "", *, now: datetime | None = None) -> None:
        """Add one event."""
        with self._database.write() as sql:
            AuditRow.insert(at=utc_now(now), actor=actor, action=action, detail=detail).execute(sql)

    def list(self, limit: int = 200) -> list[AuditEvent]:
        """The last events, newest first."""
        query = AuditRow.select(*columns(AuditRow, AuditEvent)).order_by(AuditRow.id.desc()).limit(limit)
        with self._database.read() as sql:
            return [AuditEvent(**row) for row in dicts(query, sql)]


class Servers:
    """DHCP servers that are not ours."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def heard(self, ip: str, interface: str, detail: str = "", *, now: datetime | None = None) -> None:
        """Another server answered on `interface`."""
        with self._database.write() as sql:
            DhcpServerRow.insert(
                ip=ip, interface=interface, at=utc_now(now), detail=detail
            ).on_conflict_replace().execute(sql)

    def list(self) -> list[DhcpServer]:
        """All that were ever heard, the last heard first."""
        query = DhcpServerRow.select(*columns(DhcpServerRow, DhcpServer)).order_by(DhcpServerRow.at.desc())
        with self._database.read() as sql:
            return [DhcpServer(**row) for row in dicts(query, sql)]


# -- inside a transaction ---------------------------------------------------------------------------------------------


def value(sql: peewee.SqliteDatabase, key: str, default: str = "") -> str:
    """See `SettingValues.get`."""
    row = first(SettingRow.select().where(SettingRow.key == key), sql)
    return default if row is None else str(row["value"])


def put(sql: peewee.SqliteDatabase, key: str, value: str) -> None:
    """See `SettingValues.set`."""
    if value:
        SettingRow.insert(key=key, value=value).on_conflict_replace().execute(sql)
    else:
        SettingRow.delete().where(SettingRow.key == key).execute(sql)


def put_all(sql: peewee.SqliteDatabase, values: Mapping[str, str]) -> None:
    """See `SettingValues.set_all`."""
    for key, text in values.items():
        put(sql, key, text)


def under(prefix: str) -> Any:
    """The condition that a key begins with `prefix`: a range of the index, in its case."""
    return (SettingRow.key >= prefix) & (SettingRow.key < prefix + chr(0x10FFFF))


def values_under(sql: peewee.SqliteDatabase, prefix: str) -> dict[str, str]:
    """See `SettingValues.all`."""
    query = SettingRow.select().where(under(prefix)).order_by(SettingRow.key)
    return {row["key"]: row["value"] for row in dicts(query, sql)}
