"""Leases and reservations in the store, many in one commit."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address

import pytest

from appliance.errors import Conflict, NotFound
from appliance.model import Lease
from appliance.store import Store
from tests.store.conftest import NOON


def lease(number: int, mac: str = "52:54:00:00:00:01") -> Lease:
    return Lease(
        address=IPv4Address("10.20.4.0") + number,
        client_key=f"mac:{mac}",
        mac=mac,
        expires=NOON + timedelta(hours=1),
        client_id="01525400000001",
        hostname="pc",
    )


def test_leases_come_back_as_they_were_in_the_order_of_addresses(store: Store) -> None:
    many = [lease(number) for number in (300, 2, 10)]
    store.leases.save(many)
    assert store.leases.all() == [many[1], many[2], many[0]]


def test_a_lease_replaces_the_one_at_its_address_and_removed_ones_go(store: Store) -> None:
    store.leases.save([lease(1), lease(2), lease(3)])
    store.leases.save([lease(2, "52:54:00:00:00:02")], removed=[lease(1).address])
    assert [(str(kept.address)[-1], kept.mac[-1]) for kept in store.leases.all()] == [("2", "2"), ("3", "1")]


def test_a_moved_client_is_saved_at_its_new_address_in_the_same_transaction(store: Store) -> None:
    store.leases.save([lease(1)])
    version = store.data_version()
    store.leases.save([lease(1)], removed=[lease(1).address])
    assert store.leases.all() == [lease(1)]
    assert store.data_version() != version


def test_thousands_of_leases_are_one_save(store: Store) -> None:
    many = [lease(number) for number in range(3000)]
    store.leases.save(many)
    assert len(store.leases.all()) == 3000
    store.leases.save([], removed=[kept.address for kept in many])
    assert store.leases.all() == []


def test_saving_nothing_touches_nothing(store: Store) -> None:
    version = store.data_version()
    store.leases.save([])
    assert store.data_version() == version


def test_a_reservation_is_one_address_for_one_mac(store: Store) -> None:
    first = store.leases.reserve("52-54-00-00-00-01", IPv4Address("10.20.4.9"))
    assert store.leases.reservations() == [first]
    with pytest.raises(Conflict, match=r"10\.20\.4\.9 is reserved for 52:54:00:00:00:01"):
        store.leases.reserve("52:54:00:00:00:02", IPv4Address("10.20.4.9"))
    moved = store.leases.reserve("52:54:00:00:00:01", IPv4Address("10.20.4.8"))
    assert store.leases.reservations() == [moved]
    store.leases.unreserve("525400000001")
    assert store.leases.reservations() == []
    with pytest.raises(NotFound):
        store.leases.unreserve("52:54:00:00:00:01")
