"""A whole start of the agent that ends well: real engine, real HTTP, and what may go wrong for a while."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import replace

from appliance.agent.machine import Machine, Outcome
from appliance.agent.session import Exit, run
from tests.agent.conftest import MAC, QUICK, Heard, write
from tests.agent.session_kit import MIB, Lab, content, lab, when
from tests.fakes.agent_box import FixedBox, FlakyBox, Reply, RevokingBox

__all__ = ["lab"]  # a fixture


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
            sizes = 0
            for path in lab.staging.iterdir():
                with contextlib.suppress(FileNotFoundError):  # it was renamed meanwhile
                    sizes += path.stat().st_size
            highest = max(highest, sizes)
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
