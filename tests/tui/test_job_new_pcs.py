"""Deploying to new PCs: the order, who comes, the confirmation once for all, and giving up."""

from __future__ import annotations

from datetime import timedelta

import pytest

from appliance.events import AfterTask, BootStage, Role, TaskState
from appliance.model import NewPcOrder, Task
from appliance.store import Store
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing

MACS = ("52:54:00:ee:01:01", "52:54:00:ee:01:02", "52:54:00:ee:01:03")


def arrive(store: Store, *macs: str) -> list[Task]:
    """Unknown PCs boot and say what they are."""
    tasks = []
    for mac in macs:
        store.hosts.seen(mac, BootStage.DHCP, ip="10.20.7.9", now=NOON)
        adopted = store.tasks.adopt([mac], now=NOON)
        assert adopted is not None
        host, task = adopted
        store.hosts.save_inventory(host.id, {"vendor": "Dell Inc.", "model": "OptiPlex 7010"}, now=NOON)
        tasks.append(task)
    return tasks


async def order(seat: Seat, *, pattern: str = "LAB1-{nn}") -> None:
    """Order for three PCs in room Library, each by itself."""
    await seat.press("n", "end", "enter", *["backspace"] * 12)
    await seat.type(pattern)
    await seat.press("down", "left", "enter", "backspace", "backspace")
    await seat.type("3")
    await seat.press("down", "down", "right", "enter")
    assert "▸ 4 All right?" in seat.text()
    await seat.press("enter")


def only_order(store: Store) -> NewPcOrder:
    """The order."""
    (found,) = store.tasks.orders(open_only=False)
    return found


async def test_an_order_holds_room_pattern_number_and_minutes(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("n", "end", "enter", *["backspace"] * 12)
        await seat.type("LAB1-{nn}")
        assert "The next names: LAB1-01, LAB1-02, LAB1-03, LAB1-04 ..." in seat.text()
        await seat.press("escape", "escape")
        await order(seat)
        found = only_order(store)
        assert (found.pattern, found.room, found.wanted, found.hold) == ("LAB1-{nn}", "Library", 3, True)
        assert (found.until, found.cast_id, found.after) == (NOON + timedelta(minutes=30), None, AfterTask.REBOOT)
        assert found.image_name == "win11-lab"
        assert "None has come yet. Start the PCs from their network cards." in seat.text()
        assert "30:00 left" in seat.text()


async def test_pcs_are_shown_as_they_come_and_confirmed_once_for_all(store: Store) -> None:
    async with console(store, size=LARGE) as seat:
        await order(seat)
        first = arrive(store, MACS[0])
        await seat.settle()
        assert "1 PC waits for your confirmation: Enter." in seat.text()
        assert "Dell Inc. OptiPlex 7010" in seat.line_with("LAB1-01")
        assert MACS[0] in seat.line_with("LAB1-01")
        second = arrive(store, MACS[1])
        await seat.settle()
        assert "LAB1-02" in seat.text()
        await seat.press("enter")
        assert "Everything on the disks of these PCs is lost, overwritten by" in seat.text()
        await seat.press("3", "enter")
        assert "That is not 2. Nothing was done." in seat.text()
        assert all(store.tasks.get(task.id).is_held for task in first + second)
        await seat.press("backspace", "2", "enter")
        states = [store.tasks.get(task.id) for task in first + second]
        assert [(task.state, task.is_held) for task in states] == [(TaskState.WAITING, False)] * 2
        assert store.hosts.get("LAB1-01").room == "Library"
        assert store.audit.list(1)[0].action == "order release"
        assert "2 PCs  ░ 2 waiting" in seat.text()


async def test_who_came_after_the_count_is_not_confirmed_with_the_others(store: Store) -> None:
    async with console(store) as seat:
        await order(seat)
        arrive(store, MACS[0])
        await seat.settle()
        await seat.press("enter")
        arrive(store, MACS[1])
        await seat.press("1", "enter")
        assert "2 PCs are held now, not those that were shown." in seat.text()
        assert len(store.tasks.held(only_order(store).id)) == 2


async def test_giving_up_takes_no_more_and_writes_nobody(store: Store) -> None:
    async with console(store) as seat:
        await order(seat)
        (task,) = arrive(store, MACS[0])
        await seat.settle()
        await seat.press("x")
        assert "they stay known under their names:" in seat.text()
        await seat.press("enter")
        assert store.tasks.get(task.id).state is TaskState.CANCELLED
        assert store.tasks.orders(now=NOON) == []
        assert store.hosts.get("LAB1-01").macs == (MACS[0],)
        assert "x Give up" not in seat.text()


async def test_giving_up_works_for_a_closed_order_that_still_holds_pcs(store: Store) -> None:
    async with console(store) as seat:
        await order(seat)
        tasks = arrive(store, *MACS)
        await seat.settle()
        assert "all its PCs came" in seat.text()
        await seat.press("x", "enter")
        assert {store.tasks.get(task.id).state for task in tasks} == {TaskState.CANCELLED}


async def test_unknown_pcs_on_their_way_are_named(store: Store) -> None:
    async with console(store) as seat:
        await order(seat)
        store.hosts.seen(MACS[2], BootStage.LOADER, ip="10.20.7.9", now=NOON)
        await seat.settle()
        assert f"On the way: {MACS[2]} loader" in seat.text()


@pytest.mark.parametrize(
    ("pattern", "said"),
    [("LAB1", "needs exactly one number such as {nn}"), ("LAB 1-{nn}", "cannot name a host"), ("", "needs exactly")],
)
async def test_a_pattern_that_makes_no_names_is_refused_in_words(store: Store, pattern: str, said: str) -> None:
    async with console(store) as seat:
        await seat.press("n", "end", "enter", *["backspace"] * 12)
        await seat.type(pattern)
        await seat.press("enter")
        assert said in seat.text()
        assert "▸ 2 Which names, which room?" in seat.text()


async def test_numbers_are_checked_in_words(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("n", "end", "enter", "enter", "backspace", "backspace", "enter")
        assert "Write a number from 1 to 10,000." in seat.text()


async def test_a_cast_is_opened_for_them(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("n", "home", "enter", "enter", "enter", "enter")
        found = only_order(store)
        assert found.cast_id is not None
        assert store.casts.get(found.cast_id).image_name == "ubuntu-dev"


async def test_an_order_is_left_and_taken_up_again(store: Store) -> None:
    async with console(store) as seat:
        await order(seat)
        arrive(store, MACS[0])
        await seat.press("escape", "n")
        assert "1 of 3 came, 1 to confirm" in seat.text()
        await seat.press("home", "enter")
        assert "LAB1-01" in seat.text()
        await seat.press("escape", "4", "home")
        screen = seat.app.base_screen
        assert screen is not None
        screen.go_to("task", store.tasks.held(only_order(store).id)[0].id)
        await seat.press("y")
        assert "Who has come?" in seat.text()


async def test_who_only_looks_may_watch_but_neither_confirm_nor_give_up(store: Store) -> None:
    version = store.images.resolve("win11-lab")
    made = store.tasks.order_new_pcs(version, 3, "LAB1-{nn}", hold=True, now=NOON)
    (task,) = arrive(store, MACS[0])
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("n")
        assert "may look, but change nothing" in seat.text()
        seat.app.open_job("new_pcs", made.id)
        await seat.settle()
        assert "LAB1-01" in seat.text()
        await seat.press("enter")
        assert store.tasks.get(task.id).is_held
        await seat.press("x")
        assert "may look, but change nothing" in seat.text()
    assert store.tasks.get(task.id).is_held


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "en")])
def test_picture_of_new_pcs(store: Store, snap_compare: object, size: tuple[int, int], language: str) -> None:
    version = store.images.resolve("win11-lab")
    store.tasks.order_new_pcs(
        version, 20, "LAB1-{nn}", hold=True, room="Library", until=NOON + timedelta(minutes=22), now=NOON
    )
    arrive(store, *MACS)
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("n", "home", "enter"))  # type: ignore[operator]
