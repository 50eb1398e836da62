"""Looks at the whole store: what has not changed stays the same object."""

from datetime import UTC, datetime, timedelta

import pytest

from appliance.events import BootStage, ServiceHealth, TaskState
from appliance.model import Host
from appliance.store import Store, pictures
from tests.cli.conftest import commit, version

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def test_a_picture_shows_what_the_verbs_show(store: Store) -> None:
    commit(store, version())
    store.rooms.add("B204")
    store.hosts.add("LAB-2", ["52:54:00:aa:01:02", "52:54:00:aa:01:12"], room="B204")
    host = store.hosts.add("LAB-10", ["52:54:00:aa:01:10"])
    store.tasks.deploy(host, store.images.resolve("win11"))
    store.tasks.order_new_pcs(store.images.resolve("win11"), 2, "NEW-{nn}")
    store.hosts.seen("52:54:00:aa:01:02", BootStage.DHCP, ip="10.20.5.2", arch=7)
    store.hosts.add_dock_mac("52:54:00:dd:00:01")
    store.settings.set("console.theme", "monochrome")
    store.services.beat("http", ServiceHealth.OK, pid=1, started=NOON, now=NOON)
    picture = store.pictures().read(now=NOON)
    assert list(picture.hosts) == store.hosts.list()
    assert list(picture.rooms) == store.rooms.list()
    assert list(picture.images) == store.images.list()
    assert list(picture.versions) == store.images.versions()
    assert [*picture.open_tasks, *picture.ended_tasks] == store.tasks.list()
    assert [task.state for task in picture.ended_tasks] == [TaskState.DONE]
    assert list(picture.orders) == store.tasks.orders()
    assert list(picture.sightings) == store.hosts.sightings()
    assert list(picture.docks) == store.hosts.dock_macs() == ["52:54:00:dd:00:01"]
    assert list(picture.services) == store.services.list(now=NOON)
    assert picture.settings == (("console.theme", "monochrome"),)


def test_an_unchanged_store_is_the_same_picture(store: Store) -> None:
    store.hosts.add("LAB-1", ["52:54:00:aa:01:01"])
    pictures = store.pictures()
    assert pictures.read() is pictures.read()


def test_a_change_of_one_host_leaves_the_other_objects_and_lists(store: Store) -> None:
    for number in (1, 2):
        store.hosts.add(f"LAB-{number}", [f"52:54:00:aa:01:0{number}"])
    pictures = store.pictures()
    before = pictures.read()
    store.hosts.edit("LAB-2", macs=["52:54:00:aa:01:02", "52:54:00:aa:01:03"])
    after = pictures.read()
    assert after.hosts[0] is before.hosts[0]
    assert after.hosts[1].macs == ("52:54:00:aa:01:02", "52:54:00:aa:01:03")
    assert after.leases is before.leases


def test_members_of_a_cast_are_there_while_it_is_open(store: Store) -> None:
    from ipaddress import IPv4Network

    commit(store, version())
    made = store.images.resolve("win11")
    cast = store.casts.open(made, groups=IPv4Network("239.192.68.0/24"))
    host: Host = store.hosts.add("LAB-1", ["52:54:00:aa:01:01"])
    store.tasks.deploy(host, made, cast_id=cast.id)
    pictures = store.pictures()
    assert pictures.read().members == tuple((cast.id, member) for member in store.casts.members(cast.id))
    assert [member.task_state for _number, member in pictures.read().members] == [TaskState.WAITING]
    store.casts.stop(cast.id)
    assert pictures.read().members == ()
    assert [found.id for found in pictures.read().casts] == [cast.id]


def test_a_service_becomes_silent_without_any_change_of_the_store(store: Store) -> None:
    store.services.beat("http", ServiceHealth.OK, pid=1, started=NOON, now=NOON)
    pictures = store.pictures()
    assert pictures.read(now=NOON).services[0].state is ServiceHealth.OK
    assert pictures.read(now=NOON + timedelta(minutes=1)).services[0].state is ServiceHealth.SILENT


def test_a_room_that_boots_pushes_no_unknown_pc_out_of_the_picture(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "RECENT_SIGHTINGS", 3)
    store.hosts.seen("52:54:00:00:00:77", BootStage.MENU, now=NOON)
    for number in range(1, 7):
        store.hosts.add(f"LAB-{number}", [f"52:54:00:aa:01:0{number}"])
        store.hosts.seen(f"52:54:00:aa:01:0{number}", BootStage.DHCP, now=NOON + timedelta(seconds=number))
    seen = store.pictures().read().sightings
    assert [sighting.host_name for sighting in seen] == ["LAB-6", "LAB-5", "LAB-4", ""]
