"""A Windows-shaped master, and everything pulled in the middle: the server's process, the PC's plug.

One image serves all: it is captured while the server is killed, then deployed under every kind of trouble.
"""

from __future__ import annotations

import time

import pytest

from appliance.events import TaskState
from tests.e2e.conftest import AGENT_READY, BOOT_S, WORK_S, Lab
from tests.lab.compare import compare_disks
from tests.lab.pc import Pc, sha256_of
from tests.lab.windows_disk import CONTENT_LEFT_OUT

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]


def waits_for_the_middle(lab: Lab, task_id: int) -> None:
    """Wait until a task's transfer is under way, and make sure that it is not over yet."""

    def under_way() -> bool:
        task = lab.box.task(task_id)
        assert not task.state.is_final, f"task {task_id} ended too soon: {task.state} {task.error}"
        return task.state is TaskState.RUNNING and task.total_bytes > 0 and task.done_bytes > task.total_bytes // 20

    lab.box.wait_until(under_way, BOOT_S, lambda: f"no transfer: {lab.box.task(task_id)}")
    task = lab.box.task(task_id)
    assert task.done_bytes < task.total_bytes * 0.9, f"too late: {task}"


def kill_the_server_in_the_middle(lab: Lab, task_id: int) -> None:
    waits_for_the_middle(lab, task_id)
    lab.box.kill9()
    time.sleep(2)
    lab.box.start()
    assert not lab.box.task(task_id).state.is_final


@pytest.fixture(scope="module")
def captured(module_lab: Lab) -> Pc:
    """A Windows-shaped master, captured while the server's process was killed."""
    lab = module_lab
    master = lab.pc("master", disk_of="windows", firmware="uefi", bus="sata")
    before = sha256_of(master.disk)
    lab.box.cli("capture", "master", "--image", "windows")
    task = lab.open_task("master")
    master.power_on(stop_at_reboot=True)
    kill_the_server_in_the_middle(lab, task.id)
    lab.waits_until_done(task.id, WORK_S)
    master.waits_until_off(60)
    assert sha256_of(master.disk) == before
    return master


def test_a_capture_whose_server_is_killed_ends_verified(captured: Pc, lab: Lab) -> None:
    said = lab.box.cli("image", "verify", "windows", timeout_s=120)
    assert "windows" in said
    assert len(lab.box.images()) == 1


def test_a_deployment_whose_server_is_killed_ends_equal(captured: Pc, lab: Lab) -> None:
    target = lab.pc("target", firmware="uefi", bus="nvme", disk_mib=1300)
    lab.box.cli("deploy", "windows", "target", "--yes")
    task = lab.open_task("target")
    target.power_on(stop_at_reboot=True)
    kill_the_server_in_the_middle(lab, task.id)
    lab.waits_until_done(task.id)
    target.waits_until_off(60)
    comparison = compare_disks(captured.disk, target.disk, left_out=CONTENT_LEFT_OUT)
    assert comparison.equal, str(comparison)


def test_a_pc_switched_off_during_its_deployment_goes_on_when_it_is_back(captured: Pc, lab: Lab) -> None:
    target = lab.pc("unplugged", firmware="bios", bus="virtio", disk_mib=1024)
    lab.box.cli("deploy", "windows", "unplugged", "--yes")
    task = lab.open_task("unplugged")
    target.power_on(stop_at_reboot=True)
    waits_for_the_middle(lab, task.id)
    target.power_off()
    target.power_on(stop_at_reboot=True)
    target.waits_for(AGENT_READY, BOOT_S)
    done = lab.waits_until_done(task.id)
    assert done.attempts == 2
    target.waits_until_off(60)
    comparison = compare_disks(captured.disk, target.disk, left_out=CONTENT_LEFT_OUT)
    assert comparison.equal, str(comparison)
