"""The life line of a PC, and the rows of the list: pure functions."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

from appliance.events import BootStage, TaskKind, TaskState
from appliance.model import Sighting, Task, TaskEvent
from appliance.store import Store
from appliance.tui.screens.host_life import NOW, REACHED, TO_COME, WRONG, life, lines
from appliance.tui.screens.hosts_rows import FAILED, HostLines, View
from appliance.tui.widgets.lines import width_of
from tests.tui.kit import NOON
from tests.tui.test_overview import seen

TASK = Task(1, TaskKind.DEPLOY, TaskState.WAITING, "win11", host_id=1, created=NOON)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def boot(*steps: tuple[BootStage, float]) -> Sighting:
    times = tuple((stage, at(seconds)) for stage, seconds in steps)
    return Sighting("52:54:00:aa:01:01", steps[-1][0], times[-1][1], steps=times)


def told(sighting: Sighting | None, task: Task | None, *events: TaskEvent) -> list[tuple[str, str]]:
    return [(step.text, step.role) for step in life(sighting, task, events)]


def test_a_pc_on_its_way_shows_what_it_reached_where_it_is_and_what_is_to_come() -> None:
    booting = boot((BootStage.DHCP, 1), (BootStage.LOADER, 2), (BootStage.SCRIPT, 3))
    assert told(booting, TASK) == [
        ("DHCP", REACHED),
        ("loader", REACHED),
        ("script", NOW),
        ("kernel", TO_COME),
        ("agent", TO_COME),
        ("deploy", TO_COME),
        ("verify", TO_COME),
        ("done", TO_COME),
    ]


def test_a_boot_from_before_the_task_is_not_the_tasks() -> None:
    earlier = boot((BootStage.DHCP, -60), (BootStage.LOCAL, -50))
    assert {role for _text, role in told(earlier, TASK)} == {TO_COME}


def test_a_running_task_shows_its_share_and_the_agents_time() -> None:
    running = dataclasses.replace(TASK, state=TaskState.RUNNING, started=at(9), done_bytes=71, total_bytes=100)
    steps = life(None, running)
    assert [(step.text, step.at, step.role) for step in steps[:2]] == [("agent", at(9), REACHED), ("71 %", None, NOW)]


def test_a_task_that_is_done_ends_with_its_time_until_the_pc_boots_again() -> None:
    done = dataclasses.replace(TASK, state=TaskState.DONE, started=at(9), finished=at(90))
    booted = boot((BootStage.DHCP, 1), (BootStage.AGENT, 9))
    events = [TaskEvent(1, at(80), TaskState.VERIFYING)]
    assert [(step.text, step.at) for step in life(booted, done, events)][2:] == [
        ("100 %", None),
        ("verify", at(80)),
        ("done", at(90)),
    ]
    again = boot((BootStage.DHCP, 100), (BootStage.LOCAL, 103))
    assert told(again, done) == [("DHCP", REACHED), ("own disk", REACHED)]


def test_a_task_that_failed_ends_there() -> None:
    failed = dataclasses.replace(TASK, state=TaskState.FAILED, finished=at(90), done_bytes=10, total_bytes=100)
    assert told(None, failed) == [("10 %", TO_COME), ("failed", WRONG)]


def test_a_pc_that_was_never_seen_and_has_no_task_has_no_life() -> None:
    assert life(None, None) == []


def test_the_line_is_broken_between_steps_only() -> None:
    steps = life(boot((BootStage.DHCP, 1), (BootStage.LOADER, 2), (BootStage.SCRIPT, 3)), TASK)
    found = lines(steps, 40)
    assert max(map(width_of, found)) <= 40
    text = "".join(piece for line in found for piece, _role in line)
    assert text == "DHCP 12:00:01 ▸ loader 12:00:02▸ script 12:00:03 ▸ kernel ▸ agent▸ deploy ▸ verify ▸ done"


def test_only_hosts_that_something_happened_to_get_a_new_row(store: Store) -> None:
    rows = HostLines()
    before = rows.of(seen(store), View())
    assert rows.of(seen(store), View()) is not before, "another snapshot of another console"
    snapshot = seen(store)
    first = rows.of(snapshot, View())
    assert rows.of(snapshot, View()) is first
    task = next(line.task for line in first if line.host.name == "lab-18")
    assert task is not None
    other = dataclasses.replace(task, done_bytes=task.done_bytes + 1)
    tasks = tuple(other if one is task else one for one in snapshot.open_tasks)
    changed = dataclasses.replace(
        snapshot, open_tasks=tasks, task_of_host={one.host_id: one for one in tasks if one.host_id is not None}
    )
    after = rows.of(changed, View())
    assert [a.host.name for a, b in zip(after, first, strict=True) if a is not b] == ["lab-18"]
    assert [line.host.name for line in rows.of(changed, View(FAILED))] == ["lab-17"]
