"""The real program at a terminal: it opens, ends cleanly, and says in words what is wrong."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.events import LocalBoot
from appliance.store import Store
from tests.tui.kit import furnish

ROOT = Path(__file__).parents[2]
_WAIT_S = 60  # for one word on the screen; a loaded machine is slow
_BROKEN = """
import sys
import appliance.tui.screens.overview as overview
overview.overview_lines = lambda *words: 1 // 0
from appliance.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


class Terminal:
    """A program at a pseudo terminal of 80 by 25."""

    def __init__(self, words: list[str]) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execve(sys.executable, [sys.executable, *words], dict(os.environ, TERM="linux", LANG="C.UTF-8"))
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
        self.seen = ""

    def waits_for(self, words: str) -> None:
        """Read until `words` were written."""
        while words not in self.seen:
            ready, _w, _x = select.select([self.fd], [], [], _WAIT_S)
            assert ready, f"'{words}' did not come; last: {self.seen[-500:]!r}"
            try:
                self.seen += os.read(self.fd, 65536).decode("utf-8", "replace")
            except OSError:
                pytest.fail(f"it ended before '{words}' came; last: {self.seen[-500:]!r}")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self.fd, keys.encode())

    def ends(self) -> int:
        """Read to the end; the exit status."""
        while True:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            if not data:
                break
            self.seen += data.decode("utf-8", "replace")
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A box in the middle of a day, and its settings file."""
    path = tmp_path / "diecast.toml"
    folders = "\n".join(f'{name} = "{tmp_path / name}"' for name in ("state", "images", "boot", "run"))
    path.write_text(f"[paths]\n{folders}\n")
    with Store.open(tmp_path / "state" / "diecast.sqlite") as store:
        furnish(store)
    return path


@pytest.fixture
def program(config: Path) -> Callable[..., Terminal]:
    """Start `diecast tui` with some options."""
    return lambda *options: Terminal(["-m", "appliance", "--config", str(config), "tui", *options])


def test_it_opens_on_a_linux_console_and_leaves_the_terminal_as_it_was(program: Callable[..., Terminal]) -> None:
    terminal = program()
    terminal.waits_for("win11-master")
    terminal.press("q")
    terminal.waits_for("Leave the console?")
    terminal.press("\r")
    assert terminal.ends() == 0
    assert "\x1b[?1049l" in terminal.seen
    assert "\x1b[?25h" in terminal.seen


def test_it_shows_what_another_process_changes(program: Callable[..., Terminal], config: Path) -> None:
    terminal = program("--read-only")
    terminal.waits_for("win11-master")
    with Store.open(config.parent / "state" / "diecast.sqlite") as store:
        store.hosts.edit("lab-02", sealed=True)
    terminal.waits_for("lab-02  sealed")
    os.kill(terminal.pid, signal.SIGTERM)
    terminal.ends()


def test_it_speaks_french_when_it_is_told(program: Callable[..., Terminal]) -> None:
    terminal = program("--language", "fr")
    terminal.waits_for("À faire")
    terminal.press("q\r")
    assert terminal.ends() == 0


def test_a_store_that_cannot_be_read_is_told_in_words(program: Callable[..., Terminal], config: Path) -> None:
    (config.parent / "state" / "diecast.sqlite").write_text("this is no database " * 100)
    terminal = program()
    terminal.waits_for("SQLite")  # the rest may stand on the next line
    terminal.press("q\r")
    assert terminal.ends() == 0
    assert "Traceback" not in terminal.seen


def test_a_defect_ends_it_with_a_sentence_and_no_traceback(config: Path) -> None:
    terminal = Terminal(["-c", _BROKEN, "--config", str(config), "tui"])
    assert terminal.ends() == 69
    assert "The console ended on a defect: ZeroDivisionError" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_without_a_terminal_it_says_so(config: Path) -> None:
    words = [sys.executable, "-m", "appliance", "--config", str(config), "tui"]
    done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "needs a terminal" in done.stderr


# -- keys that come in one burst, as from a stalled line --------------------------------------------------------------


def _store(config: Path) -> Store:
    return Store.open(config.parent / "state" / "diecast.sqlite")


def test_a_form_that_is_typed_in_one_burst_gets_each_text_into_its_row(
    program: Callable[..., Terminal], config: Path
) -> None:
    terminal = program()
    terminal.waits_for("win11-master")
    first = "alpha-1\t52:54:00:bb:00:01\x1b[B\x1b[BB204\t10.20.4.77\t/dev/vda\x1b[B\x1b[C\t\t\x1b[C\tby the door"
    second = "alpha-2\x1b[B52:54:00:bb:00:02\t\tLibrary"
    terminal.press(f"2a{first}\ra{second}\r")
    terminal.waits_for("Added alpha-2")
    with _store(config) as store:
        one, two = store.hosts.get("alpha-1"), store.hosts.get("alpha-2")
        reserved = {item.mac: str(item.address) for item in store.leases.reservations()}
    assert (one.macs, one.room, one.disk, one.notes) == (("52:54:00:bb:00:01",), "B204", "/dev/vda", "by the door")
    assert (one.local_boot, one.sealed) == (LocalBoot.NO_ANSWER, True)
    assert reserved == {"52:54:00:bb:00:01": "10.20.4.77"}
    assert (two.macs, two.room) == (("52:54:00:bb:00:02",), "Library")


def test_a_key_behind_a_switch_of_screens_is_the_new_screens(program: Callable[..., Terminal]) -> None:
    terminal = program()
    terminal.waits_for("win11-master")
    for _turn in range(3):  # a screen that is made just now, and one that is there already
        terminal.seen = ""
        terminal.press("24u")
        terminal.waits_for("unfinished tasks")
        terminal.press("uu1")
    terminal.press("2/lab-17\r4\x1b[Fh")  # h is no key of the tasks: nothing of the hosts may open
    terminal.seen = ""
    terminal.press("2/lab-17\rh")
    terminal.waits_for("is too small")


def test_a_warning_is_not_answered_by_a_key_typed_before_it_was_there(
    program: Callable[..., Terminal], config: Path
) -> None:
    terminal = program()
    terminal.waits_for("win11-master")
    terminal.press("2/lab-05\rz\r")
    terminal.waits_for("Enter: go ahead")
    terminal.press("\x1b\x10tasks\r")  # the dialog goes, the palette comes
    terminal.waits_for("all tasks")
    terminal.press("2z\x1b4u")
    terminal.waits_for("unfinished tasks")
    with _store(config) as store:
        assert not store.hosts.get("lab-05").sealed
    terminal.seen = ""
    terminal.press("2z")
    terminal.waits_for("Enter: go ahead")
    terminal.press("\r")
    terminal.waits_for("Sealed.")
    with _store(config) as store:
        assert store.hosts.get("lab-05").sealed
