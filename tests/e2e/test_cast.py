"""A room written at once: one PC loses its power in the middle, another is behind a switch that lost its groups."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.events import TaskState
from appliance.model import ImageVersion
from tests.e2e.conftest import AGENT_READY, BOOT_S, FOLDER, WORK_S, Lab
from tests.lab.box import BoxOptions
from tests.lab.compare import compare_disks
from tests.lab.disks import master
from tests.lab.pc import Pc
from tests.lab.stock import put_image

ROOM = ("cut", "first", "second", "third")
SLOW_MBIT_S = 16  # the image then takes about 40 s, on any machine
FLUSHED_BYTES = 32 << 20  # a PC flushes so much at once

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]


@dataclass(frozen=True, slots=True)
class Given:
    """A lab whose box has the small image."""

    lab: Lab
    master: Path
    version: ImageVersion

    def cast(self, name: str) -> dict[str, Any]:
        """The cast of a PC's newest task, as `diecast cast show` tells programs."""
        task = max((t for t in self.lab.box.tasks() if t.host_name == name), key=lambda task: task.id)
        found: dict[str, Any] = self.lab.box.json("cast", "show", str(task.cast_id))
        return found

    def status(self, name: str) -> str:
        """How the PC fares in its cast."""
        return next(str(m["status"]) for m in self.cast(name)["members"] if m["host_name"] == name)

    def deploys(self, names: tuple[str, ...], *options: str) -> dict[str, int]:
        """Order the image for new small PCs by cast and start them; returns their tasks."""
        pcs = [self.lab.pc(name, disk_mib=256, memory_mib=1024, cpus=1) for name in names]
        self.lab.box.cli("deploy", "small", *names, "--cast", *options, "--yes")
        for pc in pcs:
            pc.power_on(stop_at_reboot=True)
        return {name: self.lab.open_task(name).id for name in names}

    def pc(self, name: str) -> Pc:
        return next(pc for pc in self.lab.pcs if pc.name == name)

    def is_equal(self, name: str) -> None:
        """The PC's disk holds what the master's holds, as foreign tools read both."""
        self.pc(name).waits_until_off(60)
        comparison = compare_disks(self.master, self.pc(name).disk)
        assert comparison.equal, str(comparison)


@pytest.fixture(scope="module")
def given() -> Iterator[Given]:
    """The box runs; nobody waits long for a silent PC, and nobody gives it up either."""
    lab = Lab(FOLDER / "test_cast", BoxOptions(silent_after_s=600))
    try:
        disk = master("small")
        version = put_image(lab.box, disk, "small")
        lab.box.start()
        yield Given(lab, disk, version)
    finally:
        lab.close()


@pytest.fixture(autouse=True)
def quiet_afterwards(given: Given) -> Iterator[None]:
    """Whatever a test left on is switched off."""
    yield
    given.lab.switch_off()


def figure(pattern: str, text: str) -> int:
    match = re.search(pattern, text)
    assert match, text
    return int(match[1])


def test_of_four_pcs_one_loses_its_power_and_the_others_are_done_before_it_is_back(given: Given) -> None:
    lab, box = given.lab, given.lab.box
    tasks = given.deploys(ROOM, "--wait-for", "4", "--wait-seconds", "300")
    cast_id = str(given.cast("cut")["id"])
    box.cli("cast", "limit", cast_id, str(SLOW_MBIT_S))
    cut, task = given.pc("cut"), tasks["cut"]
    # What is counted as done is on stable storage, so there is something to go on from.
    box.wait_until(lambda: box.task(task).done_bytes >= FLUSHED_BYTES, BOOT_S + WORK_S, lambda: str(box.tasks()))
    box.wait_until(lambda: bool(given.cast("cut")["present"] == len(ROOM)), 10, lambda: f"{given.cast('cut')}")
    cut.power_off()
    assert not any(box.task(number).state.is_final for number in tasks.values()), box.tasks()
    box.wait_until(lambda: given.status("cut") == "silent", WORK_S, lambda: f"{given.cast('cut')}")
    for name in ROOM[1:]:
        assert lab.waits_until_done(tasks[name]).attempts == 1
    assert not box.task(task).state.is_final

    kept_at_least = box.task(task).done_bytes // 2  # looks at a disk that holds something else are few
    cut.power_on(stop_at_reboot=True)
    box.cli("cast", "limit", cast_id, "0")
    assert lab.waits_until_done(task, BOOT_S + WORK_S).attempts == 2
    assert figure(r"kept (\d+)", box.events(task)) >= kept_at_least
    for name in ("cut", "first"):
        given.is_equal(name)

    screens = [given.pc(name).console.text(everything=True) for name in ROOM]
    assert any("diecast: cast: waiting for more PCs" in screen for screen in screens)  # not on the last one's
    assert all("diecast: cast: receiving by multicast" in screen for screen in screens)
    for name in ROOM:
        assert figure(r"of it (\d+) by multicast", box.events(tasks[name])) > 0
    end = given.cast("cut")
    assert end["sent_bytes"] > given.version.stored_bytes // 2
    assert {member["task_state"] for member in end["members"]} == {TaskState.DONE}
    assert re.search(r"Sent: +\d+ MB", box.cli("cast", "show", cast_id))


def test_a_pc_that_multicast_does_not_reach_goes_on_by_nfs_and_all_are_told_what_to_do(given: Given) -> None:
    lab, box = given.lab, given.lab.box
    tasks = given.deploys(("deaf", "hearing"))
    deaf = given.pc("deaf")
    deaf.lose_multicast()
    deaf.waits_for(AGENT_READY, BOOT_S)
    deaf.slow_down(SLOW_MBIT_S)
    deaf.waits_for(r"^diecast: cast: multicast does not arrive here; going on by NFS", WORK_S)
    deaf.waits_for(r"^diecast: Multicast does not arrive at this PC: give the switch an IGMP querier", 10)
    box.wait_until(lambda: "does not arrive" in given.status("deaf"), 30, lambda: f"{given.cast('deaf')}")
    shown = box.cli("cast", "show", str(given.cast("deaf")["id"]))
    assert "Multicast does not arrive at deaf: give the switch an IGMP querier" in shown
    for task in tasks.values():
        lab.waits_until_done(task)
    assert figure(r"of it (\d+) by multicast", box.events(tasks["deaf"])) == 0
    assert figure(r"fetched (\d+)", box.events(tasks["deaf"])) > 0
    assert figure(r"of it (\d+) by multicast", box.events(tasks["hearing"])) > 0
    assert "IGMP querier" in box.cli("task", "show", str(tasks["deaf"]))
    given.is_equal("deaf")
