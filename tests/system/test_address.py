"""What can be asked for as the box's own address, and what cannot."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadData, Conflict, Unavailable, UsageError
from appliance.system import address, mailbox
from appliance.system.links import Link
from tests.fakes.root import FakeRoot, fake_root

MACHINE = (
    Link("eth0", True, 1000, 1500, addresses=(IPv4Interface("192.168.1.7/24"),)),
    Link("eth1", True, 1000, 1500, addresses=(IPv4Interface("10.9.9.9/8"),)),
    Link("lo", True, 0, 65536, addresses=(IPv4Interface("127.0.0.1/8"),)),
)
PLAIN = address.typed("eth1", "10.20.4.1/22", "10.20.7.254", "10.20.7.253, 10.20.7.252").plain()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    monkeypatch.setattr(address, "links", lambda: list(MACHINE))
    with fake_root(tmp_path, monkeypatch) as found:
        yield found


def test_what_was_typed_comes_to_root_as_it_was() -> None:
    wish = address.typed("eth1", " 10.20.4.1/22 ", "10.20.7.254", "10.20.7.253 10.20.7.252")
    assert address.parse(wish.plain()) == wish
    assert address.parse(address.typed("eth1", "dhcp").plain()).address is None


@pytest.mark.parametrize(
    ("interface", "own", "gateway", "dns", "said"),
    [
        ("eth1", "10.20.4.1", "", "", "'10.20.4.1' is no IPv4 address with its prefix length."),
        ("eth1", "10.20.4.1/33", "", "", "is no IPv4 address with its prefix length."),
        ("eth1", "10.20.4.1/31", "", "", "is no IPv4 address with its prefix length."),
        ("eth1", "10.20.4/22", "", "", "is no IPv4 address with its prefix length."),
        ("eth1", "10.20.4.1/22\nDHCP=yes", "", "", "is no IPv4 address with its prefix length."),
        ("../x", "10.20.4.1/22", "", "", "'../x' is no name of an interface."),
        ("eth*", "10.20.4.1/22", "", "", "'eth*' is no name of an interface."),
        ("eth1", "10.20.4.1/22", "router", "", "'router' is no IPv4 address."),
        ("eth1", "10.20.4.1/22", "", "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4", "More than 3 name servers"),
        ("eth1", "dhcp", "10.20.4.2", "", "A DHCP server tells router and name servers too."),
    ],
)
def test_what_makes_no_sense_as_typed_is_refused(interface: str, own: str, gateway: str, dns: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        address.typed(interface, own, gateway, dns)
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("interface", "own", "gateway", "said"),
    [
        ("eth7", "10.20.4.1/22", "", "There is no interface eth7."),
        ("lo", "10.20.4.1/22", "", "There is no interface lo."),
        ("eth1", "10.20.4.0/22", "", "10.20.4.0 names the subnet 10.20.4.0/22 itself."),
        ("eth1", "10.20.7.255/22", "", "10.20.7.255 names the subnet"),
        ("eth1", "127.0.0.2/8", "", "127.0.0.2 is an address that no host can have."),
        ("eth1", "239.1.1.1/8", "", "239.1.1.1 is an address that no host can have."),
        ("eth1", "255.1.1.1/8", "", "255.1.1.1 is an address that no host can have."),
        ("eth1", "169.254.3.3/16", "", "169.254.3.3 is for networks without addresses."),
        ("eth1", "10.20.4.1/22", "10.20.8.1", "The router 10.20.8.1 is not in the subnet 10.20.4.0/22."),
        ("eth1", "10.20.4.1/22", "10.20.4.1", "10.20.4.1 is this box's own address"),
        ("eth1", "192.168.1.9/24", "", "eth0 is in the subnet 192.168.1.0/24 already"),
    ],
)
def test_what_a_host_here_cannot_have_is_refused(interface: str, own: str, gateway: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        address.check(address.typed(interface, own, gateway), MACHINE)
    assert said in caught.value.message


def test_the_interfaces_own_present_subnet_is_no_obstacle() -> None:
    address.check(address.typed("eth1", "10.20.4.1/22", "10.20.7.254"), MACHINE)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "../../x"},
        {"id": 7},
        {"interface": ["eth1"]},
        {"interface": "eth1\n[Network]"},
        {"address": 1},
        {"address": "10.20.4.1"},
        {"gateway": 1},
        {"dns": "10.20.4.2"},
        {"dns": [1]},
        {"dns": ["1.1.1.1"] * 4},
        {"confirm_s": 10**9},
        {"confirm_s": -1},
        {"confirm_s": True},
        {"confirm_s": 1.5},
    ],
)
def test_root_takes_no_wish_that_is_none(change: dict[str, Any]) -> None:
    address.parse(dict(PLAIN))
    with pytest.raises(BadData):
        address.parse(PLAIN | change)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={name: st.just(value) | _json for name, value in PLAIN.items()}))
def test_whatever_stands_in_a_wish_is_taken_whole_or_refused(plain: dict[str, Any]) -> None:
    try:
        wish = address.parse(plain)
    except BadData:
        return
    assert address.parse(wish.plain()) == wish


def test_asking_writes_the_wish_and_has_roots_unit_started(root: FakeRoot) -> None:
    wish = address.typed("eth1", "10.20.4.1/22")
    address.ask(root.run, wish)
    assert root.begun == [address.UNIT]
    assert root.wishes == [wish.plain()]


def test_nothing_is_asked_of_root_where_the_address_is_not_ours_to_set(root: FakeRoot) -> None:
    root.obstacle = Conflict("eth1 is managed by NetworkManager.", hint="Set it there.")
    with pytest.raises(Conflict, match="NetworkManager"):
        address.ask(root.run, address.typed("eth1", "10.20.4.1/22"))
    assert root.begun == []
    assert not list((root.run / mailbox.WISHES).iterdir())


def test_a_second_change_waits_for_the_end_of_the_first(root: FakeRoot) -> None:
    first = address.typed("eth1", "10.20.4.1/22")
    address.ask(root.run, first)
    while (state := address.state(root.run)) is None or state.stage != address.WAITING:
        pass
    with pytest.raises(Conflict, match="is being changed already"):
        address.ask(root.run, address.typed("eth1", "10.20.4.2/22"))
    address.answer(root.run, address.KEEP)
    while (state := address.state(root.run)) is not None and state.under_way:
        pass
    assert state is not None
    assert state.text == "eth1 has 10.20.4.1/22 from now on."
    with pytest.raises(Unavailable, match="No address is on trial"):
        address.answer(root.run, address.KEEP)


@pytest.mark.parametrize("plain", [{}, {"id": 1}, {"until_s": "x"}])
def test_a_report_that_is_none_says_nothing(root: FakeRoot, plain: dict[str, Any]) -> None:
    mailbox.report(root.run, address.NAME, plain)
    assert address.state(root.run) is None


def test_a_change_that_root_never_ended_is_not_under_way_for_ever(root: FakeRoot) -> None:
    told = {"id": "1", "stage": address.WAITING, "interface": "eth1", "wanted": "dhcp", "text": "", "hint": ""}
    mailbox.report(root.run, address.NAME, {**told, "until_s": mailbox.now_s() - 300})
    state = address.state(root.run)
    assert state is not None
    assert not state.under_way
