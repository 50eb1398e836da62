"""Tasks: the list, what is below it, and what can be done to tasks."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from appliance.events import TaskKind, TaskState
from appliance.store import Store
from appliance.tui.screens.tasks import TaskPage
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing


def task_of(store: Store, host_name: str) -> int:
    """The newest task of a host."""
    return next(task.id for task in store.tasks.list() if task.host_name == host_name)


async def at(seat: Seat, host_name: str) -> None:
    """Open the screen and put the cursor on a host's newest task."""
    await seat.press("4")
    seat.app.base_screen.go_to("task", task_of(seat.store, host_name))  # type: ignore[union-attr]
    await seat.settle()


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_picture_of_the_tasks(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("4"))


def test_picture_of_a_failed_task(store: Store, snap_compare: Any) -> None:
    store.tasks.add_log(task_of(store, "lab-17"), ["disk /dev/sda 119 GB", "refused: too small"])
    app = make_app(store.path)
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing("4", "u", "u", "enter"))


async def test_tasks_at_work_stand_on_top_and_a_failure_says_why_and_what_to_do(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("4")
        assert "running" in seat.lines()[3]
        await at(seat, "lab-17")
        assert "is too small: win11-lab@1 needs 128 GB." in seat.text()
        assert "Use a larger disk" in seat.text()


async def test_cancelling_a_task_at_work_wants_the_number_typed(store: Store) -> None:
    async with console(store) as seat:
        await at(seat, "lab-18")
        await seat.press("k", "enter")
        assert store.tasks.get(task_of(store, "lab-18")).state is TaskState.RUNNING
        await seat.press("1", "enter")
        assert store.tasks.get(task_of(store, "lab-18")).state is TaskState.CANCELLED
        assert "Cancelled 1 task." in seat.text()
        assert store.audit.list()[0].action == "task cancel"


async def test_marked_tasks_are_cancelled_together(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("4", "space", "space", "space", "k", "3", "enter")
        states = [store.tasks.get(task_of(store, f"lab-0{number}")).state for number in (3, 4, 5, 6)]
        assert states == [TaskState.CANCELLED] * 3 + [TaskState.RUNNING]
        assert len([event for event in store.audit.list() if event.action == "task cancel"]) == 3


async def test_a_failed_task_is_done_once_more(store: Store) -> None:
    async with console(store) as seat:
        await at(seat, "lab-17")
        old = task_of(store, "lab-17")
        await seat.press("r", "enter")
        assert "overwrites the whole disk" in seat.text()
        assert task_of(store, "lab-17") == old
        await seat.press("1", "enter")
        new = store.tasks.get(task_of(store, "lab-17"))
        assert new.id > old
        assert new.state is TaskState.WAITING


async def test_what_cannot_be_done_again_is_said_and_the_others_are_done(store: Store) -> None:
    host = store.hosts.get("lab-17")
    store.hosts.edit("lab-17", sealed=True)
    async with console(store) as seat:
        await at(seat, "lab-17")
        await seat.press("r", "1", "enter")
        assert "sealed" in seat.lines()[-2]
        assert store.tasks.for_host(host.id) is None


async def test_a_capture_that_is_done_again_erases_nothing_and_wants_only_enter(store: Store) -> None:
    async with console(store) as seat:
        await at(seat, "win11-master")
        await seat.press("r")
        assert "overwrites" not in seat.text()
        await seat.press("enter")
        assert store.tasks.get(task_of(store, "win11-master")).kind is TaskKind.CAPTURE


async def test_a_scheduled_task_is_started_before_its_time(store: Store) -> None:
    host, image = store.hosts.get("lab-20"), store.images.resolve("ubuntu-dev")
    store.tasks.deploy(host, image, start_at=NOON + timedelta(hours=8), now=NOON)
    async with console(store) as seat:
        await at(seat, "lab-20")
        assert "starts 20:00" in seat.text()
        await seat.press("t")
        assert store.tasks.get(task_of(store, "lab-20")).state is TaskState.WAITING
        assert "Started 1 task." in seat.text()


async def test_keys_that_do_not_fit_a_task_say_so(store: Store) -> None:
    async with console(store) as seat:
        await at(seat, "lab-17")
        await seat.press("k")
        assert "None of them is unfinished." in seat.text()
        await seat.press("t")
        assert "None of them waits for its time." in seat.text()
        await at(seat, "lab-18")
        await seat.press("r")
        assert "None of them has ended." in seat.text()


async def test_a_page_that_is_closed_before_it_was_read_stays_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, read = threading.Event(), TaskPage._read

    def slow(page: TaskPage, opened: Store) -> Any:
        release.wait(20)
        return read(page, opened)

    monkeypatch.setattr(TaskPage, "_read", slow)
    async with console(store) as seat:
        await seat.press("4")
        for key in ("enter", "escape"):
            await seat.pilot.press(key)
            await seat.app.typed.done()
        release.set()
        await seat.settle()
        assert seat.app.screen is seat.app.base_screen


async def test_the_list_shows_all_unfinished_or_failed_tasks(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("4", "u")
        assert not seat.line_with("● done")
        await seat.press("u")
        assert seat.line_with("▲ failed")
        assert not seat.line_with("▸ running")
        await seat.press("u")
        assert seat.line_with("● done")


async def test_find_filters_the_list_and_escape_shows_all_again(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("4", "slash", *"ubuntu", "enter")
        shown = seat.app.base_screen.main_list()  # type: ignore[union-attr]
        assert shown is not None
        assert {task.image_name for task in shown.rows} == {"ubuntu-dev"}
        await seat.press("escape")
        assert {task.image_name for task in shown.rows} == {"ubuntu-dev", "win11-lab"}


async def test_a_task_shows_its_steps_and_its_pcs_log_as_they_come(store: Store) -> None:
    number = task_of(store, "lab-18")
    store.tasks.add_log(number, ["first words"])
    async with console(store, size=LARGE) as seat:
        await at(seat, "lab-18")
        await seat.press("enter")
        assert "agent at" in seat.text()
        assert "first words" in seat.text()
        store.tasks.add_log(number, ["second words"])
        store.tasks.progress(number, "writing windows", 30_000_000_000, 44_000_000_000, 1e8)
        await seat.settle()
        assert "second words" in seat.text()
        await seat.press("escape")
        assert seat.app.screen is seat.app.base_screen


async def test_l_leads_to_the_log_of_a_long_task(store: Store) -> None:
    number = task_of(store, "lab-18")
    store.tasks.add_log(number, [f"line {index}" for index in range(100)])
    async with console(store) as seat:
        await at(seat, "lab-18")
        await seat.press("l")
        assert "line 3" in seat.text()
        await seat.press("f")
        assert "line 99" in seat.text()
