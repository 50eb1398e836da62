"""A Windows-shaped master, and trouble of every kind: the server killed, the PC's plug pulled, disks that do not fit.

One image serves all: it is captured while the server is killed, then deployed again and again.
"""

from __future__ import annotations

import os
import re
import time

import pytest

from appliance.events import TaskState
from appliance.model import Task
from tests.e2e.conftest import AGENT_READY, BOOT_S, WORK_S, Lab
from tests.lab.boxview import CliFailed
from tests.lab.compare import compare_disks
from tests.lab.pc import Pc, sha256_of
from tests.lab.windows_disk import CONTENT_LEFT_OUT

SLOW_MBIT_S = 80  # a deployment of the image then takes about 15 s, on any machine

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]


def waits_for_the_middle(lab: Lab, task_id: int, share: float = 0.05) -> None:
    """Wait until a task's transfer is under way, `share` of it done, and make sure that it is not over yet."""

    def under_way() -> bool:
        task = lab.box.task(task_id)
        assert not task.state.is_final, f"task {task_id} ended too soon: {task.state} {task.error}"
        return task.state is TaskState.RUNNING and task.total_bytes > 0 and task.done_bytes > task.total_bytes * share

    lab.box.wait_until(under_way, BOOT_S, lambda: f"no transfer: {lab.box.task(task_id)}")
    task = lab.box.task(task_id)
    assert task.done_bytes < task.total_bytes * 0.9, f"too late: {task}"


def kill_the_server_in_the_middle(lab: Lab, task_id: int) -> None:
    waits_for_the_middle(lab, task_id)
    lab.box.kill9()
    time.sleep(2)
    lab.box.start()
    assert not lab.box.task(task_id).state.is_final


def kept_bytes(lab: Lab, task_id: int) -> int:
    """How much a deployment found right on the target's disk already, as its task says."""
    store = lab.box.store()
    try:
        said = " ".join(event.text for event in store.tasks.events(task_id))
    finally:
        store.close()
    match = re.search(r"kept (\d+)", said)
    assert match, said
    return int(match[1])


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
    target.waits_for(AGENT_READY, BOOT_S)
    target.slow_down(SLOW_MBIT_S)
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
    target.waits_for(AGENT_READY, BOOT_S)
    target.slow_down(SLOW_MBIT_S)
    waits_for_the_middle(lab, task.id, 0.6)
    target.power_off()
    target.power_on(stop_at_reboot=True)
    target.waits_for(AGENT_READY, BOOT_S)
    done = lab.waits_until_done(task.id)
    assert done.attempts == 2
    # What was flushed before is not written again; at most two flushes of 64 MiB may have been on their way.
    assert kept_bytes(lab, task.id) > done.total_bytes * 0.3
    target.waits_until_off(60)
    comparison = compare_disks(captured.disk, target.disk, left_out=CONTENT_LEFT_OUT)
    assert comparison.equal, str(comparison)


def waits_until_failed(lab: Lab, pc: Pc, task_id: int) -> Task:
    """Wait for a task's bad end, which the PC's screen must tell in the same words."""
    task = lab.box.waits_for_task(task_id, BOOT_S + WORK_S)
    assert task.state is TaskState.FAILED, f"{task} See {lab.folder}"
    assert task.error
    assert task.remedy
    plain = re.split(r"[^ -~]", task.error)[0]  # consoles show other characters in their own way
    assert len(plain) > 20
    pc.waits_for(re.escape(f"diecast: failed: {plain}"), 30)
    said = lab.box.cli("task", "show", str(task_id))
    assert task.error[:40] in " ".join(said.split())
    return task


def test_pcs_whose_disks_do_not_fit_are_left_alone_and_say_why(captured: Pc, lab: Lab) -> None:
    small = lab.pc("small", firmware="bios", bus="virtio", disk_mib=512)
    second = lab.folder / "second.img"
    with second.open("wb") as stream:
        stream.truncate(2 << 30)
    words = ["-drive", f"if=none,id=second,file={second},format=raw", "-device", "virtio-blk-pci,drive=second"]
    two = lab.pc("two-disks", firmware="bios", bus="virtio", disk_mib=2048, extra=words)
    before = {pc.name: sha256_of(pc.disk) for pc in (small, two)}
    lab.box.cli("deploy", "windows", "small", "two-disks", "--yes")
    tasks = {pc.name: lab.open_task(pc.name).id for pc in (small, two)}
    for pc in (small, two):
        pc.power_on(stop_at_reboot=True)
    too_small = waits_until_failed(lab, small, tasks["small"])
    assert re.search(r"\b1[.,]0\d* ?GB|1073741824", too_small.error), too_small.error
    assert re.search(r"\b53\d|536870912", too_small.error), too_small.error
    ambiguous = waits_until_failed(lab, two, tasks["two-disks"])
    assert "/dev/vda" in ambiguous.error + ambiguous.remedy
    assert "/dev/vdb" in ambiguous.error + ambiguous.remedy
    assert {pc.name: sha256_of(pc.disk) for pc in (small, two)} == before


def test_a_chunk_damaged_on_the_box_fails_the_deployment_and_no_image(captured: Pc, lab: Lab) -> None:
    chunk = max((lab.folder / "images/chunks").glob("??/*"), key=lambda path: path.stat().st_size)
    sound = chunk.read_bytes()
    damaged = bytearray(sound)
    damaged[len(damaged) // 2] ^= 0xFF
    os.chmod(chunk, 0o644)
    chunk.write_bytes(damaged)
    pc = lab.pc("damaged", firmware="bios", bus="sata", disk_mib=1100)
    lab.box.cli("deploy", "windows", "damaged", "--yes")
    task = lab.open_task("damaged")
    pc.power_on(stop_at_reboot=True)
    failed = waits_until_failed(lab, pc, task.id)
    assert chunk.name[:8] in failed.error, failed.error
    with pytest.raises(CliFailed) as refused:
        lab.box.cli("image", "verify", "windows", timeout_s=120)
    assert chunk.name[:8] in refused.value.said
    chunk.write_bytes(sound)
    lab.box.cli("image", "verify", "windows", timeout_s=120)
