"""Lists of hosts into the store: the plan says what happens, and each row is done whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from uuid import UUID

import pytest

from appliance import hosts_csv
from appliance.errors import Unavailable
from appliance.events import LocalBoot
from appliance.hosts_import import Action, Known, Step, carry_out, plan
from appliance.store import Store

MAC1, MAC2, MAC3, MAC4 = (f"52:54:00:aa:01:{number:02x}" for number in range(1, 5))
UUID1 = UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab")
ADDRESS, OTHER = IPv4Address("10.20.4.9"), IPv4Address("10.20.4.10")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "diecast.sqlite") as opened:
        yield opened


def planned(store: Store, text: str, *, update: bool = False) -> list[Step]:
    return plan(hosts_csv.read(text.encode()), Known.of(store), update=update)


def imported(store: Store, text: str, *, update: bool = False) -> list[str]:
    """What each row came to, and that the plan had said so."""
    steps = planned(store, text, update=update)
    done = [carry_out(store, step) for step in steps]
    assert [step.words for step in done] == [step.words for step in steps]
    return [step.words for step in done]


def reserved(store: Store) -> dict[str, IPv4Address]:
    return {item.mac: item.address for item in store.leases.reservations()}


def test_new_hosts_come_with_all_that_the_list_says(store: Store) -> None:
    text = (
        "name,macs,uuid,room,address,disk,local_boot,uefi_loader,sealed,notes\n"
        f"PC1,{MAC1}|{MAC2},{UUID1},B204,{ADDRESS},S5GX,no-answer,ipxe,yes,by the door\n"
        f"PC2,{MAC3},,b204,,,,,,\n"
    )
    assert imported(store, text) == ["added", "added"]
    one, two = store.hosts.list()
    assert (one.macs, one.uuid, one.room, one.disk, one.notes) == ((MAC1, MAC2), UUID1, "B204", "S5GX", "by the door")
    assert (one.local_boot, one.sealed, two.room, two.sealed) == (LocalBoot.NO_ANSWER, True, "B204", False)
    assert [(room.name, room.hosts) for room in store.rooms.list()] == [("B204", 2)]
    assert reserved(store) == {MAC1: ADDRESS}


def test_an_export_imported_again_changes_nothing(store: Store) -> None:
    store.rooms.add("Étage 2")
    store.hosts.add("PC1", [MAC1, MAC2], uuid=UUID1, room="Étage 2", notes="two\nlines", sealed=True)
    store.hosts.add("PC2", [MAC3])
    store.leases.reserve(MAC2, ADDRESS)
    data = hosts_csv.write(store.hosts.list(), reserved(store))
    before = store.data_version()
    assert imported(store, data.decode(), update=True) == ["unchanged", "unchanged"]
    assert store.data_version() == before


def test_a_known_host_is_changed_only_when_asked(store: Store) -> None:
    store.hosts.add("PC1", [MAC1], notes="old")
    text = f"name,macs,notes,room\npc1,{MAC2}|{MAC1},new,B204\n"
    (words,) = imported(store, text)
    assert words == "refused: PC1 is known already with another MAC, notes, room. Add --update to change it."
    assert store.rooms.list() == []
    assert imported(store, text, update=True) == ["changed: MAC, notes, room"]
    host = store.hosts.get("PC1")
    assert (host.name, host.macs, host.notes, host.room) == ("PC1", (MAC2, MAC1), "new", "B204")


def test_a_column_that_is_left_out_is_left_alone_and_an_empty_cell_empties(store: Store) -> None:
    store.rooms.add("B204")
    store.hosts.add("PC1", [MAC1], notes="old", disk="sda", room="B204", uuid=UUID1)
    store.leases.reserve(MAC1, ADDRESS)
    assert imported(store, "name,notes,room,address,sealed\nPC1,,,,\n", update=True) == [
        "changed: notes, room, address"
    ]
    host = store.hosts.get("PC1")
    assert (host.macs, host.disk, host.uuid, host.notes, host.room) == ((MAC1,), "sda", UUID1, "", "")
    assert reserved(store) == {}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"PC9,{MAC1},,", f"{MAC1} belongs to host PC1 already. To rename that: diecast host edit PC1 --name"),
        (f"PC1,{MAC4},,", "belongs to host PC2 already."),
        (f"PC9,{MAC3},,", f"{MAC3} is on the list of shared docks and cannot identify a host."),
        ("PC9,01:00:5e:00:00:01,,", "01:00:5e:00:00:01 is no card's own address."),
        ("PC9,,,", "It has neither a MAC address nor a sound UUID."),
        ("PC9,,03000200-0400-0500-0006-000700080009,", "It has neither a MAC address nor a sound UUID."),
        (f"PC9,,{UUID1},{OTHER}", "An address is reserved for a MAC, and it has none."),
        (f"PC9,{MAC2},,{ADDRESS}", f"{ADDRESS} is reserved for {MAC1} already."),
        ("PC9,x,,", "'x' is no MAC address."),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_the_others_go_on(store: Store, row: str, why: str) -> None:
    store.hosts.add("PC1", [MAC1])
    store.hosts.add("PC2", [MAC4])
    store.hosts.add_dock_mac(MAC3)
    store.leases.reserve(MAC1, ADDRESS)
    before = store.hosts.list(), reserved(store)
    words, good = imported(store, f"name,macs,uuid,address\n{row}\nPC7,52:54:00:aa:01:77,,\n", update=True)
    assert words.startswith("refused: ")
    assert why in words
    assert good == "added"
    store.hosts.remove("PC7")
    assert (store.hosts.list(), reserved(store)) == before


@pytest.mark.parametrize(
    ("second", "why"),
    [
        (f"pc1,{MAC2},", "Line 2 has pc1 already."),
        (f"PC2,{MAC1},", f"Line 2 has {MAC1} already."),
        (f"PC2,{MAC2},{ADDRESS}", f"Line 2 has {ADDRESS} already."),
    ],
)
def test_what_one_row_claims_no_later_one_gets(store: Store, second: str, why: str) -> None:
    words = imported(store, f"name,macs,address\nPC1,{MAC1},{ADDRESS}\n{second}\nPC3,{MAC3},\n")
    assert words == ["added", f"refused: {why}", "added"]


def test_a_refused_row_claims_nothing(store: Store) -> None:
    words = imported(store, f"name,macs,address\nPC1,{MAC1},x\nPC1,{MAC1},{ADDRESS}\n")
    assert words == ["refused: 'x' is no IPv4 address.", "added"]


def test_a_uuid_that_many_share_is_left_out_with_a_word(store: Store) -> None:
    row = f"PC1,{MAC1},03000200-0400-0500-0006-000700080009"
    assert imported(store, f"name,macs,uuid\n{row}\n") == ["added: without its UUID, which many have"]
    assert store.hosts.get("PC1").uuid is None
    assert planned(store, f"name,macs,uuid\n{row}\n")[0].action is Action.SAME


def test_a_reservation_follows_a_new_first_card(store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.leases.reserve(MAC1, ADDRESS)
    assert imported(store, f"name,macs,address\nPC1,{MAC2},{ADDRESS}\n", update=True) == ["changed: MAC, address"]
    assert reserved(store) == {MAC2: ADDRESS}
    assert imported(store, f"name,address\nPC1,{OTHER}\n", update=True) == ["changed: address"]
    assert reserved(store) == {MAC2: OTHER}


def test_a_dry_run_changes_nothing(store: Store) -> None:
    before = store.data_version()
    planned(store, f"name,macs,room,address\nPC1,{MAC1},B204,{ADDRESS}\n")
    assert store.data_version() == before
    assert (store.hosts.list(), store.rooms.list(), reserved(store)) == ([], [], {})


# -- somebody was faster ----------------------------------------------------------------------------------------------


def test_a_mac_that_was_taken_meanwhile_leaves_nothing_of_its_row(store: Store) -> None:
    (step,) = planned(store, f"name,macs,room,address\nPC1,{MAC1},B204,{ADDRESS}\n")
    store.hosts.add("PC9", [MAC1])
    done = carry_out(store, step)
    assert (done.action, f"{MAC1} belongs to host PC9 already." in done.why) == (Action.REFUSE, True)
    assert [host.name for host in store.hosts.list()] == ["PC9"]
    assert (store.rooms.list(), reserved(store)) == ([], {})


def test_an_address_that_was_taken_meanwhile_leaves_the_host_as_it_was(store: Store) -> None:
    store.hosts.add("PC1", [MAC1], notes="old")
    store.leases.reserve(MAC1, OTHER)
    (step,) = planned(store, f"name,macs,notes,address\nPC1,{MAC1},new,{ADDRESS}\n", update=True)
    store.leases.reserve(MAC2, ADDRESS)
    done = carry_out(store, step)
    assert (done.action, "is reserved for" in done.why) == (Action.REFUSE, True)
    assert store.hosts.get("PC1").notes == "old"
    assert reserved(store) == {MAC1: OTHER, MAC2: ADDRESS}


def test_a_host_that_another_operator_changed_meanwhile_is_not_overwritten(store: Store) -> None:
    store.hosts.add("PC1", [MAC1], notes="old")
    (step,) = planned(store, f"name,notes,address\nPC1,new,{ADDRESS}\n", update=True)
    store.hosts.edit("PC1", notes="hers")
    done = carry_out(store, step)
    assert (done.action, "notes" in done.why) == (Action.REFUSE, True)
    assert store.hosts.get("PC1").notes == "hers"
    assert reserved(store) == {}


def test_a_store_that_fails_ends_the_import_and_not_the_row_in_half(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    (step,) = planned(store, f"name,macs,room,address\nPC1,{MAC1},B204,{ADDRESS}\n")

    def broken(*_: object, **__: object) -> None:
        raise Unavailable("The disk is gone.")

    monkeypatch.setattr(store.hosts, "add", broken)
    with pytest.raises(Unavailable):
        carry_out(store, step)
    assert (store.rooms.list(), reserved(store)) == ([], {})
