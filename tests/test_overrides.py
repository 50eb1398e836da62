"""Settings that are changed while the box runs: refused or kept, taken back, and who must be restarted."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import appliance.services
from appliance import config, overrides
from appliance.errors import ConfigError, UsageError
from appliance.events import ServiceHealth
from appliance.services.runtime import MODULES
from appliance.store import Store

FILE = config.Settings(network=config.Network(interfaces=("eth1",)), dhcp=config.Dhcp(subnet=(config.Subnet(),)))
NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "diecast.sqlite") as opened:
        yield opened


def runs(store: Store, name: str, started: datetime = NOON, health: ServiceHealth = ServiceHealth.OK) -> None:
    store.services.beat(name, health, pid=1, started=started)


def test_a_change_is_in_force_until_it_is_taken_back(store: Store) -> None:
    done = overrides.change(store, FILE, "dhcp.mode", "proxy")
    assert (done.old, done.new, done.restart) == ("full", "proxy", ())
    assert overrides.read(store) == {"dhcp.mode": "proxy"}
    assert overrides.in_force(store, FILE).dhcp.mode == "proxy"
    done = overrides.take_back(store, FILE, "dhcp.mode")
    assert (done.old, done.new) == ("proxy", "full")
    assert overrides.in_force(store, FILE) == FILE


def test_what_would_not_be_valid_is_refused_and_nothing_is_kept(store: Store) -> None:
    for name, value, said in (
        ("dhcp.mode", "both", "'dhcp.mode' is 'both', but must be one of"),
        ("dhcp.subnet", [], "dhcp.mode is 'full', but there is no"),
        ("paths.state", "/tmp", "in the settings file only"),
        ("dhcp.mod", "full", "There is no setting 'dhcp.mod'"),
    ):
        with pytest.raises(UsageError) as caught:
            overrides.change(store, FILE, name, value)
        assert said in str(caught.value)
    assert store.settings.all() == {}


def test_what_others_need_is_not_taken_back(store: Store) -> None:
    bare = config.Settings(dhcp=config.Dhcp(mode="proxy"))
    overrides.change(store, bare, "network.interfaces", ["eth1"])
    overrides.change(store, bare, "dhcp.subnet", [{}])
    overrides.change(store, bare, "dhcp.mode", "full")
    with pytest.raises(UsageError, match=r"there is no \[\[dhcp.subnet\]\]"):
        overrides.take_back(store, bare, "dhcp.subnet")
    overrides.take_back(store, bare, "dhcp.mode")
    overrides.take_back(store, bare, "dhcp.subnet")


def test_two_who_change_settings_at_once_cannot_make_what_none_of_them_could(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = config.Settings(dhcp=config.Dhcp(mode="proxy"))
    overrides.change(store, bare, "network.interfaces", ["eth1"])
    overrides.change(store, bare, "dhcp.subnet", [{}])
    keep, calls = store.settings.set_if, []

    def somebody_is_faster(*what: Any) -> bool:
        calls.append(what)
        if len(calls) == 1:
            overrides.take_back(store, bare, "dhcp.subnet")
        return keep(*what)

    monkeypatch.setattr(store.settings, "set_if", somebody_is_faster)
    with pytest.raises(UsageError, match=r"there is no \[\[dhcp.subnet\]\]"):
        overrides.change(store, bare, "dhcp.mode", "full")
    assert overrides.in_force(store, bare).dhcp.mode == "proxy"


def test_a_way_out_of_settings_that_are_not_valid_any_more(store: Store) -> None:
    """The file was changed, a key is from another version, or a value is damaged: each can be taken back."""
    store.settings.set("config.dhcp.mode", '"both"')
    store.settings.set("config.dhcp.flavour", '"sweet"')
    store.settings.set("config.http.port", "{")
    with pytest.raises(ConfigError, match=r"The setting 'http.port' in the store is damaged."):
        overrides.in_force(store, FILE)
    overrides.take_back(store, FILE, "http.port")
    with pytest.raises(ConfigError, match=r"diecast setting unset dhcp\.flavour"):
        overrides.in_force(store, FILE)
    overrides.take_back(store, FILE, "dhcp.flavour")
    overrides.take_back(store, FILE, "dhcp.mode")
    assert overrides.in_force(store, FILE) == FILE


def test_only_what_is_set_can_be_taken_back(store: Store) -> None:
    with pytest.raises(UsageError, match=r"'dhcp.mode' is not set in the store."):
        overrides.take_back(store, FILE, "dhcp.mode")
    with pytest.raises(UsageError, match=r"Did you mean dhcp\.mode"):
        overrides.take_back(store, FILE, "dhcp.mood")


def test_services_that_run_and_read_the_key_are_to_be_restarted(store: Store) -> None:
    for name in ("dhcp", "http", "cast"):
        runs(store, name)
    runs(store, "tftp", health=ServiceHealth.STOPPED)
    done = overrides.change(store, FILE, "http.port", 8080, now=NOON + HOUR)
    assert done.restart == ("dhcp", "http"), "tftp reads it, but does not run"
    assert overrides.restart_needed(store) == {"dhcp": ("http.port",), "http": ("http.port",)}
    runs(store, "dhcp", started=NOON + 2 * HOUR)
    assert overrides.restart_needed(store) == {"http": ("http.port",)}
    overrides.take_back(store, FILE, "http.port", now=NOON + 3 * HOUR)
    assert set(overrides.restart_needed(store)) == {"dhcp", "http"}, "they run with 8080"


def test_setting_the_same_value_again_asks_for_no_restart(store: Store) -> None:
    runs(store, "http")
    assert overrides.change(store, FILE, "http.port", 80, now=NOON + HOUR).restart == ()
    assert overrides.restart_needed(store) == {}


def _closure(module: str, seen: set[str]) -> set[str]:
    """A module of the services and all that it imports there."""
    path = Path(appliance.services.__file__).parent / f"{module}.py"
    if module in seen or not path.exists():
        return seen
    seen.add(module)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("appliance.services"):
            inside = (node.module or "").removeprefix("appliance.services").lstrip(".")
            for name in [inside] if inside else [alias.name for alias in node.names]:
                _closure(name, seen)
    return seen


@pytest.mark.parametrize("service", MODULES)
def test_the_table_of_readers_is_what_the_services_read(service: str) -> None:
    folder = Path(appliance.services.__file__).parent
    modules = _closure(MODULES[service].rpartition(".")[2], set())
    sections = "|".join(overrides.READERS)
    text = "".join((folder / f"{module}.py").read_text() for module in modules)
    read = set(re.findall(rf"settings\.({sections})\b(?!\.(?:get|set|all))", text)) | {"log"}
    assert {section for section, readers in overrides.READERS.items() if service in readers} == read
