"""Hosts: who is known, by which marks, and what was last seen of each PC."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import peewee

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import BootStage, LocalBoot, UefiLoader
from appliance.host_fields import check_room, name_from_pattern
from appliance.model import Host, Inventory, Sighting, WakeCall, check_name, normalise_mac
from appliance.store import identity, leases, lifecycle, sightings, waking
from appliance.store.database import Database
from appliance.store.rows import (
    DockMacRow,
    HostRow,
    InventoryRow,
    MacRow,
    RoomRow,
    SightingRow,
    TaskRow,
    WakeRow,
    columns,
    dicts,
    first,
    utc_now,
)

_COLUMNS = columns(HostRow, Host, without=("macs", "room"))
_BIOS_ARCH = 0  # DHCP option 93 (RFC 4578, IANA's list); every other entry is some UEFI

# What `add` and `edit` accept beside name and macs, and how each value is made sound.
_FIELDS: dict[str, Any] = {
    "uuid": identity.usable_uuid,
    "sealed": bool,
    "local_boot": LocalBoot,
    "uefi_loader": UefiLoader,
    "disk": str,
    "notes": str,
}
# What an operator can edit, and so what two of them can both be editing.
_EDITABLE = ("name", "macs", *_FIELDS, "room")
# What only services set, when they register a PC.
_SERVICE_FIELDS: dict[str, Any] = {"firmware": str, "secure_boot": lambda value: value, "ip": str}


class Hosts:
    """Verbs on hosts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        name: str,
        macs: Iterable[str],
        *,
        uuid: UUID | None = None,
        address: IPv4Address | None = None,
        now: datetime | None = None,
        **fields: Any,
    ) -> Host:
        """Register a PC, and reserve `address` for its first MAC. With `make_room` its room is made if it is not there.

        Raises `Conflict` naming the host that has the name or a MAC, or the MAC that has the address, `UsageError` for
        bad values. A UUID that identifies nobody (`identity.BAD_UUIDS`) is left out.
        """
        with self._database.write() as sql:
            host = insert(sql, name, macs, utc_now(now), uuid=uuid, **fields)
            if address is not None:
                leases.settle(sql, host.name, (), host.macs, address)
            return host

    def add_named(
        self, pattern: str, cards: Iterable[tuple[str, UUID | None]], room: str = "", *, now: datetime | None = None
    ) -> builtins.list[Host]:
        """Register PCs by MAC and UUID under the next free names of `pattern`, all or none. Raises as `add`."""
        with self._database.write() as sql:
            moment = utc_now(now)
            return [insert(sql, next_name(sql, pattern), [mac], moment, uuid=uuid, room=room) for mac, uuid in cards]

    def get(self, name: str) -> Host:
        """The host of that name, in any case. Raises `NotFound`."""
        with self._database.read() as sql:
            return by_name(sql, name)

    def by_id(self, host_id: int) -> Host:
        """The host with that number. Raises `NotFound`."""
        with self._database.read() as sql:
            return by_id(sql, host_id)

    def by_mac(self, mac: str) -> Host | None:
        """The host that owns `mac`. A shared dock's MAC is nobody's."""
        with self._database.read() as sql:
            return identify(sql, (mac,), None)

    def identify(self, macs: Iterable[str], uuid: UUID | None = None) -> Host | None:
        """Who a PC with these marks is. The rules stand in `store.identity`; give the MAC it booted from first."""
        with self._database.read() as sql:
            return identify(sql, macs, uuid)

    def list(self) -> list[Host]:
        """All hosts in the order of their names, numbers by value."""
        with self._database.read() as sql:
            hosts = list(_hosts(sql, select()))
        return sorted(hosts, key=lambda host: natural(host.name))

    def edit(
        self,
        host_name: str,
        /,
        base: Host | None = None,
        *,
        address: IPv4Address | None = leases.KEEP,
        shown: IPv4Address | None = leases.KEEP,
        make_room: bool = False,
        **changes: Any,
    ) -> Host:
        """Change name, macs, uuid, sealed, local_boot, uefi_loader, disk, notes, room or reserved address.

        No room is an empty text, no address None; with `make_room` a room is made if it is not there. `base`, and
        `shown` for the address, is what the editor was shown: then the host is found by its number, and what somebody
        else changed since raises `Conflict` naming it. Raises as `add`, and `NotFound`.
        """
        with self._database.write() as sql:
            host = by_name(sql, host_name) if base is None else by_id(sql, base.id)
            if base is not None:
                _refuse_if_changed(base, host, changes)
            if leases.KEEP not in (address, shown) and leases.shown_otherwise(sql, host.macs, shown, address):
                raise _changed_since(host.name, ["address"])
            macs = changes.pop("macs", None)
            new_name = changes.pop("name", None)
            room = changes.pop("room", None)
            values = _sound(changes, _FIELDS)
            if room is not None:
                values["room_id"] = room_id(sql, room, make=make_room) if room else None
            if new_name is not None:
                values["name"] = _free_name(sql, new_name, host.id)
                TaskRow.update(host_name=new_name).where(TaskRow.host_id == host.id).execute(sql)
            if macs is not None:
                _set_macs(sql, host.id, _sound_macs(sql, macs, host.id))
            if values:
                HostRow.update(**values).where(HostRow.id == host.id).execute(sql)
            changed = by_id(sql, host.id)
            _refuse_markless(changed.name, changed.macs, changed.uuid)
            leases.settle(sql, changed.name, host.macs, changed.macs, address)
            return changed

    def remove(self, name: str) -> None:
        """Forget a host and the addresses reserved for it; its finished tasks stay.

        Raises `NotFound`, and `Conflict` while it has an unfinished task.
        """
        with self._database.write() as sql:
            host = by_name(sql, name)
            lifecycle.refuse_if_busy(sql, host.id, host.name)
            leases.free(sql, host.macs)
            HostRow.delete().where(HostRow.id == host.id).execute(sql)

    def seen(
        self,
        mac: str,
        stage: BootStage,
        *,
        ip: str = "",
        uuid: UUID | None = None,
        arch: int | None = None,
        detail: str = "",
        now: datetime | None = None,
    ) -> None:
        """Record how far the PC with `mac` has come, known or not. `arch` is DHCP option 93."""
        mac = normalise_mac(mac)
        moment = utc_now(now)
        with self._database.write(durable=False) as sql:
            last = {"stage": stage, "at": moment, "uuid": uuid, "arch": arch, "ip": ip, "detail": detail}
            sightings.record(sql, mac, last)
            host = identify(sql, (mac,), uuid)
            if host is None:
                return
            values: dict[str, Any] = {"stage": stage, "last_seen": moment}
            if ip:
                values["ip"] = ip
            if arch is not None:
                values["firmware"] = "bios" if arch == _BIOS_ARCH else "uefi"
            HostRow.update(**values).where(HostRow.id == host.id).execute(sql)

    def sightings(self) -> builtins.list[Sighting]:
        """The last boot of every MAC, newest first, with its host's name where it has one."""
        with self._database.read() as sql:
            names = {host.id: host.name for host in _hosts(sql, select())}
            owners = {row["address"]: names[row["host_id"]] for row in dicts(MacRow.select(), sql)}
            query = SightingRow.select().order_by(SightingRow.at.desc())
            return [Sighting(**row, host_name=owners.get(row["mac"], "")) for row in dicts(query, sql)]

    def sighting(self, mac: str) -> Sighting | None:
        """The last boot of one MAC."""
        mac = normalise_mac(mac)
        with self._database.read() as sql:
            row = first(SightingRow.select().where(SightingRow.mac == mac), sql)
            if row is None:
                return None
            host = identify(sql, (mac,), None)
            return Sighting(**row, host_name=host.name if host else "")

    def set_firmware(self, host_id: int, firmware: str, secure_boot: bool | None) -> None:
        """Record what the PC's own kernel says: `bios` or `uefi`, and whether Secure Boot is on."""
        with self._database.write() as sql:
            values = {"firmware": firmware, "secure_boot": secure_boot}
            HostRow.update(**values).where(HostRow.id == host_id).execute(sql)

    def save_inventory(self, host_id: int, data: dict[str, Any], *, now: datetime | None = None) -> None:
        """Keep what the agent found, in place of what it found before. Raises `NotFound`."""
        with self._database.write() as sql:
            by_id(sql, host_id)
            InventoryRow.insert(host_id=host_id, at=utc_now(now), data=data).on_conflict_replace().execute(sql)

    def inventory(self, host_id: int) -> Inventory | None:
        """What the agent last found in the PC."""
        with self._database.read() as sql:
            row = first(InventoryRow.select().where(InventoryRow.host_id == host_id), sql)
        return None if row is None else Inventory(**row)

    def next_name(self, pattern: str) -> str:
        """The first free name of a pattern such as `LAB1-{nn}`: LAB1-01, LAB1-02 ... Raises `UsageError`."""
        with self._database.read() as sql:
            return next_name(sql, pattern)

    def wake(self, names: Iterable[str], *, now: datetime | None = None) -> None:
        """Ask the scheduler to wake these hosts: all of them or, when one is unknown or has no MAC, nobody.

        Raises `NotFound`, `UsageError`.
        """
        moment = utc_now(now)
        with self._database.write() as sql:
            found = [by_name(sql, name) for name in names]
            for host in found:
                waking.refuse_unwakeable(host)
            waking.ask(sql, [host.id for host in found], moment)

    def to_wake(self, *, now: datetime | None = None) -> builtins.list[WakeCall]:
        """Whom to send a magic packet now. A PC that was seen since, or was called often enough, is called no more."""
        moment = utc_now(now)
        with self._database.read() as sql:
            over, due = waking.over(sql), waking.due(sql, moment)
        if over:
            with self._database.write() as sql:
                over = waking.over(sql)
                WakeRow.delete().where(WakeRow.id.in_(over)).execute(sql)
        return [call for call in due if call.id not in over]

    def woken(self, ids: Iterable[int], *, now: datetime | None = None) -> None:
        """A packet went out for these calls."""
        with self._database.write(durable=False) as sql:
            waking.sent(sql, builtins.list(ids), utc_now(now))

    def dock_macs(self) -> builtins.list[str]:
        """MACs of shared docks and dongles, which never identify a host."""
        with self._database.read() as sql:
            return sorted(shared_macs(sql))

    def add_dock_mac(self, mac: str) -> None:
        """Declare `mac` a shared dock's. Raises `Conflict` while a host counts it as its own."""
        mac = normalise_mac(mac)
        with self._database.write() as sql:
            row = first(MacRow.select().where(MacRow.address == mac), sql)
            if row is not None:
                owner = by_id(sql, row["host_id"])
                raise Conflict(
                    f"{mac} belongs to host {owner.name}.",
                    hint=f"Take it away there first: diecast host edit {owner.name}",
                )
            DockMacRow.insert(address=mac).on_conflict_ignore().execute(sql)

    def remove_dock_mac(self, mac: str) -> None:
        """Let `mac` identify a host again. Raises `NotFound`."""
        mac = normalise_mac(mac)
        with self._database.write() as sql:
            if not DockMacRow.delete().where(DockMacRow.address == mac).execute(sql):
                raise NotFound(f"{mac} is not on the list of shared docks.")


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key under which PC-2 comes before PC-10."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part)) if part.isdigit() else (1, part) for part in parts if part)


# -- inside a transaction ---------------------------------------------------------------------------------------------


def insert(
    sql: peewee.SqliteDatabase,
    name: str,
    macs: Iterable[str],
    now: datetime,
    *,
    uuid: UUID | None = None,
    room: str = "",
    make_room: bool = False,
    **fields: Any,
) -> Host:
    """See `Hosts.add`."""
    values = _sound(fields, _FIELDS | _SERVICE_FIELDS)
    values["room_id"] = room_id(sql, room, make=make_room) if room else None
    values["uuid"] = identity.usable_uuid(uuid)
    values["name"] = _free_name(sql, name, None)
    addresses = _sound_macs(sql, macs, None)
    _refuse_markless(name, addresses, values["uuid"])
    host_id = HostRow.insert(created=now, **values).execute(sql)
    _set_macs(sql, host_id, addresses)
    return by_id(sql, host_id)


def by_name(sql: peewee.SqliteDatabase, name: str) -> Host:
    """See `Hosts.get`."""
    for host in _hosts(sql, select().where(HostRow.name == name)):
        return host
    raise NotFound(f"There is no host '{name}'.", hint="See: diecast host list")


def by_id(sql: peewee.SqliteDatabase, host_id: int) -> Host:
    """See `Hosts.by_id`."""
    for host in _hosts(sql, select().where(HostRow.id == host_id)):
        return host
    raise NotFound(f"There is no host with number {host_id}.", hint="See: diecast host list")


def in_room(sql: peewee.SqliteDatabase, room: int) -> list[Host]:
    """See `Rooms.hosts`."""
    return sorted(_hosts(sql, select().where(HostRow.room_id == room)), key=lambda host: natural(host.name))


def room_id(sql: peewee.SqliteDatabase, name: str, *, make: bool = False) -> int:
    """The number of the room of that name; with `make` a new one's. Raises `NotFound`, `UsageError`."""
    row = first(RoomRow.select().where(RoomRow.name == name), sql)
    if row is None and make:
        return int(RoomRow.insert(name=check_room(name), notes="").execute(sql))
    if row is None:
        raise NotFound(f"There is no room '{name}'.", hint="See: diecast room list")
    return int(row["id"])


def identify(sql: peewee.SqliteDatabase, macs: Iterable[str], uuid: UUID | None) -> Host | None:
    """See `Hosts.identify`."""
    docks = shared_macs(sql)
    addresses = [mac for mac in map(normalise_mac, macs) if identity.usable_mac(mac, docks)]
    by_uuid = _by_uuid(sql, uuid)
    owners = {
        row["address"]: row["host_id"] for row in dicts(MacRow.select().where(MacRow.address.in_(addresses)), sql)
    }
    if not owners:
        return by_uuid
    if by_uuid is not None:  # it has one of the MACs, or the card was moved: either way the UUID decides
        return by_uuid
    return by_id(sql, next(owners[mac] for mac in addresses if mac in owners))


def next_name(sql: peewee.SqliteDatabase, pattern: str) -> str:
    """See `Hosts.next_name`."""
    return name_from_pattern(pattern, _names(sql))


def free_name(sql: peewee.SqliteDatabase, wanted: str) -> str:
    """`wanted`, or `wanted-2`, `wanted-3` ... whichever is free."""
    taken = _names(sql)
    number, name = 1, wanted
    while name.lower() in taken:
        number += 1
        name = f"{wanted}-{number}"
    return name


def _names(sql: peewee.SqliteDatabase) -> set[str]:
    return {row["name"].lower() for row in dicts(HostRow.select(HostRow.name), sql)}


def select() -> Any:
    """Hosts without their MACs, with the name of their room."""
    room = peewee.fn.COALESCE(RoomRow.name, "").alias("room")
    return HostRow.select(*_COLUMNS, room).join(RoomRow, peewee.JOIN.LEFT_OUTER, on=(RoomRow.id == HostRow.room_id))


def _refuse_if_changed(base: Host, host: Host, changes: dict[str, Any]) -> None:
    """Raise `Conflict` for what differs from `base`, unless it is just what is wanted."""
    fields = [
        field
        for field in _EDITABLE
        if getattr(host, field) != getattr(base, field) and changes.get(field) != getattr(host, field)
    ]
    if fields:
        raise _changed_since(base.name, fields)


def _changed_since(name: str, fields: Iterable[str]) -> Conflict:
    return Conflict(
        f"Somebody changed {name} since it was shown to you: {', '.join(fields)}.",
        hint="Look at it again, then change it.",
    )


def _hosts(sql: peewee.SqliteDatabase, query: Any) -> Iterator[Host]:
    rows = list(dicts(query, sql))
    owned: dict[int, list[str]] = {row["id"]: [] for row in rows}
    macs = MacRow.select().order_by(MacRow.host_id, MacRow.position)
    if len(rows) == 1:
        macs = macs.where(MacRow.host_id == rows[0]["id"])
    for mac in dicts(macs, sql) if rows else ():
        if mac["host_id"] in owned:
            owned[mac["host_id"]].append(mac["address"])
    for row in rows:
        yield Host(**row, macs=tuple(owned[row["id"]]))


def _by_uuid(sql: peewee.SqliteDatabase, uuid: UUID | None) -> Host | None:
    """The only host with `uuid`. Two boards with one UUID identify nobody."""
    uuid = identity.usable_uuid(uuid)
    if uuid is None:
        return None
    same = HostRow.uuid.in_([UUID(text) for text in identity.spellings(uuid)])
    found = list(_hosts(sql, select().where(same).limit(2)))
    return found[0] if len(found) == 1 else None


def shared_macs(sql: peewee.SqliteDatabase) -> frozenset[str]:
    return frozenset(row["address"] for row in dicts(DockMacRow.select(), sql))


def _free_name(sql: peewee.SqliteDatabase, name: str, host_id: int | None) -> str:
    check_name(name, "a host")
    row = first(HostRow.select(HostRow.id, HostRow.name).where(HostRow.name == name), sql)
    if row is not None and row["id"] != host_id:
        raise Conflict(f"There is a host '{row['name']}' already.", hint="Choose another name.")
    return name


def _sound_macs(sql: peewee.SqliteDatabase, macs: Iterable[str], host_id: int | None) -> tuple[str, ...]:
    """The MACs normalised, each once; refused when another host or a dock has one."""
    addresses = tuple(dict.fromkeys(map(normalise_mac, macs)))
    docks = shared_macs(sql)
    for mac in addresses:
        if mac in docks:
            raise Conflict(
                f"{mac} is on the list of shared docks and cannot identify a host.",
                hint="Use the PC's own card, or take the MAC off that list.",
            )
        if not identity.usable_mac(mac, docks):
            raise UsageError(f"{mac} is no card's own address.", hint="Use the MAC printed on the PC or its card.")
    for row in dicts(MacRow.select().where(MacRow.address.in_(addresses)), sql):
        if row["host_id"] != host_id:
            owner = by_id(sql, row["host_id"])
            raise Conflict(
                f"{row['address']} belongs to host {owner.name} already.", hint=f"See: diecast host show {owner.name}"
            )
    return addresses


def _set_macs(sql: peewee.SqliteDatabase, host_id: int, macs: tuple[str, ...]) -> None:
    MacRow.delete().where(MacRow.host_id == host_id).execute(sql)
    for position, mac in enumerate(macs):
        MacRow.insert(address=mac, host_id=host_id, position=position).execute(sql)


def _refuse_markless(name: str, macs: tuple[str, ...], uuid: UUID | None) -> None:
    if not macs and uuid is None:
        raise UsageError(f"Nothing would identify host '{name}'.", hint="Give a MAC address, or a sound SMBIOS UUID.")


def _sound(values: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    result = {}
    for key, value in values.items():
        if key not in fields:
            raise UsageError(f"A host has no '{key}' that can be set.", hint=f"It has: {', '.join(fields)}.")
        try:
            result[key] = fields[key](value)
        except ValueError:
            choices = ", ".join(map(str, fields[key]))
            raise UsageError(f"'{value}' is no value for {key}.", hint=f"Choose one of: {choices}.") from None
    return result
