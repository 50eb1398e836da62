"""Tasks that start later, wake their PC, or are ordered once more."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta, timezone
from ipaddress import IPv4Network
from uuid import UUID

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import AfterTask, BootStage, TaskKind, TaskState
from appliance.model import Host, ImageVersion
from appliance.store import IllegalMove, Store
from appliance.store.waking import INTERVAL, TIMES
from tests.store.conftest import NOON

Captured = Callable[..., ImageVersion]
HOUR = timedelta(hours=1)
GROUPS = IPv4Network("239.192.68.0/29")


def names(store: Store, after: timedelta) -> list[str]:
    return [call.host_name for call in store.hosts.to_wake(now=NOON + after)]


# -- later


def test_a_task_for_later_is_scheduled_and_due_at_its_time(store: Store, pc1: Host, captured: Captured) -> None:
    task = store.tasks.deploy(pc1, captured("a"), start_at=NOON + HOUR, now=NOON)
    assert (task.state, task.start_at, task.wake) == (TaskState.SCHEDULED, NOON + HOUR, False)
    assert [event.text for event in store.tasks.events(task.id)] == ["to start at 2026-11-23 13:00 UTC"]
    assert store.tasks.due(NOON + HOUR - timedelta(seconds=1)) == []
    assert store.tasks.due(NOON + HOUR) == [task]
    started = store.tasks.start_now(task.id, text="its time has come", now=NOON + HOUR)
    assert started.state is TaskState.WAITING
    assert store.tasks.due(NOON + HOUR) == []


def test_due_tasks_come_in_the_order_of_their_times(store: Store, pc1: Host, pc2: Host) -> None:
    second = store.tasks.capture(pc1, "a", start_at=NOON + 2 * HOUR, now=NOON)
    first = store.tasks.capture(pc2, "b", start_at=NOON + HOUR, now=NOON)
    assert [task.id for task in store.tasks.due(NOON + 3 * HOUR)] == [first.id, second.id]


def test_a_start_time_of_any_zone_is_kept_in_utc(store: Store, pc1: Host) -> None:
    paris = timezone(timedelta(hours=1))
    task = store.tasks.capture(pc1, "win11", start_at=(NOON + HOUR).astimezone(paris), now=NOON)
    assert task.start_at == NOON + HOUR
    assert store.tasks.due(NOON + HOUR) == [task]


def test_a_start_time_that_is_over_means_now(store: Store, pc1: Host) -> None:
    assert store.tasks.capture(pc1, "win11", start_at=NOON, now=NOON).state is TaskState.WAITING


def test_a_scheduled_task_keeps_its_host_busy_and_can_be_cancelled(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11", start_at=NOON + HOUR, now=NOON)
    with pytest.raises(Conflict, match="PC1 is busy"):
        store.tasks.capture(pc1, "win11")
    store.tasks.cancel(task.id)
    assert store.tasks.due(NOON + HOUR) == []
    store.tasks.capture(pc1, "win11")


def test_a_task_is_started_by_hand_once(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11", start_at=NOON + HOUR, now=NOON)
    store.tasks.start_now(task.id)
    assert store.tasks.events(task.id)[-1].text == "started by the operator"
    with pytest.raises(IllegalMove):
        store.tasks.start_now(task.id)


@pytest.mark.parametrize("later", [{"start_at": NOON + HOUR}, {"wake": True}])
def test_the_next_unknown_pc_cannot_be_ordered_for_later(store: Store, later: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="The next unknown PC"):
        store.tasks.capture(None, "win11", now=NOON, **later)  # type: ignore[arg-type]
    assert store.tasks.next_unknown() is None


# -- waking


def test_hosts_are_called_once_a_minute_until_it_is_enough(store: Store, pc1: Host, pc2: Host) -> None:
    store.hosts.wake(["pc2", "PC1"], now=NOON)
    for time in range(TIMES):
        calls = store.hosts.to_wake(now=NOON + time * INTERVAL)
        assert [(call.host_name, call.macs, call.sent) for call in calls] == [
            ("PC2", pc2.macs, time),
            ("PC1", pc1.macs, time),
        ]
        store.hosts.woken([call.id for call in calls], now=NOON + time * INTERVAL)
        assert names(store, time * INTERVAL + timedelta(seconds=59)) == []
    assert names(store, 99 * HOUR) == []


def test_a_host_that_is_seen_is_called_no_more(store: Store, pc1: Host, pc2: Host) -> None:
    store.hosts.seen(pc1.macs[0], BootStage.LOCAL, now=NOON - HOUR)
    store.hosts.wake(["PC1", "PC2"], now=NOON)
    assert names(store, timedelta(0)) == ["PC1", "PC2"], "what was seen before does not count"
    store.hosts.seen(pc1.macs[0], BootStage.DHCP, now=NOON + timedelta(seconds=9))
    assert names(store, INTERVAL) == ["PC2"]


def test_a_host_called_again_is_begun_with_anew(store: Store, pc1: Host) -> None:
    store.hosts.wake(["PC1"], now=NOON)
    (call,) = store.hosts.to_wake(now=NOON)
    store.hosts.woken([call.id], now=NOON)
    store.hosts.wake(["PC1"], now=NOON + timedelta(seconds=5))
    (again,) = store.hosts.to_wake(now=NOON + timedelta(seconds=5))
    assert again.sent == 0
    store.hosts.woken([call.id], now=NOON)
    assert store.hosts.to_wake(now=NOON + timedelta(seconds=5)) == [again], "the note of the old call changes nothing"


def test_whoever_cannot_be_woken_is_named_and_nobody_is(store: Store, pc1: Host) -> None:
    store.hosts.add("TABLET", [], uuid=UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab"))
    with pytest.raises(UsageError, match="TABLET has no MAC address"):
        store.hosts.wake(["PC1", "TABLET"], now=NOON)
    with pytest.raises(NotFound, match="PC9"):
        store.hosts.wake(["PC1", "PC9"], now=NOON)
    with pytest.raises(UsageError, match="TABLET has no MAC address"):
        store.tasks.capture(store.hosts.get("TABLET"), "win11", wake=True)
    assert names(store, timedelta(0)) == []
    assert store.tasks.list() == []


def test_a_removed_host_is_not_called(store: Store, pc1: Host) -> None:
    store.hosts.wake(["PC1"], now=NOON)
    store.hosts.remove("PC1")
    assert names(store, timedelta(0)) == []


def test_a_task_with_wake_calls_its_pc_when_it_starts_and_not_before(
    store: Store, pc1: Host, pc2: Host, captured: Captured
) -> None:
    version = captured("a")
    task = store.tasks.deploy(pc1, version, start_at=NOON + HOUR, wake=True, now=NOON)
    store.tasks.deploy(pc2, version, wake=True, now=NOON)
    assert names(store, timedelta(0)) == ["PC2"]
    store.tasks.start_now(task.id, now=NOON + HOUR)
    assert "PC1" in names(store, HOUR)


def test_a_cancelled_task_wakes_nobody_any_more(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11", wake=True, now=NOON)
    store.tasks.cancel(task.id)
    assert names(store, timedelta(0)) == []


# -- again


def test_a_failed_deploy_is_ordered_again_as_it_was(store: Store, pc1: Host, captured: Captured) -> None:
    version = captured("a")
    captured("b")  # a newer version of the image does not change what was ordered
    task = store.tasks.deploy(pc1, version, after=AfterTask.STAY, start_at=NOON + HOUR, now=NOON)
    with pytest.raises(Conflict, match=f"Task {task.id} has not ended: it is scheduled"):
        store.tasks.retry(task.id)
    store.tasks.move(task.id, TaskState.FAILED, error="No disk.", now=NOON)
    again = store.tasks.retry(task.id, now=NOON)
    assert (again.kind, again.version_id, again.after) == (TaskKind.DEPLOY, version.id, AfterTask.STAY)
    assert (again.state, again.start_at, again.host_id) == (TaskState.WAITING, None, pc1.id)
    assert store.tasks.get(task.id).state is TaskState.FAILED
    with pytest.raises(Conflict, match="PC1 is busy"):
        store.tasks.retry(task.id)


def test_a_capture_is_ordered_again_with_the_host_as_it_is_now(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(pc1, "win11", sealed=True)
    store.tasks.cancel(task.id)
    assert store.tasks.retry(task.id).sealed
    store.tasks.cancel(store.tasks.list()[0].id)
    store.hosts.edit("PC1", sealed=False)
    assert not store.tasks.retry(task.id).sealed
    assert not store.hosts.get("PC1").sealed


def test_a_capture_of_the_next_unknown_pc_is_ordered_again(store: Store) -> None:
    task = store.tasks.capture(None, "win11", sealed=True)
    store.tasks.cancel(task.id)
    again = store.tasks.retry(task.id)
    assert store.tasks.next_unknown() == again
    assert again.sealed


@pytest.mark.parametrize(("stopped", "expected"), [(False, True), (True, False)])
def test_a_task_ordered_again_takes_part_in_its_cast_only_while_that_is_open(
    store: Store, pc1: Host, captured: Captured, stopped: bool, expected: bool
) -> None:
    version = captured("a")
    cast = store.casts.open(version, groups=GROUPS)
    task = store.tasks.deploy(pc1, version, cast_id=cast.id)
    store.tasks.cancel(task.id)
    if stopped:
        store.casts.stop(cast.id)
    again = store.tasks.retry(task.id)
    assert (again.cast_id == cast.id) is expected
    assert (again.id in [member.task_id for member in store.casts.members(cast.id)]) is expected


def test_what_is_gone_cannot_be_ordered_again(store: Store, pc1: Host, pc2: Host, captured: Captured) -> None:
    version = captured("a")
    deploy, capture = store.tasks.deploy(pc1, version), store.tasks.capture(pc2, "lab")
    for task in (deploy, capture):
        store.tasks.cancel(task.id)
    store.hosts.remove("PC2")
    with pytest.raises(NotFound, match=r"The host of task \d+, PC2, was removed"):
        store.tasks.retry(capture.id)
    store.images.remove("win11")
    with pytest.raises(NotFound, match="no version aaaa"):
        store.tasks.retry(deploy.id)


def test_a_deploy_to_a_host_that_was_sealed_since_is_not_ordered_again(
    store: Store, pc1: Host, captured: Captured
) -> None:
    task = store.tasks.deploy(pc1, captured("a"))
    store.tasks.cancel(task.id)
    store.hosts.edit("PC1", sealed=True)
    with pytest.raises(Conflict, match="would destroy the master"):
        store.tasks.retry(task.id)
