"""Bringing a backup back: into an empty box, over a box that has a store, and all that must stop it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import config
from appliance.backup import pool
from appliance.backup import restore as restoring
from appliance.backup.places import Folder, Place
from appliance.backup.restore import Restored, restore
from appliance.engine.chunk import chunk_id
from appliance.errors import BadData, Conflict, NotFound, Unavailable
from appliance.events import ServiceHealth
from appliance.store import Store
from tests.backup.conftest import NOON, Home, home
from tests.engine.test_chunkstore import plain

TESTDATA = Path(__file__).parents[1] / "testdata"
KEPT = "diecast.sqlite.before-20261123T120000Z"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Home]:
    """Another box, with a PC of its own."""
    for made in home(tmp_path / "other"):
        made.store.hosts.add("OTHER", ["52:54:00:00:00:99"])
        yield made


def bring_back(place: Place, box: Home, *, images: bool = True, force: bool = False) -> Restored:
    box.store.close()
    settings = config.load(box.config_path)
    backup = pool.choose(place, None)
    return restore(place, backup, settings, box.config_path, images=images, force=force, now=NOON)


def hosts(database: Path) -> list[str]:
    with Store.open(database) as store:
        return [host.name for host in store.hosts.list()]


def test_a_backup_comes_back_over_another_store_which_is_kept(box: Home, other: Home, place: Place) -> None:
    id = box.image("win11", 1, 2)
    box.back_up(place)
    done = bring_back(place, other)
    assert (hosts(done.database), done.lacking, done.chunks) == (["MASTER"], (), 2)
    assert other.chunks.verify(id).ok
    assert done.before == done.database.with_name(KEPT)
    assert hosts(done.before) == ["OTHER"]
    assert not [path for path in done.database.parent.iterdir() if path.name.startswith((".backup", ".diecast"))]


def test_a_backup_comes_back_into_an_empty_box_with_its_settings_file(box: Home, place: Place, tmp_path: Path) -> None:
    id = box.image("win11", 1, 2)
    box.back_up(place)
    box.store.close()
    (tmp_path / "box").rename(tmp_path / "burnt")
    config_path = tmp_path / "etc" / "diecast.toml"
    done = restore(place, pool.choose(place, None), None, config_path, now=NOON)
    assert (done.before, done.settings_before, done.settings_written) == (None, None, True)
    assert config_path.read_bytes() == (tmp_path / "burnt" / "diecast.toml").read_bytes()
    assert hosts(config.load(config_path).paths.database) == ["MASTER"]
    assert box.chunks.verify(id).ok


def test_what_the_box_has_is_not_fetched_again(box: Home, place: Place) -> None:
    box.image("win11", 1, 2, 3)
    box.back_up(place)
    box.chunks.path(chunk_id(plain(2))).unlink()
    assert bring_back(place, box).chunks == 1


def test_without_images_those_that_lack_are_named(box: Home, other: Home, disk: Path) -> None:
    id = box.image("win11", 1)
    box.back_up(Folder(disk))
    assert bring_back(Folder(disk), other, images=False).lacking == (id,)


def test_a_settings_file_that_is_there_is_kept_when_it_is_replaced(box: Home, other: Home, disk: Path) -> None:
    box.back_up(Folder(disk))
    was = other.config_path.read_bytes()
    other.store.close()
    backup = pool.choose(Folder(disk), None)
    box.store.close()
    settings = config.load(other.config_path)
    done = restore(Folder(disk), backup, settings, other.config_path, with_settings=True, now=NOON)
    assert done.settings_before is not None
    assert done.settings_before.read_bytes() == was
    assert other.config_path.read_bytes() == box.config_path.read_bytes()
    assert done.database == box.folder / "state" / "diecast.sqlite", "the paths of the settings that come back count"


def test_a_box_whose_services_run_is_left_alone_unless_told(box: Home, other: Home, disk: Path) -> None:
    box.image("win11", 1)
    box.back_up(Folder(disk))
    other.store.services.beat("dhcp", ServiceHealth.OK, pid=1, started=datetime.now(UTC))
    with pytest.raises(Conflict, match=r"Services run on the store .*: dhcp") as raised:
        bring_back(Folder(disk), other)
    assert "diecast service stop" in raised.value.hint
    assert hosts(other.folder / "state" / "diecast.sqlite") == ["OTHER"]
    assert hosts(bring_back(Folder(disk), other, force=True).database) == ["MASTER"]


def test_a_service_that_was_killed_long_ago_does_not_count(box: Home, other: Home, disk: Path) -> None:
    box.back_up(Folder(disk))
    other.store.services.beat("dhcp", ServiceHealth.OK, pid=1, started=NOON, now=datetime(2020, 1, 1, tzinfo=UTC))
    assert bring_back(Folder(disk), other).before is not None


def test_a_store_that_another_program_has_open_is_left_alone_even_when_told(box: Home, other: Home, disk: Path) -> None:
    box.back_up(Folder(disk))
    database = other.folder / "state" / "diecast.sqlite"
    with Store.open(database) as still_open:
        assert still_open.hosts.list()
        with pytest.raises(Conflict, match=r"Another program has the store .* open"):
            bring_back(Folder(disk), other, force=True)
    assert hosts(database) == ["OTHER"]
    assert not database.with_name(KEPT).exists()


def test_a_store_that_cannot_be_read_is_kept_byte_by_byte(box: Home, other: Home, disk: Path) -> None:
    box.image("win11", 1)
    box.back_up(Folder(disk))
    other.store.close()
    database = other.folder / "state" / "diecast.sqlite"
    database.write_bytes(b"rubbish" * 1000)
    database.with_name("diecast.sqlite-wal").write_bytes(b"log")
    done = bring_back(Folder(disk), other)
    assert done.before is not None
    assert done.before.read_bytes() == b"rubbish" * 1000
    assert not database.with_name("diecast.sqlite-wal").exists(), "SQLite would apply it to the file that came"
    assert hosts(database) == ["MASTER"]


def change_store(disk: Path, change: str) -> None:
    """Alter the store of the only backup, and what the backup says of it."""
    from appliance.backup.record import Backup
    from appliance.backup.run import kept

    folder = disk / "diecast-backup" / "20261123T120000Z"
    path = folder / "store.sqlite"
    sql = sqlite3.connect(path)
    sql.executescript(change)
    sql.close()
    backup = Backup.parse(folder.name, (folder / "backup.json").read_bytes())
    told = {name: getattr(backup, name) for name in backup.__slots__} | {"store": kept(path)}
    (folder / "backup.json").write_bytes(Backup(**told).to_bytes())


def test_a_store_of_a_newer_schema_is_refused_in_words(box: Home, other: Home, disk: Path) -> None:
    box.back_up(Folder(disk))
    change_store(disk, "PRAGMA user_version = 99")
    with pytest.raises(Unavailable, match="has schema 99; this Diecast knows only up to") as raised:
        bring_back(Folder(disk), other)
    assert "which wrote it" in raised.value.hint
    assert hosts(other.folder / "state" / "diecast.sqlite") == ["OTHER"]


def test_a_store_of_an_older_schema_is_brought_up_to_date(box: Home, other: Home, disk: Path) -> None:
    box.back_up(Folder(disk))
    path = disk / "diecast-backup" / "20261123T120000Z" / "store.sqlite"
    path.unlink()
    change_store(disk, (TESTDATA / "store-schema-1.sql").read_text())
    done = bring_back(Folder(disk), other, images=False)
    assert hosts(done.database)
    sql = sqlite3.connect(done.database)
    from appliance.store.copying import NEWEST_SCHEMA

    assert sql.execute("PRAGMA user_version").fetchone()[0] == NEWEST_SCHEMA
    sql.close()


@pytest.mark.parametrize("harm", ["store.sqlite", "diecast.toml", "chunk", "manifest"])
def test_a_damaged_backup_changes_no_store(box: Home, other: Home, place: Place, disk: Path, harm: str) -> None:
    id = box.image("win11", 1, 2)
    box.back_up(place)
    top = disk / "diecast-backup"
    path = {
        "chunk": top / pool.chunk_name(chunk_id(plain(1))),
        "manifest": top / "versions" / id / "manifest.json",
    }.get(harm, top / "20261123T120000Z" / harm)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    other.store.close()
    settings = config.load(other.config_path)
    with pytest.raises(BadData):
        restore(
            place, pool.choose(place, None), settings, other.config_path, with_settings=harm.endswith("toml"), now=NOON
        )
    assert hosts(other.folder / "state" / "diecast.sqlite") == ["OTHER"]
    assert not (other.folder / "state" / KEPT).exists()


def test_a_backup_that_is_not_there_names_those_that_are(box: Home, disk: Path) -> None:
    box.back_up(Folder(disk))
    with pytest.raises(NotFound, match=r"There is no backup '20200101T000000Z'.*20261123T120000Z"):
        pool.choose(Folder(disk), "20200101T000000Z")


@pytest.mark.parametrize("moment", ["_keep_present", "_take_place"])
def test_a_restore_that_is_killed_leaves_a_store_that_opens(box: Home, other: Home, disk: Path, moment: str) -> None:
    """A process of its own dies at once, as in a power cut, when it comes to that step."""
    box.image("win11", 1)
    box.back_up(Folder(disk))
    other.store.close()
    assert hasattr(restoring, moment)
    program = (
        "import os, sys\nfrom datetime import UTC, datetime\nfrom pathlib import Path\n"
        "from appliance import config\nfrom appliance.backup import pool, restore\n"
        "from appliance.backup.places import Folder\n"
        f"restore.{moment} = lambda *_: os._exit(9)\n"
        "place, path = Folder(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "restore.restore(place, pool.choose(place, None), config.load(path), path, now=datetime.now(UTC))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(disk), str(other.config_path)], env=os.environ, check=False
    )
    assert done.returncode == 9
    assert hosts(other.folder / "state" / "diecast.sqlite") == ["OTHER"]
    assert hosts(bring_back(Folder(disk), other).database) == ["MASTER"]
