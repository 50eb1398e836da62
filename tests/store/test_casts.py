"""Casts in the store: opening, taking part, the operator's word, figures, the end."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import CastState, TaskState
from appliance.model import Cast, Host, ImageVersion
from appliance.store import Store
from tests.store.conftest import NOON, make_version

GROUPS = IPv4Network("239.192.68.0/30")
NEW = "52:54:00:bb:00:{:02x}"
Captured = Callable[..., ImageVersion]


@pytest.fixture
def win11(captured: Captured) -> ImageVersion:
    return captured("a")


@pytest.fixture
def cast(store: Store, win11: ImageVersion) -> Cast:
    return store.casts.open(win11, 2, 60, groups=GROUPS)


def test_a_cast_has_a_random_id_and_key_and_a_group_of_its_own(store: Store, win11: ImageVersion) -> None:
    one, two = (store.casts.open(win11, groups=GROUPS) for _ in range(2))
    assert {one.group, two.group} == {IPv4Address("239.192.68.1"), IPv4Address("239.192.68.2")}
    assert one.cast_id != two.cast_id
    assert one.key != two.key
    assert (len(one.cast_id), len(one.key), one.key in repr(one)) == (16, 64, False)
    with pytest.raises(Conflict, match=r"All groups of 239\.192\.68\.0/30 are taken"):
        store.casts.open(win11, groups=GROUPS)
    store.casts.stop(one.id)
    assert store.casts.open(win11, groups=GROUPS).group == one.group


def test_a_cast_of_a_version_that_is_gone_is_refused(store: Store) -> None:
    with pytest.raises(NotFound):
        store.casts.open(make_version("e"), groups=GROUPS)


def test_a_task_takes_part_and_has_a_seat_once_its_pc_has_checked_in(
    store: Store, cast: Cast, win11: ImageVersion, pc1: Host, pc2: Host
) -> None:
    first = store.tasks.deploy(pc1, win11, cast_id=cast.id)
    store.tasks.deploy(pc2, win11, cast_id=cast.id)
    assert first.cast_id == cast.id
    assert store.casts.seats(cast.id) == ([], 2)
    store.tasks.checked_in(first.id, "10.0.0.1", pc1.macs[0])
    _, token = store.tasks.checked_in(first.id, "10.0.0.1", pc1.macs[0])
    (seat,), unfinished = store.casts.seats(cast.id)
    assert (seat.task_id, seat.token_hash, unfinished) == (first.id, hashlib.sha256(token.encode()).digest(), 2)
    store.tasks.cancel(first.id)
    assert store.casts.seats(cast.id) == ([], 1), "cancelling one PC cancels one PC"
    assert [(m.host_name, m.task_state) for m in store.casts.members(cast.id)] == [
        ("PC1", TaskState.CANCELLED),
        ("PC2", TaskState.WAITING),
    ]


def test_a_task_without_a_cast_has_none(store: Store, win11: ImageVersion, pc1: Host) -> None:
    assert store.tasks.deploy(pc1, win11).cast_id is None


def test_nobody_joins_an_ended_cast_or_one_of_another_version(
    store: Store, cast: Cast, captured: Captured, pc1: Host
) -> None:
    other = captured("b", "lab")
    with pytest.raises(Conflict, match="sends another version"):
        store.tasks.deploy(pc1, other, cast_id=cast.id)
    store.casts.stop(cast.id)
    with pytest.raises(Conflict, match="has ended"):
        store.tasks.deploy(pc1, store.images.resolve("win11"), cast_id=cast.id)
    assert store.tasks.for_host(pc1.id) is None


def test_the_operators_word_is_kept(store: Store, cast: Cast, win11: ImageVersion, pc1: Host) -> None:
    task = store.tasks.deploy(pc1, win11, cast_id=cast.id)
    store.tasks.checked_in(task.id, "10.0.0.1", pc1.macs[0])
    assert store.casts.limit(cast.id, 100).rate_mbit == 100
    assert store.casts.begin(cast.id).begun
    store.casts.prefer(cast.id, task.id)
    store.casts.drop(cast.id, task.id)
    (seat,), _ = store.casts.seats(cast.id)
    assert (seat.preferred, seat.dropped) == (True, True)
    store.casts.drop(cast.id, task.id, on=False)
    assert not store.casts.members(cast.id)[0].dropped
    with pytest.raises(UsageError):
        store.casts.limit(cast.id, -1)
    with pytest.raises(NotFound, match="does not take part"):
        store.casts.prefer(cast.id, 99)
    ended = store.casts.stop(cast.id, now=NOON)
    assert (ended.state, ended.ended, ended.why) == (CastState.ENDED, NOON, "stopped by the operator")
    for verb in (store.casts.stop, store.casts.begin):
        with pytest.raises(Conflict, match="has ended"):
            verb(cast.id)
    for gone in (store.casts.get, store.casts.members, store.casts.stop):
        with pytest.raises(NotFound, match="There is no cast 99"):
            gone(99)


def test_figures_are_recorded_and_change_nothing_else(store: Store, cast: Cast, win11: ImageVersion, pc1: Host) -> None:
    task = store.tasks.deploy(pc1, win11, cast_id=cast.id)
    (member,) = store.casts.members(cast.id)
    told = dataclasses.replace(cast, present=1, sent_bytes=5, rate_bytes_s=2.5, wanted=4, why="x", rate_mbit=9)
    store.casts.record([(told, [dataclasses.replace(member, written=3, total=7, loss=0.5, status="by multicast")])])
    after = store.casts.get(cast.id)
    assert after == dataclasses.replace(cast, present=1, sent_bytes=5, rate_bytes_s=2.5, wanted=4)
    (member,) = store.casts.members(cast.id)
    assert (member.task_id, member.written, member.total, member.loss) == (task.id, 3, 7, 0.5)


def test_who_joins_takes_the_open_cast_of_that_version_or_a_new_one(store: Store, win11: ImageVersion) -> None:
    first, new = store.casts.join(win11, wait_seconds=30, groups=GROUPS)
    assert (new, first.wait_for, first.wait_seconds) == (True, 0, 0)
    assert store.casts.join(win11, groups=GROUPS) == (first, False)
    second, new = store.casts.join(win11, 3, 30, groups=GROUPS)
    assert (new, second.id != first.id, second.wait_for, second.wait_seconds) == (True, True, 3, 30)
    for cast in (first, second):
        store.casts.stop(cast.id)
    assert store.casts.join(win11, groups=GROUPS)[1]


def test_a_cast_ends_when_all_its_tasks_have(
    store: Store, cast: Cast, win11: ImageVersion, pc1: Host, pc2: Host
) -> None:
    tasks = [store.tasks.deploy(pc, win11, cast_id=cast.id) for pc in (pc1, pc2)]
    assert store.casts.open_for(win11.id) == cast
    store.tasks.cancel(tasks[0].id)
    assert store.casts.end_finished() == []
    store.tasks.move(tasks[1].id, TaskState.FAILED, error="x")
    assert [ended.id for ended in store.casts.end_finished()] == [cast.id]
    assert store.casts.end_finished() == []
    assert store.casts.get(cast.id).why == "all its tasks have ended"
    assert store.casts.open_for(win11.id) is None
    assert store.casts.list(open_only=True) == []
    assert [one.id for one in store.casts.list()] == [cast.id]


def test_new_pcs_of_an_order_by_cast_take_part_in_it(store: Store, cast: Cast, win11: ImageVersion) -> None:
    order = store.tasks.order_new_pcs(win11, 2, "LAB1-{nn}", cast_id=cast.id)
    assert store.tasks.orders() == [order]
    assert order.cast_id == cast.id
    tasks = []
    for number in range(2):
        adopted = store.tasks.adopt([NEW.format(number)])
        assert adopted is not None
        tasks.append(adopted[1])
    assert [task.cast_id for task in tasks] == [cast.id, cast.id]
    assert [member.host_name for member in store.casts.members(cast.id)] == ["LAB1-01", "LAB1-02"]
    store.tasks.checked_in(tasks[1].id, "10.0.0.1", NEW.format(1))
    assert [seat.task_id for seat in store.casts.seats(cast.id)[0]] == [tasks[1].id]


def test_a_cast_expects_the_pcs_that_its_orders_still_wait_for(
    store: Store, cast: Cast, win11: ImageVersion, pc1: Host
) -> None:
    other = store.casts.open(win11, groups=GROUPS)
    order = store.tasks.order_new_pcs(win11, 3, "LAB1-{nn}", cast_id=cast.id)
    store.tasks.order_new_pcs(win11, 5, "LAB2-{nn}", cast_id=other.id)
    store.tasks.deploy(pc1, win11, cast_id=cast.id)
    assert store.casts.seats(cast.id) == ([], 4)
    store.tasks.adopt([NEW.format(1)])
    assert store.casts.seats(cast.id) == ([], 4), "one more task, one less to come"
    store.tasks.cancel_order(order.id)
    assert store.casts.seats(cast.id) == ([], 2)


def test_a_cast_stays_open_while_an_order_waits_for_its_pcs(store: Store, cast: Cast, win11: ImageVersion) -> None:
    store.tasks.order_new_pcs(win11, 2, "LAB1-{nn}", cast_id=cast.id)
    days = cast.created + timedelta(days=3)
    assert store.casts.end_finished(now=days) == []
    for number in range(2):
        adopted = store.tasks.adopt([NEW.format(number)])
        assert adopted is not None
        store.tasks.cancel(adopted[1].id)
        assert [ended.id for ended in store.casts.end_finished(now=days)] == [cast.id] * number


@pytest.mark.parametrize("taken", [0, 1])
def test_a_cast_whose_order_was_cancelled_ends_with_its_tasks(
    store: Store, cast: Cast, win11: ImageVersion, taken: int
) -> None:
    order = store.tasks.order_new_pcs(win11, 2, "LAB1-{nn}", cast_id=cast.id)
    tasks = [store.tasks.adopt([NEW.format(number)]) for number in range(taken)]
    store.tasks.cancel_order(order.id)
    later = cast.created + timedelta(minutes=2)
    for made in tasks:
        assert store.casts.end_finished(now=later) == []
        assert made is not None
        store.tasks.cancel(made[1].id)
    assert [ended.id for ended in store.casts.end_finished(now=later)] == [cast.id]


def test_new_pcs_are_written_by_nfs_when_their_cast_was_stopped(store: Store, cast: Cast, win11: ImageVersion) -> None:
    store.tasks.order_new_pcs(win11, 2, "LAB1-{nn}", cast_id=cast.id)
    store.casts.stop(cast.id)
    adopted = store.tasks.adopt([NEW.format(1)])
    assert adopted is not None
    assert adopted[1].cast_id is None
    assert store.tasks.events(adopted[1].id)[0].text.endswith(f"1 of 2; cast {cast.id} has ended, it goes by NFS")


def test_an_order_by_an_ended_cast_or_one_of_another_version_is_refused(
    store: Store, cast: Cast, win11: ImageVersion, captured: Captured
) -> None:
    with pytest.raises(Conflict, match="sends another version"):
        store.tasks.order_new_pcs(captured("b", "lab"), 2, "LAB1-{nn}", cast_id=cast.id)
    with pytest.raises(NotFound, match="There is no cast 99"):
        store.tasks.order_new_pcs(win11, 2, "LAB1-{nn}", cast_id=99)
    store.casts.stop(cast.id)
    with pytest.raises(Conflict, match="has ended"):
        store.tasks.order_new_pcs(win11, 2, "LAB1-{nn}", cast_id=cast.id)
    assert store.tasks.orders() == []


def test_a_cast_that_never_got_a_task_ends_after_a_minute(store: Store, win11: ImageVersion) -> None:
    store.casts.open(win11, groups=GROUPS, now=NOON)
    assert store.casts.end_finished(now=NOON + timedelta(seconds=50)) == []
    assert len(store.casts.end_finished(now=NOON + timedelta(seconds=61))) == 1
