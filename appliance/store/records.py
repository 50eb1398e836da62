"""Small records: values that services leave for one another, the audit trail, other DHCP servers."""

from __future__ import annotations

from datetime import datetime

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
            row = first(SettingRow.select().where(SettingRow.key == key), sql)
        return default if row is None else str(row["value"])

    def set(self, key: str, value: str) -> None:
        """Keep `value`; an empty one removes the key."""
        with self._database.write() as sql:
            if value:
                SettingRow.insert(key=key, value=value).on_conflict_replace().execute(sql)
            else:
                SettingRow.delete().where(SettingRow.key == key).execute(sql)

    def unset(self, key: str) -> None:
        """Take `key` away, so that its default counts."""
        self.set(key, "")

    def all(self, prefix: str = "") -> dict[str, str]:
        """Every key that begins with `prefix`, with its value."""
        with self._database.read() as sql:
            rows = list(dicts(SettingRow.select().order_by(SettingRow.key), sql))
        return {row["key"]: row["value"] for row in rows if row["key"].startswith(prefix)}


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
