"""The main job: a Secure Boot master, and two PCs that start from the disk they were given."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FOLDER, Lab
from tests.lab import demo
from tests.lab.command import run
from tests.lab.compare import compare, compare_disks, read_disk
from tests.lab.debian_disk import ROOT
from tests.lab.gptdisk import copy_disk, copy_range
from tests.lab.mainjob import MainJob
from tests.lab.pc import sha256_of

pytestmark = [pytest.mark.guest, pytest.mark.timeout(1200)]


def test_the_capture_leaves_the_masters_disk_bit_for_bit_unchanged(main_job: MainJob) -> None:
    assert main_job.report.master_unchanged, main_job.report.faults


@pytest.mark.parametrize("name", list(demo.TARGETS))
def test_a_target_holds_what_the_master_holds_as_foreign_tools_read_it(main_job: MainJob, name: str) -> None:
    target = main_job.target(name)
    assert target.deployed, main_job.report.faults
    assert target.content_equal, main_job.report.faults


@pytest.mark.parametrize("name", list(demo.TARGETS))
def test_a_target_without_a_task_is_handed_to_its_own_disk_and_reaches_its_login_prompt(
    main_job: MainJob, name: str
) -> None:
    assert main_job.target(name).booted, main_job.report.faults


def test_the_secure_boot_target_says_itself_that_secure_boot_is_on(main_job: MainJob) -> None:
    assert main_job.target("secure-pc").secure_boot, main_job.report.faults
    assert not main_job.target("bios-pc").secure_boot


def test_everything_held_and_the_report_has_the_keys_that_others_read(main_job: MainJob) -> None:
    report = json.loads(json.dumps(main_job.report.to_dict()))
    assert set(report) == {"master_unchanged", "seconds", "image", "cast", "targets"}
    assert report["cast"]["pcs"] == len(demo.TARGETS)
    assert report["cast"]["sent_bytes"] > 0
    assert set(report["image"]) == {"used_bytes", "stored_bytes", "chunks"}
    assert all(report["image"].values())
    for target in report["targets"]:
        assert set(target) == {
            "name",
            "firmware",
            "secure_boot",
            "deployed",
            "content_equal",
            "booted",
            "seconds",
            "late_s",
            "by_cast_bytes",
            "by_nfs_bytes",
        }
        assert target["seconds"] > 0
        assert target["by_cast_bytes"] > 0
        assert target["late_s"] == (demo.LATE_S if target["name"] == demo.LATE else 0)
    assert demo.all_held(main_job), main_job.report.faults


@pytest.fixture(scope="module")
def second_lab() -> Iterator[Lab]:
    """A lab of its own with an empty store."""
    lab = Lab(FOLDER / "hard_off")
    try:
        lab.box.start()
        yield lab
    finally:
        lab.close()


def replayed(disk: Path) -> Path:
    """A copy of a disk whose root file system had its journal replayed and is sound, as e2fsck says."""
    copy, root = disk.with_suffix(".replayed"), disk.with_suffix(".root")
    copy_disk(disk, copy)
    root.unlink(missing_ok=True)
    copy_range(copy, ROOT.offset, ROOT.size, root)
    run(["e2fsck", "-p", root], ok=(0, 1))
    run(["e2fsck", "-fn", root])
    copy_range(root, 0, ROOT.size, copy, ROOT.offset)
    root.unlink()
    return copy


def test_a_master_switched_off_hard_is_unchanged_and_its_copy_recovers_as_it_would(
    main_job: MainJob, second_lab: Lab
) -> None:
    """The demo's BIOS PC had its plug pulled at its login prompt: its journal waits to be replayed."""
    lab = second_lab
    master = lab.pc("master", firmware="bios", bus="sata")
    copy_disk(main_job.pcs["bios-pc"].disk, master.disk)
    features = run(["dumpe2fs", "-h", f"{master.disk}?offset={ROOT.offset}"])
    assert "needs_recovery" in features
    before = sha256_of(master.disk)
    lab.box.cli("capture", "master", "--image", "debian")
    task = lab.open_task("master")
    master.power_on(stop_at_reboot=True)
    lab.waits_until_done(task.id, 420)
    master.waits_until_off(60)
    assert sha256_of(master.disk) == before
    target = lab.pc("target", firmware="bios", bus="virtio", disk_mib=3200)
    lab.box.cli("deploy", "debian", "target", "--yes")
    task = lab.open_task("target")
    target.power_on(stop_at_reboot=True)
    lab.waits_until_done(task.id, 420)
    target.waits_until_off(60)
    comparison = compare_disks(master.disk, target.disk)
    assert comparison.equal, str(comparison)
    after = compare(read_disk(replayed(master.disk)), read_disk(replayed(target.disk)))
    assert after.equal, str(after)
