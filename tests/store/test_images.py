"""Images and versions in the store, and the commit of a capture."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from appliance.errors import Conflict, NotFound, UsageError
from appliance.events import TaskState
from appliance.model import Host, ImageVersion, Task
from appliance.store import IllegalMove, Store
from tests.store.conftest import make_version

Captured = Callable[..., ImageVersion]


def verifying_capture(store: Store, host: Host, image: str = "win11", *, sealed: bool = False) -> Task:
    task = store.tasks.capture(host, image, sealed=sealed)
    store.tasks.checked_in(task.id, "10.0.0.9", host.macs[0])
    return store.tasks.move(task.id, TaskState.VERIFYING)


def test_a_commit_makes_the_version_ends_the_task_and_unseals_the_host_at_once(store: Store, pc1: Host) -> None:
    task = verifying_capture(store, pc1, sealed=True)
    assert store.hosts.get("PC1").sealed
    done = store.images.commit(task.id, make_version("a"))
    assert (done.state, done.version_id) == (TaskState.DONE, "a" * 64)
    version = store.images.resolve("win11")
    assert (version.number, version.task_id, version.master_name, version.sealed) == (1, task.id, "PC1", True)
    assert (version.used_bytes, version.chunks) == (20 << 30, 20480)
    host = store.hosts.get("PC1")
    assert (host.sealed, host.version_id) == (False, "a" * 64)
    assert store.images.live_version_ids() == {"a" * 64}


def test_a_commit_repeated_after_a_crash_adds_nothing(store: Store, pc1: Host) -> None:
    task = verifying_capture(store, pc1)
    first = store.images.commit(task.id, make_version("a"))
    assert store.images.commit(task.id, make_version("a")) == first
    assert len(store.images.versions()) == 1


def test_a_capture_of_the_same_content_keeps_the_version_and_says_so(store: Store, pc1: Host) -> None:
    store.images.commit(verifying_capture(store, pc1).id, make_version("a"))
    again = verifying_capture(store, pc1)
    assert store.images.commit(again.id, make_version("a")).state is TaskState.DONE
    assert [version.number for version in store.images.versions("win11")] == [1]
    assert store.tasks.events(again.id)[-1].text == "the content equals win11@1: no new version"


def test_the_same_content_under_two_names_is_two_versions_and_goes_separately(store: Store, captured: Captured) -> None:
    captured("a", "win11")
    captured("a", "lab")
    store.images.remove_version("a" * 64, image_name="lab")
    assert [(version.image_name, version.number) for version in store.images.versions()] == [("win11", 1)]
    assert store.images.live_version_ids() == {"a" * 64}


@pytest.mark.parametrize("state", [TaskState.WAITING, TaskState.RUNNING, TaskState.CANCELLED])
def test_only_a_verifying_task_commits_and_a_refusal_leaves_no_version(
    store: Store, pc1: Host, state: TaskState
) -> None:
    task = store.tasks.capture(pc1, "win11")
    if state is not TaskState.WAITING:
        store.tasks.move(task.id, state)
    with pytest.raises(IllegalMove, match=f"is {state} and cannot become done"):
        store.images.commit(task.id, make_version("a"))
    assert store.images.list() == []
    assert store.images.live_version_ids() == set()


def test_a_deploy_task_commits_nothing(store: Store, pc1: Host, captured: Captured) -> None:
    task = store.tasks.deploy(pc1, captured("a"))
    with pytest.raises(Conflict, match="makes no version"):
        store.images.commit(task.id, make_version("b"))


def test_versions_are_numbered_up_and_a_number_is_never_used_twice(store: Store, captured: Captured) -> None:
    captured("a")
    captured("b")
    store.images.remove_version("b" * 64)
    captured("c")
    assert [(version.number, version.id[0]) for version in store.images.versions("WIN11")] == [(3, "c"), (1, "a")]


def test_a_version_is_named_by_image_or_image_and_number(store: Store, captured: Captured) -> None:
    captured("a")
    newest = captured("b")
    assert store.images.resolve("win11") == newest == store.images.version("b" * 64)
    assert store.images.resolve("WIN11@1").id == "a" * 64
    with pytest.raises(NotFound, match=r"no version 7\. It has: 1, 2"):
        store.images.resolve("win11@7")
    with pytest.raises(NotFound, match="no image 'linux'"):
        store.images.resolve("linux@1")
    for text in ("win11@", "win11@x", "win11@-1", "win11@²"):
        with pytest.raises(UsageError, match="names no version"):
            store.images.resolve(text)
    with pytest.raises(NotFound, match="no version cccc"):
        store.images.version("c" * 64)


def test_an_image_left_without_versions_says_so(store: Store, captured: Captured) -> None:
    store.images.remove_version(captured("a").id)
    assert store.images.get("win11").name == "win11"
    with pytest.raises(NotFound, match="Image win11 has no version"):
        store.images.resolve("win11")


def test_an_image_keeps_its_first_spelling(store: Store, captured: Captured, pc1: Host) -> None:
    captured("a", "Win11")
    assert store.tasks.capture(pc1, "WIN11").image_name == "Win11"


def test_a_version_that_a_task_deploys_stays(store: Store, pc1: Host, captured: Captured) -> None:
    version = captured("a")
    task = store.tasks.deploy(pc1, version)
    with pytest.raises(Conflict, match=rf"Task {task.id} is deploying it to PC1"):
        store.images.remove_version(version.id)
    with pytest.raises(Conflict, match="deploying"):
        store.images.remove("win11")
    store.tasks.cancel(task.id)
    store.images.remove("win11")
    assert store.images.list() == []
    assert store.images.live_version_ids() == set()


def test_a_version_that_an_order_waits_to_deploy_stays(store: Store, captured: Captured) -> None:
    version = captured("a")
    order = store.tasks.order_new_pcs(version, 2, "LAB-{nn}")
    with pytest.raises(Conflict, match=rf"Order {order.id} still waits to deploy it to 2 new PCs"):
        store.images.remove_version(version.id)
    store.tasks.cancel_order(order.id)
    store.images.remove_version(version.id)


def test_an_image_that_is_being_captured_into_stays(store: Store, pc1: Host, captured: Captured) -> None:
    captured("a")
    store.tasks.capture(pc1, "win11")
    with pytest.raises(Conflict, match="is capturing into image win11"):
        store.images.remove("win11")


def test_removing_what_is_not_there_says_so(store: Store) -> None:
    with pytest.raises(NotFound, match="no image 'x'"):
        store.images.remove("x")
    with pytest.raises(NotFound, match="no version"):
        store.images.remove_version("d" * 64)


def test_an_image_and_each_of_its_versions_have_notes_of_their_own(
    store: Store, captured: Callable[..., ImageVersion]
) -> None:
    captured("a")
    captured("b")
    assert store.images.set_notes("WIN11", "for room B").notes == "for room B"
    assert store.images.set_version_notes("win11@1", "without printer").notes == "without printer"
    assert [version.notes for version in store.images.versions("win11")] == ["", "without printer"]
    assert store.images.get("win11").notes == "for room B"
    with pytest.raises(NotFound, match="no version 3"):
        store.images.set_version_notes("win11@3", "x")
    with pytest.raises(NotFound, match="no image 'lab'"):
        store.images.set_notes("lab", "x")
