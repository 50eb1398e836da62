"""`diecast backup`, as an operator types it."""

from __future__ import annotations

from pathlib import Path

from appliance.store import Store
from tests.cli.conftest import MAC1, Diecast


def test_a_backup_is_scheduled_made_listed_verified_and_brought_back(
    diecast: Diecast, store: Store, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    store.hosts.add("PC1", [MAC1])
    said = diecast("backup", "schedule", "--target", str(disk), "--keep", "3", "--hour", "2", "--images", "no")
    assert said.out.splitlines()[:4] == [
        f"Target:    {disk}",
        "Images:    no",
        "Keep:      3",
        "Hour:      2:00, local time",
    ]
    said = diecast("backup", "run", "--verify")
    assert (said.status, "store and settings, without images" in said.out, "is whole" in said.out) == (0, True, True)
    (found,) = diecast("backup", "list", "--json").json
    assert (found["backup"]["images"], found["problem"]) == (False, "")
    assert found["name"] in diecast("backup", "list").out
    assert diecast("backup", "verify", found["name"], "--chunks").out.startswith(f"Backup {found['name']} is whole")
    store.hosts.add("PC2", ["52:54:00:00:00:02"])
    store.close()
    said = diecast("backup", "restore", "--yes")
    assert (said.status, "The store that was there is kept" in said.out) == (0, True), said.err
    assert [host["name"] for host in diecast("host", "list", "--json").json] == ["PC1"]
    assert diecast("audit", "--json").json[0]["action"] == "backup restore"


def test_a_timer_makes_a_backup_once_and_says_nothing_when_none_is_due(
    diecast: Diecast, store: Store, tmp_path: Path
) -> None:
    assert diecast("backup", "run", "--scheduled").status == 0
    diecast("backup", "schedule", "--target", str(tmp_path), "--hour", "2")
    assert diecast("backup", "run", "--scheduled").status == 0
    assert diecast("backup", "run", "--scheduled").out == ""
    assert len(diecast("backup", "list", "--json").json) == 1


def test_every_failure_is_a_sentence_with_a_remedy(diecast: Diecast, store: Store, tmp_path: Path) -> None:
    said = diecast("backup", "run")
    assert (said.status, "No target for backups is set. Give --target" in said.err) == (64, True)
    said = diecast("backup", "run", "--target", str(tmp_path / "none"))
    assert (said.status, "is not there. Mount its disk" in said.err) == (66, True)
    said = diecast("backup", "restore", "--target", str(tmp_path))
    assert (said.status, "No backup is in" in said.err) == (66, True)
    said = diecast("backup", "schedule", "--hour", "25")
    assert (said.status, "'25' is no value for backup.hour." in said.err) == (64, True)
    last = diecast("backup", "schedule", "--json").json["last"]
    assert (last["ok"], "is not there" in last["words"]) == (False, True)


def test_a_restore_asks_first(diecast: Diecast, store: Store, tmp_path: Path) -> None:
    diecast("backup", "run", "--target", str(tmp_path))
    said = diecast("backup", "restore", "--target", str(tmp_path))
    assert (said.status, "Add --yes" in said.err) == (64, True)


def test_settings_of_backups_are_settings_like_others(diecast: Diecast, store: Store) -> None:
    assert diecast("setting", "set", "backup.keep", "30").out == "backup.keep is now 30.\n"
    assert diecast("backup", "schedule", "--json").json["plan"]["keep"] == 30
    said = diecast("setting", "set", "backup.target", "usb")
    assert (said.status, "It must be /folder or user@host:/folder." in said.err) == (64, True)
