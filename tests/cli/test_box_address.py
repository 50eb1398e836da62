"""The box's own address at the command line."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from appliance.cli import box
from appliance.cli.context import Context
from appliance.errors import Conflict
from appliance.store import Store
from appliance.system import address
from appliance.system.links import Link
from tests.cli.conftest import Diecast
from tests.fakes.root import FakeRoot, fake_root

ETH1 = Link("eth1", True, 1000, 1500, addresses=(IPv4Interface("10.9.0.7/24"),))


@pytest.fixture
def root(config: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    monkeypatch.setattr(address, "links", lambda: [ETH1])
    with fake_root(config.parent / "run", monkeypatch) as found:
        yield found


def answering(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setattr(Context, "can_ask", True)
    monkeypatch.setattr("builtins.input", lambda _question: word)


def test_at_a_terminal_it_asks_whether_to_keep_it(
    diecast: Diecast, store: Store, root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, "y")
    said = diecast("box", "address", "set", "eth1", "10.20.4.1/22", "--gateway", "10.20.7.254", "--dns", "10.20.7.253")
    assert (said.status, said.err) == (
        0,
        "No subnet of dhcp.subnet holds 10.20.4.1: nobody is lent an address there until one does.\n",
    )
    assert "eth1 has 10.20.4.1/22 from now on." in said.out
    assert root.begun == [address.UNIT]
    assert (root.wishes[0]["gateway"], root.wishes[0]["dns"]) == ("10.20.7.254", ["10.20.7.253"])
    assert [line.action for line in store.audit.list()] == ["box address keep", "box address set"]


def test_a_no_takes_it_back(diecast: Diecast, root: FakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "n")
    said = diecast("box", "address", "set", "eth1", "10.20.4.1/22")
    assert said.status == 130
    assert "Nobody kept 10.20.4.1/22." in said.err


def test_where_nobody_can_be_asked_keep_and_undo_are_commands(diecast: Diecast, root: FakeRoot) -> None:
    said = diecast("box", "address", "set", "eth1", "10.20.4.1/22")
    assert said.status == 0
    assert "diecast box address keep" in said.out
    assert "eth1 has 10.20.4.1/22 on trial for" in diecast("box", "address", "show").out
    assert "from now on" in diecast("box", "address", "keep").out
    diecast("box", "address", "set", "eth1", "10.20.4.2/22")
    said = diecast("box", "address", "undo")
    assert (said.status, said.out) == (0, "Nobody kept 10.20.4.2/22.\n")
    assert diecast("box", "address", "keep").status == 69


def test_with_yes_there_is_no_trial(diecast: Diecast, root: FakeRoot) -> None:
    assert diecast("box", "address", "set", "eth1", "dhcp", "--yes").status == 0
    assert root.wishes[0]["confirm_s"] == 0


def test_what_root_could_not_do_is_said_in_its_words(diecast: Diecast, root: FakeRoot) -> None:
    root.failure = "networkctl reload: Access denied."
    said = diecast("box", "address", "set", "eth1", "10.20.4.1/22")
    assert (said.status, said.err) == (69, "diecast: networkctl reload: Access denied.\n")


def test_a_unit_that_never_begins_is_not_waited_for_for_ever(
    diecast: Diecast, root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(box, "_BEGUN_S", 0.2)
    root.silent = True
    said = diecast("box", "address", "set", "eth1", "10.20.4.1/22")
    assert said.status == 69
    assert "journalctl -u diecast-address.service" in said.err


def test_an_address_that_is_not_ours_to_set_is_refused_and_shown_as_such(
    diecast: Diecast, root: FakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("appliance.system.links.links", lambda: [ETH1])
    root.obstacle = Conflict("eth1 is managed by NetworkManager.", hint="Set it there.")
    said = diecast("box", "address", "set", "eth1", "10.20.4.1/22")
    assert (said.status, said.err) == (75, "diecast: eth1 is managed by NetworkManager. Set it there.\n")
    assert "eth1 is managed by NetworkManager." in diecast("box", "address", "show").out
    (shown,) = diecast("box", "address", "show", "--json").json["interfaces"]
    assert (shown["addresses"], shown["can_be_set"]) == (["10.9.0.7/24"], False)
    assert root.begun == []


def test_roots_command_does_nothing_when_nothing_was_asked_for(diecast: Diecast, root: FakeRoot) -> None:
    assert diecast("box", "address", "apply", "--settle").status == 0
