"""The first start of an empty box: every page, what it writes, what it refuses, leaving it and taking it up again."""

from __future__ import annotations

import json
from ipaddress import IPv4Interface
from typing import Any

import pytest

from appliance.errors import Unavailable
from appliance.events import Role, ServiceHealth
from appliance.store import Store
from appliance.system import units
from appliance.system.links import Link
from appliance.tui.jobs import wizard_job
from tests.tui.kit import LARGE, NOON, SMALL, Seat, console, make_app, pressing

OWN = IPv4Interface("10.20.4.1/22")
PASSWORD = "secret-secret"
FINDINGS = [
    {"level": "ok", "area": "network", "text": "Interface eth1 has 10.20.4.1/22.", "remedy": ""},
    {
        "level": "problem",
        "area": "boot",
        "text": "There are no boot files: /usr/lib/diecast/boot/catalog.json is missing.",
        "remedy": "Build them (make agent), or correct paths.boot.",
    },
]


class Machine:
    """A machine with two interfaces, whose `diecast doctor` gives what it is told to."""

    def __init__(self) -> None:
        self.addresses: tuple[IPv4Interface, ...] = (OWN,)
        self.heard: list[dict[str, str]] = []
        self.asked: list[tuple[str, ...]] = []
        self.broken = ""

    def links(self) -> list[Link]:
        return [
            Link("eth0", False, 0, 1500, "52:54:00:00:00:01"),
            Link("eth1", True, 1000, 1500, "52:54:00:00:00:02", self.addresses),
            Link("lo", True, 0, 65536, addresses=(IPv4Interface("127.0.0.1/8"),)),
        ]

    async def ask(self, _console: object, *arguments: str) -> Any:
        self.asked.append(arguments)
        if self.broken:
            raise Unavailable(self.broken)
        return self.heard if "--listen" in arguments else FINDINGS


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(wizard_job, "links", made.links)
    monkeypatch.setattr("appliance.tui.child.ask", made.ask)
    monkeypatch.setattr(units, "systemd_runs", lambda: False)
    return made


async def to_the_mode(seat: Seat) -> None:
    """Up to the page that listens."""
    await seat.press("enter", "enter", "enter")
    assert "▸ 4 Who gives addresses?" in seat.text()


async def to_the_operator(seat: Seat) -> None:
    """Up to the first operator, as a full server."""
    await to_the_mode(seat)
    await seat.press("home", "enter", "enter", "enter")
    assert "▸ 7 Who are you?" in seat.text()


async def introduce(seat: Seat, name: str = "marie", password: str = PASSWORD, again: str = PASSWORD) -> None:
    """Fill the operator's page in."""
    await seat.type(name)
    await seat.press("down")
    await seat.type(password)
    await seat.press("down")
    await seat.type(again)
    await seat.press("enter")


def overrides(store: Store) -> dict[str, Any]:
    """The settings that operators have set."""
    return {name.removeprefix("config."): json.loads(text) for name, text in store.settings.all("config.").items()}


async def test_an_empty_box_is_set_up_from_the_first_key_to_the_last(empty: Store, machine: Machine) -> None:
    async with console(empty) as seat:
        assert "First start" in seat.text()
        await seat.press("enter")
        assert "eth1              1,000 Mbit/s      10.20.4.1/22" in seat.text()
        assert "127.0.0.1" not in seat.text()
        await seat.press("enter", "enter")
        assert "No other DHCP server answers on eth1." in seat.text()
        assert machine.asked == [("doctor", "--listen", "eth1", "--json")]
        await seat.press("enter")
        assert "The subnet is 10.20.4.0/22; this box is 10.20.4.1." in seat.text()
        await seat.press("enter")
        assert overrides(empty) == {
            "dhcp.subnet": [
                {
                    "network": "10.20.4.0/22",
                    "range_first": "10.20.5.1",
                    "range_last": "10.20.7.250",
                    "router": "",
                    "dns": [],
                }
            ],
            "dhcp.mode": "full",
            "network.interfaces": ["eth1"],
        }
        assert "519 GB are free, of 931 GB." in seat.text()
        await seat.press("enter")
        await introduce(seat)
        operator = empty.operators.check("marie", PASSWORD)
        assert operator is not None
        assert (operator.role, operator.language) == (Role.ADMIN, "en")
        assert "7 Who are you?          marie, admin" in seat.text()
        assert "■ boot      There are no boot files" in seat.text()
        assert "-> Build them (make agent)" in seat.text()
        assert "end diecast serve with Ctrl-C" in seat.text()
        await seat.press("enter")
        assert "This box is set up." in seat.text()
        assert empty.settings.get("console.setup") == "done"
        assert empty.settings.all("console.wizard.") == {}
        assert "marie, admin" in seat.lines()[-1]
        assert PASSWORD not in repr([empty.settings.all(), empty.audit.list()])


async def test_it_speaks_the_language_that_was_chosen_from_then_on(empty: Store) -> None:
    async with console(empty) as seat:
        await seat.press("down", "enter")
        assert "Premier démarrage" in seat.text()
        assert "1 Quelle langue" in seat.text()
        assert empty.settings.get("console.language") == "fr"


async def test_beside_another_server_it_proposes_proxy_and_asks_for_no_range(empty: Store) -> None:
    empty.servers.heard("10.20.4.254", "eth1", "offers 10.20.4.77", now=NOON)
    async with console(empty) as seat:
        await to_the_mode(seat)
        assert "Heard on eth1: 10.20.4.254." in seat.text()
        assert "Two servers would give the same addresses twice." in seat.text()
        await seat.press("enter")
        assert "▸ 6 Where do images go?" in seat.text()
        assert "5 Which addresses?      ─" in seat.text()
    assert overrides(empty) == {"dhcp.mode": "proxy", "network.interfaces": ["eth1"]}


@pytest.mark.parametrize(
    ("interface", "detail"), [("eth0", "offers 10.9.0.1"), ("eth1", "proxyDHCP")], ids=["elsewhere", "only boots"]
)
async def test_servers_that_lend_nothing_here_do_not_count(empty: Store, interface: str, detail: str) -> None:
    empty.servers.heard("10.20.4.254", interface, detail, now=NOON)
    async with console(empty) as seat:
        await to_the_mode(seat)
        assert "No other DHCP server answers on eth1." in seat.text()


async def test_where_it_cannot_listen_nothing_is_proposed(empty: Store, machine: Machine) -> None:
    machine.heard = [
        {"level": "problem", "area": "dhcp", "text": "UDP port 68: another program has it.", "remedy": "Stop it."}
    ]
    async with console(empty) as seat:
        await to_the_mode(seat)
        assert "UDP port 68: another program has it. Stop it." in seat.text()
        assert "Nothing is proposed: ask who runs this network." in seat.text()
        machine.heard = []
        await seat.press("r")
        assert "Proposed: full server." in seat.text()


async def test_a_command_that_fails_is_said_in_words(empty: Store, machine: Machine) -> None:
    machine.broken = "diecast doctor --listen was not done after 60 s."
    async with console(empty) as seat:
        await to_the_mode(seat)
        assert "was not done after 60 s." in seat.text()


async def test_of_several_addresses_the_chosen_one_is_told_to_clients(empty: Store, machine: Machine) -> None:
    machine.addresses = (OWN, IPv4Interface("192.168.9.1/24"))
    async with console(empty) as seat:
        await seat.press("enter", "enter", "home", "down", "enter")
        await seat.press("home", "enter", "enter")
        assert overrides(empty)["network.address"] == "192.168.9.1"
        assert overrides(empty)["dhcp.subnet"][0]["range_first"] == "192.168.9.65"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("10.20.4.1",), "10.20.4.1, this box's own address, is inside the range."),
        (("10.9.0.1",), "10.9.0.1 is not in the subnet 10.20.4.0/22."),
        (("10.20.7.254",), "The range begins at 10.20.7.254, after its end 10.20.7.250."),
        (("10.20.4.0",), "10.20.4.0 names the subnet 10.20.4.0/22 itself."),
        (("tomorrow",), "'tomorrow' is no IPv4 address."),
        (("10.20.5.1", "", "10.20.6.1"), "10.20.6.1, the router's address, is inside the range."),
        (("10.20.5.1", "", "", "1.1.1.1, x"), "'x' is no IPv4 address."),
    ],
)
async def test_a_range_that_cannot_be_is_refused_in_words(empty: Store, fields: tuple[str, ...], said: str) -> None:
    async with console(empty) as seat:
        await to_the_mode(seat)
        await seat.press("home", "enter")
        for number, text in enumerate(fields):
            if text:
                await seat.press(*["backspace"] * 12)
                await seat.type(text)
            if number + 1 < len(fields):
                await seat.press("down")
        await seat.press("enter")
        assert said in seat.text()
        assert "▸ 5 Which addresses?" in seat.text()
    assert overrides(empty) == {}


@pytest.mark.parametrize(
    ("name", "password", "again", "said"),
    [
        ("marie", PASSWORD, "secret-secreT", "The two passwords are not the same."),
        ("marie", "short", "short", "At least 8 characters."),
        ("ma rie", PASSWORD, PASSWORD, "'ma rie' cannot name an operator."),
    ],
)
async def test_an_operator_that_cannot_be_is_refused_in_words(
    empty: Store, name: str, password: str, again: str, said: str
) -> None:
    async with console(empty) as seat:
        await to_the_operator(seat)
        await introduce(seat, name, password, again)
        assert said in seat.text()
        assert "▸ 7 Who are you?" in seat.text()
    assert not empty.operators.any()


async def test_every_page_can_be_left_and_another_console_takes_it_up(empty: Store) -> None:
    async with console(empty) as seat:
        await to_the_mode(seat)
        await seat.press("ctrl+q")
        assert "The first start is not finished." in seat.text()
        assert "Needs you" in seat.text()
    async with console(empty) as seat:
        assert "▸ 4 Who gives addresses?" in seat.text()
        assert "2 Which network?        eth1" in seat.text()
        await seat.press("ctrl+q")
        await seat.press("enter")
        assert "▸ 4 Who gives addresses?" in seat.text()


async def test_after_the_operator_it_is_taken_up_from_the_overview(empty: Store) -> None:
    async with console(empty) as seat:
        await to_the_operator(seat)
        await introduce(seat)
        await seat.press("ctrl+q")
        await seat.press("enter")
        assert "▸ 8 Does it work?" in seat.text()
        await seat.press("escape")
        assert "▸ 6 Where do images go?" in seat.text()


async def test_a_box_that_is_set_up_is_not_asked_again(empty: Store) -> None:
    empty.settings.set("console.setup", "done")
    async with console(empty) as seat:
        assert "First start" not in seat.text()


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_an_admin_sets_a_box_up(empty: Store, role: Role) -> None:
    empty.settings.set("console.setup", "done")
    async with console(empty, role=role) as seat:
        seat.app.open_job("setup")
        await seat.settle()
        assert "First start" not in seat.text()
    assert overrides(empty) == {}


async def test_services_are_restarted_where_systemd_runs(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []

    def act(verb: object, services: object) -> tuple[str, ...]:
        done.append((verb, services))
        return units.SERVICES

    monkeypatch.setattr(units, "systemd_runs", lambda: True)
    monkeypatch.setattr(units, "act", act)
    empty.services.beat("dhcp", ServiceHealth.OK, pid=7, started=NOON, now=NOON)
    async with console(empty) as seat:
        await to_the_operator(seat)
        await introduce(seat)
        assert done == [(units.Verb.RESTART, ())]
        assert "Restarted: dhcp, tftp, http, nfs, scheduler, cast." in seat.text()
        assert "dhcp ok" in seat.text()
        await seat.press("r")
        assert len(done) == 2


async def test_a_restart_that_fails_is_said_in_words(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def act(_verb: object, _services: object) -> tuple[str, ...]:
        raise Unavailable("systemctl restart: Access denied.", hint="Run it as root.")

    monkeypatch.setattr(units, "systemd_runs", lambda: True)
    monkeypatch.setattr(units, "act", act)
    async with console(empty) as seat:
        await to_the_operator(seat)
        await introduce(seat)
        assert "systemctl restart: Access denied. Run it as root." in seat.text()


@pytest.mark.parametrize(("size", "language"), [(SMALL, "en"), (SMALL, "fr"), (LARGE, "en")])
def test_picture_of_the_first_start(empty: Store, snap_compare: Any, size: tuple[int, int], language: str) -> None:
    app = make_app(empty.path, language=language)
    first = "up" if language == "en" else "down"
    assert snap_compare(app, terminal_size=size, run_before=pressing("home", first, "enter", "enter", "enter"))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_picture_of_the_range(empty: Store, snap_compare: Any, language: str) -> None:
    app = make_app(empty.path, language=language)
    first = "up" if language == "en" else "down"
    keys = ("home", first, "enter", "enter", "enter", "home", "enter")
    assert snap_compare(app, terminal_size=SMALL, run_before=pressing(*keys))
