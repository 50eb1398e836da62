"""Tasks in the store: what may follow what, who is busy, what an end leaves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import TRANSITIONS, AfterTask, TaskKind, TaskState
from appliance.model import Host, ImageVersion
from appliance.store import IllegalMove, Store
from appliance.store import tasks as tasks_module
from appliance.store.rows import TaskRow
from tests.store.conftest import NOON, make_version

Captured = Callable[..., ImageVersion]
MAC = "52:54:00:aa:01:01"


def test_a_capture_waits_for_its_host(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11", now=NOON)
    assert (task.kind, task.state, task.host_name) == (TaskKind.CAPTURE, TaskState.WAITING, "PC1")
    assert (task.after, task.created, task.sealed) == (AfterTask.POWEROFF, NOON, False)
    assert store.tasks.for_host(pc1.id) == task == store.tasks.get(task.id)
    assert [event.text for event in store.tasks.events(task.id)] == ["waiting for PC1 to boot"]


def test_a_sealed_capture_seals_the_host_and_a_sealed_hosts_capture_is_sealed(
    store: Store, pc1: Host, pc2: Host
) -> None:
    assert store.tasks.capture(pc1, "win11", sealed=True).sealed
    assert store.hosts.get("PC1").sealed
    assert store.tasks.capture(store.hosts.edit("PC2", sealed=True), "lab").sealed


def test_a_second_task_for_a_busy_host_names_the_first(store: Store, pc1: Host, captured: Captured) -> None:
    version = captured("a")
    first = store.tasks.deploy(pc1, version)
    expected = rf"PC1 is busy with task {first.id} \(deploy win11, waiting\).*task cancel {first.id}"
    with pytest.raises(Conflict, match=expected):
        store.tasks.capture(pc1, "win11")
    with pytest.raises(Conflict, match=expected):
        store.tasks.deploy(pc1, version)


def test_a_bad_image_name_is_refused_before_anything_is_ordered(store: Store, pc1: Host) -> None:
    with pytest.raises(UsageError, match="cannot name an image"):
        store.tasks.capture(pc1, "../etc", sealed=True)
    assert store.tasks.list() == []
    assert not store.hosts.get("PC1").sealed


def test_a_sealed_host_is_not_deployed_to(store: Store, pc1: Host, captured: Captured) -> None:
    version = captured("a")
    store.hosts.edit("PC1", sealed=True)
    with pytest.raises(Conflict, match="would destroy the master"):
        store.tasks.deploy(pc1, version)


def test_a_version_or_host_that_is_gone_is_not_deployed(store: Store, pc1: Host, captured: Captured) -> None:
    with pytest.raises(NotFound, match="no version"):
        store.tasks.deploy(pc1, make_version("f"))
    version = captured("a")
    store.hosts.remove("PC1")
    with pytest.raises(NotFound, match="no host"):
        store.tasks.deploy(pc1, version)
    with pytest.raises(NotFound, match="no host"):
        store.tasks.capture(pc1, "win11")


@pytest.mark.parametrize("old", list(TaskState))
@pytest.mark.parametrize("new", list(TaskState))
def test_exactly_the_moves_of_the_table_are_allowed(store: Store, pc1: Host, old: TaskState, new: TaskState) -> None:
    task = store.tasks.capture(pc1, "win11")
    with store._database.write() as sql:
        TaskRow.update(state=old).where(TaskRow.id == task.id).execute(sql)
    if new in TRANSITIONS[old]:
        assert store.tasks.move(task.id, new).state is new
        assert store.tasks.events(task.id)[-1].state is new
    else:
        with pytest.raises(IllegalMove, match=f"is {old} and cannot become {new}"):
            store.tasks.move(task.id, new)
        assert store.tasks.get(task.id).state is old
        assert len(store.tasks.events(task.id)) == 1


def test_a_failed_task_says_why_and_what_to_do_and_frees_its_host(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    failed = store.tasks.move(task.id, TaskState.FAILED, error="The disk died.", remedy="Replace it.", now=NOON)
    assert (failed.error, failed.remedy, failed.finished) == ("The disk died.", "Replace it.", NOON)
    assert store.tasks.events(task.id)[-1].text == "The disk died."
    assert store.tasks.for_host(pc1.id) is None
    assert store.tasks.capture(pc1, "win11").id != task.id


def test_check_in_starts_the_task_once_and_counts_every_attempt(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    store.tasks.move(task.id, TaskState.BOOTING)
    running, _ = store.tasks.checked_in(task.id, "10.0.0.1", MAC, now=NOON)
    assert (running.state, running.attempts, running.started, running.ip) == (TaskState.RUNNING, 1, NOON, "10.0.0.1")
    later = NOON + timedelta(minutes=5)
    again, _ = store.tasks.checked_in(task.id, "10.0.0.2", MAC, now=later)
    assert (again.state, again.attempts, again.started, again.ip) == (TaskState.RUNNING, 2, NOON, "10.0.0.2")
    assert again.last_heard == later
    assert store.tasks.events(task.id)[-1].text == "agent at 10.0.0.2, check-in 2"


def test_a_finished_task_is_never_checked_in_to(store: Store, pc1: Host) -> None:
    task = store.tasks.cancel(store.tasks.capture(pc1, "win11").id)
    with pytest.raises(IllegalMove):
        store.tasks.checked_in(task.id, "10.0.0.1", MAC)


def test_progress_is_the_last_one_and_only_of_a_running_task(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    assert store.tasks.progress(task.id, "early", 1, 2, 3.0).phase == ""
    store.tasks.checked_in(task.id, "10.0.0.1", MAC)
    store.tasks.progress(task.id, "reading", 1, 20, 3.0)
    now = store.tasks.progress(task.id, "reading", 10, 20, 5.5, now=NOON)
    assert (now.phase, now.done_bytes, now.total_bytes, now.rate_bytes_s) == ("reading", 10, 20, 5.5)
    assert now.last_heard == NOON
    store.tasks.cancel(task.id)
    late = store.tasks.progress(task.id, "reading", 11, 20, 5.5)
    assert (late.state, late.done_bytes, late.rate_bytes_s) == (TaskState.CANCELLED, 10, 0.0)
    with pytest.raises(NotFound, match="no task 99"):
        store.tasks.progress(99, "x", 1, 2, 3.0)


def test_silent_tasks_are_those_at_work_that_were_not_heard(store: Store, pc1: Host, pc2: Host) -> None:
    quiet = store.tasks.capture(pc1, "win11", now=NOON)
    store.tasks.checked_in(quiet.id, "10.0.0.1", MAC, now=NOON)
    store.tasks.capture(pc2, "win11", now=NOON)  # waits, and may wait for days
    limit = NOON + timedelta(seconds=300)
    assert [task.id for task in store.tasks.silent(limit)] == [quiet.id]
    store.tasks.heard(quiet.id, now=limit)
    assert store.tasks.silent(limit) == []


def test_exports_are_needed_while_running_and_verifying(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    needed = []
    for step in (TaskState.BOOTING, TaskState.RUNNING, TaskState.VERIFYING, TaskState.FAILED):
        store.tasks.move(task.id, step)
        needed.append([found.id for found in store.tasks.exports_needed()])
    assert needed == [[], [task.id], [task.id], []]


def test_tasks_are_listed_newest_first_and_by_whether_they_are_finished(store: Store, pc1: Host, pc2: Host) -> None:
    first = store.tasks.cancel(store.tasks.capture(pc1, "win11").id)
    second = store.tasks.capture(pc2, "win11")
    assert store.tasks.list() == [second, first]
    assert store.tasks.list(active_only=True) == [second]
    assert store.tasks.list(limit=1) == [second]


def test_a_task_is_cancelled_once(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11")
    assert store.tasks.cancel(task.id).state is TaskState.CANCELLED
    with pytest.raises(Conflict, match="has ended already: it is cancelled"):
        store.tasks.cancel(task.id)


def test_the_log_keeps_lines_in_order_and_has_an_end(store: Store, pc1: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks_module, "MAX_LOG_BYTES", 40)
    task = store.tasks.capture(pc1, "win11")
    store.tasks.add_log(task.id, ["one", "two\n"])
    store.tasks.add_log(task.id, [])
    store.tasks.add_log(task.id, ["broken \ud800 text"])
    assert store.tasks.log(task.id) == "one\ntwo\nbroken ? text\n"
    store.tasks.add_log(task.id, ["x" * 100])
    store.tasks.add_log(task.id, ["never seen"])
    assert store.tasks.log(task.id).splitlines()[3:] == ["(the log is full; later lines were dropped)"]
    with pytest.raises(NotFound):
        store.tasks.add_log(99, ["x"])
    with pytest.raises(NotFound):
        store.tasks.log(99)
    with pytest.raises(NotFound):
        store.tasks.events(99)


def test_a_hosts_history_is_its_own(store: Store, pc1: Host, pc2: Host) -> None:
    first = store.tasks.capture(pc1, "win11")
    store.tasks.cancel(first.id)
    store.tasks.capture(pc2, "win11")
    second = store.tasks.capture(pc1, "win11")
    assert [task.id for task in store.tasks.list(host_id=pc1.id)] == [second.id, first.id]
    assert [task.id for task in store.tasks.list(host_id=pc1.id, active_only=True)] == [second.id]
