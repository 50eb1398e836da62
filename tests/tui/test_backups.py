"""Backups on the system screen: what is on the target, one now, reading one again, and the plan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.backup import plan
from appliance.store import Store
from appliance.system import units
from appliance.tui.screens.system import SystemScreen
from appliance.tui.screens.system_backups import BackupRow, BackupsPart, row_of
from tests.fakes.command_line import FakeCommandLine
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console
from tests.tui.test_settings import audit

NEW = {
    "name": "20261122T020000Z",
    "problem": "",
    "backup": {
        "name": "20261122T020000Z",
        "box": "box1",
        "store": {"bytes": 2_000_000, "blake3": ""},
        "images": True,
        "versions": ["a" * 64, "b" * 64],
        "lacking": {"c" * 64: "why"},
    },
}
OLD = {"name": "20261121T020000Z", "problem": "Backup 20261121T020000Z is damaged.", "backup": None}


@pytest.fixture(autouse=True)
def no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "nowhere")


@pytest.fixture
def cli(tmp_path: Path) -> FakeCommandLine:
    found = FakeCommandLine.install(tmp_path / "cli")
    found.answers("backup list", [NEW, OLD])
    return found


@asynccontextmanager
async def backups(store: Store, cli: FakeCommandLine, *keys: str, **options: Any) -> AsyncIterator[Seat]:
    """The part, after some keys."""
    async with console(store, command=cli.command, **options) as seat:
        await seat.press("7")
        screen = seat.app.base_screen
        assert isinstance(screen, SystemScreen)
        screen.change_part(screen.named_part("backups"))
        await seat.settle()
        await seat.press(*keys)
        await seat.settle()
        yield seat


def part_of(seat: Seat) -> BackupsPart:
    screen = seat.app.base_screen
    assert isinstance(screen, SystemScreen)
    part = screen.named_part("backups")
    assert isinstance(part, BackupsPart)
    return part


def said(seat: Seat) -> str:
    return " ".join(seat.text().split())


async def test_without_a_target_it_says_how_to_set_one_and_looks_nowhere(store: Store, cli: FakeCommandLine) -> None:
    async with backups(store, cli, "t") as seat:
        assert "no target; e sets one; only when asked, 7 are kept, with images" in said(seat)
        assert "No target is set yet: e sets one." in said(seat)
    assert cli.calls("backup") == []


async def test_what_is_on_the_target_is_told_with_the_plan_and_the_way_back(store: Store, cli: FakeCommandLine) -> None:
    store.settings.set(plan.TARGET, "/media/diecast")
    store.settings.set(plan.HOUR, "2")
    plan.note(store, "/media/diecast", NOON, ok=False, words="No disk is mounted at /media/diecast.")
    async with backups(store, cli, size=LARGE) as seat:
        assert "without 1 damaged version" in seat.line_with("2 versions")
        assert "20261121T020000Z" in seat.line_with("is damaged.")
        text = said(seat)
        assert "/media/diecast; daily at 2:00, 7 are kept, with images" in text
        assert "No disk is mounted at /media/diecast." in text
        assert "with the services stopped: diecast backup restore 20261122T020000Z" in text


async def test_a_backup_is_made_by_a_key_and_then_stands_in_the_list(store: Store, cli: FakeCommandLine) -> None:
    store.settings.set(plan.TARGET, "/media/diecast")
    cli.answers("backup run", {"backup": NEW["backup"]})
    async with backups(store, cli, "t", "enter") as seat:
        assert "Backup 20261122T020000Z is made." in said(seat)
    assert cli.calls("backup") == ["backup list --json", "backup run --json --images", "backup list --json"]


async def test_a_new_disk_is_named_as_such(store: Store, cli: FakeCommandLine) -> None:
    store.settings.set(plan.TARGET, "/media/diecast")
    store.settings.set(plan.IMAGES, "no")
    cli.answers("backup run", {"backup": NEW["backup"]})
    async with backups(store, cli, "t", "down", "right", "enter"):
        pass
    assert "backup run --json --no-images --first" in cli.calls("backup")


@pytest.mark.parametrize(("problems", "words"), [([], "is whole"), (["chunk 3f9a is not there"], "is DAMAGED")])
async def test_a_backup_is_read_again_and_what_was_found_stays(
    store: Store, cli: FakeCommandLine, problems: list[str], words: str
) -> None:
    store.settings.set(plan.TARGET, "/media/diecast")
    cli.answers("backup verify", {"problems": problems, "chunks": 3}, status=65 if problems else 0)
    async with backups(store, cli, "v", size=LARGE) as seat:
        assert words in said(seat)
        await seat.press("r")
        await seat.settle()
        assert ("● sound" in said(seat)) != bool(problems)
        assert (problems[0] if problems else "sound") in said(seat)
        rows = part_of(seat).table.rows
        assert rows[0].faults == tuple(problems)
    assert "backup verify 20261122T020000Z --chunks --json" in cli.calls("backup")


async def test_a_target_that_cannot_be_read_is_said_and_another_try_is_one_key(
    store: Store, cli: FakeCommandLine
) -> None:
    store.settings.set(plan.TARGET, "/media/diecast")
    cli.answers("backup list", errors="diecast: No disk is mounted at /media/diecast. Plug it in.", status=69)
    async with backups(store, cli, size=LARGE) as seat:
        assert "No disk is mounted at /media/diecast." in said(seat)
        cli.answers("backup list", [NEW])
        await seat.press("r")
        await seat.settle()
        assert "2 versions" in said(seat)


async def test_the_plan_is_changed_in_a_form_and_the_audit_trail_says_by_whom(
    store: Store, cli: FakeCommandLine
) -> None:
    async with backups(store, cli, "e", *"/media/diecast", "down", "right", "enter") as seat:
        assert "daily at 0:00" in said(seat)
    found = plan.read(store)
    assert (found.target, found.hour) == ("/media/diecast", 0)
    assert audit(store) == [("setting set", "backup.target = /media/diecast, backup.hour = 0")]


async def test_a_plan_that_makes_no_sense_is_refused_in_the_form(store: Store, cli: FakeCommandLine) -> None:
    async with backups(store, cli, "e", *"usb", "enter") as seat:
        assert "Write a folder, or one of another host" in said(seat)
    assert plan.read(store).target == ""


def test_a_backup_without_images_has_no_number_of_versions() -> None:
    backup: Any = NEW["backup"]
    assert row_of({**NEW, "backup": {**backup, "images": False}}).versions is None
    assert row_of(OLD) == BackupRow("20261121T020000Z", problem="Backup 20261121T020000Z is damaged.")


@pytest.mark.parametrize("language", ["en", "fr"])
async def test_the_titles_of_all_parts_fit_80_columns(store: Store, cli: FakeCommandLine, language: str) -> None:
    from appliance.tui.i18n import _

    async with backups(store, cli, language=language, size=SMALL) as seat:
        screen = seat.app.base_screen
        assert isinstance(screen, SystemScreen)
        assert sum(len(_(part.TITLE)) + 2 for part in screen.parts) <= SMALL[0]
