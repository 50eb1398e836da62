"""Taking another disk for images at the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.cli import box_disk
from appliance.cli.context import Context
from appliance.store import Store
from appliance.system import image_disk
from tests.cli.conftest import Diecast
from tests.fakes.root import FakeRoot, fake_root

TB = 10**12
LSBLK = {
    "blockdevices": [
        {"name": "sda", "type": "disk", "size": TB, "serial": "A", "mountpoints": ["/"]},
        {"name": "sdb", "type": "disk", "size": 2 * TB, "model": "Acme", "serial": "B", "mountpoints": [None]},
        {"name": "sdc", "type": "disk", "size": TB, "serial": "C", "fstype": "ntfs", "label": "Data"},
    ]
}


@pytest.fixture
def root(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    monkeypatch.setattr(image_disk, "listed", lambda: LSBLK)
    with fake_root(config.parent / "run", monkeypatch) as found:
        yield found


def test_disks_are_listed_with_what_is_on_them_and_what_stands_against_them(diecast: Diecast, root: FakeRoot) -> None:
    lines = diecast("box", "disk", "list").out.splitlines()
    assert "sda holds the system." in lines[1]
    assert "Acme" in lines[2]
    assert "can be taken" in lines[2]
    assert "empty" in lines[2]
    assert "sdc: ntfs Data" in lines[3]
    disks = diecast("box", "disk", "list", "--json").json["disks"]
    assert [disk["name"] for disk in disks] == ["sda", "sdb", "sdc"]


def test_an_empty_disk_is_taken_after_a_yes(
    diecast: Diecast, store: Store, root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Context, "can_ask", True)
    monkeypatch.setattr("builtins.input", lambda _question: "y")
    said = diecast("box", "disk", "take", "B")
    assert said.status == 0
    assert "sdb (Acme, 2.0 TB) is formatted. It is empty." in said.out
    assert said.out.endswith("Images lie on sdb from now on.\n")
    assert [line.action for line in store.audit.list()] == ["box disk take"]
    assert root.begun == [image_disk.UNIT]


def test_a_disk_with_something_on_it_wants_erase_even_with_yes(diecast: Diecast, root: FakeRoot) -> None:
    said = diecast("box", "disk", "take", "sdc", "--yes")
    assert (said.status, said.err) == (64, "diecast: sdc is not empty: sdc: ntfs Data. Add --erase to lose that.\n")
    assert root.begun == []
    assert diecast("box", "disk", "take", "sdc", "--yes", "--erase").status == 0
    assert root.wishes[0]["contents"] == ["sdc: ntfs Data"]


def test_the_systems_disk_and_one_that_is_not_there_are_refused(diecast: Diecast, root: FakeRoot) -> None:
    assert diecast("box", "disk", "take", "sda", "--yes", "--erase").status == 75
    assert diecast("box", "disk", "take", "sdx", "--yes").status == 66
    assert root.begun == []


def test_what_root_could_not_do_is_said(diecast: Diecast, root: FakeRoot) -> None:
    root.failure = "mkfs.xfs: no."
    said = diecast("box", "disk", "take", "sdb", "--yes")
    assert said.status == 69
    assert said.err.endswith("diecast: mkfs.xfs: no.\n")
    assert "mkfs.xfs: no." in diecast("box", "disk", "list").out


def test_a_unit_that_never_begins_is_not_waited_for_for_ever(
    diecast: Diecast, root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box_disk, "_BEGUN_S", 0.2)
    root.silent = True
    assert "journalctl -u diecast-image-disk.service" in diecast("box", "disk", "take", "sdb", "--yes").err


def test_roots_last_command_does_nothing_when_nothing_was_begun(diecast: Diecast, root: FakeRoot) -> None:
    assert diecast("box", "disk", "apply", "--settle").status == 0
