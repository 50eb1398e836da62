"""When a PC reached what, in its last boot."""

from __future__ import annotations

from datetime import datetime, timedelta

from appliance.events import BootStage
from appliance.store import Store
from appliance.store.bootsteps import SAME_BOOT, Steps, reached

from .conftest import NOON

DHCP, LOADER, SCRIPT, KERNEL, AGENT = (
    BootStage.DHCP,
    BootStage.LOADER,
    BootStage.SCRIPT,
    BootStage.KERNEL,
    BootStage.AGENT,
)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def boot(*stages: tuple[BootStage, float]) -> Steps:
    steps: Steps = ()
    for stage, seconds in stages:
        steps = reached(steps, stage, at(seconds))
    return steps


def test_the_first_time_of_each_stage_counts_however_often_it_is_reached() -> None:
    steps = boot((DHCP, 0), (DHCP, 4), (LOADER, 6), (LOADER, 7), (DHCP, 9), (SCRIPT, 10), (KERNEL, 11), (AGENT, 30))
    assert steps == ((DHCP, at(0)), (LOADER, at(6)), (SCRIPT, at(10)), (KERNEL, at(11)), (AGENT, at(30)))


def test_an_address_asked_for_after_the_script_begins_another_boot() -> None:
    assert boot((DHCP, 0), (LOADER, 1), (SCRIPT, 2), (DHCP, 20)) == ((DHCP, at(20)),)


def test_a_loader_asked_for_after_the_script_begins_another_boot_where_another_server_lends_addresses() -> None:
    assert boot((LOADER, 1), (SCRIPT, 2), (LOADER, 90), (SCRIPT, 91)) == ((LOADER, at(90)), (SCRIPT, at(91)))


def test_a_pc_that_asks_for_an_address_much_later_boots_again() -> None:
    late = SAME_BOOT.total_seconds() + 1
    assert boot((DHCP, 0), (DHCP, late)) == ((DHCP, at(late)),)
    assert boot((DHCP, 0), (LOADER, late)) == ((DHCP, at(0)), (LOADER, at(late))), "a slow transfer is the same boot"


def test_the_store_keeps_the_steps_with_the_sighting(store: Store) -> None:
    store.hosts.seen("52:54:00:00:00:77", DHCP, now=at(0))
    store.hosts.seen("52:54:00:00:00:77", LOADER, now=at(2))
    (sighting,) = store.hosts.sightings()
    assert sighting.steps == ((DHCP, at(0)), (LOADER, at(2)))
    assert store.pictures().read().sightings == (sighting,)
