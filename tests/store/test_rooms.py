"""Rooms in the store: who stands where, and that nobody is lost with a room."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.model import Host, Room
from appliance.store import Store

REPOSITORY = Path(__file__).parents[2]


def test_rooms_are_listed_with_their_hosts_counted_and_numbers_by_value(store: Store, pc1: Host) -> None:
    for name in ("B10", "B9", "Salle d'été"):
        store.rooms.add(name, f"notes of {name}")
    store.rooms.assign("b9", ["pc1"])
    rooms = store.rooms.list()
    assert [(room.name, room.hosts) for room in rooms] == [("B9", 1), ("B10", 0), ("Salle d'été", 0)]
    assert store.rooms.get("b9") == rooms[0] == Room(rooms[0].id, "B9", "notes of B9", 1)


def test_hosts_say_where_they_stand(store: Store, pc1: Host, pc2: Host) -> None:
    store.rooms.add("B204")
    assert store.rooms.assign("B204", ["PC2", "PC1"]) == 2
    assert [host.room for host in store.hosts.list()] == ["B204", "B204"]
    assert [host.name for host in store.rooms.hosts("b204")] == ["PC1", "PC2"]
    assert store.hosts.by_mac(pc1.macs[0]) == store.hosts.get("PC1")
    assert store.rooms.assign(None, ["PC1"]) == 1
    assert store.hosts.get("PC1").room == ""


def test_only_hosts_that_stood_elsewhere_are_counted(store: Store, pc1: Host, pc2: Host) -> None:
    store.rooms.add("A")
    store.rooms.add("B")
    store.rooms.assign("A", ["PC1"])
    assert store.rooms.assign("A", ["PC1", "PC2"]) == 1
    assert store.rooms.assign("B", ["PC1", "PC2"]) == 2
    assert store.rooms.assign(None, ["PC1", "PC2"]) == 2
    assert store.rooms.assign(None, ["PC1", "PC2"]) == 0


def test_one_unknown_host_and_nobody_is_moved(store: Store, pc1: Host) -> None:
    store.rooms.add("A")
    with pytest.raises(NotFound, match="no host 'PC9'"):
        store.rooms.assign("A", ["PC1", "PC9"])
    with pytest.raises(NotFound, match="no room 'C'"):
        store.rooms.assign("C", ["PC1"])
    assert store.hosts.get("PC1").room == ""


def test_a_removed_room_leaves_its_hosts_without_one(store: Store, pc1: Host) -> None:
    store.rooms.add("A")
    store.rooms.assign("A", ["PC1"])
    store.rooms.remove("a")
    assert (store.rooms.list(), store.hosts.get("PC1").room) == ([], "")
    with pytest.raises(NotFound, match="no room 'A'"):
        store.rooms.remove("A")


def test_a_renamed_room_keeps_its_hosts(store: Store, pc1: Host) -> None:
    store.rooms.add("A")
    store.rooms.assign("A", ["PC1"])
    assert store.rooms.edit("a", name="a").name == "a", "its own name in another case is free"
    room = store.rooms.edit("A", name="B", notes="second floor")
    assert (room.name, room.notes, room.hosts) == ("B", "second floor", 1)
    assert store.hosts.get("PC1").room == "B"


def test_two_rooms_of_one_name_are_refused_in_any_case(store: Store) -> None:
    store.rooms.add("A")
    store.rooms.add("B")
    with pytest.raises(Conflict, match="room 'A' already"):
        store.rooms.add(" a ")
    with pytest.raises(Conflict, match="room 'A' already"):
        store.rooms.edit("B", name="a")


@pytest.mark.parametrize("name", ["", "  ", "x" * 41, "a\nb", "a\x1b[2J"])
def test_what_cannot_stand_on_a_screen_names_no_room(store: Store, name: str) -> None:
    with pytest.raises(UsageError, match="cannot name a room"):
        store.rooms.add(name)


def test_a_hosts_room_is_edited_like_its_other_fields(store: Store, pc1: Host) -> None:
    store.rooms.add("A")
    assert store.hosts.edit("PC1", room="a", notes="x").room == "A"
    assert store.hosts.edit("PC1", notes="y").room == "A"
    assert store.hosts.edit("PC1", room="").room == ""
    assert store.hosts.add("PC3", ["52:54:00:aa:01:03"], room="A").room == "A"
    with pytest.raises(NotFound, match="no room 'B'"):
        store.hosts.edit("PC1", room="B", notes="z")
    assert store.hosts.get("PC1").notes == "y"


# Moves all hosts from room to room until it is killed.
MOVER = textwrap.dedent("""
    import itertools, sys
    from pathlib import Path
    from appliance.store import Store
    store = Store.open(Path(sys.argv[1]))
    names = [host.name for host in store.hosts.list()]
    for room in itertools.cycle(("A", "B")):
        store.rooms.assign(room, names)
        print(room, flush=True)
""")


def test_a_mover_killed_at_any_moment_leaves_all_hosts_in_one_room(path: Path) -> None:
    with Store.open(path) as store:
        for room in "AB":
            store.rooms.add(room)
        for number in range(50):
            store.hosts.add(f"PC{number}", [f"52:54:00:00:00:{number:02x}"])
    command = [sys.executable, "-c", MOVER, str(path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    for moves in range(1, 7):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for _ in range(moves):
                process.stdout.readline()
            process.kill()
        with Store.open(path) as store:
            assert len({host.room for host in store.hosts.list()}) == 1
