"""A whole start of the agent that fails: one sentence on the PC and at the box, and no restart."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from appliance.agent.machine import Outcome
from appliance.agent.page import clean
from appliance.agent.session import Exit
from appliance.wire import agentapi as api
from tests.agent.conftest import QUICK
from tests.agent.session_kit import MIB, Lab, content, lab, when
from tests.fakes.agent_box import FixedBox, Reply, RevokingBox

__all__ = ["lab"]  # a fixture


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
