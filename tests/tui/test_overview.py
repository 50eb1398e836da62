"""Overview: services, network, what needs the operator, what runs."""

from __future__ import annotations

import dataclasses
import json
from datetime import timedelta
from typing import Any

import pytest

from appliance.events import BootStage, ServiceHealth, TaskState
from appliance.store import Store
from appliance.tui import attention, theme
from appliance.tui.readmodel import ReadModel
from appliance.tui.screens.overview import overview_lines
from appliance.tui.snapshot import Disk, Snapshot
from appliance.tui.widgets.lines import width_of
from tests.tui.kit import GAUGES, LARGE, NOON, SMALL, console, deploy, fail, make_app, settle


def seen(store: Store) -> Snapshot:
    """What a console would show now."""
    model = ReadModel(lambda: Store.open(store.path), lambda: None, measure=lambda: GAUGES, clock=lambda: NOON)
    model.look()
    model.stop()
    return model.latest


def texts(snapshot: Snapshot, width: int = 80, height: int = 20, mode: str = "full") -> list[str]:
    return ["".join(text for text, _role in line.pieces) for line in overview_lines(snapshot, width, height, mode)]


@pytest.mark.parametrize("size", [SMALL, LARGE])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_picture_of_the_overview(store: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(store.path, language=language)
    assert snap_compare(app, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("look", [theme.MONO, theme.CONTRAST])
def test_picture_of_the_overview_in_other_themes(store: Store, snap_compare: Any, look: str) -> None:
    assert snap_compare(make_app(store.path, look=look), terminal_size=SMALL, run_before=settle)


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_every_line_fits_the_width(store: Store, width: int) -> None:
    store.services.beat("tftp", ServiceHealth.FAILED, "Port 69 is taken. " * 9, pid=1, started=NOON, now=NOON)
    lines = overview_lines(seen(store), width, 20, "full")
    assert max(width_of(line.pieces) for line in lines) <= width


def test_an_empty_box_says_so(empty: Store) -> None:
    text = "\n".join(texts(seen(empty)))
    assert "none has ever run" in text
    assert "Nothing." in text
    assert "Needs you" not in text


def test_a_failed_task_needs_the_operator_until_its_pc_gets_another(store: Store) -> None:
    assert any("lab-17  deploy failed 11:41" in line for line in texts(seen(store)))
    store.tasks.retry(next(task.id for task in store.tasks.list() if task.state is TaskState.FAILED))
    assert not any("lab-17  deploy failed" in line for line in texts(seen(store)))


def test_an_old_failure_is_no_news(store: Store) -> None:
    fail(store, deploy(store, "lab-20", "ubuntu-dev"), at=NOON - timedelta(hours=25))
    assert not any("lab-20" in line for line in texts(seen(store), height=60))


def test_services_that_fail_or_fall_silent_need_the_operator(store: Store) -> None:
    store.services.beat("tftp", ServiceHealth.FAILED, "Port 69 is taken.", pid=1, started=NOON, now=NOON)
    store.services.beat("nfs", ServiceHealth.OK, pid=1, started=NOON, now=NOON - timedelta(minutes=2))
    lines = texts(seen(store), width=120)
    assert any("Service tftp failed 12:00: Port 69 is taken." in line for line in lines)
    assert any("No sign of life since 11:58: nfs" in line for line in lines)
    assert "tftp failed" in lines[0]


def test_another_dhcp_server_needs_the_operator_unless_we_stand_beside_one(store: Store) -> None:
    store.servers.heard("10.20.4.254", "eth1", now=NOON - timedelta(minutes=1))
    assert any("Another DHCP server answers on eth1: 10.20.4.254" in line for line in texts(seen(store)))
    assert "not alone" in texts(seen(store))[1]
    assert not any("Another DHCP server" in line for line in texts(seen(store), mode="proxy"))


def test_a_full_image_disk_needs_the_operator(store: Store) -> None:
    snapshot = seen(store)
    assert not any("image disk" in need.text for need in attention.needs(snapshot))
    full = dataclasses.replace(snapshot, gauges=dataclasses.replace(GAUGES, disk=Disk(100_000_000, 5_000_000)))
    assert any("The image disk is 95 % full: 5.0 MB left" in need.text for need in attention.needs(full))


def test_a_pc_that_boots_is_shown_until_it_has_come_or_gone(store: Store) -> None:
    assert any(line.startswith(" boot") and "lab-19" in line for line in texts(seen(store)))
    store.hosts.seen("52:54:00:aa:01:13", BootStage.AGENT, now=NOON)
    assert not any(line.startswith(" boot") for line in texts(seen(store)))


def test_a_cast_is_one_line_for_all_its_pcs(store: Store) -> None:
    (line,) = (line for line in texts(seen(store)) if line.startswith(" cast"))
    assert "win11-lab@1  6/6 PCs" in line
    assert "112 MB/s" in line
    assert "left" in line
    assert not any("lab-04" in line for line in texts(seen(store)))


def test_more_tasks_than_lines_are_counted(store: Store) -> None:
    for number in range(9, 17):
        deploy(store, f"lab-{number:02}", "ubuntu-dev", share=0.5)
    assert any("more" in line for line in texts(seen(store), height=18))
    assert not any("more" in line for line in texts(seen(store), height=60))


async def test_enter_leads_to_what_needs_the_operator(store: Store) -> None:
    async with console(store) as seat:
        await seat.press("enter")
        assert seat.app.base_screen is not None
        assert seat.app.base_screen.NAME == "tasks"
        assert seat.line_with("is too small")


async def test_the_mode_of_dhcp_is_the_one_that_operators_have_set(store: Store) -> None:
    async with console(store) as seat:
        assert "full DHCP" in seat.text()
        store.settings.set("config.dhcp.mode", json.dumps("proxy"))
        await seat.look()
        assert "proxy DHCP" in seat.text()


async def test_a_small_terminal_that_grows_is_used(store: Store) -> None:
    async with console(store) as seat:
        await seat.pilot.resize_terminal(160, 50)
        await seat.settle()
        assert max(len(line) for line in seat.lines()) > 120


def test_services_that_took_older_settings_need_the_operator(store: Store) -> None:
    store.settings.set("config.dhcp.lease_s", "600")
    store.settings.set("config-changed.dhcp.lease_s", (NOON - timedelta(minutes=1)).isoformat())
    (need,) = (need for need in attention.needs(seen(store)) if "Restart" in need.text)
    assert need.text == "Restart needed: dhcp; changed since they started: dhcp.lease_s"
    assert need.target == (attention.SCREEN, "system")
    store.services.beat("dhcp", ServiceHealth.OK, pid=101, started=NOON, now=NOON)
    assert not any("Restart" in need.text for need in attention.needs(seen(store)))
