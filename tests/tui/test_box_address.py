"""Another address for the box, asked for in the first start and on the network screen: trial, question, answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Paths, Settings
from appliance.errors import Conflict
from appliance.events import Role
from appliance.store import Store
from appliance.system import address, links, mailbox, units
from appliance.system.links import Link
from appliance.tui import box_address
from appliance.tui.attention import needs
from appliance.tui.gauges import Machine as Gauge
from appliance.tui.jobs import wizard_job
from appliance.tui.snapshot import Snapshot
from tests.fakes.root import FakeRoot, fake_root
from tests.tui.kit import SMALL, Seat, console, make_app, pressing


class Machine:
    """Two interfaces, of which the second has what root gave it."""

    def __init__(self) -> None:
        self.addresses: tuple[IPv4Interface, ...] = (IPv4Interface("10.9.0.7/24"),)

    def links(self) -> list[Link]:
        return [
            Link("eth0", False, 0, 1500, "52:54:00:00:00:01"),
            Link("eth1", True, 1000, 1500, "52:54:00:00:00:02", self.addresses),
            Link("lo", True, 0, 65536, addresses=(IPv4Interface("127.0.0.1/8"),)),
        ]

    def takes(self, wish: address.Wish) -> None:
        self.addresses = (wish.address,) if wish.address else (IPv4Interface("10.44.0.9/16"),)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    for module in (wizard_job, address, links):
        monkeypatch.setattr(module, "links", made.links)

    async def ask(_console: object, *_arguments: str) -> Any:
        return []

    monkeypatch.setattr("appliance.tui.child.ask", ask)
    monkeypatch.setattr(units, "systemd_runs", lambda: False)
    return made


@pytest.fixture
def root(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRoot]:
    with fake_root(tmp_path / "run", monkeypatch) as found:
        found.kept = machine.takes
        yield found


def settings(root: FakeRoot) -> Settings:
    return dataclasses.replace(Settings(), paths=Paths(run=root.run))


async def to_the_address(seat: Seat) -> None:
    await seat.press("enter", "enter")
    assert "▸ 3 Which address?" in seat.text()


async def want(seat: Seat, wanted: str) -> None:
    """Fill the form in, whatever is proposed there."""
    await seat.press(*["backspace"] * 16)
    await seat.type(wanted)
    await seat.press("enter")


async def test_the_first_start_gives_the_box_another_address_and_the_range_follows_it(
    empty: Store, root: FakeRoot
) -> None:
    async with console(empty, settings=settings(root)) as seat:
        await to_the_address(seat)
        assert "leave it as it is" in seat.line_with("10.9.0.7/24 ")
        await seat.press("end", "enter")
        await want(seat, "10.20.4.1/22")
        await seat.shows("eth1 has 10.20.4.1/22 now. Keep it?")
        await seat.press("enter")
        await seat.shows("▸ 4 Who gives addresses?")
        assert "3 Which address?        10.20.4.1/22" in seat.text()
        await seat.press("home", "enter")
        assert "The subnet is 10.20.4.0/22; this box is 10.20.4.1." in seat.text()
        assert "10.20.5.1" in seat.text()
    assert root.begun == [address.UNIT]
    assert {"box address keep", "box address set"} < {line.action for line in empty.audit.list()}


async def test_an_address_that_is_not_kept_is_taken_back_and_asked_for_again(empty: Store, root: FakeRoot) -> None:
    async with console(empty, settings=settings(root)) as seat:
        await to_the_address(seat)
        await seat.press("end", "enter")
        await want(seat, "10.20.4.1/22")
        await seat.shows("Keep it?")
        await seat.press("escape")
        await seat.shows("Nobody kept 10.20.4.1/22.")
        await seat.press("enter")
        assert "▸ 3 Which address?" in seat.text()
        assert "10.9.0.7/24" in seat.text()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("10.20.4.1", "'10.20.4.1' is no IPv4 address with its prefix length."),
        ("10.20.4.0/22", "10.20.4.0 names the subnet 10.20.4.0/22 itself."),
        ("127.0.0.9/8", "127.0.0.9 is an address that no host can have."),
    ],
)
async def test_an_address_that_cannot_be_is_refused_and_stays_typed(
    empty: Store, root: FakeRoot, wanted: str, said: str
) -> None:
    async with console(empty, settings=settings(root)) as seat:
        await to_the_address(seat)
        await seat.press("end", "enter")
        await want(seat, wanted)
        assert said in seat.text()
        assert wanted in seat.text()
    assert root.begun == []


async def test_where_the_address_is_not_ours_to_set_it_says_whose_it_is(
    empty: Store, root: FakeRoot, machine: Machine
) -> None:
    root.obstacle = Conflict("eth1 is managed by NetworkManager.", hint="Set it there.")
    machine.addresses = ()
    async with console(empty, settings=settings(root)) as seat:
        await seat.press("enter", "end", "enter")
        assert "eth1 has no IPv4 address" in seat.text()
        await seat.press("enter")
        assert "eth1 is managed by NetworkManager. Set it there." in seat.text()
        assert "ip addr add 10.20.4.1/22 brd + dev eth1" in seat.text()
        machine.addresses = (IPv4Interface("10.20.4.1/22"),)
        await seat.press("r", "home", "enter")
        assert "▸ 4 Who gives addresses?" in seat.text()


async def test_what_root_could_not_do_is_said_and_the_page_stays(empty: Store, root: FakeRoot) -> None:
    root.failure = "networkctl reload: Access denied."
    async with console(empty, settings=settings(root)) as seat:
        await to_the_address(seat)
        await seat.press("end", "enter")
        await want(seat, "10.20.4.1/22")
        await seat.shows("networkctl reload: Access denied.")
        await seat.press("enter")
        assert "▸ 3 Which address?" in seat.text()


async def test_a_unit_that_never_begins_is_said(empty: Store, root: FakeRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_address, "_BEGUN_S", 0.2)
    root.silent = True
    async with console(empty, settings=settings(root)) as seat:
        await to_the_address(seat)
        await seat.press("end", "enter")
        await want(seat, "dhcp")
        await seat.shows("Nothing has begun.")
        await seat.press("escape")
        assert "▸ 3 Which address?" in seat.text()


async def own(seat: Seat) -> None:
    """To the box's interfaces on the network screen."""
    await seat.press("6", "shift+tab", "end")
    assert "10.9.0.7/24" in seat.text()


async def test_the_network_screen_gives_an_interface_another_address(store: Store, root: FakeRoot) -> None:
    async with console(store, settings=settings(root)) as seat:
        await own(seat)
        await seat.press("e")
        await want(seat, "dhcp")
        await seat.shows("eth1 has dhcp now. Keep it?")
        await seat.press("enter")
        await seat.shows("10.44.0.9/16")
    assert root.wishes[0]["address"] == "dhcp"


async def test_a_trial_that_another_session_began_is_answered_from_here_too(store: Store, root: FakeRoot) -> None:
    async with console(store, settings=settings(root)) as seat:
        await own(seat)
        address.ask(root.run, address.typed("eth1", "10.20.4.1/22"))
        while address.state(root.run) is None:
            await seat.pilot.pause(0.02)
        await seat.press("enter")
        await seat.shows("eth1 has 10.20.4.1/22 now. Keep it?")
        await seat.press("enter")
        await seat.shows("10.20.4.1/22")
    state = address.state(root.run)
    assert state is not None
    assert state.stage == address.KEPT


def test_an_address_on_trial_is_what_needs_somebody_first(root: FakeRoot) -> None:
    measure = Gauge(Path("/"), lambda: ("eth1",), root.run)
    assert measure().trial == ()
    address.ask(root.run, address.typed("eth1", "10.20.4.1/22"))
    while (state := address.state(root.run)) is None or state.stage != address.WAITING:
        time.sleep(0.02)
    gauges = Gauge(Path("/"), lambda: ("eth1",), root.run)()
    assert gauges.trial == ("eth1", "10.20.4.1/22")
    first = needs(dataclasses.replace(Snapshot(), gauges=gauges))[0]
    assert first.text == "eth1 has 10.20.4.1/22 on trial: keep it, or it is taken back"
    assert first.target == ("screen", "network")


async def test_enter_says_what_sets_an_address(store: Store, root: FakeRoot) -> None:
    root.obstacle = Conflict("eth1 is managed by NetworkManager.", hint="Set it there.")
    async with console(store, settings=settings(root)) as seat:
        await own(seat)
        await seat.press("enter")
        assert "eth1 is managed by NetworkManager. Set it there." in seat.text()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_an_admin_sets_an_address(store: Store, root: FakeRoot, role: Role) -> None:
    async with console(store, settings=settings(root), role=role) as seat:
        await own(seat)
        await seat.press("e")
        assert "Another address" not in seat.text()
    assert root.begun == []
    assert not (root.run / mailbox.WISHES / "address.json").exists()


async def test_the_question_takes_no_key_that_was_typed_before_it_was_there(empty: Store, root: FakeRoot) -> None:
    root.silent = True
    async with console(empty, settings=settings(root)) as seat:
        await to_the_address(seat)
        await seat.press("end", "enter")
        await want(seat, "10.20.4.1/22")
        await seat.press("enter", "enter")
        assert "eth1 is being given 10.20.4.1/22 ..." in seat.text()
    assert not (root.run / mailbox.WISHES / "address-answer.json").exists()


@pytest.mark.parametrize("language", ["en", "fr"])
def test_picture_of_another_address(empty: Store, snap_compare: Any, root: FakeRoot, language: str) -> None:
    app = make_app(empty.path, language=language, settings=settings(root))
    first = "up" if language == "en" else "down"
    keys = ("home", first, "enter", "enter", "end", "enter")
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing(*keys))
