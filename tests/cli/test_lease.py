"""Leases at the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from appliance.model import Lease
from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, Diecast


def lease(number: int, mac: str, *, minutes: int = 60, declined: bool = False) -> Lease:
    expires = datetime.now(UTC) + timedelta(minutes=minutes)
    address = IPv4Address("10.20.4.0") + number
    return Lease(address, f"mac:{mac}", mac, expires, hostname="said-so", declined=declined)


def test_no_lease_says_so(diecast: Diecast) -> None:
    assert diecast("lease", "list").out == "No address is lent.\n"
    assert diecast("lease", "list", "--json").json == []


def test_leases_and_reservations_are_one_list_by_address(diecast: Diecast, store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.leases.save([lease(10, MAC1), lease(9, MAC2), lease(11, MAC2, minutes=-5), lease(12, MAC2, declined=True)])
    store.leases.reserve(MAC1, IPv4Address("10.20.4.10"))
    store.leases.reserve(MAC2, IPv4Address("10.20.4.2"))
    rows = [line.split() for line in diecast("lease", "list").out.splitlines()]
    assert [(row[0], row[2], row[-1]) for row in rows[1:5]] == [
        ("10.20.4.2", "-", "reserved"),
        ("10.20.4.9", "said-so", "lent"),
        ("10.20.4.10", "PC1", "*"),
        ("10.20.4.12", "said-so", "declined"),
    ]
    assert rows[5] == ["*", "reserved"]
    everything = diecast("lease", "list", "--all", "--json").json
    assert [(row["address"], row["state"], row["reserved"]) for row in everything] == [
        ("10.20.4.2", "reserved", True),
        ("10.20.4.9", "lent", False),
        ("10.20.4.10", "lent", True),
        ("10.20.4.11", "expired", False),
        ("10.20.4.12", "declined", False),
    ]
