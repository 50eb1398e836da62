"""A host and what goes with it: its address, its room. Changed together, or not at all."""

from __future__ import annotations

from ipaddress import IPv4Address
from uuid import UUID

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.model import Host, Reservation
from appliance.store import Store

MAC1, MAC2, MAC3 = "52:54:00:aa:01:01", "52:54:00:aa:01:02", "52:54:00:aa:01:03"
FIRST, SECOND = IPv4Address("10.20.4.9"), IPv4Address("10.20.4.10")
GOOD = UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab")


def reserved(store: Store) -> dict[str, IPv4Address]:
    return {item.mac: item.address for item in store.leases.reservations()}


def test_a_host_is_added_with_its_address_and_a_new_room_or_not_at_all(store: Store) -> None:
    host = store.hosts.add("PC1", [MAC1], address=FIRST, room="B204", make_room=True)
    assert (reserved(store), host.room) == ({MAC1: FIRST}, "B204")
    with pytest.raises(Conflict, match=f"{FIRST} is reserved for {MAC1} already"):
        store.hosts.add("PC2", [MAC2], address=FIRST, room="B205", make_room=True)
    with pytest.raises(UsageError, match="PC3 has no MAC to reserve an address for"):
        store.hosts.add("PC3", [], uuid=GOOD, address=SECOND)
    assert [host.name for host in store.hosts.list()] == ["PC1"]
    assert [room.name for room in store.rooms.list()] == ["B204"]


def test_a_room_that_is_not_there_is_made_only_when_it_may_be(store: Store, pc1: Host) -> None:
    with pytest.raises(NotFound, match="no room 'B204'"):
        store.hosts.edit("PC1", room="B204")
    with pytest.raises(UsageError, match="cannot name a room"):
        store.hosts.edit("PC1", room="x" * 41, make_room=True)
    assert store.hosts.edit("PC1", room="B204", make_room=True).room == "B204"


def test_an_address_is_changed_with_the_rest_of_the_host_or_nothing_is(store: Store) -> None:
    store.hosts.add("PC1", [MAC1], address=FIRST)
    store.hosts.add("PC2", [MAC2], address=SECOND)
    with pytest.raises(Conflict, match=f"{SECOND} is reserved for {MAC2} already"):
        store.hosts.edit("PC1", notes="moved", address=SECOND)
    assert (store.hosts.get("PC1").notes, reserved(store)) == ("", {MAC1: FIRST, MAC2: SECOND})
    store.hosts.edit("PC2", address=None)
    store.hosts.edit("PC1", address=SECOND)
    assert reserved(store) == {MAC1: SECOND}


def test_what_does_not_concern_the_address_leaves_it(store: Store) -> None:
    store.hosts.add("PC1", [MAC1, MAC2])
    store.leases.reserve(MAC2, SECOND)
    store.hosts.edit("PC1", notes="by the window")
    store.hosts.edit("PC1", macs=[MAC2, MAC1])
    assert reserved(store) == {MAC2: SECOND}


def test_the_address_of_a_card_that_was_replaced_goes_to_the_hosts_first_card(store: Store) -> None:
    store.hosts.add("PC1", [MAC1], address=FIRST)
    store.hosts.edit("PC1", macs=[MAC2, MAC3])
    assert reserved(store) == {MAC2: FIRST}
    store.leases.reserve(MAC3, SECOND)
    store.hosts.edit("PC1", macs=[MAC3])
    assert reserved(store) == {MAC3: SECOND}, "that card has its own"
    store.hosts.edit("PC1", macs=[], uuid=GOOD)
    assert reserved(store) == {}


def test_an_address_that_somebody_else_changed_meanwhile_is_not_overwritten(store: Store) -> None:
    host = store.hosts.add("PC1", [MAC1], address=FIRST)
    store.leases.reserve(MAC1, SECOND)
    with pytest.raises(Conflict, match="Somebody changed PC1 since it was shown to you: address"):
        store.hosts.edit("PC1", base=host, shown=FIRST, address=None, notes="mine")
    assert (store.hosts.get("PC1").notes, reserved(store)) == ("", {MAC1: SECOND})
    store.hosts.edit("PC1", base=host, shown=FIRST, notes="mine")
    store.hosts.edit("PC1", shown=FIRST, address=SECOND)
    assert (store.hosts.get("PC1").notes, reserved(store)) == ("mine", {MAC1: SECOND})


def test_a_removed_host_leaves_its_addresses_free(store: Store) -> None:
    store.hosts.add("PC1", [MAC1, MAC2], address=FIRST)
    store.hosts.add("PC2", [MAC3], address=SECOND)
    store.hosts.remove("PC1")
    assert reserved(store) == {MAC3: SECOND}


def test_several_pcs_are_named_from_a_pattern_all_or_none(store: Store) -> None:
    store.rooms.add("B204")
    with pytest.raises(Conflict, match=f"{MAC1} belongs to host LAB-01"):
        store.hosts.add_named("LAB-{nn}", [(MAC1, GOOD), (MAC1, None)])
    assert store.hosts.list() == []
    made = store.hosts.add_named("LAB-{nn}", [(MAC1, GOOD), (MAC2, None)], "b204")
    assert [(host.name, host.macs, host.uuid, host.room) for host in made] == [
        ("LAB-01", (MAC1,), GOOD, "B204"),
        ("LAB-02", (MAC2,), None, "B204"),
    ]


def test_a_new_room_takes_its_hosts_or_is_not_made(store: Store, pc1: Host) -> None:
    with pytest.raises(NotFound, match="no host 'PC7'"):
        store.rooms.add("B204", host_names=["PC1", "PC7"])
    assert store.rooms.list() == []
    assert store.rooms.add("B204", host_names=["PC1"]).hosts == 1


def test_a_reservation_is_changed_in_place_of_the_one_that_was_shown(store: Store) -> None:
    old = store.leases.reserve(MAC1, FIRST)
    store.leases.reserve(MAC2, SECOND)
    with pytest.raises(Conflict, match=f"{SECOND} is reserved for {MAC2} already"):
        store.leases.change(old, MAC3, SECOND)
    with pytest.raises(Conflict, match=f"{SECOND} is reserved for {MAC2} already"):
        store.leases.change(old, MAC2, FIRST)
    with pytest.raises(NotFound, match=f"Somebody changed the reservation of {MAC1}"):
        store.leases.change(Reservation(MAC1, SECOND), MAC3, FIRST)
    assert reserved(store) == {MAC1: FIRST, MAC2: SECOND}
    assert store.leases.change(old, MAC3, FIRST) == Reservation(MAC3, FIRST)
    assert reserved(store) == {MAC3: FIRST, MAC2: SECOND}
