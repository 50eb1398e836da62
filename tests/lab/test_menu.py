"""The lab's menu, the desk behind it, and what is said where `make lab` cannot open its windows."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from tests.lab import session
from tests.lab.command import LabError
from tests.lab.desk import Desk, Visitor
from tests.lab.menu import LabMenu
from tests.lab.pc import Hardware, Pc
from tests.tui.kit import shown_lines


@dataclass
class PretendedConsole:
    """What a PC has printed."""

    printed: str = ""

    def text(self) -> str:
        return self.printed


@dataclass
class PretendedPc:
    """A PC without a guest: it notes what was done with it."""

    name: str
    disk: Path
    is_on: bool = False
    hardware: Hardware = field(default_factory=Hardware)
    mac: str = "52:54:00:00:00:01"
    console: PretendedConsole = field(default_factory=PretendedConsole)
    done: list[str] = field(default_factory=list)

    def power_on(self, *, first: str) -> None:
        if self.is_on:
            raise LabError(f"{self.name} is on already.")
        self.is_on = True
        self.done.append(f"on {first}")

    def power_off(self) -> None:
        self.is_on = False
        self.done.append("off")

    def pull_cable(self) -> None:
        self.done.append("pulled")

    def plug_cable(self) -> None:
        self.done.append("plugged")

    def presses(self, *keys: str) -> None:
        self.done += keys

    def screen_text(self) -> str:
        return "iPXE initialising devices...\n\n"


@dataclass
class Room:
    """Two PCs and the desk from which they are worked."""

    pcs: dict[str, PretendedPc]
    visitor: Visitor


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A room with the PCs `one` and `two`, both off."""
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"")
    pcs = {name: PretendedPc(name, disk) for name in ("one", "two")}
    desk = Desk(tmp_path / "desk", cast("dict[str, Pc]", pcs))
    yield Room(pcs, Visitor(tmp_path / "desk"))
    desk.close()


def text(menu: LabMenu) -> str:
    return "\n".join(shown_lines(menu))


async def press(pilot: Any, *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.app.look()
    await pilot.pause()


async def test_pcs_are_switched_on_and_off_and_what_they_print_is_shown(room: Room) -> None:
    menu = LabMenu(room.visitor)
    async with menu.run_test(size=(80, 24)) as pilot:
        await press(pilot, "down", "o")
        assert room.pcs["two"].done == ["on network"]
        assert "● on" in next(line for line in shown_lines(menu) if line.startswith("two"))
        assert "iPXE initialising devices" in text(menu)
        room.pcs["two"].console.printed = "first line\n\nagent ready, two\n"
        await press(pilot)
        assert "what two shows" in text(menu)
        assert "agent ready, two" in text(menu)
        await press(pilot, "x", "up", "d")
        assert room.pcs["two"].done == ["on network", "off"]
        assert room.pcs["one"].done == ["on disk"]


async def test_a_cable_is_pulled_and_plugged_and_is_in_again_after_the_power_was_off(room: Room) -> None:
    menu = LabMenu(room.visitor)
    async with menu.run_test(size=(80, 24)) as pilot:
        await press(pilot, "c")
        assert "one is off." in text(menu)
        await press(pilot, "o", "c")
        assert "no cable" in text(menu)
        await press(pilot, "x")
        assert "no cable" not in text(menu)
        await press(pilot, "o", "c", "c")
        assert room.pcs["one"].done == ["on network", "pulled", "off", "on network", "pulled", "plugged"]


async def test_the_keyboard_goes_to_the_pc_until_escape(room: Room) -> None:
    menu = LabMenu(room.visitor)
    async with menu.run_test(size=(80, 24)) as pilot:
        await press(pilot, "k", "o", "k", "down", "x", "enter", "escape", "x")
        assert room.pcs["one"].done == ["on network", "down", "x", "ret", "off"]


async def test_what_the_lab_cannot_do_is_said_in_words(room: Room) -> None:
    menu = LabMenu(room.visitor)
    async with menu.run_test(size=(80, 24)) as pilot:
        await press(pilot, "o", "o")
        assert "one is on already." in text(menu)


def test_a_stranger_at_the_desk_is_answered_in_words(room: Room) -> None:
    assert "No such PC" in room.visitor.do("on", "three")
    assert "No such PC or verb" in room.visitor.do("explode", "one")


def test_a_lab_that_hangs_up_instead_of_an_answer_is_gone(tmp_path: Path) -> None:
    def hang_up() -> None:
        line, _ = listener.accept()
        with line:
            line.recv(1000)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "desk"))
        listener.listen()
        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(OSError, match="hung up"):
            Visitor(tmp_path / "desk").pcs()
        thread.join()


def test_what_the_windows_of_the_lab_need_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no terminal" in session.lacks()
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, os.fdopen(master):
        monkeypatch.setattr("sys.stdin", terminal)
        monkeypatch.setattr("sys.stdout", terminal)
        monkeypatch.setenv("TERM", "dumb")
        assert "TERM=dumb" in session.lacks()
        monkeypatch.setenv("TERM", "linux")
        assert session.lacks() == ""
        monkeypatch.setenv("TERM", "never-heard-of")
        assert "TERM=xterm-256color make lab" in session.lacks()
        monkeypatch.setenv("PATH", "/nowhere")
        assert "apt-get install -y tmux" in session.lacks()


def test_one_checkout_has_one_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_LOCK", tmp_path / "lock")
    with session.only_one() as first, session.only_one() as second:
        assert (first, second) == (True, False)
    with session.only_one() as again:
        assert again
