"""The log on the system screen: the last lines, by service, searched, and as it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Paths, Settings
from appliance.store import Store
from appliance.system import logs, units
from appliance.tui.screens.logs import LOADED, LogPart
from appliance.tui.screens.system import SystemScreen
from tests.fakes.systemd import FakeSystemd
from tests.tui.kit import NOON, Seat, console


@pytest.fixture(autouse=True)
def no_systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_BOOTED", tmp_path / "nowhere")


@pytest.fixture
def log(store: Store) -> Path:
    """The log file, with a line of each service and one that nobody signed."""
    path = logs.file_of(store.path.parent)
    path.parent.mkdir()
    write(path, 0, "info dhcp offered 10.20.5.1")
    write(path, 1, "warning http slow answer")
    write(path, 2, "error nfs broken\nTraceback:\n  the cause")
    write(path, 3, "info - nobody knows")
    write(path, 4, "debug dhcp seen again")
    return path


def write(path: Path, second: int, text: str) -> None:
    with path.open("a") as file:
        file.write(f"{(NOON + timedelta(seconds=second)).isoformat()} {text}\n")


@asynccontextmanager
async def log_part(store: Store, *keys: str, **options: Any) -> AsyncIterator[Seat]:
    """The log, after some keys."""
    folder = store.path.parent
    settings = Settings(paths=Paths(folder, folder, folder, folder))
    async with console(store, settings=settings, **options) as seat:
        await seat.press("7", "tab", *keys)
        yield seat


def part_of(seat: Seat) -> LogPart:
    screen = seat.app.base_screen
    assert isinstance(screen, SystemScreen)
    part = screen.named_part("log")
    assert isinstance(part, LogPart)
    return part


def texts(seat: Seat) -> list[str]:
    return [line.text.partition("\n")[0] for _number, line in part_of(seat).table.rows]


async def until(seat: Seat, true: Callable[[], bool]) -> None:
    """The follower is a thread: wait for what it brings (the test's own time limit ends this)."""
    while not true():
        await seat.pilot.pause(0.02)


async def test_the_last_lines_are_told_with_the_cursor_on_the_newest(store: Store, log: Path) -> None:
    async with log_part(store) as seat:
        assert texts(seat) == ["offered 10.20.5.1", "slow answer", "broken", "nobody knows", "seen again"]
        row = part_of(seat).table.row
        assert row is not None
        assert row[1].text == "seen again"
        assert seat.line_with("slow answer").split()[:3] == ["12:00:01", "warning", "http"]


async def test_a_message_of_several_lines_is_told_in_full(store: Store, log: Path) -> None:
    async with log_part(store, "up", "up") as seat:
        assert "the cause" in seat.text()
        await seat.press("enter")
        assert "Traceback:" in seat.text()
        assert "12:00:02 nfs" in seat.text()


async def test_new_lines_appear_as_they_are_written_and_the_cursor_stays_at_the_end(store: Store, log: Path) -> None:
    async with log_part(store) as seat:
        write(log, 9, "info tftp sent snponly.efi")
        await until(seat, lambda: "sent snponly.efi" in texts(seat))
        await seat.look()
        row = part_of(seat).table.row
        assert row is not None
        assert row[1].text == "sent snponly.efi"
        assert "sent snponly.efi" in seat.text()


async def test_who_reads_further_up_is_not_torn_away_by_new_lines(store: Store, log: Path) -> None:
    async with log_part(store, "home") as seat:
        write(log, 9, "info tftp sent snponly.efi")
        await until(seat, lambda: "sent snponly.efi" in texts(seat))
        row = part_of(seat).table.row
        assert row is not None
        assert row[1].text == "offered 10.20.5.1"


async def test_following_ends_and_begins_by_a_key_and_then_nothing_is_missing(store: Store, log: Path) -> None:
    async with log_part(store, "f") as seat:
        assert "Not following any more." in seat.text()
        assert part_of(seat)._follower is None
        write(log, 9, "info tftp sent snponly.efi")
        await seat.settle()
        assert "sent snponly.efi" not in texts(seat)
        await seat.press("f")
        assert texts(seat)[-1] == "sent snponly.efi"
        assert texts(seat).count("sent snponly.efi") == 1


async def test_the_log_of_one_service_is_chosen(store: Store, log: Path) -> None:
    async with log_part(store, "u", *"dhcp", "enter") as seat:
        assert texts(seat) == ["offered 10.20.5.1", "seen again"]
        assert "dhcp, following" in seat.lines()[2]
        write(log, 8, "info tftp another")
        write(log, 9, "info dhcp acknowledged")
        await until(seat, lambda: "acknowledged" in texts(seat))
        assert "another" not in texts(seat)
        await seat.press("u", *"log of all", "enter")
        assert len(texts(seat)) == 7


async def test_letters_filter_what_is_loaded(store: Store, log: Path) -> None:
    async with log_part(store, "slash", *"slow") as seat:
        assert texts(seat) == ["slow answer"]
        await seat.press("escape")
        assert len(texts(seat)) == 5


async def test_enter_searches_the_whole_log(store: Store, log: Path) -> None:
    write(log, 5, "info dhcp the needle")
    for number in range(LOADED):
        write(log, 10 + number, f"info http line {number}")
    async with log_part(store) as seat:
        assert "the needle" not in texts(seat)
        await seat.press("slash", *"needle", "enter")
        assert texts(seat) == ["the needle"]
        await seat.press("escape")
        assert len(texts(seat)) == LOADED


async def test_without_a_log_it_is_said_why_and_it_appears_when_there_is_one(store: Store) -> None:
    async with log_part(store) as seat:
        assert "There is no log yet" in seat.text()
        assert "It is written by: diecast serve" in " ".join(seat.text().split())
        path = logs.file_of(store.path.parent)
        path.parent.mkdir()
        write(path, 0, "info dhcp first of all")
        await until(seat, lambda: "first of all" in texts(seat))


async def test_where_systemd_runs_the_journal_is_read(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    systemd = FakeSystemd.install(tmp_path / "systemd", monkeypatch)
    stamp = str(int(NOON.timestamp() * 1e6))
    entry = {"MESSAGE": "from the journal", "__REALTIME_TIMESTAMP": stamp, "UNIT": "diecast-nfs.service"}
    systemd.has_journal([entry])
    async with log_part(store, "f") as seat:
        await seat.press("f", "f")
        assert "from the journal" in texts(seat)
        assert any("--unit=diecast-nfs.service" in call for call in systemd.calls("journalctl"))


async def test_the_log_of_a_pc_is_found_by_its_name_and_of_a_task_by_its_number(store: Store, log: Path) -> None:
    for number in range(LOADED + 10):
        write(log, 5 + number % 50, f"info http host=pc-07 task=4711 boot_pages: asks {number}")
    write(log, 59, "info http boot_pages: nobody's")
    async with log_part(store) as seat:
        for wanted in ("pc-07", "4711"):
            await seat.press("/", *wanted, "enter")
            await seat.settle()
            assert len(texts(seat)) > LOADED - 10
            assert all("asks" in text for text in texts(seat))
            await seat.press("escape")
