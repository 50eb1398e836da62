"""Unknown PCs that are adopted by a waiting capture or an order for new PCs."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import AfterTask, TaskKind
from appliance.model import Host, ImageVersion
from appliance.store import Store

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
