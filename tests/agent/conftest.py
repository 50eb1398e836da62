"""What the tests of the agent share: short patience, a fake machine, consoles that keep what they are told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.agent.client import Box
from appliance.agent.cmdline import BootLine
from appliance.agent.consoles import Console, Consoles
from appliance.agent.display import Display
from appliance.agent.machine import Limits, Machine, Outcome
from appliance.agent.stop import Stop
from appliance.wire.agentapi import CheckIn
from tests.fakes.agent_box import FixedBox

MAC = "52:54:00:aa:01:02"
# Short where a test waits for the end of patience, ample where it waits for success on a busy machine.
QUICK = Limits(
    nic_s=0.5,
    link_s=0.5,
    dhcp_s=10,
    call_s=20,
    away_s=30,
    retry_first_s=0.02,
    retry_most_s=0.1,
    report_every_s=0.05,
    chunk_s=0.5,
    room_s=30,
    mount_s=1,
    stall_s=20,
    grace_s=1,
    verdict_s=60,
    question_s=3,
    held_poll_s=0.05,
    notice_s=0,
    failed_s=0,
)


@dataclass
class Heard:
    """Consoles on pipes: a screen and a serial line, with everything written to them."""

    folder: Path
    consoles: Consoles = field(init=False)

    def __post_init__(self) -> None:
        self.screen, self.serial = self.folder / "screen", self.folder / "serial"
        fds = [os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) for path in (self.screen, self.serial)]
        self.consoles = Consoles([Console("tty1", fds[0], True), Console("ttyS0", fds[1], False)])

    @property
    def lines(self) -> list[str]:
        """The plain lines on the serial console."""
        return self.serial.read_text().splitlines()

    @property
    def page(self) -> str:
        """The last page that was drawn, with its escape sequences."""
        return self.screen.read_text().rsplit("\x1b[?25l", 1)[-1]


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Heard]:
    """Two consoles to listen to."""
    folder = tmp_path / "consoles"
    folder.mkdir()
    made = Heard(folder)
    yield made
    made.consoles.close()


@pytest.fixture
def display(heard: Heard) -> Display:
    """A display on those consoles."""
    return Display(heard.consoles)


@pytest.fixture
def stop() -> Stop:
    """A flag nobody has set."""
    return Stop()


class FakeTools:
    """Runs no tool: records the command, mounts by a symbolic link, and fails where told."""

    def __init__(self, exports: dict[str, Path]) -> None:
        self.exports = exports
        self.commands: list[list[str]] = []
        self.failures: dict[str, list[Outcome]] = {}

    def __call__(self, command: Sequence[str], timeout_s: float) -> Outcome:
        self.commands.append(list(command))
        waiting = self.failures.get(command[0])
        if waiting:
            return waiting.pop(0)
        if command[0] == "mount" and command[2] == "nfs":
            where = Path(command[-1])
            where.rmdir()
            where.symlink_to(self.exports[command[-2].partition(":")[2]])
        if command[0] == "dmesg":
            return Outcome(127, "dmesg: not found")
        if command[0] == "umount":
            Path(command[-1]).unlink()
        return Outcome(0, "")

    def ran(self, program: str) -> list[list[str]]:
        """The commands that began with `program`."""
        return [command for command in self.commands if command[0] == program]


@pytest.fixture
def tools() -> FakeTools:
    """Tools that only pretend."""
    return FakeTools({})


@pytest.fixture
def machine(tmp_path: Path, tools: FakeTools) -> Machine:
    """A machine whose kernel says what the test writes below `tmp_path`."""
    for name in ("sys", "proc", "dev"):
        (tmp_path / name).mkdir()
    return Machine(tmp_path / "sys", tmp_path / "proc", tmp_path / "dev", tmp_path / "run", tools)


_open: list[Box] = []


@pytest.fixture(autouse=True)
def _hang_up() -> Iterator[None]:
    """Close every connection that a test made with `connect`."""
    yield
    while _open:
        _open.pop().close()


def connect(box: FixedBox, stop: Stop, limits: Limits = QUICK, waits: list[str] | None = None) -> Box:
    """A client that has checked in; what it waits for is added to `waits`."""
    heard = waits if waits is not None else []
    line = BootLine("127.0.0.1", box.port, MAC)
    client = Box(line, CheckIn([MAC], MAC), limits, stop, lambda why, left_s: heard.append(why))
    _open.append(client)
    client.check_in()
    return client


def write(root: Path, files: dict[str, str | bytes]) -> None:
    """Make small files below `root`."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
