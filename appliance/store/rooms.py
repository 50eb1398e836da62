"""Rooms: groups of hosts that are worked with together. A host stands in one room or in none."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

import peewee

from appliance.errors import Conflict
from appliance.host_fields import check_room
from appliance.model import Host, Room
from appliance.store import hosts
from appliance.store.database import Database
from appliance.store.rows import HostRow, RoomRow, dicts, first


class Rooms:
    """Verbs on rooms."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self) -> builtins.list[Room]:
        """All rooms in the order of their names, numbers by value."""
        with self._database.read() as sql:
            rooms = [Room(**row) for row in dicts(select(), sql)]
        return sorted(rooms, key=lambda room: hosts.natural(room.name))

    def get(self, name: str) -> Room:
        """The room of that name, in any case. Raises `NotFound`."""
        with self._database.read() as sql:
            return _get(sql, name)

    def hosts(self, name: str) -> builtins.list[Host]:
        """The hosts that stand in a room, in the order of their names. Raises `NotFound`."""
        with self._database.read() as sql:
            return hosts.in_room(sql, _get(sql, name).id)

    def add(self, name: str, notes: str = "", host_names: Iterable[str] = ()) -> Room:
        """Make a room, and put hosts into it.

        Raises `Conflict` when there is one of that name, `UsageError` for no name, `NotFound` for an unknown host.
        """
        with self._database.write() as sql:
            room_id = RoomRow.insert(name=_free(sql, name, None), notes=notes).execute(sql)
            _assign(sql, room_id, host_names)
            return _get(sql, name.strip())

    def edit(self, room: str, /, *, name: str | None = None, notes: str | None = None) -> Room:
        """Change a room's name or notes. Raises as `add`, and `NotFound`."""
        with self._database.write() as sql:
            known = _get(sql, room)
            values = {} if notes is None else {"notes": notes}
            if name is not None:
                values["name"] = _free(sql, name, known.id)
            if values:
                RoomRow.update(**values).where(RoomRow.id == known.id).execute(sql)
            return _get(sql, values.get("name", known.name))

    def remove(self, name: str) -> None:
        """Forget a room; its hosts stay, without a room. Raises `NotFound`."""
        with self._database.write() as sql:
            RoomRow.delete().where(RoomRow.id == _get(sql, name).id).execute(sql)

    def assign(self, room_name: str | None, host_names: Iterable[str]) -> int:
        """Put hosts into a room, or into none: all of them or, when one is unknown, nobody. Raises `NotFound`.

        Returns how many stood elsewhere before.
        """
        with self._database.write() as sql:
            return _assign(sql, None if room_name is None else hosts.room_id(sql, room_name), host_names)


def select() -> Any:
    """Rooms, each with the number of its hosts."""
    count = peewee.fn.COUNT(HostRow.id).alias("hosts")
    return (
        RoomRow.select(RoomRow.id, RoomRow.name, RoomRow.notes, count)
        .join(HostRow, peewee.JOIN.LEFT_OUTER, on=(HostRow.room_id == RoomRow.id))
        .group_by(RoomRow.id)
    )


def _get(sql: peewee.SqliteDatabase, name: str) -> Room:
    room_id = hosts.room_id(sql, name)
    row = first(select().where(RoomRow.id == room_id), sql)
    assert row is not None
    return Room(**row)


def _assign(sql: peewee.SqliteDatabase, room_id: int | None, host_names: Iterable[str]) -> int:
    ids = [hosts.by_name(sql, name).id for name in host_names]
    elsewhere = HostRow.room_id.is_null() | (HostRow.room_id != room_id)
    if room_id is None:
        elsewhere = HostRow.room_id.is_null(False)
    moved: int = HostRow.update(room_id=room_id).where(HostRow.id.in_(ids), elsewhere).execute(sql)
    return moved


def _free(sql: peewee.SqliteDatabase, name: str, room_id: int | None) -> str:
    """`name` without blanks around it, when it can name a room and no other room has it."""
    name = check_room(name)
    row = first(RoomRow.select().where(RoomRow.name == name), sql)
    if row is not None and row["id"] != room_id:
        raise Conflict(f"There is a room '{row['name']}' already.", hint="Choose another name.")
    return name
