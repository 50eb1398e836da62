"""Hosts in the store: names, MACs, sightings, inventories."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import BootStage, LocalBoot, TaskState, UefiLoader
from appliance.host_fields import name_from_pattern
from appliance.model import Host, ImageVersion
from appliance.store import Store, sightings
from tests.store.conftest import NOON

GOOD = UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab")
OTHER = UUID("9e4f0b56-22c4-4f0e-9a77-0123456789cd")
AMI = UUID("03000200-0400-0500-0006-000700080009")


def test_a_host_is_found_by_name_in_any_case_and_by_mac_in_any_spelling(store: Store) -> None:
    host = store.hosts.add("Lab1-PC1", ["52-54-00-AA-01-01", "5254.00aa.0102"], notes="by the window")
    assert host.macs == ("52:54:00:aa:01:01", "52:54:00:aa:01:02")
    assert store.hosts.get("LAB1-pc1") == host == store.hosts.by_id(host.id)
    assert store.hosts.by_mac("525400aa0102") == host
    assert store.hosts.by_mac("52:54:00:aa:01:03") is None


def test_a_second_host_of_the_same_name_is_refused_in_any_case(store: Store, pc1: Host) -> None:
    with pytest.raises(Conflict, match=r"host 'PC1' already"):
        store.hosts.add("pc1", ["52:54:00:aa:01:09"])


def test_a_duplicate_mac_names_the_host_that_has_it_and_nothing_is_added(store: Store, pc1: Host) -> None:
    with pytest.raises(Conflict, match=r"52:54:00:aa:01:01 belongs to host PC1"):
        store.hosts.add("PC2", ["52:54:00:aa:01:02", "52:54:00:aa:01:01"])
    assert store.hosts.list() == [pc1]


def test_a_mac_given_twice_counts_once(store: Store) -> None:
    assert store.hosts.add("PC1", ["52:54:00:aa:01:01", "525400AA0101"]).macs == ("52:54:00:aa:01:01",)


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01"])
def test_an_address_that_no_card_has_is_refused(store: Store, mac: str) -> None:
    with pytest.raises(UsageError, match="no card's own address"):
        store.hosts.add("PC1", [mac])


def test_a_host_without_any_mark_is_refused(store: Store) -> None:
    with pytest.raises(UsageError, match="Nothing would identify"):
        store.hosts.add("PC1", [], uuid=AMI)


def test_hosts_are_listed_with_numbers_by_value(store: Store) -> None:
    for number in (10, 9, 1):
        store.hosts.add(f"PC-{number}", [f"52:54:00:aa:01:{number:02x}"])
    assert [host.name for host in store.hosts.list()] == ["PC-1", "PC-9", "PC-10"]


def test_every_editable_field_is_changed_and_the_rest_stays(store: Store, pc1: Host) -> None:
    host = store.hosts.edit(
        "pc1",
        name="PC7",
        macs=["52:54:00:aa:01:07", "52:54:00:aa:01:01"],
        uuid=GOOD,
        sealed=True,
        local_boot="no-answer",
        uefi_loader=UefiLoader.IPXE,
        disk="nvme0n1",
        notes="n",
    )
    assert host == store.hosts.get("PC7")
    assert (host.id, host.macs, host.uuid) == (pc1.id, ("52:54:00:aa:01:07", "52:54:00:aa:01:01"), GOOD)
    assert (host.sealed, host.local_boot, host.uefi_loader) == (True, LocalBoot.NO_ANSWER, UefiLoader.IPXE)
    assert (host.disk, host.notes, host.created) == ("nvme0n1", "n", pc1.created)


def test_an_edit_that_is_refused_changes_nothing(store: Store, pc1: Host, pc2: Host) -> None:
    with pytest.raises(Conflict, match="belongs to host PC2"):
        store.hosts.edit("PC1", notes="changed", macs=pc2.macs)
    with pytest.raises(UsageError, match="no value for local_boot"):
        store.hosts.edit("PC1", notes="changed", local_boot="sometimes")
    with pytest.raises(UsageError, match="no 'colour'"):
        store.hosts.edit("PC1", notes="changed", colour="red")
    with pytest.raises(UsageError, match="Nothing would identify"):
        store.hosts.edit("PC1", notes="changed", macs=[])
    with pytest.raises(NotFound, match="no host 'PC9'"):
        store.hosts.edit("PC9", notes="changed")
    assert store.hosts.list() == [pc1, pc2]


def test_renaming_a_host_renames_it_in_its_tasks(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    store.hosts.edit("PC1", name="MASTER")
    assert store.tasks.get(task.id).host_name == "MASTER"


def test_a_host_with_an_unfinished_task_is_not_removed_and_its_finished_tasks_outlive_it(
    store: Store, pc1: Host
) -> None:
    task = store.tasks.capture(pc1, "win11")
    with pytest.raises(Conflict, match=r"busy with task 1 \(capture win11, waiting\)"):
        store.hosts.remove("PC1")
    store.tasks.cancel(task.id)
    store.hosts.remove("PC1")
    assert store.hosts.list() == []
    left = store.tasks.get(task.id)
    assert (left.host_id, left.host_name) == (None, "PC1")
    assert store.tasks.next_unknown() is None


def test_a_bad_uuid_is_not_kept_and_identifies_nobody(store: Store) -> None:
    assert store.hosts.add("PC1", ["52:54:00:aa:01:01"], uuid=AMI).uuid is None
    assert store.hosts.identify([], AMI) is None


def test_a_sound_uuid_identifies_in_either_byte_order(store: Store) -> None:
    host = store.hosts.add("PC1", ["52:54:00:aa:01:01"], uuid=GOOD)
    assert store.hosts.identify(["52:54:00:00:00:99"], GOOD) == host
    assert store.hosts.identify([], UUID(bytes_le=GOOD.bytes)) == host
    assert store.hosts.identify([], OTHER) is None


def test_a_uuid_that_two_hosts_have_identifies_neither(store: Store) -> None:
    store.hosts.add("PC1", ["52:54:00:aa:01:01"], uuid=GOOD)
    second = store.hosts.add("PC2", ["52:54:00:aa:01:02"], uuid=GOOD)
    assert store.hosts.identify([], GOOD) is None
    assert store.hosts.identify(["52:54:00:aa:01:02"], GOOD) == second


def test_a_mac_identifies_although_the_uuid_is_unknown(store: Store, pc1: Host) -> None:
    assert store.hosts.identify(pc1.macs, OTHER) == pc1


def test_a_card_moved_to_another_known_pc_does_not_turn_it_into_the_first(store: Store) -> None:
    first = store.hosts.add("PC1", ["52:54:00:aa:01:01"], uuid=GOOD)
    second = store.hosts.add("PC2", ["52:54:00:aa:01:02"], uuid=OTHER)
    assert store.hosts.identify(first.macs, OTHER) == second


def test_a_shared_dock_identifies_nobody_but_the_pc_behind_it_is_known_by_its_uuid(store: Store, pc1: Host) -> None:
    dock = "00:e0:4c:68:00:01"
    store.hosts.add_dock_mac(dock.upper())
    laptop = store.hosts.add("LAPTOP", [], uuid=GOOD)
    assert store.hosts.dock_macs() == [dock]
    assert store.hosts.by_mac(dock) is None
    assert store.hosts.identify([dock], GOOD) == laptop
    assert store.hosts.identify([dock], None) is None
    with pytest.raises(Conflict, match="list of shared docks"):
        store.hosts.edit("PC1", macs=[dock])
    with pytest.raises(Conflict, match="belongs to host PC1"):
        store.hosts.add_dock_mac(pc1.macs[0])
    store.hosts.remove_dock_mac(dock)
    assert store.hosts.edit("PC1", macs=[dock]).macs == (dock,)
    with pytest.raises(NotFound, match="not on the list"):
        store.hosts.remove_dock_mac(dock)


def test_a_sighting_is_kept_for_an_unknown_mac_and_updates_a_known_host(store: Store, pc1: Host) -> None:
    store.hosts.seen("52:54:00:00:00:77", BootStage.DHCP, arch=11, detail="ARM64", now=NOON)
    store.hosts.seen(pc1.macs[0], BootStage.DHCP, arch=7, uuid=GOOD, ip="10.20.5.1", now=NOON)
    later = NOON + timedelta(seconds=9)
    store.hosts.seen("5254.00AA.0101", BootStage.KERNEL, now=later)
    known, unknown = store.hosts.sightings()
    assert (known.host_name, known.stage, known.at) == ("PC1", BootStage.KERNEL, later)
    assert (known.arch, known.uuid, known.ip) == (7, GOOD, "10.20.5.1"), "a later stage keeps what the firmware said"
    assert (unknown.mac, unknown.arch, unknown.host_name) == ("52:54:00:00:00:77", 11, "")
    assert [store.hosts.sighting(found.mac) for found in (known, unknown)] == [known, unknown]
    assert store.hosts.sighting("52:54:00:00:00:78") is None
    host = store.hosts.get("PC1")
    assert (host.stage, host.last_seen, host.ip, host.firmware) == (BootStage.KERNEL, later, "10.20.5.1", "uefi")


def test_a_new_boot_forgets_what_the_last_firmware_said(store: Store, pc1: Host) -> None:
    store.hosts.seen(pc1.macs[0], BootStage.DHCP, arch=7, uuid=GOOD)
    store.hosts.seen(pc1.macs[0], BootStage.DHCP, arch=0)
    assert store.hosts.sightings()[0].uuid is None
    assert store.hosts.get("PC1").firmware == "bios"


def test_a_flood_of_invented_macs_forgets_the_oldest_unknown(
    store: Store, pc1: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sightings, "MAX_SIGHTINGS", 5)
    store.hosts.seen(pc1.macs[0], BootStage.DHCP, now=NOON - timedelta(days=1))
    for number in range(12):
        now = NOON + timedelta(seconds=number)
        store.hosts.seen(f"52:54:00:00:00:{number:02x}", BootStage.DHCP, now=now)
    assert [sighting.mac[-2:] for sighting in store.hosts.sightings()] == ["0b", "0a", "09", "08", "01"]


def test_firmware_and_inventory_are_what_was_last_reported(store: Store, pc1: Host) -> None:
    assert store.hosts.inventory(pc1.id) is None
    store.hosts.set_firmware(pc1.id, "uefi", True)
    store.hosts.save_inventory(pc1.id, {"cpu": "old"})
    store.hosts.save_inventory(pc1.id, {"cpu": "Käse", "disks": [{"size_bytes": 1}]}, now=NOON)
    found = store.hosts.inventory(pc1.id)
    assert found is not None
    assert (found.at, found.data) == (NOON, {"cpu": "Käse", "disks": [{"size_bytes": 1}]})
    host = store.hosts.get("PC1")
    assert (host.firmware, host.secure_boot) == ("uefi", True)
    with pytest.raises(NotFound):
        store.hosts.save_inventory(999, {})


def test_names_from_a_pattern_fill_gaps_and_grow_beyond_their_width(store: Store) -> None:
    assert store.hosts.next_name("LAB1-{nn}") == "LAB1-01"
    store.hosts.add("lab1-01", ["52:54:00:aa:02:01"])
    store.hosts.add("LAB1-03", ["52:54:00:aa:02:03"])
    assert store.hosts.next_name("LAB1-{nn}") == "LAB1-02"
    for number in range(1, 10):
        store.hosts.add(f"P{number}", [f"52:54:00:aa:03:{number:02x}"])
    assert store.hosts.next_name("P{n}") == "P10"


@pytest.mark.parametrize("pattern", ["LAB1", "", "{}", "{m}", "A{n}-{n}", "A {n}", "-{n}", "x" * 70 + "{n}", "{N}"])
def test_a_pattern_that_makes_no_names_is_refused(store: Store, pattern: str) -> None:
    with pytest.raises(UsageError):
        store.hosts.next_name(pattern)


@given(taken=st.sets(st.integers(1, 40), max_size=12), width=st.integers(1, 4))
def test_a_pattern_gives_the_first_free_number_at_its_width(taken: set[int], width: int) -> None:
    free = name_from_pattern(f"R{{{'n' * width}}}x", {f"r{n:0{width}d}X".lower() for n in taken})
    number = int(free[1:-1])
    assert number == min(set(range(1, 42)) - taken)
    assert free == f"R{number:0{width}d}x"


def test_the_version_on_record_is_the_last_one_deployed_in_full(
    store: Store, pc1: Host, captured: Callable[..., ImageVersion]
) -> None:
    version = captured("a")
    task = store.tasks.deploy(pc1, version)
    store.tasks.checked_in(task.id, "10.0.0.1", pc1.macs[0])
    store.tasks.progress(task.id, "restore", 10, 20, 1.0)
    store.tasks.move(task.id, TaskState.VERIFYING)
    store.tasks.move(task.id, TaskState.DONE)
    assert store.hosts.get("PC1").version_id == version.id

    early = store.tasks.deploy(pc1, version)
    store.tasks.checked_in(early.id, "10.0.0.1", pc1.macs[0])
    store.tasks.move(early.id, TaskState.FAILED, error="The disk is too small.")
    assert store.hosts.get("PC1").version_id == version.id, "nothing had been written"

    late = store.tasks.deploy(pc1, version)
    store.tasks.checked_in(late.id, "10.0.0.1", pc1.macs[0])
    store.tasks.progress(late.id, "restore", 10, 20, 1.0)
    store.tasks.cancel(late.id)
    assert store.hosts.get("PC1").version_id == "", "half of it had been written"


# -- two editors


def test_an_edit_of_what_nobody_changed_since_is_taken(store: Store, pc1: Host) -> None:
    store.hosts.seen(pc1.macs[0], BootStage.AGENT, ip="10.0.0.1")  # what services note is no edit
    assert store.hosts.edit("PC1", pc1, notes="by the door").notes == "by the door"


def test_the_second_of_two_editors_is_told_what_the_first_changed(store: Store, pc1: Host) -> None:
    store.rooms.add("A")
    store.hosts.edit("PC1", base=pc1, notes="first", room="A", macs=["52:54:00:aa:01:09"])
    with pytest.raises(Conflict, match=r"Somebody changed PC1 since it was shown to you: macs, notes, room\."):
        store.hosts.edit("PC1", base=pc1, disk="/dev/sda")
    assert store.hosts.get("PC1").disk == ""
    store.hosts.edit("PC1", base=store.hosts.get("PC1"), disk="/dev/sda")


def test_an_editor_of_a_host_that_was_renamed_or_removed_is_told_so(store: Store, pc1: Host) -> None:
    store.hosts.edit("PC1", name="PC7")
    store.hosts.add("PC1", ["52:54:00:aa:01:08"])
    with pytest.raises(Conflict, match="since it was shown to you: name"):
        store.hosts.edit("PC1", base=pc1, notes="x")
    store.hosts.remove("PC7")
    with pytest.raises(NotFound, match=f"no host with number {pc1.id}"):
        store.hosts.edit("PC1", base=pc1, notes="x")


def test_two_editors_who_want_the_same_do_not_disturb_each_other(store: Store, pc1: Host) -> None:
    store.hosts.edit("PC1", base=pc1, notes="same")
    assert store.hosts.edit("PC1", base=pc1, notes="same", disk="/dev/sda").disk == "/dev/sda"
