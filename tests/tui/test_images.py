"""Images and their versions: what is told of them, verifying, notes, removing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import NotFound
from appliance.events import Role
from appliance.store import Store
from appliance.tui.screens.images import ImagesScreen
from appliance.tui.screens.images_page import VersionPage
from appliance.tui.screens.images_verify import Found
from tests.fakes.command_line import FakeCommandLine
from tests.tui.kit import LARGE, SMALL, Seat, console, deploy, make_app, pressing

WIN11, UBUNTU1, UBUNTU2 = ("a" * 64, "b" * 64, "c" * 64)
USAGE = {
    "chunks": 60_000,
    "stored_bytes": 51_000_000_000,
    "images": [
        {"image": "win11-lab", "stored_bytes": 22_000_000_000, "own_bytes": 21_000_000_000},
        {"image": "ubuntu-dev", "stored_bytes": 29_000_000_000, "own_bytes": 28_000_000_000},
    ],
    "versions": [
        {"version": "win11-lab@1", "id": WIN11, "stored_bytes": 22_000_000_000, "own_bytes": 21_000_000_000},
        {"version": "ubuntu-dev@1", "id": UBUNTU1, "stored_bytes": 22_000_000_000, "own_bytes": 6_000_000_000},
        {"version": "ubuntu-dev@2", "id": UBUNTU2, "stored_bytes": 22_000_000_000, "own_bytes": 7_000_000_000},
    ],
}
SHOWN = {
    "minimum_disk_bytes": 64_000_000_000,
    "regions": [
        {
            "name": "sda2",
            "kind": "partition",
            "filesystem": "ntfs",
            "label": "Windows",
            "size_bytes": 120_000_000_000,
            "used_bytes": 44_000_000_000,
        }
    ],
}


def sound(chunks: int = 41_961) -> list[dict[str, Any]]:
    return [{"version": "", "ok": True, "chunks": chunks, "bad": [], "problems": []}]


@pytest.fixture
def cli(tmp_path: Path) -> FakeCommandLine:
    """A command line that knows the images."""
    made = FakeCommandLine.install(tmp_path / "cli")
    made.answers("image usage", USAGE)
    made.answers("image show", SHOWN)
    made.answers("image remove", {"versions": [], "chunks": 6_000, "bytes": 7_000_000_000})
    return made


@asynccontextmanager
async def images(store: Store, cli: FakeCommandLine, *keys: str, **options: Any) -> AsyncIterator[Seat]:
    """The images screen, after some keys. The cursor begins at ubuntu-dev, whose newest version is 2."""
    async with console(store, command=cli.command, **options) as seat:
        await seat.press("3", *keys)
        yield seat


def screen_of(seat: Seat) -> ImagesScreen:
    screen = seat.app.base_screen
    assert isinstance(screen, ImagesScreen)
    return screen


def version_line(seat: Seat, number: int) -> str:
    return next(line for line in seat.lines() if line.startswith(f"  @{number} "))


async def until_it_counts(seat: Seat) -> None:
    """The child works beside the console: wait until it has said how far it is."""
    while (check := screen_of(seat).verifier.check(UBUNTU2)) is None or check.done == 0:
        await seat.pilot.pause(0.01)


def audit(store: Store) -> list[tuple[str, str]]:
    return [(event.action, event.detail) for event in store.audit.list()]


# -- what is told


async def test_an_image_tells_its_newest_version_sizes_and_pcs(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, size=LARGE) as seat:
        words = seat.line_with("win11-lab ").split()
        assert words[:7] == ["win11-lab", "@1", "1", "44.0", "GB", "22.0", "GB"]
        assert words[-2:] == ["win11-master", "3"]


async def test_the_versions_of_the_image_at_the_cursor_stand_below(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli) as seat:
        assert "Versions of ubuntu-dev" in seat.text()
        assert [version.number for version in screen_of(seat).versions.rows] == [2, 1]
        await seat.press("down")
        assert "Versions of win11-lab" in seat.text()
        assert [version.number for version in screen_of(seat).versions.rows] == [1]


async def test_sharing_is_told_as_stored_against_summed(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli) as seat:
        text = " ".join(seat.text().split())
        assert "2 versions in 29.0 GB, 44.0 GB without sharing; 28.0 GB are needed by no other image." in text
        assert cli.calls("image usage") == ["image usage --json"]


async def test_sharing_is_counted_again_only_when_versions_have_changed(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli) as seat:
        store.hosts.edit("lab-01", notes="x")
        await seat.settle()
        assert len(cli.calls("image usage")) == 1
        store.images.remove_version(UBUNTU1)
        await seat.settle()
        assert len(cli.calls("image usage")) == 2


async def test_what_the_engine_cannot_tell_is_said(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image usage", None, errors="diecast: Version aaa cannot be read.\n", status=75)
    async with images(store, cli) as seat:
        assert "What they share is not known" in seat.text()
        assert "cannot be read" in " ".join(seat.text().split())


async def test_a_version_tells_what_it_added_and_what_only_it_needs(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "tab", size=LARGE) as seat:
        assert "11.0 GB when it was captured; 7.0 GB are needed by no other version today" in seat.text()
        assert "1 PC: dev-01" in seat.text()


async def test_enter_leads_from_an_image_to_its_versions_and_to_the_page_of_one(
    store: Store, cli: FakeCommandLine
) -> None:
    async with images(store, cli, "enter") as seat:
        assert screen_of(seat).on_versions
        await seat.press("enter")
        assert isinstance(seat.app.screen, VersionPage)
        assert cli.calls("image show") == ["image show ubuntu-dev@2 --json"]
        text = seat.text()
        assert UBUNTU2[:40] in text
        assert "a disk of 64.0 GB or more" in text
        assert "44.0 GB of 120 GB" in seat.line_with("sda2")
        await seat.press("escape")
        assert screen_of(seat).is_current


async def test_a_page_whose_parts_cannot_be_read_says_why(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image show", None, errors="diecast: Its manifest is gone.\n", status=65)
    async with images(store, cli, "tab", "enter") as seat:
        assert "Its manifest is gone." in seat.text()


async def test_the_palette_leads_to_an_image(store: Store, cli: FakeCommandLine) -> None:
    async with console(store, command=cli.command) as seat:
        await seat.press("ctrl+p", *"win11", "minus", *"lab", "enter")
        row = screen_of(seat).images.row
        assert row is not None
        assert row.name == "win11-lab"


# -- notes


async def test_notes_of_an_image_are_kept(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "down", "e") as seat:
        await seat.type("for B204")
        await seat.press("enter")
        assert store.images.get("win11-lab").notes == "for B204"
        assert "for B204" in seat.text()
    assert audit(store)[0] == ("image edit", "win11-lab: notes")


async def test_notes_of_a_version_are_kept(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "tab", "down", "e") as seat:
        await seat.type("old driver")
        await seat.press("enter")
        assert store.images.resolve("ubuntu-dev@1").notes == "old driver"
    assert audit(store)[0] == ("image edit", "ubuntu-dev@1: notes")


async def test_notes_can_be_written_on_the_page_of_a_version(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "tab", "enter", "e") as seat:
        await seat.type("good")
        await seat.press("enter")
        assert store.images.resolve("ubuntu-dev@2").notes == "good"
        assert "good" in seat.line_with(" Notes  ")


# -- verifying


async def test_a_version_is_verified_by_a_child(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image verify", sound())
    async with images(store, cli, "tab", "v") as seat:
        assert cli.calls("image verify") == ["image verify ubuntu-dev@2 --json --progress"]
        assert "● sound 12:00" in version_line(seat, 2)
        assert "every chunk is as it was captured (41,961)" in " ".join(seat.text().split())


async def test_all_versions_of_an_image_are_verified_one_after_another(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image verify", sound())
    async with images(store, cli, "v") as seat:
        assert [call.split()[2] for call in cli.calls("image verify")] == ["ubuntu-dev@2", "ubuntu-dev@1"]
        assert {check.found for check in screen_of(seat).verifier.checks.values()} == {Found.SOUND}


async def test_progress_is_shown_and_stopping_ends_the_child(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image verify", sound(), errors="40 100\n")
    async with images(store, cli, "tab") as seat:
        cli.hold()
        await seat.pilot.press("v")
        verifier = screen_of(seat).verifier
        await until_it_counts(seat)
        await seat.look()
        assert "▸ 40 %" in version_line(seat, 2)
        assert "k Stop" in seat.lines()[-1]
        await seat.press("k")
        assert "k Stop" not in seat.lines()[-1]
        assert "stopped" in version_line(seat, 2)
        assert not verifier.is_busy
        cli.release()
        await seat.press("v")
        assert "sound" in version_line(seat, 2)


async def test_who_leaves_the_console_leaves_no_child_behind(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image verify", sound(), errors="40 100\n")
    async with images(store, cli, "tab") as seat:
        cli.hold()
        await seat.pilot.press("v")
        await until_it_counts(seat)
        assert cli.runs
    async with asyncio.timeout(60):
        while cli.runs:
            await asyncio.sleep(0.01)


async def test_damage_is_said_with_what_is_wrong_and_what_to_do(store: Store, cli: FakeCommandLine) -> None:
    fault = {"ok": False, "chunks": 5, "bad": ["ff"], "problems": ["Chunk ffff is not in the store."]}
    cli.answers("image verify", [fault], errors="diecast: ubuntu-dev@2 cannot be trusted.\n", status=65)
    async with images(store, cli, "tab", "v", size=LARGE) as seat:
        assert "▲ DAMAGED" in version_line(seat, 2)
        assert "DAMAGED, 1 fault found 2026-11-23 12:00." in seat.text()
        assert "Capture again from a PC that holds it" in " ".join(seat.text().split())
        await seat.press("enter")
        assert "Chunk ffff is not in the store." in seat.text()


async def test_a_verification_that_cannot_be_done_is_no_verdict(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image verify", None, errors="diecast: The store is locked.\n", status=69)
    async with images(store, cli, "tab", "v") as seat:
        assert "not done" in version_line(seat, 2)
        assert "The store is locked." in " ".join(seat.text().split())


async def test_nothing_to_stop_is_said(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "k") as seat:
        assert "Nothing is being verified." in seat.text()


async def test_the_page_of_a_version_verifies_too(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image verify", sound())
    async with images(store, cli, "tab", "enter", "v") as seat:
        assert "every chunk is as it was captured" in " ".join(seat.text().split())
        await seat.press("k")
        assert "Nothing is being verified." in seat.text()


# -- removing


async def test_a_removal_says_what_it_frees_and_wants_the_name(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "tab", "down", "x") as seat:
        assert cli.calls("image remove") == ["image remove ubuntu-dev@1 --dry-run --json"]
        assert "This frees 7.0 GB on the image disk." in seat.text()
        assert "Type ubuntu-dev@1 to go ahead" in seat.text()
        await seat.type("ubuntu")
        await seat.press("enter")
        assert "Nothing was done." in seat.text()
        assert len(store.images.versions("ubuntu-dev")) == 2
        await seat.type("-dev@1")
        await seat.press("enter")
        assert [version.number for version in store.images.versions("ubuntu-dev")] == [2]
    assert audit(store)[0] == ("image remove", "ubuntu-dev@1")


async def test_an_image_is_removed_with_all_its_versions(store: Store, cli: FakeCommandLine) -> None:
    for task in store.tasks.list(active_only=True):
        store.tasks.cancel(task.id)
    async with images(store, cli, "x") as seat:
        assert "1 PC keep" in seat.text()
        await seat.type("ubuntu-dev")
        await seat.press("enter")
        assert "ubuntu-dev " not in seat.lines()[2:8]
    with pytest.raises(NotFound):
        store.images.get("ubuntu-dev")


async def test_several_versions_are_removed_after_their_number_was_typed(store: Store, cli: FakeCommandLine) -> None:
    for task in store.tasks.list(active_only=True):
        store.tasks.cancel(task.id)
    async with images(store, cli, "tab", "space", "space", "x") as seat:
        await seat.type("2")
        await seat.press("enter")
    assert store.images.versions("ubuntu-dev") == []


@pytest.mark.parametrize("keys", [("x",), ("tab", "x")])
async def test_what_is_in_use_is_refused_in_words(store: Store, cli: FakeCommandLine, keys: tuple[str, ...]) -> None:
    async with images(store, cli, *keys) as seat:
        assert "deploys it to lab-1" in seat.text()
        assert cli.calls("image remove") == []
        assert len(store.images.versions("ubuntu-dev")) == 2


async def test_a_task_that_came_in_between_is_refused_by_the_store(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "tab", "down", "x") as seat:
        await seat.type("ubuntu-dev@1")
        store.tasks.deploy(store.hosts.get("lab-20"), store.images.resolve("ubuntu-dev@1"))
        await seat.press("enter")
        assert "is deploying it to lab-20" in seat.text()
    assert len(store.images.versions("ubuntu-dev")) == 2


async def test_what_it_frees_may_be_unknown(store: Store, cli: FakeCommandLine) -> None:
    cli.answers("image remove", None, errors="diecast: Version bbb cannot be read.\n", status=75)
    async with images(store, cli, "tab", "down", "x") as seat:
        assert "How much this frees is not known" in seat.text()


# -- who may


@pytest.mark.parametrize("key", ["e", "v", "x", "k"])
async def test_a_viewer_changes_nothing(store: Store, cli: FakeCommandLine, key: str) -> None:
    async with images(store, cli, key, role=Role.VIEWER) as seat:
        assert "may look, but change nothing" in seat.text()
        assert cli.calls("image verify") + cli.calls("image remove") == []
        assert screen_of(seat).is_current


async def test_deploying_begins_with_the_version_at_the_cursor(store: Store, cli: FakeCommandLine) -> None:
    async with images(store, cli, "tab", "down", "d") as seat:
        assert seat.app.screen is not seat.app.base_screen
        assert "ubuntu-dev@1" in seat.text()


async def test_an_empty_box_says_how_to_begin(empty: Store, cli: FakeCommandLine) -> None:
    cli.answers("image usage", {"chunks": 0, "stored_bytes": 0, "images": [], "versions": []})
    empty.hosts.add("lab-01", ["52:54:00:aa:01:01"])
    async with images(empty, cli) as seat:
        assert "There is no image yet: capture a master first, with c." in seat.text()
        await seat.press("v")
        assert "There is no version to verify." in seat.text()
        await seat.press("e", "x", "enter")
        assert screen_of(seat).is_current


@pytest.mark.parametrize("language", ["en", "fr"])
@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_picture_of_the_images(
    store: Store, cli: FakeCommandLine, snap_compare: Any, size: tuple[int, int], language: str
) -> None:
    deploy(store, "lab-20", "win11-lab")
    cli.answers("image verify", sound())
    app = make_app(store.path, language=language, command=cli.command)
    assert snap_compare(app, terminal_size=size, run_before=pressing("3", "tab", "v"))
