"""`make lab`: console, menu and shell in one terminal; a PC switched on in the menu is seen in the console."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import BOOT_S
from tests.lab.command import run
from tests.lab.network import remove_stale
from tests.lab.pc import mac_for
from tests.tui.terminal import Tmux

pytestmark = [pytest.mark.guest, pytest.mark.timeout(400)]


@pytest.fixture
def own_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A lab beside the one that somebody may have open. It outlives its terminal, so a test that fails must end it."""
    monkeypatch.setenv("DIECAST_LAB_FOLDER", str(tmp_path))
    yield
    run(["tmux", "-S", tmp_path / "tmux", "kill-server"], ok=(0, 1))


def test_the_lab_is_worked_from_one_terminal(own_lab: None) -> None:
    with Tmux([sys.executable, "-m", "tests.lab.shell"], term="linux") as person:
        person.waits_for("First start +step 1 of", 120)
        person.press("C-q")
        person.waits_for("1 Overview")

        person.press("F10")
        person.waits_for("^bios-pc +■ off")
        person.press("End", "o")
        person.waits_for("^bios-pc +● on", 30)
        person.waits_for("what bios-pc shows")

        person.press("F10")
        person.waits_for("^lab> ?$")
        person.type("host list --unknown")
        person.press("Enter")
        person.waits_for("No unknown PC|52:54:00")

        person.press("F10", "6")
        person.waits_for(mac_for("bios-pc"), BOOT_S)

        person.press("F12")
        person.waits_for("end the lab")
        person.press("y")
        person.waits_for_end(60)
    assert remove_stale() == []
