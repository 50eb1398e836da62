"""The network screen: mode, links, who boots, leases, reservations, other servers, docks."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Any

import pytest

from appliance.config import Dhcp, Network, Settings, Subnet
from appliance.events import BootStage, LocalBoot, Role, ServiceHealth
from appliance.model import Lease, Reservation
from appliance.store import Store
from appliance.tui.screens.network_rows import head_lines, in_force, waits_for, warnings
from appliance.tui.snapshot import Gauges, LinkUse, Snapshot
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing
from tests.tui.test_overview import seen

SETTINGS = Settings(network=Network(interfaces=("eth1",)), dhcp=Dhcp(subnet=(Subnet(),)))
PROXY = dataclasses.replace(SETTINGS, dhcp=Dhcp(mode="proxy"))
UNKNOWN = "52:54:00:ee:00:01"


@pytest.fixture
def store(store: Store) -> Store:
    """Leases of ten hosts and of a printer, one expired; a reservation; a dock."""
    ends = [NOON + timedelta(minutes=number - 2) for number in range(10)]
    leases = [lease(f"10.20.5.{n + 1}", f"52:54:00:aa:01:{n + 1:02x}", ends[n]) for n in range(10)]
    printer = lease("10.20.5.40", "00:11:22:33:44:55", NOON + timedelta(hours=1))
    taken = lease("10.20.5.41", "00:11:22:33:44:66", NOON + timedelta(hours=1))
    printer = dataclasses.replace(printer, hostname="printer-2")
    store.leases.save([*leases, printer, dataclasses.replace(taken, declined=True)])
    store.leases.reserve("52:54:00:aa:01:03", IPv4Address("10.20.4.9"))
    store.hosts.add_dock_mac("52:54:00:dd:00:01")
    return store


def lease(address: str, mac: str, expires: Any) -> Lease:
    return Lease(IPv4Address(address), f"mac:{mac}", mac, expires)


def rows(text: str) -> str:
    """What a box on the screen says, line breaks as blanks."""
    inside = [line.split("│", 1)[1].rsplit("│", 1)[0] for line in text.splitlines() if line.count("│") > 1]
    return " ".join(" ".join(inside).split())


async def part(seat: Seat, letters: str) -> None:
    """Go to a part of the screen by its name."""
    await seat.press("6", "u")
    await seat.type(letters)
    await seat.press("enter")


# -- the lines on top -------------------------------------------------------------------------------------------------


def head(snapshot: Snapshot, settings: Settings = SETTINGS, width: int = 80) -> str:
    return "\n".join("".join(text for text, _role in line) for line in head_lines(snapshot, settings, width))


def test_mode_link_and_range_are_told(store: Store) -> None:
    text = head(seen(store))
    assert "full DHCP: this box lends addresses" in text
    assert "eth1  10.20.4.1/22  1,000 Mbit/s" in text
    assert "10.20.5.1 to 10.20.7.250: 8 of 762 addresses lent" in text, "two have expired, one is declined"


def test_a_link_that_is_down_missing_or_not_chosen_is_told(store: Store) -> None:
    snapshot = seen(store)
    down = dataclasses.replace(snapshot, gauges=Gauges(links=(LinkUse("eth1", "", up=False),)))
    assert "eth1  no address    no link" in head(down)
    assert "this box has no such interface" in head(dataclasses.replace(snapshot, gauges=Gauges()))
    assert "No interface is chosen: nobody is answered." in head(snapshot, Settings())


def test_another_server_is_a_warning_with_its_remedy_in_full_mode_while_it_is_news(store: Store) -> None:
    store.servers.heard("10.20.4.7", "eth1", now=NOON - timedelta(minutes=3))
    store.servers.heard("10.20.4.8", "eth1", now=NOON - timedelta(hours=3))
    ((text, role),) = warnings(seen(store), SETTINGS)
    assert text.startswith("Another DHCP server, 10.20.4.7, answers on eth1, heard 3 min ago")
    assert "Switch it off there, or set dhcp.mode to proxy" in text
    assert role == "bad"
    assert warnings(seen(store), PROXY) == []


def test_proxy_mode_without_any_other_server_is_a_warning(store: Store) -> None:
    ((text, _role),) = warnings(seen(store), PROXY)
    assert "PCs will get none" in text


def test_settings_changed_since_the_service_started_are_told(store: Store) -> None:
    store.services.beat("dhcp", ServiceHealth.OK, pid=1, started=NOON - timedelta(hours=1), now=NOON)
    store.settings.set("config-changed.dhcp.lease_s", (NOON - timedelta(hours=2)).isoformat())
    store.settings.set("config-changed.tftp.port", NOON.isoformat())
    assert warnings(seen(store), SETTINGS) == []
    store.settings.set("config-changed.network.interfaces", (NOON - timedelta(minutes=2)).isoformat())
    assert "older settings" in warnings(seen(store), SETTINGS)[0][0]


def test_what_an_operator_has_set_counts_and_what_makes_no_sense_does_not(store: Store) -> None:
    store.settings.set("config.dhcp.mode", json.dumps("off"))
    assert in_force(SETTINGS, seen(store)).dhcp.mode == "off"
    store.settings.set("config.dhcp.mode", json.dumps("sideways"))
    assert in_force(SETTINGS, seen(store)) == SETTINGS
    store.settings.set("config.dhcp.mode", "{")
    assert in_force(SETTINGS, seen(store)) == SETTINGS


# -- who is booting ---------------------------------------------------------------------------------------------------


async def test_who_boots_how_far_how_long_ago_and_what_was_not_asked_for(store: Store) -> None:
    store.hosts.seen(UNKNOWN, BootStage.KERNEL, now=NOON - timedelta(seconds=20))
    async with console(store, settings=SETTINGS) as seat:
        await seat.press("6")
        line = seat.line_with("lab-19")
        assert [word in line for word in ("loader", "8 s", "boot script not asked for yet")] == [True] * 3
        line = seat.line_with(UNKNOWN)
        assert [word in line for word in ("kernel", "20 s", "initrd not asked for yet")] == [True] * 3
        assert "lab-01" not in seat.text(), "at its own disk for minutes"


async def test_a_wide_terminal_shows_when_each_step_was_reached(store: Store) -> None:
    store.hosts.seen(UNKNOWN, BootStage.DHCP, arch=7, now=NOON - timedelta(seconds=20))
    store.hosts.seen(UNKNOWN, BootStage.LOADER, now=NOON - timedelta(seconds=18))
    async with console(store, settings=SETTINGS, size=(200, 60)) as seat:
        await seat.press("6")
        assert "DHCP 11:59:40 ▸ loader 11:59:42" in seat.line_with(UNKNOWN)


async def test_a_pc_that_arrived_is_shown_a_moment_longer(store: Store) -> None:
    store.hosts.seen(UNKNOWN, BootStage.AGENT, now=NOON - timedelta(seconds=20))
    store.hosts.seen("52:54:00:ee:00:02", BootStage.AGENT, now=NOON - timedelta(minutes=2))
    async with console(store, settings=SETTINGS) as seat:
        await seat.press("6")
        assert "arrived" in seat.line_with(UNKNOWN)
        assert "ee:00:02" not in seat.text()


def test_a_host_that_gets_no_answer_starts_its_own_disk(store: Store) -> None:
    store.hosts.edit("lab-20", local_boot=LocalBoot.NO_ANSWER)
    store.hosts.seen("52:54:00:aa:01:14", BootStage.DHCP, now=NOON - timedelta(seconds=4))
    snapshot = seen(store)
    sighting = next(one for one in snapshot.sightings if one.host_name == "lab-20")
    assert waits_for(snapshot, sighting, store.hosts.get("lab-20")) == "no answer: it starts its own disk"


async def test_enter_opens_the_host_or_registers_the_unknown_pc(store: Store) -> None:
    store.hosts.seen(UNKNOWN, BootStage.MENU, now=NOON - timedelta(seconds=20))
    async with console(store, settings=SETTINGS) as seat:
        await seat.press("6", "enter")
        assert "lab-19" in seat.lines()[2]
        assert "Identity" in seat.text()
        await seat.press("escape", "down", "enter")
        assert f"Register {UNKNOWN}" in seat.text()
        await seat.press("enter")
    assert store.hosts.get("PC-001").macs == (UNKNOWN,)


async def test_unknown_pcs_are_registered_here_too(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "unknown")
        assert UNKNOWN in seat.text()
        await seat.press("a", "enter")
    assert store.hosts.get("PC-001")


# -- leases -----------------------------------------------------------------------------------------------------------


async def test_leases_are_told_with_names_and_ends_expired_ones_on_demand(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await seat.press("6", "tab")
        assert seat.line_with("10.20.5.4 ").split() == ["10.20.5.4", "52:54:00:aa:01:04", "lab-04", "12:01", "lent"]
        assert "printer-2" in seat.line_with("10.20.5.40")
        assert "declined" in seat.line_with("10.20.5.41")
        assert "10.20.5.2 " not in seat.text()
        await part(seat, "expired")
        assert "expired" in seat.line_with("10.20.5.2 ")
        assert "Leases 12" in seat.text()


async def test_a_lease_is_made_a_reservation(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await seat.press("6", "tab", "a")
        assert "10.20.5.4" in seat.line_with("│ Address  ")
        await seat.press("enter")
        assert "10.20.5.4 is reserved for 52:54:00:aa:01:04." in seat.text()
    assert Reservation("52:54:00:aa:01:04", IPv4Address("10.20.5.4")) in store.leases.reservations()
    assert store.audit.list(1)[0].detail == "10.20.5.4 for 52:54:00:aa:01:04"


# -- reservations -----------------------------------------------------------------------------------------------------


async def test_an_address_is_reserved_for_a_host_by_its_name(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "reserved")
        assert "lab-03" in seat.line_with("10.20.4.9")
        await seat.press("a")
        await seat.type("lab-05")
        await seat.press("down")
        await seat.type("10.20.4.15")
        await seat.press("enter")
        assert "10.20.4.15 is reserved for 52:54:00:aa:01:05." in seat.text()
    assert len(store.leases.reservations()) == 2


async def test_an_address_outside_of_every_subnet_is_reserved_with_a_warning(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "reserved")
        await seat.press("a")
        await seat.type("lab-05")
        await seat.press("down")
        await seat.type("192.168.1.4")
        await seat.press("enter")
        assert "192.168.1.4 is in none of the subnets: it is reserved, but never lent." in seat.text()


@pytest.mark.parametrize(
    ("whose", "address", "words"),
    [
        ("nobody", "10.20.4.15", "There is no host 'nobody'."),
        ("lab-05", "10.20.4", "'10.20.4' is no IPv4 address."),
        ("lab-05", "", "No address is given."),
        ("lab-05", "10.20.4.9", "10.20.4.9 is reserved for 52:54:00:aa:01:03 already."),
        ("lab-03", "10.20.4.15", "10.20.4.9 is reserved for 52:54:00:aa:01:03 already. Edit that reservation."),
    ],
)
async def test_a_reservation_that_cannot_be_is_refused_and_stays_typed(
    store: Store, whose: str, address: str, words: str
) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "reserved")
        await seat.press("a")
        await seat.type(whose)
        await seat.press("down")
        await seat.type(address)
        await seat.press("enter")
        assert words in rows(seat.text())
        assert whose in seat.line_with("Host or MAC")
    assert len(store.leases.reservations()) == 1


async def test_a_reservation_is_edited_its_address_and_whose_it_is(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "reserved")
        await seat.press("e", "down", "end", "backspace")
        await seat.type("10")
        await seat.press("enter")
        assert store.leases.reservations() == [Reservation("52:54:00:aa:01:03", IPv4Address("10.20.4.10"))]
        await seat.press("e", "end", "ctrl+u")
        await seat.type("lab-05")
        await seat.press("enter")
        assert "10.20.4.10 is reserved for 52:54:00:aa:01:05." in seat.text()
    assert store.leases.reservations() == [Reservation("52:54:00:aa:01:05", IPv4Address("10.20.4.10"))]
    assert [event.action for event in store.audit.list(2)] == ["reservation edit"] * 2


async def test_reservations_are_freed_after_a_yes(store: Store) -> None:
    store.leases.reserve("52:54:00:aa:01:04", IPv4Address("10.20.4.10"))
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "reserved")
        await seat.press("asterisk", "x")
        assert "10.20.4.9 (52:54:00:aa:01:03), 10.20.4.10" in rows(seat.text())
        await seat.press("enter")
        assert "No address is reserved." in seat.text()
    assert store.leases.reservations() == []
    assert [event.action for event in store.audit.list(2)] == ["reservation remove"] * 2


# -- other servers, docks ---------------------------------------------------------------------------------------------


async def test_other_servers_are_listed_and_enter_says_what_to_do(store: Store) -> None:
    store.servers.heard("10.20.4.7", "eth1", "offered 10.20.4.99", now=NOON - timedelta(minutes=3))
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "other")
        line = seat.line_with("10.20.4.7     ")
        assert [word in line for word in ("eth1", "11:57", "3 min", "offered 10.20.4.99")] == [True] * 4
        await seat.press("enter")
        assert "Switch it off there" in rows(seat.text())


async def test_docks_are_added_and_removed(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "docks")
        assert "52:54:00:dd:00:01" in seat.text()
        await seat.press("a", *"5254.00DD.0002".replace(".", ""), "enter")
        assert store.hosts.dock_macs() == ["52:54:00:dd:00:01", "52:54:00:dd:00:02"]
        await seat.press("x")
    assert store.hosts.dock_macs() == ["52:54:00:dd:00:02"]
    assert [event.action for event in store.audit.list(2)] == ["host dock remove", "host dock add"]


@pytest.mark.parametrize(("mac", "words"), [("xyz", "is no MAC address"), ("525400aa0101", "belongs to host lab-01")])
async def test_a_card_that_cannot_be_a_docks_is_refused(store: Store, mac: str, words: str) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await part(seat, "docks")
        await seat.press("a", *mac, "enter")
        assert words in rows(seat.text())
    assert store.hosts.dock_macs() == ["52:54:00:dd:00:01"]


@pytest.mark.parametrize(
    ("letters", "key"),
    [("leases", "a"), ("reserved", "a"), ("reserved", "e"), ("reserved", "x"), ("docks", "a"), ("docks", "x"),
     ("unknown", "a")],
)  # fmt: skip
async def test_a_viewer_changes_nothing_on_the_network(store: Store, letters: str, key: str) -> None:
    async with console(store, settings=SETTINGS, role=Role.VIEWER) as seat:
        await part(seat, letters)
        await seat.press(key)
        assert "may look, but change nothing" in seat.text()
    assert len(store.leases.reservations()) == 1
    assert store.hosts.dock_macs() == ["52:54:00:dd:00:01"]
    assert store.audit.list() == []


async def test_a_viewer_registers_nobody_from_those_who_boot(store: Store) -> None:
    store.hosts.seen(UNKNOWN, BootStage.KERNEL, now=NOON - timedelta(seconds=2))
    async with console(store, settings=SETTINGS, role=Role.VIEWER) as seat:
        await seat.press("6", "enter")
        assert "may look, but change nothing" in seat.text()


async def test_tab_goes_round_the_parts_with_the_keys_of_each_in_the_footer(store: Store) -> None:
    async with console(store, settings=SETTINGS) as seat:
        await seat.press("6")
        footers = []
        for _part in range(7):
            footers.append(seat.lines()[-1].split("Show")[0].strip())
            await seat.press("tab")
        assert footers == [
            "Enter Open  u",
            "a Reserve  u",
            "a Add  e Edit  x Remove  u",
            "Enter Register  a Register  u",
            "Enter Open  u",
            "a Add  x Remove  u",
            "Enter Open  e Address  u",
        ]
        assert "lab-19" in seat.text()


# -- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "120x40"])
def test_picture_of_the_network(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    store.servers.heard("10.20.4.7", "eth1", "offered 10.20.4.99", now=NOON - timedelta(minutes=3))
    app = make_app(store.path, language=language, settings=SETTINGS)
    assert snap_compare(app, terminal_size=size, run_before=pressing("6"))


def test_picture_of_the_leases(store: Store, snap_compare: Any) -> None:
    app = make_app(store.path, settings=SETTINGS)
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing("6", "tab"))
