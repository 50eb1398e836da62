"""Hosts at the command line: add, list, show, edit, remove, docks and reservations."""

from __future__ import annotations

from uuid import UUID

from appliance.events import BootStage
from appliance.model import ImageVersion
from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, NOON, Diecast

INVENTORY = {
    "vendor": "Dell Inc.",
    "model": "OptiPlex 7010",
    "serial": "ABC123",
    "cpu": "Intel Core i5",
    "memory_bytes": 17_179_869_184,
    "disks": [{"path": "/dev/nvme0n1", "size_bytes": 512_110_190_592, "bus": "nvme", "model": "Samsung 980"}],
}


def test_a_host_is_added_listed_shown_changed_and_removed(diecast: Diecast, store: Store) -> None:
    said = diecast("host", "add", "PC1", "--mac", "52-54-00-AA-01-01", "--notes", "window", "--sealed")
    assert (said.status, said.out) == (0, f"Added PC1 ({MAC1}).\n")
    assert diecast("host", "list").out.splitlines() == [
        "NAME  MAC                FIRMWARE  HOLDS  NOW     SEEN",
        "PC1   52:54:00:aa:01:01  -         -      sealed  -",
    ]
    assert diecast("host", "edit", "pc1", "--name", "PC7", "--not-sealed", "--mac", MAC1, "--mac", MAC2).status == 0
    host = store.hosts.get("PC7")
    assert (host.macs, host.sealed, host.notes) == ((MAC1, MAC2), False, "window")
    assert "Notes:       window" in diecast("host", "show", "PC7").out
    assert diecast("host", "remove", "PC7").out == "Removed PC7.\n"
    assert diecast("host", "list").out.startswith("No host is known.")
    assert diecast("host", "list", "--json").json == []


def test_every_option_of_edit_reaches_the_host(diecast: Diecast, store: Store) -> None:
    diecast("host", "add", "PC1", "--mac", MAC1)
    uuid = "8d3f0b56-11c4-4f0e-9a77-0123456789ab"
    words = ("--uuid", uuid, "--disk", "nvme0n1", "--local-boot", "no-answer", "--uefi-loader", "ipxe", "--sealed")
    assert diecast("host", "edit", "PC1", *words).status == 0
    host = store.hosts.get("PC1")
    assert (host.uuid, host.disk, host.local_boot, host.uefi_loader) == (UUID(uuid), "nvme0n1", "no-answer", "ipxe")
    assert host.sealed
    diecast("host", "edit", "PC1", "--uuid", "", "--disk", "")
    assert (store.hosts.get("PC1").uuid, store.hosts.get("PC1").disk) == (None, "")
    said = diecast("host", "edit", "PC1")
    assert (said.status, said.err.split(".")[0]) == (64, "diecast: Nothing is to be changed")


def test_duplicates_and_unknown_names_are_one_sentence_each(diecast: Diecast) -> None:
    diecast("host", "add", "PC1", "--mac", MAC1)
    said = diecast("host", "add", "pc1", "--mac", MAC2)
    assert (said.status, "There is a host 'PC1' already." in said.err) == (75, True)
    said = diecast("host", "add", "PC2", "--mac", MAC1)
    assert (said.status, f"{MAC1} belongs to host PC1 already." in said.err) == (75, True)
    said = diecast("host", "add", "PC2", "--mac", "nonsense")
    assert (said.status, "'nonsense' is no MAC address." in said.err) == (64, True)
    for words in (("show", "PC9"), ("edit", "PC9", "--notes", "x"), ("remove", "PC9")):
        said = diecast("host", *words)
        assert (said.status, "There is no host 'PC9'." in said.err) == (66, True)


def test_a_busy_host_is_not_removed(diecast: Diecast) -> None:
    diecast("host", "add", "PC1", "--mac", MAC1)
    diecast("capture", "PC1", "--image", "win11")
    said = diecast("host", "remove", "PC1")
    assert said.status == 75
    assert "PC1 is busy with task 1 (capture win11, waiting)." in said.err
    assert "diecast task cancel 1" in said.err


def test_a_uuid_that_many_boards_share_is_left_out_with_a_word(diecast: Diecast, store: Store) -> None:
    said = diecast("host", "add", "PC1", "--mac", MAC1, "--uuid", "03000200-0400-0500-0006-000700080009")
    assert said.status == 0
    assert "one that many boards share" in said.err
    assert store.hosts.get("PC1").uuid is None


def test_an_address_is_reserved_and_freed_with_its_host(diecast: Diecast, store: Store) -> None:
    diecast("host", "add", "PC1", "--mac", MAC1, "--address", "10.20.4.9")
    diecast("host", "add", "PC2", "--mac", MAC2)
    assert [(r.mac, str(r.address)) for r in store.leases.reservations()] == [(MAC1, "10.20.4.9")]
    assert "Reserved:    10.20.4.9" in diecast("host", "show", "PC1").out
    said = diecast("host", "edit", "PC2", "--address", "10.20.4.9")
    assert (said.status, f"10.20.4.9 is reserved for {MAC1} already." in said.err) == (75, True)
    diecast("host", "edit", "PC1", "--address", "")
    assert store.leases.reservations() == []
    diecast("host", "edit", "PC2", "--address", "10.20.4.9")
    diecast("host", "remove", "PC2")
    assert store.leases.reservations() == []


def test_a_host_is_shown_with_its_inventory_and_what_it_holds(
    diecast: Diecast, store: Store, win11: ImageVersion
) -> None:
    master = store.hosts.get("MASTER")
    store.hosts.save_inventory(master.id, INVENTORY, now=NOON)
    store.hosts.set_firmware(master.id, "uefi", True)
    store.hosts.seen(master.macs[0], BootStage.LOCAL, ip="10.20.5.1", now=NOON)
    text = diecast("host", "show", "master").out
    for line in (
        "Firmware:    uefi SB",
        "Holds:       win11@1",
        "Model:       Dell Inc. OptiPlex 7010 ABC123",
        "Memory:      17.2 GB",
        "Disk 1:      /dev/nvme0n1 512 GB nvme Samsung 980",
        f"Came to:     own disk, {NOON.astimezone():%Y-%m-%d %H:%M}",
    ):
        assert line in text.splitlines()
    data = diecast("host", "show", "MASTER", "--json").json
    assert data["inventory"]["data"] == INVENTORY
    assert (data["version_id"], data["task"]) == (win11.id, None)


def test_the_list_fits_80_columns_and_says_what_each_host_does(
    diecast: Diecast, store: Store, win11: ImageVersion
) -> None:
    diecast("host", "add", "LAB1-PC-NUMBER-10", "--mac", MAC1)
    diecast("deploy", "win11", "LAB1-PC-NUMBER-10", "--yes")
    rows = diecast("host", "list").out.splitlines()
    assert max(map(len, rows)) <= 80
    assert "deploy waiting" in rows[1]
    assert "win11@1" in rows[2]


def test_unknown_pcs_are_listed_with_architectures_that_have_no_agent(diecast: Diecast, store: Store) -> None:
    assert diecast("host", "list", "--unknown").out == "No unknown PC has booted from the network.\n"
    store.hosts.seen("52:54:00:00:00:07", BootStage.DHCP, arch=11, now=NOON)
    text = diecast("host", "list", "--unknown").out
    assert "52:54:00:00:00:07  64-bit ARM UEFI: no agent for it" in text
    assert diecast("host", "list", "--unknown", "--json").json[0]["arch"] == 11


def test_shared_docks_are_listed_added_and_removed(diecast: Diecast) -> None:
    dock = "00:e0:4c:68:00:01"
    assert diecast("host", "dock").out == "No shared dock is listed.\n"
    assert diecast("host", "dock", "--add", dock.upper()).out == dock + "\n"
    said = diecast("host", "add", "PC1", "--mac", dock)
    assert (said.status, "list of shared docks" in said.err) == (75, True)
    assert diecast("host", "dock", "--remove", dock, "--json").json == []
    assert diecast("host", "dock", "--remove", dock).status == 66
