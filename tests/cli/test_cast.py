"""deploy --cast, and the cast commands."""

from __future__ import annotations

import dataclasses

import pytest

from appliance.events import CastState, TaskState
from appliance.model import ImageVersion
from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, Diecast


@pytest.fixture
def two_pcs(store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.hosts.add("PC2", [MAC2])


pytestmark = pytest.mark.usefixtures("two_pcs", "win11")


def test_a_deploy_by_cast_opens_one_and_the_next_joins_it(diecast: Diecast, store: Store, win11: ImageVersion) -> None:
    said = diecast("deploy", "win11", "PC1", "--yes", "--cast")
    assert said.status == 0
    assert "Cast 1 sends win11@1 to group 239.192.68.1.\n" in said.out
    assert "Task 2: deploy win11@1 to PC1. Boot it from the network." in said.out
    assert "Cast 1 sends" in diecast("deploy", "win11", "PC2", "--yes", "--cast").out
    assert "1: diecast cast show 1" in diecast("task", "show", "2").out
    assert [(m.host_name, m.task_state) for m in store.casts.members(1)] == [
        ("PC1", TaskState.WAITING),
        ("PC2", TaskState.WAITING),
    ]
    cast = store.casts.get(1)
    assert (cast.version_id, cast.wait_for, cast.state) == (win11.id, 0, CastState.OPEN)


@pytest.mark.parametrize(
    ("words", "wait_for", "wait_seconds"),
    [
        (("--wait-for", "2"), 2, 300),
        (("--wait-for", "1", "--wait-seconds", "60"), 1, 60),
        (("--wait-seconds", "60"), 2, 60),
        ((), 0, 0),
    ],
)
def test_a_cast_waits_for_pcs_only_when_it_is_told_to(
    diecast: Diecast, store: Store, words: tuple[str, ...], wait_for: int, wait_seconds: int
) -> None:
    assert diecast("deploy", "win11", "PC1", "PC2", "--yes", "--cast", *words).status == 0
    cast = store.casts.get(1)
    assert (cast.wait_for, cast.wait_seconds) == (wait_for, wait_seconds)


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("deploy", "win11", "PC1", "--yes", "--wait-for", "1"), 64, "belong to --cast"),
        (("deploy", "win11", "PC1", "--yes", "--wait-seconds", "0"), 64, "belong to --cast"),
        (("deploy", "win11", "--new", "2", "--cast", "--yes", "--wait-for", "3"), 64, "waits for more PCs than the 2"),
        (("deploy", "win11", "--new", "2", "--cast", "--yes", "--names", "LAB"), 64, "exactly one number"),
        (("deploy", "win11", "--new", "2", "--cast", "--yes", "--wait"), 64, "--wait needs named hosts."),
        (("deploy", "win11", "--new", "2", "--yes", "--wait-for", "2"), 64, "belong to --cast"),
        (("deploy", "win11", "PC1", "--yes", "--cast", "--wait-for", "2"), 64, "waits for more PCs than the 1"),
        (("deploy", "win11", "PC1", "--yes", "--cast", "--wait-for", "0"), 64, "number of PCs"),
        (("cast", "show", "9"), 66, "There is no cast 9."),
        (("cast", "watch", "9"), 66, "There is no cast 9."),
        (("cast", "stop", "9"), 66, "There is no cast 9."),
        (("cast", "limit", "9", "100"), 66, "There is no cast 9."),
        (("cast", "limit", "9", "-1"), 64, "limit --help"),
        (("cast", "begin", "9"), 66, "There is no cast 9."),
        (("cast", "drop", "9", "PC1"), 66, "There is no cast 9."),
    ],
)
def test_what_cannot_be_done_is_one_sentence_with_its_status(
    diecast: Diecast, store: Store, words: tuple[str, ...], status: int, sentence: str
) -> None:
    said = diecast(*words)
    assert (said.status, sentence in said.err) == (status, True), said.err
    assert said.err.count("\n") == 1
    assert store.casts.list() == []
    assert store.tasks.list(active_only=True) == []


def test_new_pcs_are_ordered_by_cast_and_take_part_as_they_come(diecast: Diecast, store: Store) -> None:
    said = diecast("deploy", "win11", "--new", "2", "--names", "LAB1-{nn}", "--cast", "--wait-seconds", "60")
    assert said.out == (
        "Cast 1 sends win11@1 to group 239.192.68.1.\n"
        "Order 1: win11@1 onto the next 2 unknown PCs to boot, from LAB1-01 on. Boot them from the network.\n"
    )
    cast = store.casts.get(1)
    assert (cast.wait_for, cast.wait_seconds) == (2, 60), "it waits for all that are ordered"
    assert store.tasks.adopt(["52:54:00:bb:00:01"]) is not None
    assert "onto the next 1 unknown PC as LAB1-{nn}, by cast 1." in diecast("task", "list").out
    assert diecast("task", "orders").out.splitlines()[1].split()[:7] == ["1", "win11", "LAB1-{nn}", "1", "of", "2", "1"]
    shown = diecast("cast", "show", "1").out
    assert "1 to come, order 1" in shown
    assert "LAB1-01" in shown
    diecast("task", "cancel", "--order", "1")
    assert "to come" not in diecast("cast", "show", "1").out


def test_new_pcs_join_the_cast_of_their_version_that_is_open(diecast: Diecast, store: Store) -> None:
    diecast("deploy", "win11", "PC1", "--yes", "--cast")
    assert "Cast 1 sends" in diecast("deploy", "win11", "--new", "2", "--cast").out
    assert [order.cast_id for order in store.tasks.orders()] == [1]


def test_watching_a_cast_follows_the_new_pcs_that_its_orders_wait_for(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    diecast("deploy", "win11", "--new", "1", "--names", "LAB1-{nn}", "--cast")
    diecast("deploy", "win11", "--new", "1", "--names", "LAB2-{nn}")

    def boot(seconds: float) -> None:
        adopted = store.tasks.adopt(["52:54:00:bb:00:01"])
        if adopted is not None:
            store.tasks.cancel(adopted[1].id)

    monkeypatch.setattr("appliance.cli.watch.time.sleep", boot)
    said = diecast("cast", "watch")
    assert said.status == 130
    assert "onto the next 1 unknown PC as LAB1-{nn}, by cast 1." in said.out
    assert "LAB2" not in said.out
    assert "deploy of LAB1-01: cancelled." in said.out


def test_casts_are_listed_and_shown_without_their_key(diecast: Diecast, store: Store) -> None:
    assert diecast("cast", "list").out == "There has been no cast yet.\n"
    diecast("deploy", "win11", "PC1", "PC2", "--yes", "--cast")
    cast = store.casts.get(1)
    members = store.casts.members(1)
    told = dataclasses.replace(cast, present=2, rate_bytes_s=110e6, sent_bytes=5 * 10**9, parity_bytes=10**6, forged=3)
    store.casts.record(
        [(told, [dataclasses.replace(members[0], written=25, total=100, loss=0.01, status="by multicast")])]
    )
    row = diecast("cast", "list", "--open").out.splitlines()[1]
    assert row.split()[:9] == ["1", "win11", "open", "2", "2", "110", "MB/s", "5.0", "GB"]
    text = diecast("cast", "show", "1").out
    version = store.images.resolve("win11")
    assert f"win11@1, {version.stored_bytes / 1e9:.1f} GB in {version.chunks} chunks" in text
    for part in ("2 PCs there, 110 MB/s", "5.0 GB, of it 1.0 MB for repair", "3 with a wrong MAC", "239.192.68.1"):
        assert part in text
    assert [line.split() for line in text.splitlines() if "PC1" in line] == [
        ["2", "PC1", "waiting", "25", "%", "1.0", "%", "by", "multicast"]
    ]
    for words in (("list",), ("show", "1")):
        printed = diecast("cast", *words, "--json")
        assert cast.key not in printed.out
    data = diecast("cast", "show", "1", "--json").json
    assert (data["present"], data["group"], data["members"][0]["written"]) == (2, "239.192.68.1", 25)


def test_where_multicast_does_not_arrive_the_operator_is_told_what_to_change(diecast: Diecast, store: Store) -> None:
    diecast("deploy", "win11", "PC1", "PC2", "--yes", "--cast")
    cast, (first, second) = store.casts.get(1), store.casts.members(1)
    deaf = dataclasses.replace(first, status="by NFS: multicast does not arrive there")
    store.casts.record([(cast, [deaf, dataclasses.replace(second, status="by multicast")])])
    hint = "Multicast does not arrive at PC1: give the switch an IGMP querier"
    assert hint in diecast("cast", "show", "1").out
    store.casts.record([(dataclasses.replace(cast, broadcast=True), [dataclasses.replace(first, status="silent")])])
    assert "at most PCs: give the switch an IGMP querier" in diecast("cast", "show", "1").out
    store.casts.record([(cast, [dataclasses.replace(first, status="by multicast")])])
    assert "IGMP" not in diecast("cast", "show", "1").out


def test_the_operator_steers_a_cast(diecast: Diecast, store: Store) -> None:
    diecast("deploy", "win11", "PC1", "PC2", "--yes", "--cast", "--wait-for", "2")
    assert diecast("cast", "limit", "1", "200").out == "Cast 1 goes no faster than 200 Mbit/s.\n"
    assert store.casts.get(1).rate_mbit == 200
    assert "the ceiling of all casts, 900 Mbit/s" in diecast("cast", "limit", "1", "0").out
    assert diecast("cast", "begin", "1").status == 0
    assert store.casts.get(1).begun
    assert diecast("cast", "prefer", "1", "pc1").out == "PC1 is served before all others.\n"
    assert diecast("cast", "drop", "1", "PC2").out == "PC2 goes on by NFS.\n"
    assert [(m.preferred, m.dropped) for m in store.casts.members(1)] == [(True, False), (False, True)]
    assert diecast("cast", "drop", "1", "PC2", "--off").out == "PC2 takes part again.\n"
    assert diecast("cast", "drop", "1", "MASTER").status == 66
    assert diecast("cast", "stop", "1").out == "Stopped cast 1; PCs that are not done go on by NFS.\n"
    assert diecast("cast", "stop", "1").status == 75
    assert diecast("cast", "list", "--open").out == "No cast is open.\n"
    assert "ended: stopped by the operator" in diecast("cast", "show", "1").out
    assert store.tasks.for_host(store.hosts.get("PC1").id) is not None, "its task goes on"
    assert any("cast stop" in event.action for event in store.audit.list())


def test_watching_a_cast_ends_with_its_tasks_and_their_status(diecast: Diecast, store: Store) -> None:
    assert diecast("cast", "watch").out == "No cast is open.\n"
    diecast("deploy", "win11", "PC1", "PC2", "--yes", "--cast")
    store.tasks.checked_in(2, "10.20.5.2", MAC1)
    store.tasks.move(2, TaskState.VERIFYING)
    store.tasks.move(2, TaskState.DONE)
    store.tasks.cancel(3)
    said = diecast("cast", "watch", "1")
    assert said.status == 130
    assert "Task 3, deploy of PC2: cancelled." in said.out
    rows = [line.split() for line in diecast("cast", "show", "1").out.splitlines() if "PC" in line]
    assert rows == [["2", "PC1", "done", "100", "%", "0.0", "%", "-"], ["3", "PC2", "cancelled", "-", "0.0", "%", "-"]]


def test_at_a_terminal_the_cast_stands_above_its_pcs(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    diecast("deploy", "win11", "PC1", "PC2", "--yes", "--cast", "--wait-for", "2")
    store.casts.record([(dataclasses.replace(store.casts.get(1), waiting=True, present=1), [])])
    monkeypatch.setattr("appliance.cli.context.Context.is_terminal", property(lambda _: True))

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.cli.watch.time.sleep", interrupt)
    head, first, second = diecast("cast", "watch").out.rstrip("\n").split("\n")[:3]
    assert head.endswith("Cast 1, win11: waits for 2 PCs, or 300 s after the first")
    assert ("PC1" in first, "PC2" in second) == (True, True)
