"""From an address to a MAC: the kernel's table first, leases for what is behind a relay."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.model import Lease
from appliance.services import neighbours
from appliance.services.neighbours import mac_of, parse_arp
from appliance.store import Store

TABLE = """\
IP address       HW type     Flags       HW address            Mask     Device
10.20.5.7        0x1         0x2         52:54:00:AA:01:02     *        eth0
10.20.5.8        0x1         0x0         00:00:00:00:00:00     *        eth0
10.20.5.9        0x1         0x6         52:54:00:aa:01:03     *        eth0
"""


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    (tmp_path / "arp").write_text(TABLE)
    monkeypatch.setattr(neighbours, "_ARP", tmp_path / "arp")
    with Store.open(tmp_path / "store.sqlite") as store:
        expires = datetime.now(UTC) + timedelta(hours=1)
        macs = {"10.20.5.7": "52:54:00:00:00:07", "10.20.5.8": "52:54:00:00:00:08", "10.9.0.1": "52:54:00:00:00:09"}
        store.leases.save([Lease(IPv4Address(ip), f"mac:{mac}", mac, expires) for ip, mac in macs.items()])
        yield store


def test_only_answered_entries_count() -> None:
    assert parse_arp(TABLE) == {"10.20.5.7": "52:54:00:aa:01:02", "10.20.5.9": "52:54:00:aa:01:03"}
    assert parse_arp("") == {}


@given(st.text(max_size=300))
def test_no_table_is_too_odd_to_read(text: str) -> None:
    with contextlib.suppress(ValueError):  # a flag that is no number: `mac_of` goes on with leases
        parse_arp(text)


@pytest.mark.parametrize(
    ("address", "mac"),
    [
        ("10.20.5.7", "52:54:00:aa:01:02"),  # a neighbour, whatever an old lease says
        ("10.20.5.8", "52:54:00:00:00:08"),  # not answered: the lease
        ("10.9.0.1", "52:54:00:00:00:09"),  # behind a relay
        ("10.20.5.77", None),
    ],
)
def test_the_neighbour_table_comes_before_leases(store: Store, address: str, mac: str | None) -> None:
    assert mac_of(address, store) == mac


def test_without_a_neighbour_table_leases_answer(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(neighbours, "_ARP", tmp_path / "nothing")
    assert mac_of("10.20.5.7", store) == "52:54:00:00:00:07"
