"""Databases of earlier schemas, newer ones, foreign and damaged ones."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from appliance.errors import ApplianceError, NoSpace, Unavailable
from appliance.events import TaskState
from appliance.store import Store, database, migrations
from appliance.store.statements import execute
from tests.store.make_fixture import TESTDATA, dump, fill

FIXTURES = sorted(TESTDATA.glob("store-schema-*.sql"))
BEFORE_ORDERS_BY_CAST = FIXTURES[:2]


def test_every_schema_has_its_fixture() -> None:
    assert [fixture.name for fixture in FIXTURES] == [
        f"store-schema-{number}.sql" for number in range(1, len(migrations.MIGRATIONS) + 1)
    ]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda fixture: fixture.stem)
def test_a_store_of_every_earlier_schema_opens_with_what_was_in_it(fixture: Path, path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(fixture.read_text(encoding="utf-8"))
    with Store.open(path) as store:
        assert [host.name for host in store.hosts.list()] == ["LAB1-01", "MASTER"]
        assert store.hosts.get("MASTER").macs == ("52:54:00:aa:01:01", "52:54:00:aa:01:02")
        assert store.images.resolve("win11").id == "a" * 64
        assert [task.state for task in store.tasks.list()] == [TaskState.WAITING, TaskState.FAILED, TaskState.DONE]
        assert store.tasks.log(1) == "reading /dev/sda\ndone\n"
        assert [event.state for event in store.tasks.events(1)][-1] is TaskState.DONE
        assert [order.pattern for order in store.tasks.orders()] == ["LAB1-{nn}"]
        assert [order.cast_id for order in store.tasks.orders()] == [None if fixture in BEFORE_ORDERS_BY_CAST else 1]
        assert len(store.leases.all()) == len(store.leases.reservations()) == 1
        assert store.hosts.sightings()[0].arch == 11
        assert store.settings.get("key") == "value"
        # ... and it can be worked with.
        task = store.tasks.list()[0]
        store.tasks.checked_in(task.id, "10.20.5.2", "52:54:00:aa:02:01")
        assert store.tasks.adopt(["52:54:00:00:00:99"]) is not None


def test_a_migrated_store_has_the_schema_of_a_new_one(tmp_path: Path) -> None:
    new = tmp_path / "new.sqlite"
    Store.open(new).close()
    expected = _schema(new)
    for fixture in FIXTURES:
        old = tmp_path / f"{fixture.stem}.sqlite"
        with closing(sqlite3.connect(old)) as connection:
            connection.executescript(fixture.read_text(encoding="utf-8"))
        Store.open(old).close()
        assert _schema(old) == expected


def _schema(path: Path) -> set[tuple[str, str]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    return {(name, " ".join(text.replace('"', "").split())) for name, text in rows}


def test_a_later_migration_is_applied_once_and_keeps_the_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store.open(path) as store:
        fill(store)
    later = (*migrations.MIGRATIONS, ("ALTER TABLE host ADD COLUMN room TEXT NOT NULL DEFAULT 'unknown'",))
    monkeypatch.setattr(migrations.migrate, "__defaults__", (later,))
    for _ in range(2):
        with Store.open(path) as store:
            assert len(store.hosts.list()) == 2
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT DISTINCT room FROM host").fetchall() == [("unknown",)]
        assert connection.execute("PRAGMA user_version").fetchone() == (len(later),)


def test_a_migration_that_fails_half_way_leaves_the_old_schema(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(path).close()
    before = dump(path)
    broken = (*migrations.MIGRATIONS, ("ALTER TABLE host ADD COLUMN room TEXT", "ALTER TABLE nothing ADD COLUMN x"))
    with monkeypatch.context() as patch:
        patch.setattr(migrations.migrate, "__defaults__", (broken,))
        with pytest.raises(Unavailable, match="nothing"):
            Store.open(path)
    assert dump(path) == before
    Store.open(path).close()


def test_a_store_of_a_newer_diecast_is_refused_in_words(path: Path) -> None:
    Store.open(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 999")
    with pytest.raises(Unavailable, match=r"schema 999, but this Diecast knows only up to"):
        Store.open(path)


def test_somebody_elses_database_is_refused_and_not_touched(path: Path) -> None:
    path.parent.mkdir(parents=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(Unavailable, match="not a store of Diecast"):
        Store.open(path)
    assert "recipes" in dump(path)
    assert "host" not in dump(path)


def test_a_file_that_is_no_database_is_refused_in_words(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(Unavailable, match="is not an SQLite database"):
        Store.open(path)


def test_a_damaged_store_says_so(path: Path) -> None:
    with Store.open(path) as store:
        fill(store)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(Unavailable, match="is damaged"), Store.open(path) as store:
        store.hosts.list()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match=r"The folder .*file/state for the store cannot be made"):
        Store.open(tmp_path / "file" / "state" / "diecast.sqlite")


def test_a_path_that_is_a_folder_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be opened"):
        Store.open(tmp_path)


def test_a_closed_store_says_that_it_is_closed(path: Path) -> None:
    store = Store.open(path)
    store.close()
    store.close()
    with pytest.raises(Unavailable, match="is closed"):
        store.hosts.list()
    with pytest.raises(Unavailable, match="is closed"):
        store.data_version()


def test_many_threads_may_open_the_same_new_store_at_once(path: Path) -> None:
    failures: list[ApplianceError] = []

    def open_and_write(number: int) -> None:
        try:
            with Store.open(path) as store:
                store.settings.set(f"key{number}", "x")
        except ApplianceError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_and_write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store.open(path) as store:
        assert len(store.settings.all("key")) == 8


def test_a_store_held_by_another_process_for_too_long_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.2)
    with Store.open(path) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="was held by another process"):
            store.settings.set("a", "b")
        assert store.settings.all() == {}, "reading goes on"
        other.execute("ROLLBACK")
        store.settings.set("a", "b")


def fill_up(store: Store) -> None:
    for number in range(1000):
        store.settings.set(f"key{number}", "x" * 4000)


def test_a_full_disk_is_said_in_words_and_costs_nothing_that_was_there(path: Path) -> None:
    with Store.open(path) as store:
        fill(store)
        with store._database.read() as sql:
            pages = execute(sql, "PRAGMA page_count").fetchone()[0]
        execute(store._database._sql, f"PRAGMA max_page_count = {pages}")
        with pytest.raises(NoSpace, match="its disk is full"):
            fill_up(store)
        assert len(store.hosts.list()) == 2
        assert store.settings.get("key") == "value"


def test_a_verb_inside_another_verb_is_a_defect(path: Path) -> None:
    with Store.open(path) as store, store._database.write(), pytest.raises(RuntimeError, match="inside another verb"):
        store.hosts.list()
