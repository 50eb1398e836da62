"""Capturing a master: from the first key to the task in the store, its steps, and what is refused in words."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from appliance.events import AfterTask, BootStage, Role, TaskKind, TaskState
from appliance.model import Task
from appliance.store import Store
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing, version_of

MAC = "52:54:00:ee:00:02"


def newest(store: Store) -> Task:
    """The task that was ordered last."""
    return store.tasks.list(limit=1)[0]


def later(seconds: float) -> datetime:
    """So long after the order."""
    return NOON + timedelta(seconds=seconds)


async def order(seat: Seat, *, image: str = "win11-lab", ready: int = 0, pc: int = 0) -> None:
    """Go through all pages: the PC so many rows below the first, prepared in the given way."""
    await seat.press("c", "home", *["down"] * pc, "enter")
    await seat.press(*["down"] * ready, "enter")
    await seat.type(image)
    await seat.press("enter", "enter")
    await seat.press("enter")


async def test_a_sealed_master_is_captured_from_the_first_key_to_the_task(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c")
        assert "▸ 1 Which PC?" in seat.text()
        await seat.press("home", "down", "enter")
        assert "1 Which PC?           dev-01" in seat.text()
        assert "sysprep.exe /generalize /oobe /shutdown" in seat.text()
        await seat.press("enter")
        await seat.type("win11-lab")
        assert "win11-lab (now v1, 44.0 GB) -> v2" in seat.text()
        await seat.press("enter", "enter")
        assert "not a bit of it is changed" in seat.text()
        assert "It is sealed" in seat.text()
        await seat.press("enter")
        task = newest(store)
        assert (task.kind, task.host_name, task.image_name, task.sealed) == (
            TaskKind.CAPTURE, "dev-01", "win11-lab", True,
        )  # fmt: skip
        assert (task.after, task.wake, task.state) == (AfterTask.POWEROFF, False, TaskState.WAITING)
        assert store.hosts.get("dev-01").sealed
        assert "Start it from the network card now, not from its disk." in seat.text()
        assert store.audit.list(1)[0].action == "capture"


async def test_linux_is_not_sealed_and_may_be_woken_and_start_again(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "home", "down", "enter", "down", "enter")
        await seat.type("ubuntu-dev")
        await seat.press("enter", "right", "down", "right", "right", "enter")
        assert "woken; start its disk" in seat.text()
        await seat.press("enter")
        task = newest(store)
        assert (task.sealed, task.wake, task.after) == (False, True, AfterTask.REBOOT)
        assert not store.hosts.get("dev-01").sealed


async def test_every_step_of_the_next_unknown_pc_is_shown_until_it_is_stored(store: Store) -> None:
    async with console(store) as seat:
        await order(seat, image="new-img")
        number = newest(store).id
        assert "(next unknown PC)  capture into new-img  waiting" in seat.text()
        for second, stage in ((3, BootStage.DHCP), (5, BootStage.LOADER), (9, BootStage.KERNEL)):
            store.hosts.seen(MAC, stage, ip="10.20.7.9", now=later(second))
        await seat.look()
        assert "● kernel               12:00:09" in seat.text()
        assert "▸ agent" in seat.text()
        store.tasks.adopt([MAC], now=later(10))
        store.tasks.checked_in(number, "10.20.7.9", MAC, now=later(21))
        store.tasks.progress(number, "reading windows", 12_300_000_000, 44_000_000_000, 240e6, now=later(60))
        await seat.look()
        assert "new-img-master  capture into new-img  running" in seat.text()
        assert "● agent                12:00:21" in seat.text()
        assert " 27 %  12.3 GB of 44.0 GB  240 MB/s  2:12 left" in seat.text()
        store.tasks.move(number, TaskState.VERIFYING, now=later(200))
        await seat.settle()
        assert "● reads its disk" in seat.text()
        store.images.commit(number, version_of("new-img", "d"), now=later(210))
        await seat.settle()
        assert "● verify               12:03:20" in seat.text()
        assert "● done                 12:03:30" in seat.text()
        assert "3 Into which image?   new-img, a new image -> v1" in seat.text()
        assert "Stored as new-img@1: 44.0 GB read, 22.0 GB compressed, 11.0 GB of it new." in seat.text()
        await seat.press("enter")
        assert "1 Which image?     new-img@1" in seat.text()
        assert "▸ 2 Onto which PCs?" in seat.text()


async def test_a_name_that_cannot_be_is_refused_in_words(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "home", "enter", "enter", "enter")
        assert "The image needs a name." in seat.text()
        await seat.type("my image")
        assert "'my image' cannot name an image." in seat.text()
        await seat.press("enter")
        assert "▸ 3 Into which image?" in seat.text()
        assert newest(store).kind is TaskKind.DEPLOY


async def test_arrows_choose_an_image_that_is_there(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "home", "enter", "enter", "down")
        assert "ubuntu-dev (now v2" in seat.text()
        await seat.press("down")
        assert "win11-lab (now v1" in seat.text()


async def test_a_busy_pc_is_refused_in_words(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "slash")
        await seat.type("lab-03")
        await seat.press("enter", "end", "enter")
        assert "lab-03 is busy: deploy win11-lab, running." in seat.text()
        assert "▸ 1 Which PC?" in seat.text()


async def test_only_one_capture_waits_for_the_next_unknown_pc(store: Store) -> None:
    waiting = store.tasks.capture(None, "other", now=NOON)
    async with console(store) as seat:
        await seat.press("c", "home", "down", "enter")
        assert f"Task {waiting.id} waits for the next unknown PC already." in seat.text()


async def test_a_capture_that_was_left_midway_is_taken_up_where_it_was(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "home", "down", "enter", "enter")
        await seat.type("half")
        await seat.press("ctrl+q")
        assert "c takes it up again" in seat.text()
        await seat.press("c")
        assert "▸ 3 Into which image?" in seat.text()
        assert "half, a new image -> v1" in seat.text()
        assert "1 Which PC?           dev-01" in seat.text()


async def test_escape_goes_back_a_question_and_then_away(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "home", "enter")
        assert "▸ 2 Is it ready?" in seat.text()
        await seat.press("escape")
        assert "▸ 1 Which PC?" in seat.text()
        await seat.press("escape")
        assert "1 Overview" in seat.lines()[0]


@pytest.mark.parametrize("keys", [("c", "home", "enter"), ("4", "home", "y"), ("1", "enter")], ids=" ".join)
async def test_a_running_capture_is_shown_again_from_everywhere(store: Store, keys: tuple[str, ...]) -> None:
    for host in store.hosts.list():  # nothing else may stand on top
        task = store.tasks.for_host(host.id)
        if task is not None:
            store.tasks.cancel(task.id)
    async with console(store) as seat:
        await order(seat, image="again", ready=1)
        await seat.press("escape")
        assert "Capture a master" not in seat.text()
        for key in keys:
            await seat.press(key)
            if key == "1":
                board: Any = seat.app.screen.query_one("#board")
                board.target = next(t for t in board._targets() if t[0] == "job")
        assert "(next unknown PC)  capture into again" in seat.text()
        assert "2 Is it ready?" in seat.text()
        assert "3 Into which image?   again" in seat.text()


async def test_a_capture_is_cancelled_and_done_once_more(store: Store) -> None:
    async with console(store) as seat:
        await order(seat, image="again", ready=1)
        first = newest(store)
        await seat.press("k", "enter")
        assert store.tasks.get(first.id).state is TaskState.CANCELLED
        assert "r Again" in seat.text()
        await seat.press("r")
        assert newest(store).id > first.id
        assert newest(store).image_name == "again"
        assert "waiting" in seat.text()


async def test_a_failed_capture_says_why_and_what_to_do(store: Store) -> None:
    async with console(store) as seat:
        await order(seat, image="again", pc=1, ready=1)
        task = newest(store)
        store.tasks.move(task.id, TaskState.FAILED, error="The disk cannot be read.", remedy="Replace it.", now=NOON)
        await seat.settle()
        assert "▲ asked for address" in seat.text()
        assert "The disk cannot be read." in seat.text()
        assert "Replace it." in seat.text()
        await seat.press("l")
        assert "The PC's log" in seat.text()


@pytest.mark.parametrize("role", [Role.VIEWER])
async def test_who_only_looks_cannot_capture(store: Store, role: Role) -> None:
    before = len(store.tasks.list())
    async with console(store, role=role) as seat:
        await seat.press("c")
        assert "may look, but change nothing" in seat.text()
        seat.app.open_job("capture")
        await seat.settle()
        assert "1 Overview" in seat.lines()[0]
    assert len(store.tasks.list()) == before


async def test_a_change_of_language_keeps_what_was_typed(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("c", "home", "enter", "enter")
        await seat.type("half")
        await seat.press("ctrl+l")
        assert "half" in seat.text()
        assert "Capturer un maître" in seat.text()


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "en")])
def test_picture_of_the_check_list(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("c", "home", "down", "enter"))


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "en")])
def test_picture_of_a_capture(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    task = store.tasks.capture(store.hosts.get("win11-master"), "win11-lab", now=NOON - timedelta(minutes=2))
    mac = store.hosts.get("win11-master").macs[0]
    for second, stage in ((10, BootStage.DHCP), (13, BootStage.LOADER), (17, BootStage.KERNEL)):
        store.hosts.seen(mac, stage, ip="10.20.5.99", now=NOON - timedelta(minutes=2) + timedelta(seconds=second))
    store.tasks.checked_in(task.id, "10.20.5.99", mac, now=NOON - timedelta(seconds=90))
    store.tasks.progress(task.id, "reading windows", 12_300_000_000, 44_000_000_000, 240e6, now=NOON)
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("c", "home", "enter"))
