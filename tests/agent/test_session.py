"""A whole start of the agent: real engine, real HTTP, folders instead of NFS mounts, image files instead of disks."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.agent import network
from appliance.agent.machine import Machine, Outcome
from appliance.agent.page import clean
from appliance.agent.session import Exit, run
from appliance.engine.chunkstore import ChunkStore
from appliance.wire import agentapi as api
from tests.agent.conftest import MAC, QUICK, FakeTools, Heard, write
from tests.agent.test_hardware import card
from tests.fakes.agent_box import FixedBox, FlakyBox, Reply, RevokingBox

MIB = 1 << 20
_EXPORT = api.NfsExport("127.0.0.1", "/chunks")
_STAGING = api.NfsExport("127.0.0.1", "/staging/1")


def content(windows: int, seed: int = 1) -> bytes:
    """A disk without a table: random windows, some of them equal, some zero."""
    chance = random.Random(seed)
    kinds = [chance.randbytes(MIB) for _ in range(max(1, windows // 2))] + [bytes(MIB)]
    return b"".join(chance.choice(kinds) for _ in range(windows))


class Lab:
    """One PC, one box, and what goes between them."""

    def __init__(self, machine: Machine, tools: FakeTools, heard: Heard, folder: Path) -> None:
        self.machine, self.tools, self.heard = machine, tools, heard
        self.store = ChunkStore(folder / "images")
        self.limits = QUICK
        self.staging = self.store.open_staging(1, os.getuid())
        tools.exports = {"/chunks": folder / "images/chunks", "/staging/1": self.staging}
        self.version = ""

    def disk(self, name: str, data: bytes, *, removable: bool = False, size: int | None = None) -> Path:
        """Put a disk into the PC."""
        size = size if size is not None else len(data)
        write(
            self.machine.sys,
            {
                f"block/{name}/size": str(size // 512),
                f"block/{name}/device/model": "Testdisk",
                f"block/{name}/removable": "1" if removable else "0",
            },
        )
        path = self.machine.dev / name
        path.write_bytes(data)
        os.truncate(path, size)
        return path

    def order(self, kind: str, **more: object) -> api.TaskOrder:
        """A task for this PC."""
        order = api.TaskOrder(1, kind, "win11-lab", "lab-01", _EXPORT, after="poweroff")
        order = replace(order, staging=_STAGING) if kind == "capture" else replace(order, version_id=self.version)
        return replace(order, **more)  # type: ignore[arg-type]

    def start(self, box: FixedBox, *, purpose: str = "task") -> Exit:
        """Boot the PC."""
        line = f"diecast.server=http://127.0.0.1:{box.port} diecast.mac={MAC} diecast.purpose={purpose}"
        write(self.machine.proc, {"cmdline": line})
        return run(self.machine, self.limits, self.heard.consoles)

    def captured(self, data: bytes) -> str:
        """Have a version of `data` in the store, made by a PC that is gone again."""
        with FixedBox(self.store) as box:
            box.order = self.order("capture")
            self.disk("sda", data)
            assert self.start(box) is Exit.POWER_OFF, self.heard.lines
            self.version = box.version_id
        for path in (self.machine.sys / "block/sda/device/model", self.machine.sys / "block/sda/size"):
            path.unlink()
        self.heard.serial.write_text("")
        return self.version


@pytest.fixture
def lab(machine: Machine, tools: FakeTools, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A PC with its card and its address."""
    card(machine, "eth0", MAC)
    address = network.Address("eth0", MAC, IPv4Address("10.20.5.1"), 22)
    monkeypatch.setattr(network, "bring_up", lambda *_: address)
    return Lab(machine, tools, heard, tmp_path)


def when(condition: Callable[[], object], act: Callable[[], object], timeout_s: float = 20) -> threading.Thread:
    """Do something as soon as a condition holds, beside the agent."""

    def watch() -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if condition():
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


# --- what goes well


def test_a_capture_and_a_deploy_make_an_equal_disk(lab: Lab) -> None:
    data = content(24)
    version = lab.captured(data)
    assert lab.store.verify(version, lambda done, total: None).ok
    target = lab.disk("nvme0n1", b"old" * 1000, size=len(data) + 8 * MIB)
    with FixedBox(lab.store) as box:
        box.version_id = version
        box.order = lab.order("deploy", after="reboot")
        assert lab.start(box) is Exit.REBOOT, lab.heard.lines
    assert target.read_bytes()[: len(data)] == data
    assert box.results[0].written_bytes + box.results[0].reused_bytes == len(data)
    assert lab.heard.lines[-1] == "diecast: done, restarting"
    assert "Deploy of win11-lab: done, restarting." in lab.heard.page


def test_a_capture_leaves_the_master_alone_and_its_staging_folder_unmounted(lab: Lab) -> None:
    data = content(12)
    lab.captured(data)
    assert (lab.machine.dev / "sda").read_bytes() == data
    assert not (lab.machine.state / "staging").exists()
    mount, unmount = lab.tools.ran("mount"), lab.tools.ran("umount")
    options = mount[0][4].split(",")
    assert {"vers=4.1", "hard", "rw", "nosuid", "port=2049"} <= set(options)
    assert len(unmount) == 1


def test_a_second_capture_of_the_same_disk_sends_nothing(lab: Lab) -> None:
    data = content(12)
    first = lab.captured(data)
    lab.disk("sda", data)
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        lab.start(box)
    assert box.results[0].written_bytes == 0
    assert box.version_id == first


def test_a_deploy_over_the_same_content_fetches_nothing(lab: Lab) -> None:
    data = content(12)
    lab.captured(data)
    lab.disk("sda", data)
    with FixedBox(lab.store) as box:
        box.version_id = lab.version
        box.order = lab.order("deploy")
        assert lab.start(box) is Exit.POWER_OFF
    assert (box.results[0].written_bytes, box.results[0].details["fetched_bytes"]) == (0, "0")


def test_the_serial_line_tells_the_story_in_the_words_the_lab_waits_for(lab: Lab) -> None:
    lab.disk("sda", content(24))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture", after="stay")
        assert lab.start(box) is Exit.STAY
    lines = lab.heard.lines
    assert lines[0] == "diecast: agent starting"
    assert "diecast: agent ready, lab-01" in lines
    assert "diecast: task 1: capture win11-lab" in lines
    assert "diecast: the box checks and commits" in lines
    assert lines[-1] == "diecast: done, staying on"


def test_the_box_hears_who_we_are_what_we_have_and_how_far_we_are(lab: Lab) -> None:
    lab.disk("sda", content(24))
    write(lab.machine.sys, {"class/dmi/id/product_uuid": "4c4c4544-0031-3010-8054-b1c04f4b3233"})
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        lab.start(box)
    said = box.check_ins[0]
    assert (said.boot_mac, said.macs, said.firmware, said.purpose) == (MAC, [MAC], "bios", "task")
    assert said.uuid == "4c4c4544-0031-3010-8054-b1c04f4b3233"
    assert box.inventories[0].disks[0].path.endswith("/sda")
    assert box.progress
    assert any("disk" in line for line in box.log)


def test_the_token_is_nowhere_in_the_log_or_on_a_console(lab: Lab) -> None:
    lab.disk("sda", content(4))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        lab.start(box)
        assert box.calls[-1].token == "token-1"
    shown = lab.heard.serial.read_text() + lab.heard.screen.read_text() + "\n".join(box.log)
    assert "token-1" not in shown


def test_the_box_may_not_be_ready_for_the_task_yet(lab: Lab) -> None:
    lab.disk("sda", content(4))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        thread = when(lambda: "/inventory" in box.paths, lambda: box.scripted.extend([Reply(503)] * 3))
        assert lab.start(box) is Exit.POWER_OFF
        thread.join()


# --- trouble that passes


def test_a_box_that_goes_away_in_the_middle_is_waited_for(lab: Lab) -> None:
    lab.disk("sda", content(60))
    with FlakyBox(lab.store) as box:
        box.order = lab.order("capture")
        timers: list[threading.Timer] = []
        thread = when(lambda: "/chunks/missing" in box.paths, lambda: timers.append(box.away_for(0.6)))
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
        thread.join()
        timers[0].join()
    assert len(box.results) == 1
    assert lab.store.verify(box.version_id, lambda done, total: None).ok


def test_a_result_whose_answer_was_lost_is_not_a_failure(lab: Lab) -> None:
    class LosingBox(FixedBox):
        def call(self, call: object) -> Reply:
            reply = super().call(call)  # type: ignore[arg-type]
            return Reply(500) if getattr(call, "path", "") == "/result" and reply.status == 200 else reply

    lab.disk("sda", content(4))
    with LosingBox(lab.store) as box:
        box.order = lab.order("capture")
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
    assert box.paths.count("/result") == 2


def test_a_token_lost_in_a_restart_is_replaced_while_the_task_goes_on(lab: Lab) -> None:
    lab.disk("sda", content(40))
    with RevokingBox(lab.store) as box:
        box.order = lab.order("capture")
        thread = when(lambda: "/chunks/missing" in box.paths, box.forget)
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
        thread.join()
    assert len(box.check_ins) == 2


def test_a_mount_that_is_refused_at_first_is_tried_again(lab: Lab) -> None:
    lab.disk("sda", content(4))
    lab.tools.failures["mount"] = [Outcome(32, "mount.nfs: access denied by server\n")] * 3
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        assert lab.start(box) is Exit.POWER_OFF
    assert any("cannot be mounted yet: mount.nfs: access denied" in line for line in lab.heard.lines)


def test_a_capture_waits_while_the_staging_folder_is_full_and_goes_on(lab: Lab) -> None:
    data = content(40, seed=3)
    lab.disk("sda", data)

    highest = 0
    ended = threading.Event()

    def take() -> None:
        """The scheduler's part: pass after pass over the folder."""
        nonlocal highest
        while not ended.wait(0.2):
            highest = max(highest, sum(path.stat().st_size for path in lab.staging.iterdir()))
            lab.store.ingest(1, limit_bytes=3 * MIB + MIB // 2)

    scheduler = threading.Thread(target=take)
    scheduler.start()
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture", staging_limit_bytes=3 * MIB + MIB // 2)
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
        ended.set()
        scheduler.join()
    assert 2 * MIB < highest <= 3 * MIB + MIB // 2
    assert lab.store.verify(box.version_id, lambda done, total: None).ok


# --- trouble that stays: one sentence on the PC and at the box, and no restart


def fails(lab: Lab, box: FixedBox, words: str, remedy: str = "") -> None:
    """The PC ends failed; its screen, its serial line and the box say the same."""
    assert lab.start(box) is Exit.FAILED
    assert clean(words) in lab.heard.lines[-1]
    assert lab.heard.lines[-1].startswith("diecast: failed: ")
    assert remedy in lab.heard.lines[-1]
    assert [result.ok for result in box.results] == [False]
    assert words in box.results[0].error
    assert remedy in box.results[0].remedy


def test_a_damaged_chunk_names_itself_the_image_and_what_to_run(lab: Lab) -> None:
    lab.captured(content(8))
    victim = next(path for path in (lab.store.root / "chunks").glob("??/*") if path.stat().st_size > 1000)
    os.chmod(victim, 0o600)
    victim.write_bytes(victim.read_bytes()[:-500] + bytes(500))
    lab.disk("sda", b"", size=8 * MIB)
    with FixedBox(lab.store) as box:
        box.version_id, box.order = lab.version, lab.order("deploy")
        fails(
            lab,
            box,
            f"Image win11-lab is damaged on the box: The frame of chunk {victim.name[:12]}…",
            "diecast image verify win11-lab",
        )


def test_a_manifest_that_is_not_the_one_of_the_task_is_refused_before_anything_is_written(lab: Lab) -> None:
    lab.captured(content(8))
    before = b"precious" * 100
    disk = lab.disk("sda", before)
    with FixedBox(lab.store) as box:
        box.version_id, box.order = lab.version, lab.order("deploy", version_id="ab" * 32)
        fails(lab, box, "but should be abababababab", "diecast image verify win11-lab")
    assert disk.read_bytes() == before


def test_a_target_that_is_too_small_names_both_sizes_and_is_not_touched(lab: Lab) -> None:
    lab.captured(content(8))
    disk = lab.disk("sda", b"x" * 4 * MIB)
    with FixedBox(lab.store) as box:
        box.version_id, box.order = lab.version, lab.order("deploy")
        fails(lab, box, f"needs a disk of {8 * MIB} bytes", "larger disk")
    assert str(4 * MIB) in box.results[0].error
    assert disk.read_bytes() == b"x" * 4 * MIB


def test_several_disks_are_listed_and_none_is_chosen(lab: Lab) -> None:
    lab.disk("sda", bytes(MIB))
    lab.disk("sdb", bytes(MIB))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        fails(lab, box, "2 disks of this PC could be meant", "diecast host edit")
    assert "sda" in box.results[0].error
    assert "sdb" in box.results[0].error


def test_of_several_disks_the_named_one_is_taken(lab: Lab) -> None:
    lab.disk("sda", bytes(MIB))
    lab.disk("sdb", content(4))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture", disk="sdb")
        assert lab.start(box) is Exit.POWER_OFF
    assert any("disk" in line and "sdb" in line for line in lab.heard.lines)


def test_no_disk_is_said(lab: Lab) -> None:
    (lab.machine.sys / "block").mkdir()
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        fails(lab, box, "There is no fixed disk in this PC; there is: none.")


def test_an_export_that_stays_refused_is_said(lab: Lab) -> None:
    lab.disk("sda", content(4))
    lab.tools.failures["mount"] = [Outcome(32, "mount.nfs: access denied by server\n")] * 1000
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        fails(lab, box, "The export 127.0.0.1:/staging/1 cannot be mounted: mount.nfs: access denied", "doctor")


def test_a_failure_reaches_the_box_with_the_log_and_the_kernels_last_lines(lab: Lab) -> None:
    (lab.machine.sys / "block").mkdir()
    lab.tools.failures["dmesg"] = [Outcome(0, "[1.0] ata1: link down\n")]
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        lab.start(box)
    log = "\n".join(box.log)
    assert "ata1: link down" in log
    assert "failed: There is no fixed disk" in log


def test_an_error_of_our_own_reaches_the_box_with_its_traceback(lab: Lab) -> None:
    with FixedBox(lab.store) as box:  # without /sys/block there is no such kernel
        box.order = lab.order("capture")
        fails(lab, box, "The agent met an error of its own: FileNotFoundError", "report this")
    assert any("Traceback" in line for line in box.log)


def test_a_failed_task_that_is_to_stay_stays(lab: Lab) -> None:
    (lab.machine.sys / "block").mkdir()
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture", after="stay")
        assert lab.start(box) is Exit.STAY


def test_what_the_box_finds_wrong_at_the_end_is_a_failure_here(lab: Lab) -> None:
    lab.disk("sda", content(4))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        box.final = api.Status("failed", "The image disk is full.", "Free some space.")
        assert lab.start(box) is Exit.FAILED
    assert lab.heard.lines[-1] == "diecast: failed: The image disk is full. Free some space."


def staging_takes(monkeypatch: pytest.MonkeyPatch, wait: Callable[[], object]) -> None:
    """Every put of the agent waits, so that something can happen meanwhile; the box's own files do not."""
    real = os.fsync

    def slow(fd: int) -> None:
        if threading.current_thread().name.startswith(("engine", "work")):
            wait()
        real(fd)

    monkeypatch.setattr(os, "fsync", slow)


def test_a_cancelled_task_stops_within_seconds_and_powers_off(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.disk("sda", content(200, seed=5))
    staging_takes(monkeypatch, lambda: time.sleep(0.2))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture", after="reboot")
        cancelled_at: list[float] = []

        def cancel() -> None:
            cancelled_at.append(time.monotonic())
            box.cancelled = True

        thread = when(lambda: "/chunks/missing" in box.paths, cancel)
        assert lab.start(box) is Exit.POWER_OFF
        thread.join()
    assert time.monotonic() - cancelled_at[0] < 5
    assert lab.heard.lines[-1].startswith("diecast: failed: The operator cancelled the task.")
    assert box.results == []


def test_a_cancelled_task_that_is_to_stay_stays(lab: Lab) -> None:
    lab.disk("sda", content(4))
    with FixedBox(lab.store) as box:
        box.order, box.final = lab.order("capture", after="stay"), api.Status("cancelled")
        assert lab.start(box) is Exit.STAY


def test_a_task_given_up_by_the_box_is_not_called_cancelled(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.disk("sda", content(60, seed=9))
    staging_takes(monkeypatch, lambda: time.sleep(0.1))
    with FixedBox(lab.store) as box:
        box.order, box.cancelled = lab.order("capture"), True
        box.final = api.Status("failed", "Chunk 12ab of the capture is broken.", "Capture again.")
        assert lab.start(box) is Exit.FAILED
    assert lab.heard.lines[-1] == "diecast: failed: Chunk 12ab of the capture is broken. Capture again."


def test_an_order_that_cannot_be_read_is_told_to_the_box(lab: Lab) -> None:
    class NewerBox(FixedBox):
        """Of a version whose orders mean something else."""

        def _on_task(self, body: bytes) -> Reply:
            return Reply(200, b'{"task_id": "seventeen"}')

    with NewerBox(lab.store) as box:
        box.order = lab.order("capture", after="reboot")
        assert lab.start(box) is Exit.FAILED
    assert "TaskOrder" in box.results[0].error


def test_a_failure_stays_on_the_screen_until_its_time_is_over(lab: Lab) -> None:
    lab.limits = replace(QUICK, failed_s=1.2)
    (lab.machine.sys / "block").mkdir()
    began = time.monotonic()
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        assert lab.start(box) is Exit.FAILED
    assert time.monotonic() - began >= 1.2
    assert "There is no fixed disk" in lab.heard.page
    assert "This PC powers off in 0:0" in lab.heard.page


def test_a_cancel_is_obeyed_even_when_nfs_hangs_for_good(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.disk("sda", content(8))
    hang = threading.Event()
    staging_takes(monkeypatch, lambda: hang.wait(30))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        thread = when(lambda: "/chunks/missing" in box.paths, lambda: setattr(box, "cancelled", True))
        began = time.monotonic()
        assert lab.start(box) is Exit.POWER_OFF
        assert time.monotonic() - began < 10
        thread.join()
    hang.set()


def test_a_revoked_token_stops_the_agent_in_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.disk("sda", content(100, seed=6))
    staging_takes(monkeypatch, lambda: time.sleep(0.1))
    with RevokingBox(lab.store) as box:
        box.order = lab.order("capture")
        thread = when(lambda: "/chunks/missing" in box.paths, box.revoke)
        assert lab.start(box) is Exit.FAILED
        thread.join()
    assert "no longer accepts this PC's key" in lab.heard.lines[-1]
    assert len(box.check_ins) == 1


def test_a_box_that_stays_away_ends_the_task_in_words(lab: Lab) -> None:
    lab.disk("sda", content(100, seed=7))
    lab.limits = replace(QUICK, away_s=0.5)
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        thread = when(lambda: "/chunks/missing" in box.paths, box.stop_listening)
        assert lab.start(box) is Exit.FAILED
        thread.join()
    assert f"The box http://127.0.0.1:{box.port} does not answer" in lab.heard.lines[-1]


def test_a_task_the_box_has_given_up_stops_with_the_boxes_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.disk("sda", content(100, seed=8))
    staging_takes(monkeypatch, lambda: time.sleep(0.1))

    class GivingUpBox(FixedBox):
        def _on_progress(self, body: bytes) -> Reply:
            if "/chunks/missing" in self.paths:
                return Reply(409, api.Problem("The PC was silent for 300 s.", "Start it again.").to_json())
            return super()._on_progress(body)

    with GivingUpBox(lab.store) as box:
        box.order = lab.order("capture")
        assert lab.start(box) is Exit.FAILED
    assert lab.heard.lines[-1] == "diecast: failed: The PC was silent for 300 s. Start it again."


def test_an_engine_that_stands_still_is_given_up(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.disk("sda", content(8))
    lab.limits = replace(QUICK, stall_s=0.5)
    hang = threading.Event()
    staging_takes(monkeypatch, lambda: hang.wait(30))
    with FixedBox(lab.store) as box:
        box.order = lab.order("capture")
        fails(lab, box, "Nothing has moved for")
    hang.set()


# --- before and beside the task


def test_a_pc_without_a_task_says_so_and_powers_off(lab: Lab) -> None:
    with FixedBox(lab.store) as box:
        box.message = "Nothing is planned for lab-01."
        assert lab.start(box) is Exit.POWER_OFF
    assert "diecast: Nothing is planned for lab-01." in lab.heard.lines
    assert lab.heard.lines[-1] == "diecast: no task for this PC, powering off"


def test_a_box_that_never_answers_is_named(lab: Lab) -> None:
    lab.limits = replace(QUICK, away_s=0.3)
    with FixedBox() as box:
        pass
    assert lab.start(box) is Exit.FAILED
    assert "does not answer (Connection refused)" in lab.heard.lines[-1]


def test_a_kernel_line_without_a_box_ends_in_words(machine: Machine, heard: Heard) -> None:
    write(machine.proc, {"cmdline": "console=ttyS0"})
    assert run(machine, QUICK, heard.consoles) is Exit.FAILED
    assert "names no box to talk to" in heard.lines[-1]


def test_no_network_card_ends_in_words(machine: Machine, heard: Heard) -> None:
    write(machine.proc, {"cmdline": f"diecast.server=http://10.0.0.1 diecast.mac={MAC}"})
    assert run(machine, QUICK, heard.consoles) is Exit.FAILED
    assert f"The network card {MAC} that this PC booted from has no driver here" in heard.lines[-1]
