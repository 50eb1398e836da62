"""The appliance's image itself: one life of it in the lab (`story`), and what each part of it must have shown."""

from __future__ import annotations

import json

import pytest

from tests.appliance import __main__ as demo
from tests.appliance import story, verdict
from tests.appliance.inside import SERVICES
from tests.appliance.story import PCS, Story

pytestmark = [pytest.mark.appliance, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def told() -> Story:
    """The story, told once; its report is written whatever the tests below say."""
    found = story.run(demo.FOLDER, print)
    demo.write(found, demo.REPORT)
    return found


def test_a_master_is_captured_by_keys_at_the_boxs_own_screen_and_stays_as_it_was(told: Story) -> None:
    assert told.report.master_unchanged, told.report.faults
    assert told.report.image["chunks"] > 0


@pytest.mark.parametrize("name", PCS)
def test_a_pc_cast_to_while_every_service_was_killed_and_the_box_restarted_holds_the_masters_disk(
    told: Story, name: str
) -> None:
    target = told.target(name)
    assert target.deployed, told.report.faults
    assert target.content_equal, told.report.faults
    assert target.by_cast_bytes > 0


def test_every_service_comes_back_after_kill_9_and_the_box_after_a_restart(told: Story) -> None:
    assert set(told.report.kills) == set(SERVICES)
    assert told.report.restart_s > 0


@pytest.mark.parametrize("what", ["ssh", "forwardings", "account", "keys", "viewer"])
def test_no_way_leads_out_of_the_console_and_a_viewer_changes_nothing(told: Story, what: str) -> None:
    assert told.report.ways_out[what] == []


def test_only_the_ports_that_the_mode_needs_are_open_from_the_labs_side(told: Story) -> None:
    assert list(verdict.ports(told.report)) == []


def test_every_unit_of_ours_that_listens_to_the_lab_is_rated_well_by_systemd(told: Story) -> None:
    print(told.report.security_table)
    assert list(verdict.units(told.report)) == []


def test_the_same_disk_starts_with_secure_boot_on_after_its_power_was_cut(told: Story) -> None:
    assert told.report.secure_boot["kernel_says_enabled"]
    assert told.report.secure_boot["image_verified"]


def test_everything_held_and_the_report_has_the_keys_that_others_read(told: Story) -> None:
    report = json.loads(demo.REPORT.read_text())
    assert {"master_unchanged", "seconds", "image", "cast", "targets", "unit_scores", "open_ports"} <= set(report)
    assert verdict.faults(told.report) == []
