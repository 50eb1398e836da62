"""The settings file: every mistake in it is named, none is guessed away."""

import contextlib
import itertools
import re
import tomllib
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import config
from appliance.errors import ConfigError


def test_the_printed_defaults_are_the_defaults() -> None:
    assert config.parse(tomllib.loads(config.defaults_toml())) == config.Settings()


def test_the_printed_example_subnet_is_valid_when_it_is_uncommented() -> None:
    keys = ("network", "range_", "router", "dns", "ntp", "domain", "[[dhcp.subnet]]")
    lines = config.defaults_toml().splitlines()
    text = "\n".join(
        line.removeprefix("#") if line.startswith(tuple("#" + key for key in keys)) else line for line in lines
    )
    assert config.parse(tomllib.loads(text)).dhcp.subnet == (config.Subnet(),)


def test_every_key_is_documented() -> None:
    lines = config.defaults_toml().splitlines()
    for before, line in itertools.pairwise(lines):
        if " = " in line and not line.startswith("# "):
            assert before.startswith("# "), line


def test_a_file_is_read_into_typed_values(tmp_path: Path) -> None:
    path = tmp_path / "diecast.toml"
    path.write_text(
        '[network]\ninterfaces = ["eth1"]\n[[dhcp.subnet]]\nnetwork = "192.0.2.0/24"\n'
        'range_first = "192.0.2.10"\nrange_last = "192.0.2.20"\ndns = ["192.0.2.1"]\n'
    )
    settings = config.load(path)
    assert settings.network.interfaces == ("eth1",)
    assert settings.dhcp.subnet[0].network == IPv4Network("192.0.2.0/24")
    assert settings.dhcp.subnet[0].dns == (IPv4Address("192.0.2.1"),)
    assert settings.dhcp.subnet[0].router is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dhpc]", "unknown key 'dhpc'"),
        ("[dhcp]\nmod = 'full'", "unknown key 'dhcp.mod'"),
        ("[dhcp]\nmode = 'both'", "must be one of full, proxy, off"),
        ("[dhcp]\nlease_s = '1h'", "must be a whole number"),
        ("[dhcp]\nlease_s = true", "must be a whole number"),
        ("[dhcp]\nlease_s = 1", "must be from 60 to"),
        ("[http]\nport = 0", "must be from 1 to 65535"),
        ("[network]\ninterfaces = 'eth0'", "must be a list"),
        ("[network]\naddress = '10.0.0.256'", "must be an IPv4 address"),
        ("dhcp = 3", "'dhcp' must be a table"),
        ("[[dhcp.subnet]]\nnetwork = '10.0.0.1/24'", "no host bits set"),
        ("[[dhcp.subnet]]\nnetwork = '10.0.0.0/24'", "is not inside 10.0.0.0/24"),
        ("[[dhcp.subnet]]\nrange_first = '10.20.6.9'\nrange_last = '10.20.6.8'", "after its end"),
        ("[network]\ninterfaces = ['eth1']", "there is no [[dhcp.subnet]]"),
        ("not toml", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "diecast.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="diecast config --defaults"):
        config.load(tmp_path / "none.toml")


_toml_values = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["dhcp", "mode", "subnet", "port", "paths", "interfaces", "x"]), inner, max_size=4
        ),
    ),
)


@given(st.dictionaries(st.sampled_from(["dhcp", "tftp", "network", "paths", "x"]), _toml_values))
def test_any_document_is_settings_or_a_sentence(data: dict[str, Any]) -> None:
    with contextlib.suppress(ConfigError):  # any other exception is the failure
        config.parse(data)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('mail_to = ["ops"]', "'notify.mail_to' has 'ops', which is no mail address"),
        ('mail_from = "a b@lab"', "'notify.mail_from' has 'a b@lab'"),
        ('mail_from = "a,b@lab"', "'notify.mail_from' has 'a,b@lab'"),
        ('mail_to = ["a..b@lab"]', "'notify.mail_to' has 'a..b@lab'"),
        ('mail_to = ["a@[10.0"]', "which is no mail address"),
        ('webhook = "ftp://lab/x"', "'notify.webhook' must be a URL"),
        ('webhook = "http://lab/\\n"', "'notify.webhook' must be a URL"),
        ('mail_user = "box"\nmail_security = "none"', "notify.mail_security cannot be 'none'"),
    ],
)
def test_notices_go_to_addresses_and_no_password_goes_in_the_clear(lines: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        config.parse(tomllib.loads(f"[notify]\n{lines}\n"))
