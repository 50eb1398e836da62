"""Casts: the list, the room as a grid, the figures, and what is done to a cast and to its PCs."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any

import pytest

from appliance.events import CastState, Role, TaskState
from appliance.model import CastMember
from appliance.services import cast_status
from appliance.store import Store
from appliance.tui.screens.casts import CastsScreen
from appliance.tui.screens.casts_cells import _STATUS, cells, how
from appliance.tui.screens.casts_grid import BOXES, PAIRS, SINGLES, plan
from appliance.tui.screens.casts_join import JoinScreen
from appliance.tui.screens.tasks import TaskPage
from appliance.tui.snapshot import Snapshot
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, deploy, make_app, pressing

DEAF = f"{cast_status.BY_NFS}multicast does not arrive there"
SLOW_DISK = f"{cast_status.BY_NFS}its disk takes less than half of the cast's rate for 30 s"


@asynccontextmanager
async def casts(store: Store, *keys: str, **options: Any) -> AsyncIterator[Seat]:
    """The screen after some keys; cast 1 sends win11-lab to lab-03 .. lab-08."""
    async with console(store, **options) as seat:
        await seat.press("5", *keys)
        yield seat


def screen_of(seat: Seat) -> CastsScreen:
    screen = seat.app.base_screen
    assert isinstance(screen, CastsScreen)
    return screen


def member(store: Store, host: str) -> CastMember:
    return next(member for member in store.casts.members(1) if member.host_name == host)


def fares(store: Store, statuses: dict[str, str], **figures: Any) -> None:
    """What the cast service writes."""
    told = [
        dataclasses.replace(one, status=statuses.get(one.host_name, cast_status.BY_MULTICAST), written=20_000)
        for one in store.casts.members(1)
    ]
    store.casts.record([(dataclasses.replace(store.casts.get(1), **figures), told)])


def crowd(store: Store, count: int) -> None:
    """So many more PCs in the cast."""
    for number in range(count):
        name = f"room-{number:03}"
        store.hosts.add(name, [f"52:54:00:bb:{number // 256:02x}:{number % 256:02x}"])
        deploy(store, name, "win11-lab", share=0.5, cast_id=1)
    fares(store, {})


def audit(store: Store) -> list[tuple[str, str]]:
    return [(event.action, event.detail) for event in store.audit.list()]


# -- the list and the figures


async def test_a_cast_tells_its_image_who_is_there_and_how_far_it_is(store: Store) -> None:
    async with casts(store) as seat:
        line = seat.line_with("win11-lab@1 ")
        assert "▸ sends" in line
        assert "6/6" in line
        assert "67 %" in line
        assert "112 MB/s" in line


async def test_what_was_sent_is_told_against_the_images_size(store: Store) -> None:
    async with casts(store) as seat:
        assert "31.2 GB sent, 1.42 times the image's 22.0 GB" in seat.text()
        assert "at most 900 Mbit/s" in seat.text()


async def test_loss_repair_and_forged_answers_are_told(store: Store) -> None:
    fares(store, {}, present=6, rate_bytes_s=1e8, parity_bytes=2_000_000_000, forged=7, replayed=2, refused=1)
    told = [dataclasses.replace(one, loss=0.3 if one.host_name == "lab-05" else 0.0) for one in store.casts.members(1)]
    store.casts.record([(store.casts.get(1), told)])
    async with casts(store, size=(160, 30)) as seat:
        text = seat.text()
        assert "2.0 GB of it for repair" in text
        assert "loss 5.0 % (lab-05 30.0 %)" in text
        assert "7 forged answers dropped" in text
        assert "3 stray answers dropped" in text


async def test_the_cell_of_a_pc_tells_how_it_is_served(store: Store) -> None:
    fares(store, {"lab-04": DEAF, "lab-05": SLOW_DISK, "lab-06": cast_status.SLOW})
    store.tasks.move(member(store, "lab-07").task_id, TaskState.VERIFYING, now=NOON)
    store.tasks.move(member(store, "lab-07").task_id, TaskState.DONE, now=NOON)
    async with casts(store, size=(120, 40)) as seat:
        texts = {cell.name: how(cell) for cell in screen_of(seat).room.rows}
        assert texts == {
            "lab-03": "cast",
            "lab-04": "NFS: no multicast",
            "lab-05": "NFS: slow disk",
            "lab-06": "cast, slow",
            "lab-07": "done 10:00",
            "lab-08": "cast",
        }
        assert "┌─ lab-03 ─" in seat.text()
        assert "NFS: slow disk" in seat.text()
        assert "47 %" in seat.text()


def test_every_status_that_the_service_writes_has_a_word() -> None:
    known = [getattr(cast_status, name) for name in vars(cast_status) if name.isupper() and name not in ("WORDS",)]
    statuses = [status for status in known if isinstance(status, str)]
    begins = [row[0] for row in _STATUS]
    assert sorted(begins) == sorted(set(begins))
    for status in statuses:
        assert any(status.startswith(begin) for begin in begins), status


def test_a_status_that_is_not_known_is_shown_as_it_is() -> None:
    (cell,) = cells(Snapshot(), [CastMember(1, "lab-01", TaskState.RUNNING, status="by carrier pigeon")])
    assert how(cell) == "by carrier pigeon"
    (cell,) = cells(Snapshot(), [CastMember(1, "lab-01", TaskState.RUNNING)])
    assert how(cell) == "not heard yet"


async def test_where_multicast_does_not_arrive_it_is_said_what_to_do(store: Store) -> None:
    fares(store, {"lab-04": DEAF, "lab-05": DEAF}, broadcast=True)
    async with casts(store, size=LARGE) as seat:
        text = " ".join(seat.text().split())
        assert "Multicast does not arrive at 2 PCs" in text
        assert "switch snooping off in this VLAN" in text
        assert "It goes to the broadcast address" in text


async def test_when_all_lose_frames_the_switch_is_named(store: Store) -> None:
    told = [dataclasses.replace(one, loss=0.05) for one in store.casts.members(1)]
    store.casts.record([(store.casts.get(1), told)])
    async with casts(store, size=LARGE) as seat:
        assert "storm control" in seat.text()


async def test_the_line_below_the_room_tells_all_of_the_pc_at_the_cursor(store: Store) -> None:
    fares(store, {"lab-04": SLOW_DISK})
    async with casts(store, "tab", "right", size=LARGE) as seat:
        line = seat.line_with(" lab-04, ")
        assert "47 % written, by NFS: its disk takes less than half of the cast's rate" in line


async def test_a_cast_that_has_ended_tells_why_and_keeps_its_room(store: Store) -> None:
    store.casts.stop(1, now=NOON)
    async with casts(store) as seat:
        assert "■ ended" in seat.text()
        assert "Ended 12:00: stopped by the operator." in seat.text()
        assert [cell.name for cell in screen_of(seat).room.rows] == [f"lab-0{n}" for n in range(3, 9)]
        store.tasks.cancel(member(store, "lab-03").task_id, now=NOON)
        await seat.settle()
        assert how(screen_of(seat).room.rows[0]) == "cancelled"


async def test_without_a_cast_it_says_how_to_make_one(empty: Store) -> None:
    empty.hosts.add("lab-01", ["52:54:00:aa:01:01"])
    async with casts(empty) as seat:
        assert "There was no cast yet." in seat.text()
        assert "lets some join" not in seat.text()  # there is nothing to join
        for key in ("b", "m", "p", "x", "k", "j", "enter", "u"):
            await seat.press(key)
        assert screen_of(seat).is_current


# -- the room


@pytest.mark.parametrize(
    ("count", "width", "height", "size"),
    [(6, 78, 12, BOXES), (20, 78, 10, PAIRS), (200, 78, 12, SINGLES), (200, 198, 44, PAIRS), (40, 198, 44, BOXES)],
)
def test_cells_are_as_large_as_they_all_fit(count: int, width: int, height: int, size: object) -> None:
    found = plan(count, width, height)
    assert found.size is size
    assert found.columns * found.width <= width


@pytest.mark.parametrize("width", range(20, 200, 7))
@pytest.mark.parametrize("longest", [0, 8, 15, 63])
def test_no_cell_is_wider_than_the_terminal(width: int, longest: int) -> None:
    for count in (1, 20, 200):
        found = plan(count, width, 10, longest)
        assert found.columns * found.width <= max(width, SINGLES.most)


async def test_two_hundred_pcs_can_be_looked_through_in_80_columns(store: Store) -> None:
    crowd(store, 194)
    async with casts(store, "tab") as seat:
        room = screen_of(seat).room
        assert len(room.rows) == 200
        assert "room-199" not in seat.text()
        await seat.press("end")
        assert "room-193" in seat.text()
        assert room.row is not None
        assert room.row.name == "room-193"
        await seat.press("home", "pagedown")
        assert room.row.name != "lab-03"
        assert f" {room.row.name}, " in seat.text()
        await seat.press("slash", *"room", "minus", *"150", "enter")
        assert [cell.name for cell in room.rows] == ["room-150"]


async def test_arrows_move_in_both_directions_and_stop_at_the_edges(store: Store) -> None:
    crowd(store, 194)
    async with casts(store, "tab") as seat:
        room = screen_of(seat).room
        columns = room._plan.columns
        await seat.press("up", "left")
        assert room._at == 0
        await seat.press("down", "right")
        assert room._at == columns + 1
        await seat.press("end", "down")
        assert room._at == 199
        await seat.press("up")
        assert room._at == 199 - columns


async def test_from_above_a_gap_in_the_last_row_down_leads_to_the_last_pc(store: Store) -> None:
    async with casts(store, "tab", "right", "right", "right", "down") as seat:
        room = screen_of(seat).room
        assert room._plan.columns == 4
        assert room._at == 5


async def test_the_room_is_sorted_by_name_progress_or_trouble(store: Store) -> None:
    fares(store, {"lab-06": DEAF})
    async with casts(store, "tab", "s", "s", "s") as seat:
        assert screen_of(seat).room.rows[0].name == "lab-06"


async def test_the_room_can_show_only_those_that_need_somebody(store: Store) -> None:
    fares(store, {"lab-06": DEAF})
    store.tasks.cancel(member(store, "lab-08").task_id, now=NOON)
    async with casts(store, "u") as seat:
        assert len(screen_of(seat).room.rows) == 5
        assert "PCs that are not done, 5" in seat.text()
        await seat.press("u")
        assert [cell.name for cell in screen_of(seat).room.rows] == ["lab-06"]
        await seat.press("u")
        assert len(screen_of(seat).room.rows) == 6


async def test_a_room_without_trouble_does_not_say_that_nobody_takes_part(store: Store) -> None:
    async with casts(store, "u", "u") as seat:
        assert screen_of(seat).room.rows == []
        assert "Nothing here matches" in seat.text()


async def test_enter_leads_into_the_room_and_to_the_task_of_a_pc(store: Store) -> None:
    async with casts(store, "enter") as seat:
        assert screen_of(seat).room.has_focus
        await seat.press("enter")
        assert isinstance(seat.app.screen, TaskPage)
        assert "lab-03" in seat.text()


async def test_a_click_chooses_the_cell_under_it(store: Store) -> None:
    async with casts(store, "tab") as seat:
        room = screen_of(seat).room
        await seat.pilot.click(room, offset=(room._plan.width + 2, 1))
        assert room._at == 1


# -- actions on a cast


async def test_the_rate_is_limited(store: Store) -> None:
    async with casts(store, "m", "backspace", *"400", "enter") as seat:
        assert store.casts.get(1).rate_mbit == 400
        assert "limited to 400 Mbit/s" in seat.text()
    assert audit(store)[0] == ("cast limit", "cast 1: 400 Mbit/s")


async def test_a_rate_that_is_none_is_refused_beside_the_field(store: Store) -> None:
    async with casts(store, "m", "x", "enter") as seat:
        assert "Write a whole number of Mbit/s" in seat.text()
        assert store.casts.get(1).rate_mbit == 0


async def test_a_waiting_cast_begins_now(store: Store) -> None:
    cast = store.casts.open(
        store.images.resolve("ubuntu-dev"), 20, 300, groups=IPv4Network("239.192.68.0/24"), now=NOON
    )
    store.casts.record([(dataclasses.replace(cast, waiting=True, present=3), [])])
    async with casts(store) as seat:
        assert "Waits for 20 PCs, 3 are there" in seat.text()
        await seat.press("b")
        assert store.casts.get(cast.id).begun
        assert audit(store)[0] == ("cast begin", f"cast {cast.id}")
        await seat.press("b")
        assert "It waits for nobody." in seat.text()


async def test_stopping_a_cast_wants_its_number(store: Store) -> None:
    async with casts(store, "k") as seat:
        assert "6 PCs are not done. They go on by NFS" in " ".join(seat.text().split())
        await seat.press("2", "enter")
        assert store.casts.get(1).state is CastState.OPEN
        await seat.press("backspace", "1", "enter")
        assert store.casts.get(1).state is CastState.ENDED
        assert "■ ended" in seat.text()
    assert audit(store)[0] == ("cast stop", "cast 1: win11-lab")


@pytest.mark.parametrize("key", ["b", "m", "k", "j", "p", "x"])
async def test_a_cast_that_has_ended_takes_no_orders(store: Store, key: str) -> None:
    store.casts.stop(1)
    async with casts(store, key) as seat:
        assert "Cast 1 has ended." in seat.text()
        assert screen_of(seat).is_current


# -- actions on its PCs


async def test_pcs_are_preferred_and_put_back(store: Store) -> None:
    async with casts(store, "tab", "space", "space", "p") as seat:
        assert [member(store, f"lab-0{n}").preferred for n in (3, 4, 5)] == [True, True, False]
        assert "2 PCs served before all others." in seat.text()
        assert screen_of(seat).room.marked == set()
        assert "first, cast" in seat.text()
        await seat.press("home", "p")
        assert not member(store, "lab-03").preferred
    assert audit(store)[:2] == [("cast prefer", "cast 1: lab-03 no more"), ("cast prefer", "cast 1: lab-04")]


async def test_pcs_are_dropped_and_taken_back(store: Store) -> None:
    async with casts(store, "tab", "right", "x") as seat:
        assert member(store, "lab-04").dropped
        assert "NFS: dropped" in seat.text()
        assert "dropped by you or another operator" in seat.text()
        await seat.press("x")
        assert not member(store, "lab-04").dropped
        assert "1 PC taken back." in seat.text()
    assert audit(store)[:2] == [("cast drop", "cast 1: lab-04 no more"), ("cast drop", "cast 1: lab-04")]


async def test_from_the_list_a_key_for_pcs_leads_into_the_room_first(store: Store) -> None:
    async with casts(store, "x") as seat:
        assert "Choose PCs in the room first." in seat.text()
        assert screen_of(seat).room.has_focus
        assert not any(one.dropped for one in store.casts.members(1))


async def test_a_pc_that_is_done_is_left_alone(store: Store) -> None:
    store.tasks.cancel(member(store, "lab-03").task_id, now=NOON)
    async with casts(store, "tab", "x") as seat:
        assert "None of them is unfinished." in seat.text()


# -- joining


async def test_free_hosts_can_join_and_busy_or_sealed_ones_are_not_offered(store: Store) -> None:
    async with casts(store, "j") as seat:
        screen = seat.app.screen
        assert isinstance(screen, JoinScreen)
        names = [host.name for host in screen.main_list().rows]
        assert "lab-01" in names
        assert {"lab-03", "lab-18", "win11-master"}.isdisjoint(names)


async def test_hosts_join_after_their_number_was_typed(store: Store) -> None:
    async with casts(store, "j", "slash", *"lab", "minus", "0", "enter", "space", "space", "enter") as seat:
        text = " ".join(seat.text().split())
        assert "Everything on the disk of 2 PCs will be overwritten" in text
        assert "lab-01, lab-02" in text
        await seat.press("2", "enter")
        assert screen_of(seat).is_current
        names = [one.host_name for one in store.casts.members(1)]
        assert names[:2] == ["lab-01", "lab-02"]
        assert "2 PCs take part in cast 1." in seat.text()
    assert audit(store)[:2] == [
        ("deploy", "win11-lab@1 to lab-02, cast 1"),
        ("deploy", "win11-lab@1 to lab-01, cast 1"),
    ]


async def test_nobody_joins_without_the_number(store: Store) -> None:
    async with casts(store, "j", "enter", "enter") as seat:
        assert "Nothing was done." in seat.text()
        await seat.press("escape", "escape")
        assert len(store.casts.members(1)) == 6
        assert screen_of(seat).is_current


async def test_a_host_that_got_a_task_meanwhile_is_refused_in_words(store: Store) -> None:
    async with casts(store, "j", "slash", *"lab", "minus", *"01", "enter", "enter") as seat:
        deploy(store, "lab-01", "ubuntu-dev")
        await seat.press("1", "enter")
        assert "lab-01 is busy with task" in seat.text()
        assert len(store.casts.members(1)) == 6


# -- who may


@pytest.mark.parametrize("key", ["j", "b", "m", "p", "x", "k"])
async def test_a_viewer_steers_nothing(store: Store, key: str) -> None:
    async with casts(store, "tab", key, role=Role.VIEWER) as seat:
        assert "may look, but change nothing" in seat.text()
        assert screen_of(seat).is_current
        assert audit(store) == []


async def test_changes_of_the_service_are_seen(store: Store) -> None:
    async with casts(store) as seat:
        fares(store, {"lab-03": cast_status.SILENT}, present=5)
        await seat.look()
        assert how(screen_of(seat).room.rows[0]) == "silent"
        assert "5/6" in seat.text()


def _a_days_casts(store: Store) -> None:
    fares(store, {"lab-04": DEAF, "lab-05": SLOW_DISK, "lab-06": cast_status.SLOW}, present=6, rate_bytes_s=112e6)
    done = member(store, "lab-07").task_id
    store.tasks.move(done, TaskState.VERIFYING, now=NOON - timedelta(minutes=4))
    store.tasks.move(done, TaskState.DONE, now=NOON - timedelta(minutes=3))


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_picture_of_a_cast(store: Store, snap_compare: Any, size: tuple[int, int]) -> None:
    _a_days_casts(store)
    assert snap_compare(make_app(store.path), terminal_size=size, run_before=pressing("5", "tab", "right"))


@pytest.mark.parametrize("size", [SMALL, (200, 60)])
def test_picture_of_a_cast_of_200(store: Store, snap_compare: Any, size: tuple[int, int]) -> None:
    crowd(store, 194)
    fares(store, {f"room-{n:03}": DEAF for n in range(3, 190, 17)})
    assert snap_compare(make_app(store.path), terminal_size=size, run_before=pressing("5", "tab"))
