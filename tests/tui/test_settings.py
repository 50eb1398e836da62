"""Settings on the system screen: what they are, changing and taking back, and what wants a restart."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest

from appliance import config_keys
from appliance.config import Dhcp, Settings
from appliance.events import Role
from appliance.store import Store
from appliance.store.notices import SECRETS
from appliance.tui import box_settings, i18n, theme
from appliance.tui.screens.settings import SettingRow, SettingsPart, expects
from appliance.tui.screens.system import SystemScreen
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing


@asynccontextmanager
async def setting(store: Store, name: str, *keys: str, **options: Any) -> AsyncIterator[Seat]:
    """The list with the cursor on a setting, after some keys."""
    async with console(store, **options) as seat:
        await seat.press("7", "tab", "tab", "tab")
        part = part_of(seat)
        assert part.table.go_to(name)
        await seat.press(*keys)
        yield seat


def part_of(seat: Seat) -> SettingsPart:
    screen = seat.app.base_screen
    assert isinstance(screen, SystemScreen)
    assert isinstance(screen.part, SettingsPart)
    return screen.part


def row_of(seat: Seat, name: str) -> SettingRow:
    row: SettingRow = next(row for row in part_of(seat).table.rows if row.name == name)
    return row


def audit(store: Store) -> list[tuple[str, str]]:
    return [(event.action, event.detail) for event in store.audit.list()]


async def test_every_setting_is_told_with_value_default_meaning_and_where_from(store: Store) -> None:
    store.settings.set("config.dhcp.lease_s", "600")
    settings = Settings(dhcp=Dhcp(offer_s=20))
    async with setting(store, "dhcp.lease_s", settings=settings, size=LARGE) as seat:
        names = [row.name for row in part_of(seat).table.rows]
        own = [one.name for one in box_settings.ALL]
        assert names == [key.name for key in config_keys.all_keys()] + list(SECRETS) + own
        assert seat.line_with("dhcp.lease_s").split()[1:3] == ["600", "here"]
        assert seat.line_with("dhcp.offer_s").split()[1:3] == ["20", "file"]
        assert seat.line_with("dhcp.port").split()[1:3] == ["67", "default"]
        assert "Lease time in seconds" in seat.text()
        assert "a whole number from 60 to 2,147,483,648" in seat.text()
        assert " Default      3600" in seat.lines()


async def test_a_value_is_changed_and_the_services_that_want_a_restart_are_named(store: Store) -> None:
    async with setting(store, "dhcp.lease_s", "e", *["backspace"] * 4, *"900", "enter") as seat:
        assert json.loads(store.settings.get("config.dhcp.lease_s")) == 900
        assert "dhcp.lease_s is now 900. Restart needed: dhcp." in seat.text()
        assert row_of(seat, "dhcp.lease_s").restart == ("dhcp",)
        assert seat.app.settings.dhcp.lease_s == 900
    assert audit(store)[0] == ("setting set", "dhcp.lease_s = 900")


@pytest.mark.parametrize(("typed", "why"), [("abc", "'abc' is no value for dhcp.lease_s."), ("5", "from 60 to")])
async def test_a_value_that_is_none_is_refused_beside_the_field(store: Store, typed: str, why: str) -> None:
    async with setting(store, "dhcp.lease_s", "e", *["backspace"] * 4, *typed, "enter") as seat:
        assert why in " ".join(seat.text().split())
        assert not isinstance(seat.app.screen, SystemScreen)
        assert store.settings.all("config.") == {}
    assert audit(store) == []


async def test_values_that_do_not_go_together_are_refused(store: Store) -> None:
    settings = Settings(network=replace(Settings().network, interfaces=("eth1",)), dhcp=Dhcp(mode="proxy"))
    async with setting(store, "dhcp.mode", "e", "left", "enter", settings=settings) as seat:
        assert "there is no [[dhcp.subnet]]" in " ".join(seat.text().split())
        assert store.settings.all("config.") == {}


async def test_a_choice_is_made_with_arrows(store: Store) -> None:
    async with setting(store, "log.level", "e", "right", "enter") as seat:
        assert json.loads(store.settings.get("config.log.level")) == "warning"
        assert row_of(seat, "log.level").value == "warning"


async def test_a_flag_is_turned(store: Store) -> None:
    async with setting(store, "dhcp.force", "e", "left", "enter"):
        assert json.loads(store.settings.get("config.dhcp.force")) is True


async def test_lists_and_addresses_are_written_as_text(store: Store) -> None:
    async with setting(store, "network.address", "e", *"10.20.4.1", "enter") as seat:
        assert json.loads(store.settings.get("config.network.address")) == "10.20.4.1"
        assert seat.app.settings.network.address == IPv4Address("10.20.4.1")


async def test_a_value_is_taken_back(store: Store) -> None:
    store.settings.set("config.dhcp.lease_s", "600")
    async with setting(store, "dhcp.lease_s", "x") as seat:
        assert "It is 600 now, and will be 3600 again." in seat.text()
        await seat.press("enter")
        assert store.settings.all("config.") == {}
        assert row_of(seat, "dhcp.lease_s").source == "default"
    assert audit(store)[0] == ("setting unset", "dhcp.lease_s")


async def test_what_was_not_changed_here_cannot_be_taken_back(store: Store) -> None:
    async with setting(store, "dhcp.lease_s", "x") as seat:
        assert "dhcp.lease_s was not changed here." in seat.text()


async def test_a_damaged_value_is_told_and_can_be_taken_back(store: Store) -> None:
    store.settings.set("config.dhcp.lease_s", "{")
    async with setting(store, "dhcp.lease_s") as seat:
        assert "What is stored cannot be read. Take it back (x)." in seat.text()
        await seat.press("x", "enter")
        assert store.settings.all("config.") == {}


async def test_paths_are_the_settings_files_alone(store: Store) -> None:
    async with setting(store, "paths.images", "e") as seat:
        assert "paths.images can be set in the settings file only" in seat.text()
        assert isinstance(seat.app.screen, SystemScreen)


async def test_the_language_of_the_box_is_a_setting(store: Store) -> None:
    async with setting(store, "console.language", "e", "right", "enter") as seat:
        assert store.settings.get("console.language") == "fr"
        assert row_of(seat, "console.language").source == "store"
    async with console(store) as seat:
        assert i18n.current().language == "fr"


async def test_the_colours_of_the_box_are_a_setting(store: Store) -> None:
    async with setting(store, "console.theme", "e", "right", "enter"):
        assert store.settings.get("console.theme") == theme.MONO
    async with setting(store, "console.theme", "x", "enter"):
        assert store.settings.get("console.theme") == ""


async def test_the_minutes_until_the_lock_are_a_setting(store: Store) -> None:
    async with setting(store, "console.lock_minutes", "e", *"x", "enter") as seat:
        assert "Write a whole number of minutes" in seat.text()
        await seat.press("backspace", "backspace", *"15", "enter")
        assert store.settings.get("console.lock_minutes") == "15"


@pytest.mark.parametrize("key", ["e", "x"])
@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_admins_change_settings(store: Store, key: str, role: Role) -> None:
    async with setting(store, "dhcp.lease_s", key, role=role) as seat:
        assert "Only an admin may do that" in seat.text()
        assert isinstance(seat.app.screen, SystemScreen)


async def test_changes_at_the_command_line_are_seen(store: Store) -> None:
    async with setting(store, "dhcp.lease_s") as seat:
        store.settings.set("config.dhcp.lease_s", "700")
        await seat.look()
        assert "700" in seat.line_with("dhcp.lease_s")


@pytest.mark.parametrize("key", config_keys.all_keys(), ids=lambda key: str(key.name))
def test_it_is_said_of_every_setting_what_it_must_be(key: config_keys.Key) -> None:
    assert len(expects(key)) > 3


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_picture_of_the_settings(store: Store, snap_compare: Any, size: tuple[int, int]) -> None:
    store.settings.set("config.dhcp.lease_s", "600")
    store.settings.set("config-changed.dhcp.lease_s", NOON.isoformat())
    app = make_app(store.path)
    assert snap_compare(app, terminal_size=size, run_before=pressing("7", "tab", "tab", "tab", "end"))
