"""The read model: one message at a time, unchanged parts the same, trouble in words."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from appliance.errors import Unavailable
from appliance.store import Store
from appliance.tui.readmodel import ReadModel
from appliance.tui.snapshot import Gauges
from tests.tui.kit import GAUGES, NOON, deploy


def model_of(path: Path, told: list[int] | None = None) -> ReadModel:
    messages = [] if told is None else told
    return ReadModel(lambda: Store.open(path), lambda: messages.append(1), measure=lambda: GAUGES, clock=lambda: NOON)


def test_the_first_look_shows_everything(store: Store) -> None:
    model = model_of(store.path)
    model.look()
    snapshot = model.latest
    assert snapshot.loaded
    assert snapshot.at == NOON
    assert list(snapshot.hosts) == store.hosts.list()
    assert list(snapshot.open_tasks) == store.tasks.list(active_only=True)
    assert snapshot.gauges is GAUGES
    assert snapshot.host_by_id[snapshot.hosts[0].id] is snapshot.hosts[0]
    assert {task.host_id for task in snapshot.open_tasks} == set(snapshot.task_of_host)
    (cast_id,) = snapshot.members
    assert list(snapshot.members[cast_id]) == store.casts.members(cast_id)
    model.stop()


def test_nothing_is_said_while_nothing_changes(store: Store) -> None:
    told: list[int] = []
    model = model_of(store.path, told)
    for _look in range(5):
        model.look()
        model.take()
    assert told == [1]
    model.stop()


def test_one_message_waits_at_most_however_often_the_store_changes(store: Store) -> None:
    told: list[int] = []
    model = model_of(store.path, told)
    for number in range(5):
        store.hosts.edit("lab-01", notes=str(number))
        model.look()
    assert told == [1]
    assert model.take().host_by_id[store.hosts.get("lab-01").id].notes == "4"
    store.hosts.edit("lab-01", notes="again")
    model.look()
    assert told == [1, 1]
    model.stop()


def test_a_change_of_one_host_leaves_every_other_object(store: Store) -> None:
    model = model_of(store.path)
    model.look()
    before = model.latest
    store.hosts.edit("lab-05", notes="new")
    model.look()
    after = model.latest
    changed = [new.name for old, new in zip(before.hosts, after.hosts, strict=True) if old is not new]
    assert changed == ["lab-05"]
    assert after.open_tasks is before.open_tasks
    assert after.members is before.members
    assert after.version_by_id is before.version_by_id
    model.stop()


def test_progress_makes_new_tasks_and_no_new_hosts(store: Store) -> None:
    model = model_of(store.path)
    model.look()
    before = model.latest
    task = next(task for task in before.open_tasks if task.done_bytes)
    store.tasks.progress(task.id, "writing windows", task.done_bytes + 1, task.total_bytes, 1e6)
    model.look()
    assert model.latest.hosts is before.hosts
    assert model.latest.open_tasks is not before.open_tasks
    model.stop()


def test_gauges_alone_make_a_new_snapshot(store: Store) -> None:
    gauges = [Gauges()]
    model = ReadModel(lambda: Store.open(store.path), lambda: None, measure=lambda: gauges[0], clock=lambda: NOON)
    model.look()
    before = model.latest
    gauges[0] = GAUGES
    model.look()
    assert model.latest.gauges is GAUGES
    assert model.latest.hosts is before.hosts
    model.stop()


def test_a_store_that_cannot_be_opened_is_trouble_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "diecast.sqlite"
    path.write_text("this is no database " * 100)
    model = model_of(path)
    model.look()
    assert model.latest.trouble is not None
    assert "not an SQLite database" in model.latest.trouble.message
    assert not model.latest.loaded
    with pytest.raises(Unavailable, match="not an SQLite database"):
        model.store  # noqa: B018
    path.unlink()
    model.look()
    again = model.latest
    assert again.trouble is None
    assert again.loaded
    model.stop()


def test_a_store_of_a_newer_program_is_trouble_with_a_remedy(store: Store) -> None:
    raw = sqlite3.connect(store.path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    model = model_of(store.path)
    model.look()
    assert model.latest.trouble is not None
    assert "newer" in model.latest.trouble.message
    model.stop()


def test_a_store_that_vanishes_leaves_the_last_picture(store: Store) -> None:
    model = model_of(store.path)
    model.look()
    hosts = model.latest.hosts
    kept = store.path.rename(store.path.with_suffix(".away"))
    model.look()
    assert model.latest.trouble is not None
    assert "is gone" in model.latest.trouble.message
    with pytest.raises(Unavailable, match="is gone"):  # what is written into a file that has no name is lost
        _ = model.store
    assert model.latest.hosts is hosts
    assert not store.path.exists(), "a new store must not be made in its place"
    kept.rename(store.path)
    model.look()
    again = model.latest
    assert again.trouble is None
    model.stop()


def test_another_file_in_its_place_is_taken(store: Store, tmp_path: Path) -> None:
    model = model_of(store.path)
    model.look()
    store.close()
    for name in ("", "-wal", "-shm"):
        store.path.with_name(store.path.name + name).unlink(missing_ok=True)
    with Store.open(store.path) as fresh:
        fresh.hosts.add("only-one", ["52:54:00:aa:09:01"])
        model.look()
        model.look()
        assert [host.name for host in model.latest.hosts] == ["only-one"]
    model.stop()


def test_its_thread_sees_what_another_process_writes(store: Store) -> None:
    seen = threading.Event()
    model = ReadModel(lambda: Store.open(store.path), seen.set, measure=lambda: GAUGES)
    model.start()
    assert seen.wait(10)
    model.take()
    seen.clear()
    deploy(store, "lab-20", "ubuntu-dev")
    assert seen.wait(10)
    assert any(task.host_name == "lab-20" for task in model.latest.open_tasks)
    model.stop()
