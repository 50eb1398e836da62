"""The operator's way through the console, with nothing but keys: two hosts, a capture, a deployment.

The real program runs at a terminal of the Linux console's kind and size; the lab presses the PCs' buttons when, and
only when, the console tells its reader to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from appliance.events import TaskKind, TaskState
from tests.e2e.conftest import BOOT_S, WORK_S, Lab
from tests.lab.compare import compare_disks
from tests.lab.pc import sha256_of
from tests.tui.terminal import COLUMNS, LINES, Tmux

SMALL_PC: dict[str, Any] = {"firmware": "bios", "bus": "virtio", "disk_mib": 256, "memory_mib": 1024, "cpus": 2}
START_IT = r"[Ss]tart (it|them) from the network card"

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


@pytest.fixture
def operator(lab: Lab) -> Iterator[Tmux]:
    """Somebody at the box's own screen."""
    with Tmux(lab.box.command("tui"), columns=COLUMNS, lines=LINES, term="linux") as terminal:
        yield terminal


def add_host(operator: Tmux, name: str, mac: str) -> None:
    """Fill the form of a host."""
    operator.press("a")
    operator.waits_for("MAC addresses")
    operator.type(name)
    operator.press("Down")
    operator.type(mac)
    operator.press("Enter")
    operator.waits_for(rf"Added {name}\.")


def test_a_master_is_captured_and_deployed_from_the_first_key_to_the_last(lab: Lab, operator: Tmux) -> None:
    master = lab.pc("master", disk_of="small", known=False, **SMALL_PC)
    target = lab.pc("target", known=False, **SMALL_PC)
    before = sha256_of(master.disk)

    # An empty box begins with its guided first start; it can wait.
    operator.waits_for("First start +step 1 of", 30)
    operator.press("C-q")
    operator.waits_for("1 Overview 2 Hosts")
    operator.press("2")
    operator.waits_for("Hosts 0")
    add_host(operator, "master", master.mac)
    add_host(operator, "target", target.mac)

    operator.press("c")
    operator.waits_for("▸ 1 Which PC")
    operator.press("Home", "Down", "Enter")
    operator.waits_for(f"1 Which PC. +master +{master.mac}")
    operator.press("Down")
    operator.waits_for("Shut it down properly")
    operator.press("Enter")
    operator.waits_for("▸ 3 Into which image")
    operator.type("small")
    operator.waits_for("small, a new image")
    operator.press("Enter", "Enter")
    operator.waits_for("▸ 5 All right")
    assert not lab.box.tasks()
    operator.press("Enter")
    operator.waits_for(START_IT)
    master.power_on(stop_at_reboot=True)
    operator.waits_for("● agent +[0-9:]{8}", BOOT_S)
    operator.waits_for("Stored as small@1: .* read", WORK_S)
    master.waits_until_off(60)
    assert sha256_of(master.disk) == before

    operator.press("Enter")
    operator.waits_for("▸ 2 Onto which PCs")
    operator.press("Home", "Down", "Space")
    operator.waits_for("1 PC marked")
    operator.press("Enter")
    operator.waits_for("▸ 3 All at once")
    operator.press("Enter")
    operator.waits_for("▸ 4 When, and then")
    operator.press("Enter")
    operator.waits_for("▸ 5 What is lost")
    operator.waits_for("target")
    operator.press("Enter")
    assert [task.kind for task in lab.box.tasks()] == [TaskKind.CAPTURE]  # the number of PCs was not typed
    operator.type("1")
    operator.press("Enter")
    operator.waits_for(START_IT)
    target.power_on(stop_at_reboot=True)
    operator.waits_for("All have ended", BOOT_S + WORK_S)
    target.waits_until_off(60)
    (task,) = (task for task in lab.box.tasks() if task.kind is TaskKind.DEPLOY)
    assert (task.host_name, task.state) == ("target", TaskState.DONE)
    comparison = compare_disks(master.disk, target.disk)
    assert comparison.equal, str(comparison)

    operator.press("Escape", "1")
    operator.waits_for("2 done")
    operator.press("q")
    operator.waits_for("Leave the console")
    operator.press("Enter")
    operator.waits_for("Pane is dead|^$")
