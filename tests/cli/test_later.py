"""Tasks that start later, are woken, are held until they are confirmed, or are ordered again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from appliance.cli import show
from appliance.events import TaskState
from appliance.model import ImageVersion
from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, Diecast

UUID1 = UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab")
TOMORROW = (datetime.now() + timedelta(days=1)).strftime("%Y-%m-%d") + " 12:30"


@pytest.fixture
def two_pcs(store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.hosts.add("PC2", [MAC2])


def order(diecast: Diecast, *words: str) -> None:
    said = diecast("deploy", "win11", "--new", "2", "--names", "LAB1-{nn}", *words)
    assert said.status == 0, said.err


def adopt(store: Store, mac: str) -> int:
    adopted = store.tasks.adopt([mac])
    assert adopted is not None
    return adopted[1].id


@pytest.mark.usefixtures("two_pcs", "win11")
def test_a_deploy_may_begin_later_and_be_begun_at_once(diecast: Diecast, store: Store) -> None:
    said = diecast("deploy", "win11", "PC1", "--yes", "--at", TOMORROW, "--wake")
    assert said.out.splitlines()[-1] == f"Task 2: deploy win11@1 to PC1. The box wakes it at {TOMORROW}."
    task = store.tasks.get(2)
    assert (task.state, task.wake, show.moment(task.start_at)) == (TaskState.SCHEDULED, True, TOMORROW)
    assert store.hosts.to_wake() == []
    assert diecast("task", "show", "2").out.count(TOMORROW) >= 2
    assert diecast("task", "start", "2").out == "Task 2 starts now. The box wakes PC1.\n"
    assert store.tasks.get(2).state is TaskState.WAITING
    assert [call.host_name for call in store.hosts.to_wake()] == ["PC1"]
    assert diecast("task", "start", "2").status == 75


@pytest.mark.usefixtures("two_pcs")
def test_a_capture_may_begin_later_and_wake_its_pc(diecast: Diecast, store: Store) -> None:
    said = diecast("capture", "PC1", "--image", "win11", "--at", TOMORROW)
    assert said.out.endswith(f"Boot PC1 from the network after {TOMORROW}.\n")
    said = diecast("capture", "PC2", "--image", "lab", "--wake")
    assert said.out == "Task 2: capture PC2 as lab. The box wakes PC2.\n"
    assert [call.host_name for call in store.hosts.to_wake()] == ["PC2"]
    rows = [line.split() for line in diecast("task", "list").out.splitlines()]
    assert [row[4] for row in rows] == ["STATE", "waiting", "scheduled"]


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("deploy", "win11", "PC1", "--yes", "--at", "soon"), 64, "'soon' is no time."),
        (("deploy", "win11", "PC1", "--yes", "--at", "2020-01-01 12:00"), 64, "2020-01-01 12:00 is over."),
        (("deploy", "win11", "PC1", "PC3", "--yes", "--wake"), 64, "PC3 has no MAC and cannot be woken."),
        (("deploy", "win11", "PC1", "--yes", "--minutes", "5"), 64, "--minutes belongs to --new."),
        (("deploy", "win11", "PC1", "--yes", "--hold"), 64, "--hold belongs to --new."),
        (("deploy", "win11", "--new", "2", "--at", "22:00"), 64, "--at needs named hosts."),
        (("deploy", "win11", "--new", "2", "--wake"), 64, "--wake needs named hosts."),
        (("deploy", "win11", "--new", "2", "--minutes", "0"), 64, "invalid number of minutes value: '0'"),
        (("deploy", "win11", "--new", "2", "--room", "X"), 66, "There is no room 'X'."),
        (("deploy", "win11", "--room", "X", "--yes"), 66, "There is no room 'X'."),
        (("capture", "--next", "--image", "x", "--wake"), 64, "The next unknown PC can be neither woken"),
        (("capture", "--next", "--image", "x", "--at", "22:00"), 64, "The next unknown PC can be neither woken"),
        (("task", "start", "1"), 75, "Task 1 is done and cannot become waiting."),
        (("task", "retry", "99"), 66, "There is no task 99."),
        (("task", "release", "7"), 66, "There is no order 7."),
        (("task", "dismiss", "7"), 66, "There is no order 7."),
    ],
)
@pytest.mark.usefixtures("two_pcs", "win11")
def test_what_cannot_be_is_one_sentence_and_orders_nothing(
    diecast: Diecast, store: Store, words: tuple[str, ...], status: int, sentence: str
) -> None:
    store.hosts.add("PC3", [], uuid=UUID1)
    before = store.tasks.list()
    said = diecast(*words)
    assert (said.status, said.out) == (status, ""), said.err
    assert sentence in said.err
    assert store.tasks.list() == before
    assert store.tasks.orders() == []


@pytest.mark.usefixtures("two_pcs")
def test_a_task_that_has_ended_is_ordered_again(diecast: Diecast, store: Store, win11: ImageVersion) -> None:
    diecast("deploy", "win11", "PC1", "--yes", "--after", "poweroff")
    said = diecast("task", "retry", "2")
    assert (said.status, "Task 2 has not ended" in said.err) == (75, True)
    store.tasks.checked_in(2, "10.20.5.2", MAC1)
    store.tasks.move(2, TaskState.FAILED, error="The disk is too small.", remedy="Use a larger one.")
    said = diecast("task", "retry", "2")
    assert said.out == "Task 3: deploy win11@1, PC1, as task 2 before. Boot PC1 from the network.\n"
    task = store.tasks.get(3)
    assert (task.version_id, str(task.after), task.host_name) == (win11.id, "poweroff", "PC1")


@pytest.mark.usefixtures("win11")
def test_held_pcs_wait_until_they_are_confirmed(diecast: Diecast, store: Store) -> None:
    store.rooms.add("B204")
    said = diecast(
        "deploy", "win11", "--new", "2", "--names", "LAB1-{nn}", "--minutes", "30", "--hold", "--room", "b204"
    )
    (found,) = store.tasks.orders()
    assert found.until is not None
    assert abs(found.until - datetime.now(UTC) - timedelta(minutes=30)) < timedelta(minutes=2)
    assert (found.hold, found.room) == (True, "B204")
    until = show.moment(found.until)
    assert said.out.splitlines() == [
        f"Order 1: win11@1 onto the next 2 unknown PCs to boot until {until}, from LAB1-01 on, into room B204. "
        "Boot them from the network.",
        "They wait until you confirm them: diecast task release 1",
    ]
    assert diecast("task", "release", "1").out == "No new PC of order 1 waits to be confirmed.\n"
    first, second = adopt(store, MAC1), adopt(store, MAC2)
    listed = diecast("task", "list").out
    assert [line.split()[4] for line in listed.splitlines()[1:3]] == ["held", "held"]
    assert "Order 1: 2 new PCs wait to be confirmed (diecast task release 1)" in listed
    assert "waits until it is confirmed" in diecast("task", "show", str(first)).out
    row = diecast("task", "orders").out.splitlines()[1].split()
    assert row[:7] == ["1", "win11", "LAB1-{nn}", "2", "of", "2", "-"], (
        "it takes no more PCs, and is shown all the same"
    )
    assert row[7] == "2"
    assert diecast("task", "orders", "--json").json[0]["held"] == 2
    said = diecast("task", "start", str(first))
    assert (said.status, "Confirm them: diecast task release 1" in said.err) == (75, True)
    assert diecast("task", "release", "1").out.startswith("Confirmed 2 PCs of order 1: LAB1-01, LAB1-02.")
    assert {store.tasks.get(number).state for number in (first, second)} == {TaskState.WAITING}
    assert store.hosts.get("LAB1-01").room == "B204"
    assert diecast("task", "orders").out == "No order waits for new PCs.\n"


@pytest.mark.usefixtures("win11")
def test_held_pcs_that_are_the_wrong_ones_are_sent_away(diecast: Diecast, store: Store) -> None:
    order(diecast, "--hold")
    number = adopt(store, MAC1)
    assert diecast("task", "dismiss", "1").out.startswith("Sent 1 PC of order 1 away: LAB1-01.")
    assert store.tasks.get(number).state is TaskState.CANCELLED
    assert store.hosts.get("LAB1-01").macs == (MAC1,)
    assert diecast("task", "dismiss", "1").out == "No new PC of order 1 waits to be confirmed.\n"


@pytest.mark.usefixtures("win11")
def test_an_order_says_where_and_until_when(diecast: Diecast, store: Store) -> None:
    store.rooms.add("B204")
    order(diecast, "--minutes", "10", "--room", "B204")
    (found,) = store.tasks.orders()
    line = diecast("task", "list").out.splitlines()[-1]
    assert line == (
        f"Order 1: win11 onto the next 2 unknown PCs as LAB1-{{nn}} into room B204, until {show.moment(found.until)}."
    )
    assert max(map(len, diecast("task", "orders").out.splitlines())) <= 100
