"""Deploying to a room: from the first key to the tasks and the cast, what is lost, and how it goes."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.events import AfterTask, CastState, Role, TaskState
from appliance.model import Task
from appliance.store import Store
from appliance.tui.jobs.choose import selected_hosts
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, fail, make_app, pressing

IMAGE = "ubuntu-dev@2"


@pytest.fixture(autouse=True)
def manifest(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Our own command line says that the image needs 64 GB; gives what it was asked."""
    asked: list[tuple[str, ...]] = []

    async def ask(_console: object, *arguments: str) -> dict[str, int]:
        asked.append(arguments)
        return {"minimum_disk_bytes": 64_000_000_000}

    monkeypatch.setattr("appliance.tui.child.ask", ask)
    return asked


def given(store: Store, image: str = "ubuntu-dev") -> list[Task]:
    """The tasks that were ordered at `NOON`, oldest first."""
    return sorted((t for t in store.tasks.list() if t.created == NOON and t.image_name == image), key=lambda t: t.id)


async def to_the_end(seat: Seat, *hosts: str) -> None:
    """Up to the page that says what is lost, for these hosts."""
    version = seat.app.model.store.images.resolve(IMAGE)
    seat.app.open_job("deploy", hosts, version.id)
    await seat.settle()
    await seat.press("enter", "enter", "enter")
    assert "▸ 5 What is lost?" in seat.text()


async def deploy_to(seat: Seat, *hosts: str) -> None:
    """Order a deploy to these hosts."""
    await to_the_end(seat, *hosts)
    await seat.type(str(len(hosts)))
    await seat.press("enter")


async def test_a_room_is_deployed_by_cast_from_the_first_key_to_the_tasks(
    store: Store, manifest: list[tuple[str, ...]]
) -> None:
    async with console(store) as seat:
        await seat.press("d", "enter", "g")
        await seat.type("b204")
        await seat.press("enter")
        assert "16 PCs marked." in seat.text()
        await seat.press("enter")
        assert "2 Onto which PCs?  16 PCs: room B204" in seat.text()
        assert "by cast: once for all" in seat.text()
        await seat.press("enter", "enter")
        assert "Everything on the disks of 10 PCs is lost, overwritten by ubuntu-dev@2." in seat.text()
        assert "6 PCs take no part, see the remarks. Type 10 below to go ahead." in seat.text()
        assert manifest == [("image", "show", IMAGE, "--json")]
        assert given(store) == []
        await seat.type("10")
        await seat.press("enter")
        tasks = given(store)
        assert [task.host_name for task in tasks] == ["lab-01", "lab-02", *(f"lab-{n:02}" for n in range(9, 17))]
        (number,) = {task.cast_id for task in tasks}
        assert number is not None
        cast = store.casts.get(number)
        assert (cast.state, cast.image_name, cast.wait_for) == (CastState.OPEN, "ubuntu-dev", 0)
        assert {task.after for task in tasks} == {AfterTask.REBOOT}
        assert "10 PCs  ░ 10 waiting" in seat.text()
        actions = [event.action for event in store.audit.list(12)]
        assert actions.count("deploy") == 10
        assert "cast" in actions


async def test_one_pc_goes_by_itself_at_a_time_and_is_woken(store: Store) -> None:
    async with console(store) as seat:
        seat.app.open_job("deploy", ("lab-09",), store.images.resolve(IMAGE).id)
        await seat.settle()
        await seat.press("enter")
        assert "each PC by itself" in seat.text()
        await seat.press("enter", "down")
        await seat.type("22:30")
        assert "at a time" in seat.text()
        await seat.press("down", "right", "down", "right", "enter")
        assert "22:30, woken, switch off" in seat.text()
        await seat.type("1")
        await seat.press("enter")
        (task,) = given(store)
        assert task.start_at == NOON.replace(hour=22, minute=30)
        assert (task.cast_id, task.wake, task.after, task.state) == (
            None, True, AfterTask.POWEROFF, TaskState.SCHEDULED,
        )  # fmt: skip
        assert "They begin 22:30." in seat.text()


async def test_a_cast_that_waits_is_a_new_one(store: Store) -> None:
    earlier = store.casts.open_for(store.images.resolve("win11-lab").id)
    assert earlier is not None
    async with console(store) as seat:
        seat.app.open_job("deploy", ("lab-09", "lab-10"), store.images.resolve("win11-lab").id)
        await seat.settle()
        await seat.press("enter")
        assert f"Cast {earlier.id} sends this image already: the PCs join it." in seat.text()
        await seat.press("down", "backspace")
        await seat.type("2")
        await seat.press("enter", "enter")
        assert "by cast, waits for 2 PCs" in seat.text()
        await seat.type("2")
        await seat.press("enter")
        (number,) = {task.cast_id for task in given(store, "win11-lab")}
        assert number not in (None, earlier.id)
        cast = store.casts.get(number or 0)
        assert (cast.wait_for, cast.wait_seconds) == (2, 300)


async def test_pcs_join_the_cast_that_sends_their_image(store: Store) -> None:
    earlier = store.casts.open_for(store.images.resolve("win11-lab").id)
    assert earlier is not None
    async with console(store) as seat:
        seat.app.open_job("deploy", ("lab-09", "lab-10"), store.images.resolve("win11-lab").id)
        await seat.settle()
        await seat.press("enter", "enter", "enter")
        await seat.type("2")
        await seat.press("enter")
    assert {task.cast_id for task in given(store, "win11-lab")} == {earlier.id}


@pytest.mark.parametrize("wrong", ["", "3", "02", "yes"])
async def test_a_wrong_number_does_nothing(store: Store, wrong: str) -> None:
    async with console(store) as seat:
        await to_the_end(seat, "lab-09", "lab-10")
        await seat.type(wrong)
        await seat.press("enter")
        assert "That is not 2. Nothing was done." in seat.text()
    assert given(store) == []


async def test_who_cannot_take_part_is_named_with_the_reason(store: Store) -> None:
    store.hosts.add("fresh", ["52:54:00:aa:09:01"], now=NOON)
    small = store.hosts.get("lab-09")
    store.hosts.save_inventory(small.id, {"disks": [{"path": "/dev/sda", "size_bytes": 32_000_000_000}]}, now=NOON)
    large = store.hosts.get("lab-10")
    store.hosts.save_inventory(large.id, {"disks": [{"path": "/dev/vda", "size_bytes": 128_000_000_000}]}, now=NOON)
    async with console(store, size=LARGE) as seat:
        await to_the_end(seat, "fresh", "lab-03", "lab-09", "lab-10", "win11-master")
        assert "Everything on the disks of 3 PCs is lost" in seat.text()
        assert "never seen" in seat.line_with("fresh  ")
        assert "busy: deploy win11-lab, running" in seat.line_with("lab-03  ")
        assert "disk too small: 32.0 GB, needs 64.0 GB" in seat.line_with("lab-09  ")
        assert "/dev/vda 128 GB" in seat.line_with("lab-10")
        assert "sealed, not captured yet" in seat.line_with("win11-master")
        await seat.type("3")
        await seat.press("enter")
    assert [task.host_name for task in given(store)] == ["fresh", "lab-09", "lab-10"]


async def test_nobody_is_deployed_where_nobody_can_be(store: Store) -> None:
    async with console(store) as seat:
        await to_the_end(seat, "win11-master")
        assert "None of these PCs can be deployed; the remarks say why." in seat.text()
        await seat.type("0")
        await seat.press("enter")
        assert "▸ 5 What is lost?" in seat.text()
    assert given(store) == []


async def test_a_pc_that_became_busy_meanwhile_does_not_stop_the_others(store: Store) -> None:
    async with console(store) as seat:
        await to_the_end(seat, "lab-09", "lab-10")
        await seat.pilot.press("2")
        store.tasks.capture(store.hosts.get("lab-10"), "other", now=NOON)
        await seat.press("enter")
        assert [task.host_name for task in given(store)] == ["lab-09"]
        assert "lab-10: lab-10 is busy with task" in seat.text()


@pytest.mark.parametrize(
    ("typed", "said"), [("25:00", "'25:00' is no time."), ("2026-11-22 08:00", "2026-11-22 08:00 is over.")]
)
async def test_a_time_that_cannot_be_is_refused_in_words(store: Store, typed: str, said: str) -> None:
    async with console(store) as seat:
        seat.app.open_job("deploy", ("lab-09",), store.images.resolve(IMAGE).id)
        await seat.settle()
        await seat.press("enter", "enter", "down")
        await seat.type(typed)
        await seat.press("enter")
        assert said in seat.text()
        assert "▸ 4 When, and then?" in seat.text()


@pytest.mark.parametrize("wrong", ["3", "many"])
async def test_a_cast_cannot_wait_for_more_pcs_than_there_are(store: Store, wrong: str) -> None:
    async with console(store) as seat:
        seat.app.open_job("deploy", ("lab-09", "lab-10"), store.images.resolve(IMAGE).id)
        await seat.settle()
        await seat.press("enter", "down", "backspace")
        await seat.type(wrong)
        await seat.press("enter")
        assert "Write a number from 0 to 2." in seat.text()


async def test_marked_hosts_are_chosen_already(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("2", "home", "down", "space", "space")
        marked = [host.name for host in selected_hosts(seat.app.base_screen)]
        assert len(marked) == 2
        await seat.press("d", "enter")
        assert "2 PCs marked." in seat.text()
        await seat.press("enter")
        assert f"2 PCs: {', '.join(marked)}" in seat.text()


async def test_a_deploy_that_was_left_midway_is_taken_up_where_it_was(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("d", "enter", "down", "space", "enter", "ctrl+q")
        assert "d takes it up again" in seat.text()
        await seat.press("d")
        assert "▸ 3 All at once?" in seat.text()
        assert "1 Which image?     ubuntu-dev@2" in seat.text()


async def test_progress_shows_counts_bars_and_reasons_failed_ones_on_top(store: Store) -> None:
    async with console(store, size=(100, 30)) as seat:
        await deploy_to(seat, "lab-09", "lab-10", "lab-11", "lab-12")
        nine, ten, eleven, _twelve = given(store)
        for task in (nine, ten):
            store.tasks.checked_in(task.id, "10.20.5.9", store.hosts.get(task.host_name).macs[0], now=NOON)
        store.tasks.progress(nine.id, "writing windows", 22_000_000_000, 44_000_000_000, 110e6, now=NOON)
        store.tasks.move(ten.id, TaskState.VERIFYING, now=NOON)
        store.tasks.move(ten.id, TaskState.DONE, now=NOON)
        fail(store, eleven, at=NOON)
        await seat.settle()
        assert "4 PCs  ● 1 done   ▸ 1 running   ░ 1 waiting   ▲ 1 failed" in seat.text()
        await seat.press("home")
        assert "lab-11: The disk /dev/sda of 119 GB is too small: win11-lab@1 needs 128 GB. U" in seat.text()
        rows = seat.lines()[13:18]
        assert rows[0].split()[:3] == ["lab-11", "▲", "failed"]
        assert "lab-09" in rows[1]
        assert " 50 %" in rows[1]
        await seat.press("end")
        assert "1 PC not seen yet" in seat.text()


async def test_progress_is_left_and_shown_again_by_d_and_from_tasks(store: Store) -> None:
    async with console(store) as seat:
        await deploy_to(seat, "lab-09", "lab-10")
        await seat.press("escape", "d")
        assert "▸ ubuntu-dev@2" in seat.text()
        assert "0 of 2 PCs done" in seat.text()
        await seat.press("home", "enter")
        assert "2 PCs  ░ 2 waiting" in seat.text()
        assert "1 Which image?     ubuntu-dev@2" in seat.text()
        assert "2 Onto which PCs?  2 PCs" in seat.text()
        await seat.press("escape", "4")
        screen: Any = seat.app.base_screen
        screen.go_to("task", given(store)[0].id)
        await seat.press("y")
        assert "2 PCs  ░ 2 waiting" in seat.text()


async def test_a_deploy_is_cancelled_by_its_number_and_failed_ones_are_done_again(store: Store) -> None:
    async with console(store) as seat:
        await deploy_to(seat, "lab-09", "lab-10")
        await seat.press("k", "2", "enter")
        first = given(store)
        assert [task.state for task in first] == [TaskState.CANCELLED] * 2
        await seat.press("r", "2", "enter")
        again = [task for task in store.tasks.list(active_only=True) if task.host_name in ("lab-09", "lab-10")]
        assert sorted(task.host_name for task in again) == ["lab-09", "lab-10"]
        assert "2 PCs  ░ 2 waiting" in seat.text()


async def test_who_only_looks_cannot_deploy_but_may_watch(store: Store) -> None:
    before = len(store.tasks.list())
    async with console(store, role=Role.VIEWER) as seat:
        await seat.press("d")
        assert "may look, but change nothing" in seat.text()
        await seat.press("4", "home", "y")
        assert "How it goes" in seat.text()
        await seat.press("k")
        assert "may look, but change nothing" in seat.text()
    assert len(store.tasks.list()) == before


async def test_without_an_image_it_says_what_to_do_first(empty: Store) -> None:
    empty.hosts.add("lab-01", ["52:54:00:aa:01:01"], now=NOON)
    async with console(empty) as seat:
        await seat.press("d", "enter")
        assert "There is no image yet: capture a master first, with c." in seat.text()
        assert "▸ 1 Which image?" in seat.text()


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "en")])
def test_picture_of_what_is_lost(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    keys = ("d", "enter", "g", "b", "enter", "enter", "enter", "enter")
    assert snap_compare(app, terminal_size=size, run_before=pressing(*keys))


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "en")])
def test_picture_of_a_deploy(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=pressing("d", "home", "down", "enter"))
