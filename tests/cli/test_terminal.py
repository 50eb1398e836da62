"""What an operator sees: the program at a real terminal, with TERM=linux and 80 columns."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.events import TaskState
from appliance.store import Store
from tests.cli.conftest import MAC1, commit, version

REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 30


def _heed_interrupts() -> None:
    """Tests that a shell runs in the background inherit an ignored SIGINT; a terminal's programs do not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A program with a terminal of its own."""

    def __init__(self, config: Path, *words: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in {"COLUMNS", "LINES"}}
        environment |= {"PYTHONPATH": str(REPOSITORY), "TERM": "linux"}
        command = [sys.executable, "-m", "appliance", "--config", str(config), *words]
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            preexec_fn=_heed_interrupts,
        )
        os.close(theirs)
        self.said = ""

    def waits_for(self, text: str) -> None:
        """Read until `text` has been said."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.said:
            if time.monotonic() > deadline or not self._read(deadline):
                raise AssertionError(f"{text!r} was not said, but: {self.said!r}")

    def _read(self, deadline: float) -> bool:
        if not select.select([self._ours], [], [], max(0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the program has ended
            return False
        self.said += data.decode()
        return bool(data)

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ends(self) -> int:
        """Read to the end and return the exit status."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextlib.contextmanager
def terminal(config: Path, *words: str) -> Iterator[Terminal]:
    opened = Terminal(config, *words)
    try:
        yield opened
    finally:
        opened.close()


@pytest.mark.parametrize(("answer", "status", "ordered"), [("y\n", 0, 1), ("\n", 130, 0), ("\x04", 130, 0)])
def test_a_deploy_asks_at_the_terminal(config: Path, store: Store, answer: str, status: int, ordered: int) -> None:
    commit(store, version())
    store.hosts.add("PC1", [MAC1])
    with terminal(config, "deploy", "win11", "PC1") as operator:
        operator.waits_for("Go on? [y/N] ")
        assert "This overwrites the disk of this PC with win11@1" in operator.said
        operator.types(answer)
        assert operator.ends() == status
    assert len(store.tasks.list(active_only=True)) == ordered


def test_a_bar_is_drawn_over_itself_until_the_task_ends(config: Path, store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    task = store.tasks.capture(store.hosts.get("PC1"), "win11")
    with terminal(config, "task", "watch", "1") as operator:
        operator.waits_for("waits for the PC to boot")
        store.tasks.checked_in(task.id, "10.20.5.2", MAC1)
        store.tasks.progress(task.id, "capture", 50_000_000, 100_000_000, 25_000_000.0)
        operator.waits_for("[##########----------]  50 % 25.0 MB/s    0:02 left  capture")
        store.tasks.move(task.id, TaskState.FAILED, error="The disk cannot be read.", remedy="Replace it.")
        assert operator.ends() == 1
    assert operator.said.endswith("Task 1, capture of PC1, failed: The disk cannot be read. Replace it.\r\n")
    assert "\x1b[1A\r\x1b[2K" in operator.said, "each bar replaces the one before"


def test_control_c_stops_the_watching_and_not_the_task(config: Path, store: Store) -> None:
    store.hosts.add("PC1", [MAC1])
    store.tasks.capture(store.hosts.get("PC1"), "win11")
    with terminal(config, "task", "watch") as operator:
        operator.waits_for("waits for the PC to boot")
        operator.process.send_signal(signal.SIGINT)
        assert operator.ends() == 130
    assert "the work goes on" in operator.said
    assert "Traceback" not in operator.said
    assert store.tasks.get(1).state is TaskState.WAITING


def test_lists_keep_to_the_terminals_80_columns(config: Path, store: Store) -> None:
    for number in range(3):
        store.hosts.add(f"A-HOST-WITH-A-VERY-LONG-NAME-FOR-A-PC-{number}", [f"52:54:00:aa:02:0{number}"])
        commit(store, version(str(number), f"an-image-with-a-very-long-name-{number}"), f"MASTER-IN-ROOM-12-{number}")
    for words in (("host", "list"), ("image", "list"), ("task", "list"), ("doctor",)):
        with terminal(config, *words) as operator:
            operator.ends()
        assert max(map(len, operator.said.split("\r\n"))) <= 80, words
