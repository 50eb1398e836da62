"""DHCP leases and reservations."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address

from appliance.errors import Conflict, NotFound
from appliance.model import Lease, Reservation, normalise_mac
from appliance.store.database import Database
from appliance.store.rows import LeaseRow, ReservationRow, columns, dicts, first
from appliance.store.statements import execute_many

_LEASE = columns(LeaseRow, Lease)
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
        mac = normalise_mac(mac)
        with self._database.write() as sql:
            row = first(ReservationRow.select().where(ReservationRow.address == address), sql)
            if row is not None and row["mac"] != mac:
                raise Conflict(f"{address} is reserved for {row['mac']} already.", hint="Choose another address.")
            ReservationRow.insert(mac=mac, address=address).on_conflict_replace().execute(sql)
        return Reservation(mac=mac, address=address)

    def unreserve(self, mac: str) -> None:
        """Take the reservation of `mac` away. Raises `NotFound`."""
        mac = normalise_mac(mac)
        with self._database.write() as sql:
            if not ReservationRow.delete().where(ReservationRow.mac == mac).execute(sql):
                raise NotFound(f"No address is reserved for {mac}.")
