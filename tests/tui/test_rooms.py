"""Rooms: made, renamed, removed, woken; and the hosts that stand there."""

from __future__ import annotations

import pytest

from appliance.events import Role
from appliance.store import Store
from tests.tui.kit import console


async def test_rooms_are_listed_with_how_many_stand_there(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab")
        assert seat.line_with("B204").split() == ["B204", "16", "second", "floor"]
        assert seat.line_with("Library").split() == ["Library", "0"]


async def test_enter_shows_the_hosts_of_a_room(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "enter")
        assert "room B204: 16" in seat.lines()[2]
        assert "dev-01" not in seat.text()
        await seat.press("a")
        assert "B204" in seat.line_with("│ Room  "), "a new host is offered the room that is shown"


async def test_a_room_is_made(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "a", *"Attic", "down", *"cold", "enter")
        assert "Room Attic is kept." in seat.text()
    room = store.rooms.get("Attic")
    assert (room.name, room.notes, room.hosts) == ("Attic", "cold", 0)
    assert store.audit.list(1)[0].action == "room add"


async def test_a_name_that_another_room_has_is_refused_and_stays_typed(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "a", *"library", "enter")
        assert "There is a room 'Library' already." in seat.text()
        await seat.press("2", "enter")
    assert store.rooms.get("library2")


async def test_a_room_is_renamed_with_its_hosts_in_it(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "e", "end", "backspace", "5", "enter")
        assert "Room B205 is kept." in seat.text()
    assert store.rooms.get("B205").hosts == 16
    assert store.audit.list(1)[0].detail == "B204: now B205"


async def test_rooms_are_removed_after_a_yes_and_their_hosts_stay(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "x")
        assert "16 hosts stay, in no room." in seat.text()
        await seat.press("escape")
        assert len(store.rooms.list()) == 2
        await seat.press("asterisk", "x")
        assert "Remove 2 rooms?" in seat.text()
        await seat.press("enter")
        assert "There is no room." in seat.text()
    assert store.rooms.list() == []
    assert len(store.hosts.list()) == 22


async def test_a_whole_room_is_woken(store: Store) -> None:
    for name in ("dev-01", "win11-master"):
        store.hosts.edit(name, room="Library")
    async with console(store) as seat:
        await seat.press("2", "tab", "down", "w")
        assert "Waking 2 PCs." in seat.text()
        assert {call.host_name for call in store.hosts.to_wake()} == {"dev-01", "win11-master"}


async def test_an_empty_room_has_nobody_to_wake(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab", "down", "w")
        assert "There is nothing to wake." in seat.text()


@pytest.mark.parametrize("key", ["a", "e", "x", "w"])
async def test_a_viewer_changes_no_room(store: Store, key: str) -> None:
    before = store.rooms.list()
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("2", "tab", key)
        assert "may look, but change nothing" in seat.text()
    assert store.rooms.list() == before


async def test_the_keys_of_the_rooms_are_in_footer_palette_and_help(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "tab")
        assert "e Rename" in seat.lines()[-1]
        await seat.press("question_mark")
        assert "Remove rooms; their hosts stay, in no room" in seat.text()
        await seat.press("escape", "ctrl+p")
        await seat.type("make a room")
        await seat.press("enter")
        assert "A new room" in seat.text()
