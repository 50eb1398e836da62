"""Unknown PCs that are adopted by a waiting capture or an order for new PCs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network
from typing import Any
from uuid import UUID

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import AfterTask, TaskKind, TaskState
from appliance.model import Host, ImageVersion, NewPcOrder, Task
from appliance.store import Store, lifecycle
from tests.store.conftest import NOON

Captured = Callable[..., ImageVersion]
GOOD = UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab")
NEW = "52:54:00:bb:00:01"


def test_the_next_unknown_pc_becomes_the_awaited_master(store: Store, pc1: Host) -> None:
    task = store.tasks.capture(None, "win11", sealed=True)
    assert store.tasks.next_unknown() == task
    assert store.tasks.adopt(pc1.macs) is None, "a known PC is not the one"
    adopted = store.tasks.adopt([NEW.upper()], GOOD)
    assert adopted is not None
    host, bound = adopted
    assert (host.name, host.macs, host.uuid, host.sealed) == ("win11-master", (NEW,), GOOD, True)
    assert (bound.id, bound.host_id, bound.host_name) == (task.id, host.id, "win11-master")
    assert store.tasks.next_unknown() is None
    assert store.tasks.adopt([NEW], GOOD) is None, "it is known now"


def test_only_one_capture_waits_for_the_next_unknown_pc(store: Store) -> None:
    first = store.tasks.capture(None, "win11")
    with pytest.raises(Conflict, match=rf"Task {first.id} \(capture win11, waiting\) waits for the next unknown PC"):
        store.tasks.capture(None, "lab")
    store.tasks.cancel(first.id)
    store.tasks.capture(None, "lab")


def test_a_masters_name_is_made_unique_and_short_enough(store: Store) -> None:
    names = []
    for number in range(3):
        task = store.tasks.capture(None, "i" * 63)
        adopted = store.tasks.adopt([f"52:54:00:bb:00:{number:02x}"])
        assert adopted is not None
        names.append(adopted[0].name)
        store.tasks.cancel(task.id)
    assert names == ["i" * 50 + "-master", "i" * 50 + "-master-2", "i" * 50 + "-master-3"]


def test_an_order_names_registers_and_deploys_new_pcs_until_it_is_full(store: Store, captured: Captured) -> None:
    version = captured("a")
    order = store.tasks.order_new_pcs(version, 2, "LAB1-{nn}", AfterTask.POWEROFF)
    assert store.tasks.orders() == [order]
    made = [store.tasks.adopt([f"52:54:00:bb:00:{number:02x}"]) for number in range(3)]
    assert made[2] is None
    assert [pair[0].name for pair in made if pair] == ["LAB1-01", "LAB1-02"]
    for pair in made[:2]:
        assert pair is not None
        assert (pair[1].kind, pair[1].version_id, pair[1].after) == (TaskKind.DEPLOY, version.id, AfterTask.POWEROFF)
        assert pair[1].host_id == pair[0].id
    assert store.tasks.orders() == []


def test_a_waiting_capture_comes_before_an_order_and_older_orders_before_newer(
    store: Store, captured: Captured
) -> None:
    version = captured("a")
    store.tasks.order_new_pcs(version, 1, "A{n}")
    store.tasks.order_new_pcs(version, 1, "B{n}")
    store.tasks.capture(None, "fresh")
    made = [store.tasks.adopt([f"52:54:00:bb:00:{number:02x}"]) for number in range(3)]
    assert [pair[0].name for pair in made if pair] == ["fresh-master", "A1", "B1"]


def test_nobody_is_adopted_when_nothing_waits(store: Store) -> None:
    assert store.tasks.adopt([NEW]) is None
    assert store.hosts.list() == []


def test_a_pc_behind_a_shared_dock_is_adopted_by_its_uuid_or_not_at_all(store: Store) -> None:
    dock = "00:e0:4c:68:00:01"
    store.hosts.add_dock_mac(dock)
    store.tasks.capture(None, "win11")
    assert store.tasks.adopt([dock]) is None
    assert store.tasks.adopt([dock], UUID(int=0)) is None
    adopted = store.tasks.adopt([dock], GOOD)
    assert adopted is not None
    assert (adopted[0].macs, adopted[0].uuid) == ((), GOOD)


def test_a_cancelled_order_takes_no_more(store: Store, captured: Captured) -> None:
    order = store.tasks.order_new_pcs(captured("a"), 5, "LAB-{nn}")
    assert store.tasks.adopt([NEW]) is not None
    store.tasks.cancel_order(order.id)
    assert store.tasks.adopt(["52:54:00:bb:00:02"]) is None
    with pytest.raises(NotFound, match=f"No order {order.id} waits"):
        store.tasks.cancel_order(order.id)


def test_an_order_that_cannot_work_is_refused_at_once(store: Store, captured: Captured) -> None:
    version = captured("a")
    with pytest.raises(UsageError, match="0 new PCs"):
        store.tasks.order_new_pcs(version, 0, "LAB-{nn}")
    with pytest.raises(UsageError, match="exactly one number"):
        store.tasks.order_new_pcs(version, 2, "LAB")
    store.images.remove("win11")
    with pytest.raises(NotFound):
        store.tasks.order_new_pcs(version, 2, "LAB-{nn}")


# -- orders that end by themselves, or hold their PCs


def mac(number: int) -> str:
    return f"52:54:00:bb:00:{number:02x}"


def test_an_order_takes_nobody_from_its_end_on(store: Store, captured: Captured) -> None:
    end = NOON + timedelta(minutes=10)
    order = store.tasks.order_new_pcs(captured("a"), 5, "LAB-{nn}", until=end, now=NOON)
    assert (order.until, order.closed, order.why) == (end, None, "")
    assert store.tasks.adopt([mac(1)], now=end - timedelta(seconds=1)) is not None
    assert store.tasks.orders(now=end - timedelta(seconds=1)) != []
    assert store.tasks.adopt([mac(2)], now=end) is None
    assert store.tasks.orders(now=end) == []


def test_an_order_is_closed_at_its_end_once_and_in_words(store: Store, captured: Captured) -> None:
    end = NOON + timedelta(minutes=10)
    version = captured("a")
    order = store.tasks.order_new_pcs(version, 5, "LAB-{nn}", until=end, now=NOON)
    endless = store.tasks.order_new_pcs(version, 5, "B-{nn}", now=NOON)
    assert store.tasks.close_expired(now=end - timedelta(seconds=1)) == []
    (closed,) = store.tasks.close_expired(now=end)
    assert (closed.id, closed.closed, closed.why) == (order.id, end, "its time was over: 0 of 5 PCs came")
    assert store.tasks.close_expired(now=end) == []
    assert store.audit.list()[0].detail == f"order {order.id}, LAB-{{nn}} with win11: {closed.why}"
    assert store.tasks.orders(open_only=False) == [endless, closed]
    with pytest.raises(NotFound):
        store.tasks.cancel_order(order.id)


def test_every_closed_order_says_why(store: Store, captured: Captured) -> None:
    version = captured("a")
    full = store.tasks.order_new_pcs(version, 1, "A{n}")
    assert store.tasks.adopt([NEW], now=NOON) is not None
    cancelled = store.tasks.order_new_pcs(version, 1, "B{n}")
    store.tasks.cancel_order(cancelled.id, now=NOON)
    assert [(store.tasks.order(order.id).why, store.tasks.order(order.id).closed) for order in (full, cancelled)] == [
        ("all its PCs came", NOON),
        ("cancelled by the operator", NOON),
    ]
    with pytest.raises(NotFound, match="no order 99"):
        store.tasks.order(99)


def test_an_order_that_would_be_over_at_once_is_refused(store: Store, captured: Captured) -> None:
    with pytest.raises(UsageError, match="is over"):
        store.tasks.order_new_pcs(captured("a"), 1, "A{n}", until=NOON, now=NOON)


def test_new_pcs_are_put_into_the_orders_room(store: Store, captured: Captured) -> None:
    version = captured("a")
    room = store.rooms.add("B204")
    order = store.tasks.order_new_pcs(version, 3, "LAB-{nn}", room="b204")
    assert order.room == "B204"
    adopted = store.tasks.adopt([mac(1)])
    assert adopted is not None
    assert adopted[0].room == "B204"
    assert store.rooms.get("B204").hosts == room.hosts + 1
    store.rooms.remove("B204")
    adopted = store.tasks.adopt([mac(2)])
    assert adopted is not None, "a removed room does not close the order"
    assert (adopted[0].room, store.tasks.order(order.id).room) == ("", "")
    with pytest.raises(NotFound, match="no room"):
        store.tasks.order_new_pcs(version, 3, "LAB-{nn}", room="B204")


def held_order(store: Store, version: ImageVersion, pcs: int = 3) -> NewPcOrder:
    """An order that holds its PCs, and so many of them."""
    order = store.tasks.order_new_pcs(version, 9, "LAB-{nn}", hold=True)
    for number in range(pcs):
        assert store.tasks.adopt([mac(number)]) is not None
    return store.tasks.order(order.id)


def test_held_new_pcs_are_registered_and_wait_for_one_confirmation(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"))
    held = store.tasks.held(order.id)
    assert [(task.host_name, task.state, task.order_id) for task in held] == [
        (f"LAB-0{number}", TaskState.SCHEDULED, order.id) for number in (1, 2, 3)
    ]
    assert all(task.is_held for task in held)
    assert "waits until the operator confirms it" in store.tasks.events(held[0].id)[0].text
    released = store.tasks.release(order.id)
    assert [(task.host_name, task.state, task.held) for task in released] == [
        (f"LAB-0{number}", TaskState.WAITING, False) for number in (1, 2, 3)
    ]
    assert (store.tasks.held(order.id), store.tasks.release(order.id)) == ([], [])


def test_a_pc_that_comes_after_the_confirmation_is_held_for_the_next(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"), pcs=1)
    store.tasks.release(order.id)
    store.tasks.adopt([mac(7)])
    assert [task.host_name for task in store.tasks.held(order.id)] == ["LAB-02"]


def test_a_confirmation_of_what_was_shown_confirms_nobody_else(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"), pcs=2)
    shown = [task.id for task in store.tasks.held(order.id)]
    store.tasks.cancel(shown[0])
    store.tasks.adopt([mac(7)])
    with pytest.raises(Conflict, match="2 PCs are held now, not those that were shown"):
        store.tasks.release(order.id, shown=shown)
    held = [task.id for task in store.tasks.held(order.id)]
    assert len(held) == 2, "as many, but another one"
    assert [task.id for task in store.tasks.release(order.id, shown=held)] == held


def test_held_tasks_start_by_confirmation_only(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"), pcs=1)
    (task,) = store.tasks.held(order.id)
    assert store.tasks.due(NOON + timedelta(days=999)) == []
    with pytest.raises(Conflict, match=f"until the new PCs of order {order.id} are confirmed"):
        store.tasks.start_now(task.id)


def test_held_pcs_can_be_confirmed_after_their_order_was_closed(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"))
    store.tasks.cancel_order(order.id)
    assert len(store.tasks.release(order.id)) == 3


def test_newcomers_that_are_not_confirmed_stay_registered_without_a_task(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"))
    assert [task.state for task in store.tasks.dismiss(order.id)] == [TaskState.CANCELLED] * 3
    assert store.tasks.held(order.id) == store.tasks.release(order.id) == []
    assert store.tasks.for_host(store.hosts.get("LAB-01").id) is None


def test_one_newcomer_can_be_left_out_of_a_confirmation(store: Store, captured: Captured) -> None:
    order = held_order(store, captured("a"))
    store.tasks.cancel(store.tasks.held(order.id)[1].id)
    assert [task.host_name for task in store.tasks.release(order.id)] == ["LAB-01", "LAB-03"]


@pytest.mark.parametrize("verb", ["release", "dismiss"])
def test_a_confirmation_that_is_cut_off_confirms_nobody(
    store: Store, captured: Captured, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    order = held_order(store, captured("a"))
    held = store.tasks.held(order.id)
    real = lifecycle.move

    def dies(sql: Any, task: Task, *args: Any, **kwargs: Any) -> Task:
        if task.id == held[2].id:
            raise KeyboardInterrupt
        return real(sql, task, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "move", dies)
        with pytest.raises(KeyboardInterrupt):
            getattr(store.tasks, verb)(order.id)
    assert store.tasks.held(order.id) == held
    with pytest.raises(NotFound, match="no order 99"):
        getattr(store.tasks, verb)(99)


def test_held_pcs_of_a_cast_keep_it_open_and_take_part(store: Store, captured: Captured) -> None:
    version = captured("a")
    cast = store.casts.open(version, groups=IPv4Network("239.192.68.0/29"))
    order = store.tasks.order_new_pcs(version, 1, "LAB-{nn}", hold=True, cast_id=cast.id)
    store.tasks.adopt([mac(1)])
    assert store.casts.end_finished(now=cast.created + timedelta(days=1)) == []
    (task,) = store.tasks.release(order.id)
    assert task.cast_id == cast.id
