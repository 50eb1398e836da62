"""capture, deploy, task: from the order to its end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from appliance.cli import watch as watching
from appliance.events import AfterTask, TaskKind, TaskState
from appliance.model import ImageVersion, Task
from appliance.store import Store
from tests.cli.conftest import MAC1, MAC2, Diecast, commit, version

TOO_LONG_S = 30


@pytest.fixture
def two_pcs(store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.hosts.add("PC2", [MAC2])


@pytest.mark.usefixtures("two_pcs")
def test_a_capture_is_ordered_and_says_what_to_do(diecast: Diecast, store: Store) -> None:
    said = diecast("capture", "PC1", "--image", "win11", "--sealed", "--after", "stay")
    assert said.out == "Task 1: capture PC1 as win11, sealed. Boot PC1 from the network.\n"
    task = store.tasks.get(1)
    assert (task.kind, task.sealed, task.after) == (TaskKind.CAPTURE, True, AfterTask.STAY)
    assert store.hosts.get("PC1").sealed
    said = diecast("capture", "PC1", "--image", "lab")
    assert (said.status, "PC1 is busy with task 1 (capture win11, waiting)." in said.err) == (75, True)
    diecast("capture", "--image", "lab", "PC2")
    assert store.tasks.get(2).after is AfterTask.POWEROFF


def test_the_next_unknown_pc_is_captured_once_at_a_time(diecast: Diecast, store: Store) -> None:
    said = diecast("capture", "--next", "--image", "win11")
    assert said.out == "Task 1: capture the next unknown PC as win11. Boot the next unknown PC from the network.\n"
    assert diecast("capture", "--next", "--image", "lab").status == 75
    assert "(next unknown PC)" in diecast("task", "list").out
    assert store.tasks.next_unknown() is not None


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("capture", "--image", "x"), 64, "Name one host, or give --next."),
        (("capture", "PC1", "--next", "--image", "x"), 64, "Name one host, or give --next."),
        (("capture", "PC1"), 64, "required: --image"),
        (("capture", "PC9", "--image", "x"), 66, "There is no host 'PC9'."),
        (("capture", "PC1", "--image", "a/b"), 64, "'a/b' cannot name an image."),
        (("deploy", "win11", "--yes"), 64, "No PC is named."),
        (("deploy", "linux", "PC1", "--yes"), 66, "There is no image 'linux'."),
        (("deploy", "win11@9", "PC1", "--yes"), 66, "Image win11 has no version 9."),
        (("deploy", "win11@x", "PC1", "--yes"), 64, "'win11@x' names no version."),
        (("deploy", "win11", "PC9", "--yes"), 66, "There is no host 'PC9'."),
        (("deploy", "win11", "PC1", "--names", "A{n}"), 64, "--names belongs to --new."),
        (("deploy", "win11", "PC1", "--new", "2"), 64, "Name hosts or give --new, not both."),
        (("deploy", "win11", "--new", "2", "--wait"), 64, "--wait needs named hosts."),
        (("deploy", "win11", "--new", "2", "--names", "LAB"), 64, "needs exactly one number such as {nn}."),
        (("task", "show", "99"), 66, "There is no task 99."),
        (("task", "watch", "99"), 66, "There is no task 99."),
        (("task", "cancel", "99"), 66, "There is no task 99."),
        (("task", "cancel"), 64, "Nothing is named to cancel."),
        (("task", "cancel", "--order", "5"), 66, "No order 5 waits for new PCs."),
    ],
)
@pytest.mark.usefixtures("two_pcs", "win11")
def test_what_cannot_be_done_is_one_sentence_with_its_status(
    diecast: Diecast, store: Store, words: tuple[str, ...], status: int, sentence: str
) -> None:
    before = store.tasks.list()
    said = diecast(*words)
    assert (said.status, said.out) == (status, "")
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert store.tasks.list() == before


@pytest.mark.usefixtures("two_pcs")
def test_a_deploy_names_what_will_be_lost_and_refuses_without_a_yes(
    diecast: Diecast, store: Store, win11: ImageVersion
) -> None:
    disk = {"path": "/dev/sda", "size_bytes": 32_000_000_000, "model": "KINGSTON", "removable": False}
    stick = {"path": "/dev/sdb", "size_bytes": 8_000_000_000, "model": "STICK", "removable": True}
    store.hosts.save_inventory(store.hosts.get("PC1").id, {"disks": [disk, stick]})
    said = diecast("deploy", "win11", "PC1", "PC2", "MASTER")
    assert said.status == 64
    assert "there is no terminal to ask at. Add --yes to go ahead." in said.err
    assert "This overwrites the disks of these 3 PCs with win11@1" in said.out
    rows = [line.split("  ") for line in said.out.splitlines() if line.startswith(("PC", "MASTER"))]
    assert [[cell.strip() for cell in row if cell.strip()] for row in rows] == [
        ["PC1", "/dev/sda 32.0 GB KINGSTON", "unknown"],
        ["PC2", "not known yet", "unknown"],
        ["MASTER", "not known yet", "win11@1"],
    ]
    assert "needs a disk of 64.0 GB, but PC1 has 32.0 GB" in said.err
    assert store.tasks.list(active_only=True) == []


@pytest.mark.usefixtures("two_pcs", "win11")
@pytest.mark.parametrize("named", ["sdb", "/dev/sdb", "S3CR1AL", "STICK"])
def test_the_disk_that_a_host_names_is_the_one_that_is_shown(diecast: Diecast, store: Store, named: str) -> None:
    disk = {"path": "/dev/sda", "size_bytes": 32_000_000_000, "model": "KINGSTON", "removable": False}
    other = {"path": "/dev/sdb", "size_bytes": 8_000_000_000, "model": "STICK", "serial": "S3CR1AL"}
    store.hosts.save_inventory(store.hosts.get("PC1").id, {"disks": [disk, other]})
    store.hosts.edit("PC1", disk=named)
    assert "/dev/sdb 8.0 GB STICK" in diecast("deploy", "win11", "PC1").out


@pytest.mark.usefixtures("two_pcs")
def test_a_deploy_with_yes_is_ordered_for_each_pc_once(diecast: Diecast, store: Store, win11: ImageVersion) -> None:
    commit(store, version("b"))
    said = diecast("deploy", "win11@1", "--yes", "PC1", "PC2", "pc1", "--after", "poweroff")
    assert said.status == 0
    assert "Task 4: deploy win11@1 to PC2. Boot it from the network." in said.out
    tasks = store.tasks.list(active_only=True)
    assert [(task.host_name, task.version_id, str(task.after)) for task in tasks] == [
        ("PC2", win11.id, "poweroff"),
        ("PC1", win11.id, "poweroff"),
    ]


@pytest.mark.usefixtures("two_pcs", "win11")
def test_one_pc_that_is_busy_or_sealed_stops_the_whole_deploy(diecast: Diecast, store: Store) -> None:
    diecast("capture", "PC2", "--image", "lab")
    said = diecast("deploy", "win11", "PC1", "PC2", "--yes")
    assert (said.status, "PC2 is busy with task 2 (capture lab, waiting)." in said.err) == (75, True)
    diecast("host", "edit", "MASTER", "--sealed")
    said = diecast("deploy", "win11", "PC1", "MASTER", "--yes")
    assert (said.status, "MASTER is sealed" in said.err) == (75, True)
    assert store.tasks.for_host(store.hosts.get("PC1").id) is None


@pytest.mark.parametrize(
    ("answer", "status"), [("y", 0), ("YES ", 0), ("", 130), ("n", 130), ("yesterday", 130), (None, 130)]
)
@pytest.mark.usefixtures("two_pcs", "win11")
def test_only_a_yes_at_the_terminal_goes_on(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch, answer: str | None, status: int
) -> None:
    def answers(question: str) -> str:
        assert question == "Go on? [y/N] "
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("appliance.cli.context.Context.can_ask", property(lambda _: True))
    monkeypatch.setattr("builtins.input", answers)
    assert diecast("deploy", "win11", "PC1").status == status
    assert len(store.tasks.list(active_only=True)) == (status == 0)


@pytest.mark.usefixtures("win11")
def test_an_order_for_new_pcs_is_given_listed_and_cancelled(diecast: Diecast, store: Store) -> None:
    said = diecast("deploy", "win11", "--new", "2", "--names", "LAB1-{nn}")
    assert said.out == (
        "Order 1: win11@1 onto the next 2 unknown PCs to boot, from LAB1-01 on. Boot them from the network.\n"
    )
    assert store.tasks.adopt([MAC1]) is not None
    assert "Order 1: win11 onto the next 1 unknown PC as LAB1-{nn}." in diecast("task", "list").out
    assert "1 of 2" in diecast("task", "orders").out
    assert diecast("task", "orders", "--json").json[0]["taken"] == 1
    said = diecast("image", "remove", "win11@1", "--yes")
    assert said.status == 75
    assert diecast("task", "cancel", "2", "--order", "1").out.endswith("tasks it has made go on.\n")
    assert diecast("task", "orders").out == "No order waits for new PCs.\n"


@pytest.mark.usefixtures("win11")
def test_an_order_without_a_pattern_takes_the_settings(diecast: Diecast, store: Store) -> None:
    assert "from PC-001 on" in diecast("deploy", "win11", "--new", "1").out
    assert store.tasks.orders()[0].pattern == "PC-{nnn}"


@pytest.mark.usefixtures("two_pcs", "win11")
def test_tasks_are_listed_newest_first_within_80_columns(diecast: Diecast, store: Store) -> None:
    diecast("deploy", "win11", "PC1", "--yes")
    store.tasks.checked_in(2, "10.20.5.2", MAC1)
    store.tasks.progress(2, "restore", 50, 200, 10.0)
    rows = diecast("task", "list").out.splitlines()
    assert rows[0].split() == ["ID", "KIND", "HOST", "IMAGE", "STATE", "DONE", "SINCE"]
    assert rows[1].split()[:7] == ["2", "deploy", "PC1", "win11@1", "running", "25", "%"]
    assert rows[2].split()[:6] == ["1", "capture", "MASTER", "win11@1", "done", "-"]
    assert max(map(len, rows)) <= 80
    assert len(diecast("task", "list", "--open").out.splitlines()) == 2
    assert [task["id"] for task in diecast("task", "list", "--json").json] == [2, 1]


@pytest.mark.usefixtures("two_pcs")
def test_a_failed_task_is_shown_with_why_what_to_do_and_the_agents_log(diecast: Diecast, store: Store) -> None:
    diecast("capture", "PC1", "--image", "win11")
    store.tasks.checked_in(1, "10.20.5.2", MAC1)
    store.tasks.add_log(1, ["reading /dev/sda", "\x1b[2Jbroken"])
    store.tasks.move(1, TaskState.FAILED, error="The disk cannot be read.", remedy="Replace it.")
    text = diecast("task", "show", "1").out
    for part in ("State:      failed", "Error:      The disk cannot be read.", "Remedy:     Replace it."):
        assert part in text.splitlines()
    assert "  reading /dev/sda\n" in text
    assert "\x1b" not in text
    data = diecast("task", "show", "1", "--json").json
    assert [event["state"] for event in data["events"]] == ["waiting", "running", "failed"]
    assert data["log"][0] == "reading /dev/sda"


# -- watching ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_the_background(config: Path) -> Callable[[Callable[[Store], None]], threading.Thread]:
    """Play the agent's part in a thread, on a store of its own, while the command line watches."""

    def start(story: Callable[[Store], None]) -> threading.Thread:
        def run() -> None:
            with Store.open(config.parent / "state" / "diecast.sqlite") as own:
                story(own)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    return start


class Looks:
    """What the watching command line has shown last."""

    def __init__(self) -> None:
        self.tasks: dict[int, Task] = {}
        self.waiting: list[str] = []
        self._looked = threading.Condition()

    def note(self, tasks: Sequence[Task], waiting: Sequence[str]) -> None:
        with self._looked:
            self.tasks, self.waiting = {task.id: task for task in tasks}, list(waiting)
            self._looked.notify_all()

    def until(self, shown: Callable[[Looks], object]) -> None:
        with self._looked:
            assert self._looked.wait_for(lambda: shown(self), TOO_LONG_S), "the command line did not show it"

    def at_what_is(self, store: Store, task_id: int) -> None:
        """Wait until the task was shown as it is now in the store."""
        task = store.tasks.get(task_id)
        self.until(lambda looks: looks.tasks.get(task_id) == task)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    noted, show = Looks(), watching._PlainLines.show

    def shown(lines: watching._PlainLines, tasks: Sequence[Task], waiting: Sequence[str]) -> None:
        show(lines, tasks, waiting)
        noted.note(tasks, waiting)

    monkeypatch.setattr(watching._PlainLines, "show", shown)
    monkeypatch.setattr(watching, "_POLL_S", 0.01)
    return noted


def newest(store: Store) -> Task:
    """Wait for the task that the command line is about to order."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := store.tasks.list(active_only=True):
            return found[0]
        time.sleep(0.02)
    raise AssertionError("no task was ordered")


@pytest.mark.usefixtures("two_pcs")
def test_a_capture_waited_for_shows_each_tenth_and_ends_with_its_status(
    diecast: Diecast,
    looks: Looks,
    in_the_background: Callable[[Callable[[Store], None]], threading.Thread],
) -> None:

    def story(store: Store) -> None:
        task = newest(store)
        looks.at_what_is(store, task.id)
        store.tasks.checked_in(task.id, "10.20.5.2", MAC1)
        for percent in range(0, 101, 25):
            store.tasks.progress(task.id, "capture", percent * 1_000_000, 100_000_000, 25_000_000.0)
            looks.at_what_is(store, task.id)
        store.tasks.move(task.id, TaskState.VERIFYING)
        looks.at_what_is(store, task.id)
        store.images.commit(task.id, version())

    thread = in_the_background(story)
    said = diecast("capture", "PC1", "--image", "win11", "--wait")
    thread.join()
    assert said.status == 0
    lines = said.out.splitlines()
    assert "PC1: waits for the PC to boot from the network" in lines
    assert "PC1: capture 50 %, 25.0 MB/s, 0:02 left" in lines
    assert "PC1: the box is verifying" in lines
    assert lines[-1].startswith("Task 1, capture of PC1, is done in 0:0")
    assert lines[-1].endswith(": win11@1.")


@pytest.mark.parametrize(
    ("end", "status", "sentence"),
    [
        (TaskState.FAILED, 1, "Task 2, deploy of PC1, failed: The disk is too small. Use a larger one."),
        (TaskState.CANCELLED, 130, "Task 2, deploy of PC1: cancelled."),
    ],
)
@pytest.mark.usefixtures("two_pcs", "win11")
def test_a_deploy_that_did_not_succeed_ends_with_its_status(
    diecast: Diecast, store: Store, end: TaskState, status: int, sentence: str
) -> None:
    diecast("deploy", "win11", "PC1", "PC2", "--yes")
    store.tasks.move(
        2, end, error="The disk is too small." if end is TaskState.FAILED else "", remedy="Use a larger one."
    )
    store.tasks.checked_in(3, "10.20.5.2", MAC2)
    store.tasks.move(3, TaskState.VERIFYING)
    store.tasks.move(3, TaskState.DONE)
    said = diecast("task", "watch", "3", "2")
    assert said.status == status
    assert sentence in said.out.splitlines()
    assert diecast("task", "watch", "3").status == 0
    assert diecast("task", "watch").out == "No task is open.\n"


@pytest.mark.usefixtures("win11")
def test_watching_everything_takes_in_what_standing_orders_make(
    diecast: Diecast,
    looks: Looks,
    in_the_background: Callable[[Callable[[Store], None]], threading.Thread],
) -> None:
    diecast("deploy", "win11", "--new", "2", "--names", "LAB1-{nn}")

    def story(store: Store) -> None:
        looks.until(lambda shown: shown.waiting)
        for mac in (MAC1, MAC2):
            adopted = store.tasks.adopt([mac])
            assert adopted is not None
            task = adopted[1]
            looks.at_what_is(store, task.id)
            store.tasks.checked_in(task.id, "10.20.5.2", mac)
            store.tasks.move(task.id, TaskState.VERIFYING)
            store.tasks.move(task.id, TaskState.DONE)

    thread = in_the_background(story)
    said = diecast("task", "watch")
    thread.join()
    assert said.status == 0
    lines = said.out.splitlines()
    assert lines[0] == "Order 1: win11 onto the next 2 unknown PCs as LAB1-{nn}."
    assert lines[-2].startswith("Task 2, deploy of LAB1-01, is done in 0:0")
    assert lines[-1].startswith("Task 3, deploy of LAB1-02, is done in 0:0")


def test_more_tasks_than_lines_are_drawn_as_a_number() -> None:
    lines = [str(number) for number in range(40)]
    assert watching._fitting(lines, 25) == [*lines[:22], "... and 18 more"]
    assert watching._fitting(lines[:23], 25) == lines[:23]


@pytest.mark.usefixtures("two_pcs")
def test_interrupting_a_watch_leaves_the_task_alone(
    diecast: Diecast, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    diecast("capture", "PC1", "--image", "win11")

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.cli.watch.time.sleep", interrupt)
    said = diecast("task", "watch", "1")
    assert said.status == 130
    assert "the work goes on. Watch again: diecast task watch 1" in said.err
    assert store.tasks.get(1).state is TaskState.WAITING


def test_a_bar_line_fits_80_columns_at_every_stage(store: Store) -> None:
    host = store.hosts.add("a-host-with-a-long-name-indeed", [MAC1])
    task = store.tasks.capture(host, "win11")
    assert (
        watching.bar_line(task)
        == "a-host-with-a- [--------------------]        waits for the PC to boot from the network"
    )
    store.tasks.checked_in(task.id, "10.20.5.2", MAC1)
    running = store.tasks.progress(task.id, "capture", 42_000_000_000, 100_000_000_000, 118_000_000.0)
    assert watching.bar_line(running) == "a-host-with-a- [########------------]  42 %  118 MB/s    8:12 left  capture"
    slow = store.tasks.progress(task.id, "capture", 1, 9_000_000_000_000, 1_000_000.0)
    assert len(watching.bar_line(slow)) < 80
