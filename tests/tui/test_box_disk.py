"""Another disk for images, taken in the first start and on the system screen: choice, word, how far it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Paths, Settings
from appliance.events import Role
from appliance.store import Store
from appliance.system import image_disk
from appliance.tui import box_disk
from tests.cli.test_box_disk import LSBLK
from tests.fakes.root import FakeRoot, fake_root
from tests.tui.kit import SMALL, Seat, console, make_app, pressing, settle


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    monkeypatch.setattr(image_disk, "listed", lambda: LSBLK)
    with fake_root(tmp_path / "run", monkeypatch) as found:
        yield found


def settings(root: FakeRoot) -> Settings:
    return dataclasses.replace(Settings(), paths=Paths(run=root.run))


async def disks(seat: Seat) -> None:
    """To the disks on the system screen."""
    await seat.press("7", "u")
    await seat.type("disks")
    await seat.press("enter")
    assert "Image disk" in seat.text()


async def test_another_disk_is_chosen_confirmed_by_its_name_and_taken(store: Store, root: FakeRoot) -> None:
    root.holds = True
    async with console(store, settings=settings(root)) as seat:
        for task in store.tasks.list(active_only=True):
            store.tasks.cancel(task.id)
        await disks(seat)
        await seat.press("e")
        assert "cannot be taken" in seat.line_with("sda")
        await seat.type("sdc")
        await seat.press("enter")
        assert "On it, and lost for ever: sdc: ntfs Data." in seat.text()
        await seat.type("sdb")
        await seat.press("enter")
        assert "That is not sdc. Nothing was done." in seat.text()
        assert root.begun == []
        await seat.press("backspace", "c", "enter")
        await seat.shows("Images are being copied to sdc")
        assert "25 %" in seat.text()
        root.holds = False
        await seat.shows("Images lie on sdc from now on.")
    assert root.wishes[0]["contents"] == ["sdc: ntfs Data"]
    assert "box disk take" in {line.action for line in store.audit.list()}


async def test_who_goes_away_finds_it_under_way_again(empty: Store, root: FakeRoot) -> None:
    root.holds = True
    empty.settings.set("console.setup", "done")
    async with console(empty, settings=settings(root)) as seat:
        await disks(seat)
        await seat.press("e")
        await seat.type("sdb")
        await seat.press("enter")
        assert "Nothing is on it." in seat.text()
        await seat.type("sdb")
        await seat.press("enter")
        await seat.shows("Images are being copied to sdb")
        await seat.press("escape")
        assert "Images are being copied" not in seat.text()
        await seat.press("e")
        assert "Images are being copied to sdb" in seat.text()
    assert len(root.begun) == 1


async def test_the_systems_disk_is_refused_with_its_reason(store: Store, root: FakeRoot) -> None:
    async with console(store, settings=settings(root)) as seat:
        await disks(seat)
        await seat.press("e", "enter")
        assert "sda holds the system." in seat.text()
    assert root.begun == []


async def test_no_disk_is_taken_while_a_pc_is_at_work(store: Store, root: FakeRoot) -> None:
    async with console(store, settings=settings(root)) as seat:
        await disks(seat)
        await seat.press("e")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.type("sdb")
        await seat.press("enter")
        assert "is at work." in seat.text()
    assert root.begun == []


async def test_what_root_could_not_do_is_said(empty: Store, root: FakeRoot) -> None:
    root.failure = "mkfs.xfs: no."
    empty.settings.set("console.setup", "done")
    async with console(empty, settings=settings(root)) as seat:
        await disks(seat)
        await seat.press("e")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.shows("mkfs.xfs: no.")
        await seat.press("escape")
        assert "mkfs.xfs" not in seat.text()


async def test_a_unit_that_never_begins_is_said(empty: Store, root: FakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_disk, "_BEGUN_S", 0.2)
    root.silent = True
    empty.settings.set("console.setup", "done")
    async with console(empty, settings=settings(root)) as seat:
        await disks(seat)
        await seat.press("e")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.shows("Nothing has begun.")


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_an_admin_takes_a_disk(store: Store, root: FakeRoot, role: Role) -> None:
    async with console(store, settings=settings(root), role=role) as seat:
        await disks(seat)
        await seat.press("e")
        assert "Which disk" not in seat.text()


async def test_the_first_start_takes_another_disk_too(empty: Store, root: FakeRoot) -> None:
    empty.settings.set("console.wizard.at", "disk")
    async with console(empty, settings=settings(root)) as seat:
        assert "▸ 6 Where do images go?" in seat.text()
        assert "e takes another disk of this machine" in " ".join(seat.text().split())
        await seat.press("e")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.type("sdb")
        await seat.press("enter")
        await seat.shows("Images lie on sdb from now on.")
        assert "▸ 6 Where do images go?" in seat.text()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_picture_of_taking_a_disk(empty: Store, snap_compare: Any, root: FakeRoot, language: str) -> None:
    empty.settings.set("console.wizard.at", "disk")
    app = make_app(empty.path, language=language, settings=settings(root))

    async def choose(pilot: Any) -> None:
        await pressing("e", "down", "down", "enter")(pilot)
        await settle(pilot)

    assert snap_compare(app, terminal_size=SMALL, run_before=choose)
