"""DHCP leases and reservations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import Any

import peewee

from appliance.errors import Conflict, NotFound, UsageError
from appliance.model import Lease, Reservation, normalise_mac
from appliance.store.database import Database
from appliance.store.rows import LeaseRow, ReservationRow, columns, dicts, first
from appliance.store.statements import execute_many

_LEASE = columns(LeaseRow, Lease)
KEEP: Any = object()  # in place of an address: what it is now
_BATCH = 500  # addresses of one DELETE; SQLite allows 32 766 values in a statement

# Prepared once and run for each row: hundreds of leases a second are written while PCs wait for their ACK.
_NAMES = [column.name for column in _LEASE]
_UPSERT = (
    f"INSERT INTO lease ({', '.join(_NAMES)}) VALUES ({', '.join('?' * len(_NAMES))}) "
    f"ON CONFLICT (address) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _NAMES[1:])}"
)


class Leases:
    """Verbs on leases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Lease]:
        """Every lease on record, expired ones too, by address."""
        with self._database.read() as sql:
            leases = [Lease(**row) for row in dicts(LeaseRow.select(*_LEASE), sql)]
        return sorted(leases, key=lambda lease: lease.address)

    def save(self, leases: Iterable[Lease], removed: Iterable[IPv4Address] = ()) -> None:
        """Record and remove in one transaction, on the disk when this returns: many ACKs for one flush."""
        rows = [tuple(column.db_value(getattr(lease, column.name)) for column in _LEASE) for lease in leases]
        gone = list(removed)
        if not rows and not gone:
            return
        with self._database.write() as sql:
            for start in range(0, len(gone), _BATCH):
                LeaseRow.delete().where(LeaseRow.address.in_(gone[start : start + _BATCH])).execute(sql)
            execute_many(sql, _UPSERT, rows)

    def reservations(self) -> list[Reservation]:
        """All reservations by address."""
        with self._database.read() as sql:
            kept = [Reservation(**row) for row in dicts(ReservationRow.select(), sql)]
        return sorted(kept, key=lambda reservation: reservation.address)

    def reserve(self, mac: str, address: IPv4Address) -> Reservation:
        """Give `address` to `mac` alone, in place of an earlier one. Raises `Conflict` when another MAC has it."""
        with self._database.write() as sql:
            return reserve(sql, normalise_mac(mac), address)

    def change(self, old: Reservation | None, mac: str, address: IPv4Address) -> Reservation:
        """Give `address` to `mac` in place of `old` alone, or of nothing.

        Raises `NotFound` when `old` is another by now, `Conflict` when another MAC has the address or the MAC another
        address.
        """
        mac = normalise_mac(mac)
        with self._database.write() as sql:
            if old is not None and held_by(sql, [old.mac]).get(old.mac) != old.address:
                raise NotFound(f"Somebody changed the reservation of {old.mac} since it was shown to you.")
            free(sql, [old.mac] if old is not None else [])
            other = held_by(sql, [mac]).get(mac)
            if other not in (None, address):
                raise Conflict(f"{other} is reserved for {mac} already.", hint="Edit that reservation.")
            return reserve(sql, mac, address)

    def unreserve(self, mac: str) -> None:
        """Take the reservation of `mac` away. Raises `NotFound`."""
        mac = normalise_mac(mac)
        with self._database.write() as sql:
            if not free(sql, [mac]):
                raise NotFound(f"No address is reserved for {mac}.")


# -- inside a transaction ---------------------------------------------------------------------------------------------


def reserve(sql: peewee.SqliteDatabase, mac: str, address: IPv4Address) -> Reservation:
    """See `Leases.reserve`."""
    row = first(ReservationRow.select().where(ReservationRow.address == address), sql)
    if row is not None and row["mac"] != mac:
        raise Conflict(f"{address} is reserved for {row['mac']} already.", hint="Choose another address.")
    ReservationRow.insert(mac=mac, address=address).on_conflict_replace().execute(sql)
    return Reservation(mac=mac, address=address)


def free(sql: peewee.SqliteDatabase, macs: Iterable[str]) -> int:
    """Take the reservations of these MACs away; how many there were."""
    taken: int = ReservationRow.delete().where(ReservationRow.mac.in_(list(macs))).execute(sql)
    return taken


def settle(
    sql: peewee.SqliteDatabase, host_name: str, before: Sequence[str], macs: Sequence[str], address: IPv4Address | None
) -> None:
    """The host, whose MACs were `before`, has `macs` now, and `address` (or none, or `KEEP`) for the first of them.

    A kept address of a MAC that it has lost goes to its first one. Raises `Conflict` when another MAC has the address,
    `UsageError` when it has no MAC.
    """
    own = {*before, *macs}
    if address is KEEP:
        held = held_by(sql, own)
        own = held.keys() - set(macs)  # what it has lost
        bare = bool(macs) and macs[0] not in held
        address = next((held[mac] for mac in before if mac in own), None) if bare else None
    elif address is not None and not macs:
        raise UsageError(f"{host_name} has no MAC to reserve an address for.", hint="Give it a MAC address.")
    free(sql, own)
    if address is not None:
        reserve(sql, macs[0], address)


def held_by(sql: peewee.SqliteDatabase, macs: Iterable[str]) -> dict[str, IPv4Address]:
    """What is reserved for these MACs."""
    query = ReservationRow.select().where(ReservationRow.mac.in_(list(macs)))
    return {row["mac"]: row["address"] for row in dicts(query, sql)}


def shown_otherwise(
    sql: peewee.SqliteDatabase, macs: Sequence[str], shown: IPv4Address | None, wanted: IPv4Address | None
) -> bool:
    """Whether what is reserved for these MACs, the first of them that has any, is neither what was shown nor wanted."""
    held = held_by(sql, macs)
    return next((held[mac] for mac in macs if mac in held), None) not in (shown, wanted)
