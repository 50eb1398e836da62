"""The main job: a Secure Boot master, and two PCs that start from the disk they were given."""

from __future__ import annotations

import json

import pytest

from tests.lab import demo
from tests.lab.mainjob import MainJob

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
    assert set(report) == {"master_unchanged", "seconds", "image", "targets"}
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
        }
        assert target["seconds"] > 0
    assert demo.all_held(main_job), main_job.report.faults
