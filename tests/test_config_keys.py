"""Settings key by key: what each expects, as text and as JSON, and laid over the file."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import config, config_keys
from appliance.errors import ConfigError, UsageError

KEYS = config_keys.all_keys()
NAMES = [key.name for key in KEYS]
SUBNET = {"network": "10.0.0.0/24", "range_first": "10.0.0.10", "range_last": "10.0.0.20", "dns": ["10.0.0.1"]}
FULL = config.Settings(
    network=config.Network(interfaces=("eth1",)),
    dhcp=config.Dhcp(subnet=(config.Subnet(),)),
)


def test_every_key_of_the_file_is_there_once_with_its_meaning() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for line in config.defaults_toml().splitlines():
        if " = " in line and not line.startswith("#"):
            assert any(name.endswith("." + line.split(" = ")[0]) for name in NAMES), line
    assert all(key.doc and key.expects for key in KEYS)
    assert all("in quotes" not in key.expects for key in KEYS)


@pytest.mark.parametrize("key", KEYS, ids=NAMES)
def test_a_default_survives_as_text_and_as_json(key: config_keys.Key) -> None:
    settings = config.Settings()
    assert config_keys.value_of(settings, key.name) == key.default
    if not key.changeable:
        return
    assert config_keys.from_text(key.name, config_keys.as_text(key.default)) == config_keys.as_plain(key.default)
    assert config.with_overrides(settings, {key.name: config_keys.as_plain(key.default)}) == settings


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("dhcp.mode", " proxy ", "proxy"),
        ("dhcp.force", "Yes", True),
        ("dhcp.force", "off", False),
        ("http.port", "8080", 8080),
        ("tftp.timeout_s", "0.5", 0.5),
        ("network.interfaces", "eth1, eth2,", ("eth1", "eth2")),
        ("network.interfaces", '["eth1"]', ("eth1",)),
        ("network.interfaces", "", ()),
        ("network.address", "10.20.4.1", IPv4Address("10.20.4.1")),
        ("network.address", "", None),
        ("cast.groups", "239.192.1.0/24", IPv4Network("239.192.1.0/24")),
    ],
)
def test_what_an_operator_types_becomes_a_typed_value(name: str, text: str, value: Any) -> None:
    changed = config.with_overrides(FULL, {name: config_keys.from_text(name, text)})
    assert config_keys.value_of(changed, name) == value


def test_subnets_are_json_and_are_shown_as_it() -> None:
    typed = '[{"network": "10.0.0.0/24", "range_first": "10.0.0.10", "range_last": "10.0.0.20", "dns": ["10.0.0.1"]}]'
    changed = config.with_overrides(FULL, {"dhcp.subnet": config_keys.from_text("dhcp.subnet", typed)})
    assert changed.dhcp.subnet[0].dns == (IPv4Address("10.0.0.1"),)
    again = config_keys.from_text("dhcp.subnet", config_keys.as_text(changed.dhcp.subnet))
    assert config.with_overrides(FULL, {"dhcp.subnet": again}) == changed


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("dhcp.mod", "full", "There is no setting 'dhcp.mod'. Did you mean dhcp.mode?"),
        ("colour", "red", "There is no setting 'colour'. See: diecast setting list"),
        ("http.port", "eighty", "'eighty' is no value for http.port. It must be a whole number from 1 to 65535."),
        ("dhcp.force", "maybe", "It must be true or false."),
        ("dhcp.subnet", "10.0.0.0/24", "It must be a list of tables, as JSON."),
        ("tftp.timeout_s", "", "It must be a number from 0.1 to 60."),
    ],
)
def test_what_is_no_value_is_named_with_what_it_must_be(name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        config_keys.from_text(name, text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"dhcp.mode": "both"}, "'dhcp.mode' is 'both', but must be one of full, proxy, off."),
        ({"dhcp.lease_s": 1}, "'dhcp.lease_s' is 1, but must be from 60 to"),
        ({"dhcp.lease_s": "60"}, "'dhcp.lease_s' is '60', but must be a whole number."),
        ({"network.address": "10.0.0"}, "'network.address' is '10.0.0', but must be an IPv4 address."),
        ({"network.interfaces": "eth1"}, "'network.interfaces' must be a list."),
        ({"dhcp.subnet": []}, "dhcp.mode is 'full', but there is no [[dhcp.subnet]]."),
        ({"dhcp.subnet": [SUBNET | {"range_last": "10.1.0.1"}]}, "is not inside 10.0.0.0/24"),
        ({"dhcp.subnet": [SUBNET | {"netwerk": 1}]}, "unknown key 'dhcp.subnet.netwerk'"),
        ({"paths.state": "/tmp"}, "'paths.state' can be set in the settings file only."),
        ({"dhcp.colour": 1}, "'dhcp.colour' is no key of this version."),
        ({"dhcp": {}}, "'dhcp' is no key of this version."),
        ({"load.x": 1}, "'load.x' is no key of this version."),
    ],
)
def test_an_override_goes_through_the_checks_of_the_file(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.with_overrides(FULL, values)
    assert said in str(caught.value)
    assert "in quotes" not in str(caught.value)


def test_overrides_are_checked_together_not_one_by_one() -> None:
    bare = config.Settings()
    with pytest.raises(ConfigError):
        config.with_overrides(bare, {"network.interfaces": ["eth1"]})
    changed = config.with_overrides(bare, {"network.interfaces": ["eth1"], "dhcp.mode": "proxy"})
    assert (changed.network.interfaces, changed.dhcp.mode) == (("eth1",), "proxy")
    assert bare == config.Settings(), "the file's own settings stay as they are"


_anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*SUBNET, "x"]), inner)),
)


@given(st.dictionaries(st.one_of(st.sampled_from(NAMES), st.text()), _anything, max_size=4))
def test_any_override_is_settings_or_a_sentence(values: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):  # any other exception is the failure
        config.with_overrides(FULL, values)


@given(st.sampled_from(NAMES), st.text())
def test_any_text_for_any_key_is_a_value_or_a_sentence(name: str, text: str) -> None:
    with contextlib.suppress(UsageError, ConfigError):
        config.with_overrides(FULL, {name: config_keys.from_text(name, text)})
