"""Peewee's row classes of the newest schema, and their turning into dataclasses.

The classes are bound to no database: each query names the one it runs on, so that one process can have several stores
open. Column names equal the dataclasses' field names wherever a row becomes one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any
from uuid import UUID

import peewee

from appliance.events import AfterTask, BootStage, CastState, LocalBoot, TaskKind, TaskState, UefiLoader

if TYPE_CHECKING:  # a generic class only in its stubs
    _Field = peewee.Field[Any]
else:
    _Field = peewee.Field


def utc_now(now: datetime | None) -> datetime:
    """`now` if a test gave one, else the time, in UTC."""
    return (now or datetime.now(UTC)).astimezone(UTC)


class UtcField(_Field):
    """An aware datetime as ISO text in UTC of constant width."""

    field_type = "TEXT"

    def db_value(self, value: datetime | None) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def python_value(self, value: str | None) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


class WordField(_Field):
    """A member of one of our enumerations as its word."""

    field_type = "TEXT"

    def __init__(self, kind: type[StrEnum], **kwargs: Any) -> None:
        self.kind = kind
        super().__init__(**kwargs)

    def db_value(self, value: str | None) -> str | None:
        return None if value is None else str(value)

    def python_value(self, value: str | None) -> StrEnum | None:
        return None if value is None else self.kind(value)


class GuidField(_Field):
    """A UUID in its usual spelling."""

    field_type = "TEXT"

    def db_value(self, value: UUID | str | None) -> str | None:
        return None if value is None else str(value)

    def python_value(self, value: str | None) -> UUID | None:
        return None if value is None else UUID(value)


class AddressField(_Field):
    """An IPv4 address in dotted form."""

    field_type = "TEXT"

    def db_value(self, value: IPv4Address | str | None) -> str | None:
        return None if value is None else str(value)

    def python_value(self, value: str | None) -> IPv4Address | None:
        return None if value is None else IPv4Address(value)


class FlagField(_Field):
    """True, false or unknown."""

    field_type = "INTEGER"

    def db_value(self, value: bool | None) -> int | None:
        return None if value is None else int(value)

    def python_value(self, value: int | None) -> bool | None:
        return None if value is None else bool(value)


class JsonField(_Field):
    """A JSON object."""

    field_type = "TEXT"

    def db_value(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)

    def python_value(self, value: str) -> Any:
        return json.loads(value)


class HostRow(peewee.Model):
    id = peewee.AutoField()
    name = peewee.TextField(collation="NOCASE")
    uuid = GuidField()
    sealed = FlagField()
    local_boot = WordField(LocalBoot)
    uefi_loader = WordField(UefiLoader)
    disk = peewee.TextField()
    notes = peewee.TextField()
    firmware = peewee.TextField()
    secure_boot = FlagField()
    version_id = peewee.TextField()
    ip = peewee.TextField()
    stage = WordField(BootStage)
    last_seen = UtcField()
    created = UtcField()

    class Meta:
        table_name = "host"


class MacRow(peewee.Model):
    address = peewee.TextField(primary_key=True)
    host_id = peewee.IntegerField()
    position = peewee.IntegerField()

    class Meta:
        table_name = "mac"


class DockMacRow(peewee.Model):
    address = peewee.TextField(primary_key=True)

    class Meta:
        table_name = "dock_mac"


class SightingRow(peewee.Model):
    mac = peewee.TextField(primary_key=True)
    stage = WordField(BootStage)
    at = UtcField()
    uuid = GuidField()
    arch = peewee.IntegerField(null=True)
    ip = peewee.TextField()
    detail = peewee.TextField()

    class Meta:
        table_name = "sighting"


class InventoryRow(peewee.Model):
    host_id = peewee.IntegerField(primary_key=True)
    at = UtcField()
    data = JsonField()

    class Meta:
        table_name = "inventory"


class ImageRow(peewee.Model):
    id = peewee.AutoField()
    name = peewee.TextField(collation="NOCASE")
    notes = peewee.TextField()
    last_number = peewee.IntegerField()
    created = UtcField()

    class Meta:
        table_name = "image"


class VersionRow(peewee.Model):
    row = peewee.AutoField()
    image_id = peewee.IntegerField()
    version_id = peewee.TextField()
    number = peewee.IntegerField()
    created = UtcField()
    disk_bytes = peewee.IntegerField()
    used_bytes = peewee.IntegerField()
    stored_bytes = peewee.IntegerField()
    new_bytes = peewee.IntegerField()
    chunks = peewee.IntegerField()
    master_name = peewee.TextField()
    task_id = peewee.IntegerField(null=True)
    sealed = FlagField()
    notes = peewee.TextField()

    class Meta:
        table_name = "image_version"


class TaskRow(peewee.Model):
    id = peewee.AutoField()
    kind = WordField(TaskKind)
    state = WordField(TaskState)
    image_name = peewee.TextField()
    host_id = peewee.IntegerField(null=True)
    host_name = peewee.TextField()
    version_id = peewee.TextField()
    sealed = FlagField()
    after = WordField(AfterTask)
    created = UtcField()
    started = UtcField()
    finished = UtcField()
    last_heard = UtcField()
    phase = peewee.TextField()
    done_bytes = peewee.IntegerField()
    total_bytes = peewee.IntegerField()
    rate_bytes_s = peewee.FloatField()
    attempts = peewee.IntegerField()
    ip = peewee.TextField()
    error = peewee.TextField()
    remedy = peewee.TextField()
    log_bytes = peewee.IntegerField()
    cast_id = peewee.IntegerField(null=True)

    class Meta:
        table_name = "task"


class CastRow(peewee.Model):
    id = peewee.AutoField()
    version_id = peewee.TextField()
    image_name = peewee.TextField()
    state = WordField(CastState)
    created = UtcField()
    ended = UtcField()
    why = peewee.TextField()
    cast_id = peewee.TextField()
    key = peewee.TextField()
    group = AddressField(column_name="group_address")
    wait_for = peewee.IntegerField()
    wait_seconds = peewee.IntegerField()
    rate_mbit = peewee.IntegerField()
    begun = FlagField()
    present = peewee.IntegerField()
    waiting = FlagField()
    rate_bytes_s = peewee.FloatField()
    sent_bytes = peewee.IntegerField()
    parity_bytes = peewee.IntegerField()
    forged = peewee.IntegerField()
    refused = peewee.IntegerField()
    replayed = peewee.IntegerField()
    wanted = peewee.IntegerField()
    broadcast = FlagField()

    class Meta:
        table_name = "room_cast"


class CastMemberRow(peewee.Model):
    task_id = peewee.IntegerField(primary_key=True)
    cast_id = peewee.IntegerField()
    preferred = FlagField()
    dropped = FlagField()
    status = peewee.TextField()
    written = peewee.IntegerField()
    total = peewee.IntegerField()
    loss = peewee.FloatField()

    class Meta:
        table_name = "cast_member"


class TaskEventRow(peewee.Model):
    id = peewee.AutoField()
    task_id = peewee.IntegerField()
    at = UtcField()
    state = WordField(TaskState)
    text = peewee.TextField()

    class Meta:
        table_name = "task_event"


class TaskLogRow(peewee.Model):
    id = peewee.AutoField()
    task_id = peewee.IntegerField()
    text = peewee.TextField()

    class Meta:
        table_name = "task_log"


class OrderRow(peewee.Model):
    id = peewee.AutoField()
    version_id = peewee.TextField()
    image_name = peewee.TextField()
    pattern = peewee.TextField()
    wanted = peewee.IntegerField()
    taken = peewee.IntegerField()
    after = WordField(AfterTask)
    created = UtcField()
    cancelled = FlagField()
    cast_id = peewee.IntegerField(null=True)

    class Meta:
        table_name = "new_pc_order"


OPEN_ORDER = (OrderRow.cancelled == False) & (OrderRow.taken < OrderRow.wanted)  # noqa: E712


class TokenRow(peewee.Model):
    hash = peewee.TextField(primary_key=True)
    task_id = peewee.IntegerField(null=True)
    mac = peewee.TextField()
    ip = peewee.TextField()
    issued = UtcField()
    revoked = FlagField()

    class Meta:
        table_name = "token"


class LeaseRow(peewee.Model):
    address = AddressField(primary_key=True)
    client_key = peewee.TextField()
    mac = peewee.TextField()
    expires = UtcField()
    client_id = peewee.TextField()
    hostname = peewee.TextField()
    declined = FlagField()

    class Meta:
        table_name = "lease"


class ReservationRow(peewee.Model):
    mac = peewee.TextField(primary_key=True)
    address = AddressField()

    class Meta:
        table_name = "reservation"


class SettingRow(peewee.Model):
    key = peewee.TextField(primary_key=True)
    value = peewee.TextField()

    class Meta:
        table_name = "setting"


class AuditRow(peewee.Model):
    id = peewee.AutoField()
    at = UtcField()
    actor = peewee.TextField()
    action = peewee.TextField()
    detail = peewee.TextField()

    class Meta:
        table_name = "audit"


class DhcpServerRow(peewee.Model):
    ip = peewee.TextField()
    interface = peewee.TextField()
    at = UtcField()
    detail = peewee.TextField()

    class Meta:
        table_name = "dhcp_server"
        primary_key = peewee.CompositeKey("ip", "interface")


def columns(row: type[peewee.Model], made: type[Any], *, without: Iterable[str] = ()) -> list[Any]:
    """The columns of `row` that dataclass `made` takes as they are."""
    skipped = set(without)
    return [getattr(row, item.name) for item in dataclasses.fields(made) if item.name not in skipped]


def dicts(query: Any, sql: peewee.SqliteDatabase) -> Iterator[dict[str, Any]]:
    """The rows of a select, each as a dict of converted values."""
    yield from query.dicts().execute(sql)


def first(query: Any, sql: peewee.SqliteDatabase) -> dict[str, Any] | None:
    """The first row of a select, as `dicts` gives it."""
    row: dict[str, Any] | None = query.dicts().first(sql)
    return row
