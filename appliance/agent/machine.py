"""Where the kernel and its tools are found, and how long to wait for what.

Every function of the agent that looks at the machine takes a `Machine`, so that tests can give other roots and tools.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a program ended: its exit status, and all it printed."""

    status: int
    output: str

    @property
    def last_line(self) -> str:
        """The last thing it said, which is where tools put their error."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return lines[-1] if lines else f"exit status {self.status}"


def run_program(command: Sequence[str], timeout_s: float) -> Outcome:
    """Run `command` without a shell. A missing program and a time-out are outcomes too: 127 and 124, as in a shell."""
    try:
        done = subprocess.run(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        return Outcome(127, f"{command[0]}: not found")
    except subprocess.TimeoutExpired as late:
        said = (late.stdout or b"").decode(errors="replace").strip()
        return Outcome(124, f"{said}\n{command[0]}: no end within {timeout_s:.0f} s")
    return Outcome(done.returncode, done.stdout.decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class Machine:
    """The roots of the kernel's file systems and the way to run a tool."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")
    state: Path = Path("/run/diecast")  # mount points and the lease
    run: Callable[[Sequence[str], float], Outcome] = field(default=run_program)

    def text(self, path: Path) -> str:
        """The content of a small kernel file without surrounding blanks; empty when it cannot be read."""
        try:
            return path.read_bytes()[:65536].decode(errors="replace").strip(" \t\n\0")
        except OSError:  # e.g. `carrier` and `speed` of a card that is down answer EINVAL
            return ""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the agent waits, in seconds. Nothing here is endless."""

    nic_s: float = 30  # for the driver of the boot NIC
    link_s: float = 60  # for carrier; 1000BASE-T autonegotiation and cheap switches take up to 10 s
    dhcp_s: float = 120  # for an address; 802.1D holds a fresh port back for 2 x 15 s
    call_s: float = 30  # for one HTTP answer
    away_s: float = 600  # for a box that does not answer
    retry_first_s: float = 0.25
    retry_most_s: float = 5
    report_every_s: float = 1
    chunk_s: float = 120  # for one chunk that NFS cannot read or write
    room_s: float = 600  # for room in the staging folder
    mount_s: float = 300
    stall_s: float = 900  # without any progress of the engine
    grace_s: float = 5  # for the engine to stop after a cancel
    verdict_s: float = 7200  # for the box to verify and commit, as long as it answers
    held_poll_s: float = 2  # between two questions whether the operator has confirmed this PC
    question_s: float = 600  # for somebody at the keyboard
    failed_s: float = 600  # that a failure stays on the screen, unless somebody presses Enter
    notice_s: float = 10  # that a last message can be read before the PC goes down
