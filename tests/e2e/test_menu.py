"""PCs that the box does not know, and PCs that must not start their disk: what they are shown, and what they may do."""

from __future__ import annotations

import pytest

from appliance.events import BootStage, TaskState
from tests.e2e.conftest import AGENT_READY, BOOT_S, Lab
from tests.lab.pc import Pc, sha256_of

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]


def waits_for_screen(lab: Lab, pc: Pc, words: str, timeout_s: float = 60) -> str:
    """Wait until a BIOS PC shows some words; return its screen."""
    lab.box.wait_until(lambda: words in pc.screen_text(), timeout_s, lambda: f"'{words}' not on:\n{pc.screen_text()}")
    return pc.screen_text()


def test_a_sealed_bios_pc_is_told_so_and_its_disk_stays_untouched(lab: Lab) -> None:
    pc = lab.pc("sealed-bios", disk_of="debian", firmware="bios")
    before = sha256_of(pc.disk)
    lab.box.cli("host", "edit", "sealed-bios", "--sealed")
    pc.power_on(stop_at_reboot=True)
    lab.box.sees(pc.mac, BootStage.REFUSED, BOOT_S)
    waits_for_screen(lab, pc, "SEALED")
    pc.waits_until_off(BOOT_S)
    assert sha256_of(pc.disk) == before


def test_a_sealed_secure_boot_pc_is_told_so_and_powers_off(lab: Lab) -> None:
    pc = lab.pc("sealed-uefi", disk_of="debian", firmware="uefi-sb")
    before = sha256_of(pc.disk)
    lab.box.cli("host", "edit", "sealed-uefi", "--sealed")
    pc.power_on(stop_at_reboot=True)
    pc.waits_for("is SEALED and has no task", BOOT_S)
    lab.box.sees(pc.mac, BootStage.REFUSED, 5)
    pc.waits_until_off(BOOT_S)
    assert sha256_of(pc.disk) == before


def test_an_unknown_pc_is_shown_the_menu_and_starts_its_own_disk_when_nobody_chooses(lab: Lab) -> None:
    pc = lab.pc("stranger", disk_of="debian", firmware="bios", known=False)
    pc.power_on()
    lab.box.sees(pc.mac, BootStage.MENU, BOOT_S)
    screen = waits_for_screen(lab, pc, "is not known here")
    assert "Start the disk of this PC" in screen
    assert "Register this PC" in screen
    pc.waits_for("Linux version", 60)


def test_an_unknown_pc_is_registered_from_its_menu_with_the_name_that_is_typed(lab: Lab) -> None:
    pc = lab.pc("newcomer", firmware="uefi-sb", bus="nvme", known=False)
    pc.power_on()
    pc.waits_for("Register this PC", BOOT_S)
    pc.presses("down", "ret")
    pc.waits_for("Name of this PC", BOOT_S)
    pc.types("LAB-newcomer\r")
    pc.waits_until_off(60)
    host = lab.host("LAB-newcomer")
    assert host is not None
    assert host.macs == (pc.mac,)
    assert host.secure_boot is True
    shown = lab.box.json("host", "show", "LAB-newcomer")
    assert "nvme" in str(shown).lower()
    assert "Lab PC" in str(shown)


def test_while_a_capture_waits_the_menu_has_no_own_disk_and_no_default_and_the_chosen_pc_is_captured(lab: Lab) -> None:
    lab.box.cli("capture", "--next", "--image", "fromnext")
    task = lab.open_task()
    pc = lab.pc("unknown-master", disk_of="windows", firmware="bios", bus="sata", known=False)
    pc.power_on(stop_at_reboot=True)
    screen = waits_for_screen(lab, pc, "Capture this PC as image fromnext")
    assert "Start the disk" not in screen
    # Twice the time-out of the usual menu.
    with pytest.raises(AssertionError):
        pc.console.waits_for("diecast|Linux version", 10)
    assert lab.box.task(task.id).state is TaskState.WAITING
    pc.presses("ret")
    pc.waits_for(AGENT_READY, BOOT_S)
    done = lab.waits_until_done(task.id)
    pc.waits_until_off(60)
    host = lab.host(done.host_name)
    assert host is not None
    assert host.macs == (pc.mac,)


def test_unknown_pcs_are_named_registered_and_deployed_until_the_order_is_filled(lab: Lab) -> None:
    if not lab.box.images():
        pytest.fail("the image of the test before is needed")
    lab.box.cli("deploy", "fromnext", "--new", "1", "--names", "LAB1-{nn}", "--yes")
    pc = lab.pc("ordered", firmware="uefi", bus="virtio", disk_mib=1100, known=False)
    pc.power_on(stop_at_reboot=True)
    pc.waits_for(r"^diecast: agent ready, LAB1-01", BOOT_S)
    lab.waits_until_done(lab.open_task("LAB1-01").id)
    pc.waits_until_off(60)
    late = lab.pc("too-late", firmware="bios", known=False)
    late.power_on()
    lab.box.sees(late.mac, BootStage.MENU, BOOT_S)
