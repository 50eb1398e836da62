"""The form of a host: what it takes, what it refuses, and two people at one host."""

from __future__ import annotations

from ipaddress import IPv4Address
from uuid import UUID

import pytest

from appliance.events import LocalBoot, UefiLoader
from appliance.host_fields import parse_macs
from appliance.model import Reservation
from appliance.store import Store
from tests.tui.kit import Seat, console

UUID_TEXT = "8d3f0b56-11c4-4f0e-9a77-0123456789ab"
ADDRESS = IPv4Address("10.20.4.9")


def rows(text: str) -> str:
    """What a box on the screen says, line breaks as blanks."""
    inside = [line.split("│", 1)[1].rsplit("│", 1)[0] for line in text.splitlines() if line.count("│") > 1]
    return " ".join(" ".join(inside).split())


async def edit(seat: Seat, name: str) -> None:
    """Open the form of a host."""
    await seat.press("2")
    screen = seat.app.base_screen
    assert screen is not None
    host = next(host for host in seat.app.model.latest.hosts if host.name == name)
    screen.go_to("host", host.id)
    await seat.press("e")
    assert f"Edit {name}" in seat.text()


async def fill(seat: Seat, row: int, text: str) -> None:
    """Go down to a row from the first one and write over what is there."""
    await seat.press(*["down"] * row, "end", "ctrl+u")
    await seat.type(text)


async def test_a_host_is_added_with_everything_that_can_be_said_of_it(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "a")
        await seat.type("new-pc")
        await fill(seat, 1, "52:54:00:cc:00:01 5254.00CC.0002")
        await fill(seat, 1, UUID_TEXT)
        await fill(seat, 1, "library")
        await fill(seat, 1, "10.20.4.9")
        await fill(seat, 1, "/dev/sdb")
        await seat.press("down", "right", "down", "right", "down", "left")
        await fill(seat, 1, "by the window")
        await seat.press("enter")
        assert "Added new-pc." in seat.text()
    host = store.hosts.get("new-pc")
    assert host.macs == ("52:54:00:cc:00:01", "52:54:00:cc:00:02")
    assert (host.uuid, host.room, host.disk, host.notes) == (UUID(UUID_TEXT), "Library", "/dev/sdb", "by the window")
    assert (host.local_boot, host.uefi_loader, host.sealed) == (LocalBoot.NO_ANSWER, UefiLoader.IPXE, True)
    assert store.leases.reservations() == [Reservation("52:54:00:cc:00:01", ADDRESS)]
    assert [(event.action, event.detail) for event in store.audit.list(1)] == [("host add", "new-pc")]


@pytest.mark.parametrize(
    ("row", "text", "words"),
    [
        (0, "two words", "'two words' cannot name a host."),
        (1, "52:54", "'52:54' is no MAC address. Write it as 52:54:00:aa:01:02."),
        (2, "abc", "'abc' is no UUID."),
        (3, "nowhere", "There is no room 'nowhere'."),
        (4, "10.20.4", "'10.20.4' is no IPv4 address."),
    ],
)
async def test_what_makes_no_sense_is_said_beside_what_was_typed(store: Store, row: int, text: str, words: str) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, row, text)
        await seat.press("enter")
        assert words in rows(seat.text())
        assert text in seat.text()
        assert "Edit lab-01" in seat.text()
    assert store.hosts.get("lab-01").macs == ("52:54:00:aa:01:01",)


async def test_a_name_or_a_mac_of_another_host_is_refused_with_its_name(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, 0, "LAB-02")
        await seat.press("enter")
        assert "There is a host 'lab-02' already." in rows(seat.text())
        await fill(seat, 0, "lab-01")
        await fill(seat, 1, "52:54:00:aa:01:02")
        await seat.press("enter")
        assert "52:54:00:aa:01:02 belongs to host lab-02 already." in rows(seat.text())


async def test_only_what_was_changed_is_written_and_named_in_the_audit_trail(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, 0, "front-01")
        await fill(seat, 3, "")
        await seat.press("enter")
        assert "Changed front-01." in seat.text()
    host = store.hosts.get("front-01")
    assert (host.room, host.macs) == ("", ("52:54:00:aa:01:01",))
    assert store.audit.list(1)[0].detail == "lab-01: name, room"


async def test_enter_on_an_unchanged_form_changes_nothing(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await seat.press("enter")
        assert "Nothing was changed." in seat.text()
    assert store.audit.list() == []


async def test_two_at_one_host_the_second_is_told_which_fields_and_loses_nothing(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, 9, "mine")
        store.hosts.edit("lab-01", notes="theirs", room="Library", sealed=True)
        await seat.press("enter")
        assert store.hosts.get("lab-01").notes == "theirs"
        assert "mine" in seat.line_with("│ Notes")
        assert "Library" in seat.line_with("│ Room  "), "not touched here: it takes their value"
        assert "yes" in seat.line_with("│ Sealed  ")
        assert "Somebody else changed this to: Library" in rows(seat.text())
        await seat.press(*["down"] * 6)
        assert "Somebody else changed this to: theirs. Yours is still here; Enter saves it." in rows(seat.text())
        await seat.press("enter")
        assert "Changed lab-01." in seat.text()
    host = store.hosts.get("lab-01")
    assert (host.notes, host.room, host.sealed) == ("mine", "Library", True)


async def test_somebody_elses_rename_is_no_obstacle_once_it_is_seen(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, 9, "mine")
        store.hosts.edit("lab-01", name="front-01")
        await seat.press("enter")
        assert "Somebody else changed this to: front-01" in rows(seat.text())
        await seat.press("enter")
    assert store.hosts.get("front-01").notes == "mine"


async def test_a_host_that_was_removed_meanwhile_is_said_and_what_was_typed_stays(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-20")
        await fill(seat, 9, "mine")
        store.hosts.remove("lab-20")
        await seat.press("enter")
        assert "There is no host with number" in rows(seat.text())
        assert "mine" in seat.text()


# -- reserved addresses -----------------------------------------------------------------------------------------------


async def test_the_reserved_address_is_shown_changed_and_freed(store: Store) -> None:
    store.leases.reserve("52:54:00:aa:01:01", ADDRESS)
    async with console(store) as seat:
        await edit(seat, "lab-01")
        assert "10.20.4.9" in seat.line_with("Reserved address")
        await fill(seat, 4, "10.20.4.10")
        await seat.press("enter")
        assert store.leases.reservations() == [Reservation("52:54:00:aa:01:01", IPv4Address("10.20.4.10"))]
        await edit(seat, "lab-01")
        await fill(seat, 4, "")
        await seat.press("enter")
    assert store.leases.reservations() == []


async def test_an_address_of_another_is_refused_and_nothing_else_is_written(store: Store) -> None:
    store.leases.reserve("52:54:00:aa:01:02", ADDRESS)
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, 4, "10.20.4.9")
        await fill(seat, 5, "mine")
        await seat.press("enter")
        assert "10.20.4.9 is reserved for 52:54:00:aa:01:02 already." in rows(seat.text())
    assert store.hosts.get("lab-01").notes == ""


async def test_an_address_that_somebody_changed_meanwhile_is_shown_before_it_is_overwritten(store: Store) -> None:
    async with console(store) as seat:
        await edit(seat, "lab-01")
        await fill(seat, 4, "10.20.4.10")
        store.leases.reserve("52:54:00:aa:01:01", ADDRESS)
        await seat.press("enter")
        assert "Somebody else changed this to: 10.20.4.9. Yours is still here; Enter saves it." in rows(seat.text())
        assert store.leases.reservations() == [Reservation("52:54:00:aa:01:01", ADDRESS)]
        await seat.press("enter")
    assert store.leases.reservations() == [Reservation("52:54:00:aa:01:01", IPv4Address("10.20.4.10"))]


async def test_a_host_without_a_card_gets_no_address(store: Store) -> None:
    store.hosts.add("by-uuid", [], uuid=UUID(UUID_TEXT))
    async with console(store) as seat:
        await edit(seat, "by-uuid")
        await fill(seat, 4, "10.20.4.9")
        await seat.press("enter")
        assert "by-uuid has no MAC to reserve an address for." in rows(seat.text())
    assert store.leases.reservations() == []


def test_macs_are_read_with_whatever_stands_between_them() -> None:
    assert parse_macs("5254.00aa.0101,52-54-00-AA-01-02 | 52:54:00:aa:01:01") == (
        "52:54:00:aa:01:01",
        "52:54:00:aa:01:02",
    )
