"""The pages of the first start, and what each key does there (`tests.tui.presses`)."""

from __future__ import annotations

from ipaddress import IPv4Interface
from typing import Any

import pytest

from appliance.events import Role
from appliance.system import address, links, networkd, units
from appliance.system.address import State
from appliance.system.links import Link
from appliance.tui.box_address import Trial
from appliance.tui.box_disk import Taking
from appliance.tui.jobs import wizard_job
from tests.tui.places_jobs import NO_LIST, STILL, page_of_job
from tests.tui.places_numbered import LIST
from tests.tui.presses import (
    CHANGES,
    Do,
    Effect,
    Hand,
    Place,
    Press,
    keys_shown,
    nothing,
    opens,
    part_of,
    press,
    rows,
    stored,
    top,
)
from tests.tui.usual_keys import ALONE, DIALOG, FORM, JOB, UNMARKED

LINES = frozenset({"Scrolling"})
FIELDS = frozenset({"FormRows"})
SECRET = "secret-secret"


class CountingMachine:
    """A machine with two cards, the second of which has two addresses; counts who looks, and keeps what is asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looked = 0
        self.asked: list[tuple[str, ...]] = []
        self.answered: list[str] = []
        self.trial: State | None = None
        for module in (wizard_job, address, links):
            monkeypatch.setattr(module, "links", self.links)
        monkeypatch.setattr(networkd, "refuse_unless_ours", lambda interface: None)
        monkeypatch.setattr(address, "state", lambda run: self.trial)
        monkeypatch.setattr(address, "answer", lambda run, word: self.answered.append(word))

    def answers_for_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nothing outside is asked: not our own command line, not systemd."""
        monkeypatch.setattr("appliance.tui.child.ask", self.ask)
        monkeypatch.setattr(units, "systemd_runs", lambda: False)

    def links(self) -> list[Link]:
        self.looked += 1
        own = (IPv4Interface("10.20.4.1/22"), IPv4Interface("192.168.7.2/24"))
        return [
            Link("eth0", False, 0, 1500, "52:54:00:00:00:01"),
            Link("eth1", True, 1000, 1500, "52:54:00:00:00:02", own),
        ]

    async def ask(self, _console: object, *arguments: str) -> Any:
        self.asked.append(arguments)
        return []


def _begin(hand: Hand) -> None:
    """Anew, whatever was answered before."""
    for name in hand.store.settings.all("console.wizard"):
        hand.store.settings.unset(name)
    hand.seat.app.model.look()
    hand.seat.app.on_changed()
    hand.seat.app.open_job("setup")


def _go_on(hand: Hand) -> None:
    hand.seat.app.open_job("setup")


def _looked(hand: Hand) -> Any:
    return hand.machine.looked


def _asked(hand: Hand) -> int:
    return len(hand.machine.asked)


_LISTED: dict[str, Press] = {
    **UNMARKED,
    "s": press(Effect(lambda hand: rows(hand)._sort, 0)),
    "S": press(Effect(keys_shown, CHANGES), first=("s",)),
}
_AWAY = press(Effect(top, "OverviewScreen"))
_LOOKS = press(Effect(_looked, lambda was: was + 1))


def _to(part: str, **more: Any) -> Press:
    return press(Effect(part_of, part), **more)


def _page(part: str, way: tuple[Do, ...], keys: dict[str, Press], owners: frozenset[str], *, family: dict[str, Press],
          first: bool = False, once: tuple[Do, ...] = ()) -> Place:  # fmt: skip
    return page_of_job(part, "SetupJob", part, way, keys, owners, family=family, first=first, once=once, empty=True)


_ON = "enter"
LANGUAGE = _page("language", (_begin,), {**_LISTED, "enter": _to("interface"), "escape": _AWAY}, LIST,
                 family=JOB | ALONE, first=True)  # fmt: skip
INTERFACE = _page("interface", (_begin, _ON), {
    **_LISTED, "enter": _to("address"), "escape": _to("language"), "r": _LOOKS,
}, LIST, family=JOB | ALONE)  # fmt: skip
ADDRESS = _page("address", (_begin, _ON, _ON), {
    **_LISTED, "enter": _to("mode", first=("home",)), "escape": _to("interface"), "r": _LOOKS,
}, LIST, family=JOB | ALONE)  # fmt: skip
MODE = _page("mode", (_begin, _ON, _ON, "home", _ON), {
    **_LISTED, "enter": _to("range", first=("home",)), "escape": _to("address"),
    "r": press(Effect(_asked, lambda was: was + 1)),
}, LIST, family=JOB | ALONE)  # fmt: skip
_RANGE: tuple[Do, ...] = (_begin, _ON, _ON, "home", _ON, "home", _ON)
RANGE = _page("range", _RANGE, {"enter": _to("disk", beyond=True), "escape": _to("mode")}, FIELDS, family=JOB | FORM)
DISK = _page("disk", (*_RANGE, _ON), {
    **STILL, "slash": NO_LIST, "enter": _to("operator"), "escape": _to("range"),
    "e": opens("Pick", asks="Which disk shall hold the images?"),
}, LINES, family=JOB | ALONE)  # fmt: skip
_WHO: tuple[Do, ...] = ("'marie", "down", f"'{SECRET}", "down", f"'{SECRET}")
OPERATOR = _page("operator", (*_RANGE, _ON, _ON), {
    "escape": _to("disk"),
    "enter": stored(lambda s: [(one.name, one.role) for one in s.operators.list()], [("marie", Role.ADMIN)],
                    first=_WHO, beyond=True),
}, FIELDS, family=JOB | FORM)  # fmt: skip
TEST = _page("test", (_go_on,), {
    **STILL, "slash": NO_LIST, "escape": _to("disk", undo=(_ON,)),
    "r": press(Effect(_asked, lambda was: was + 1)),
    "enter": stored(lambda s: s.settings.get("console.setup"), "done"),
}, LINES, family=JOB | ALONE, once=(*_RANGE, _ON, _ON, *_WHO, _ON))  # fmt: skip

# -- an address on trial ----------------------------------------------------------------------------------------------


def _try_address(hand: Hand) -> None:
    hand.machine.trial = State("7", address.WAITING, "eth1", "10.9.0.8/24", until_s=1e12)
    hand.seat.app.push_screen(Trial("7", "eth1", "10.9.0.8/24"))


def _away(hand: Hand) -> None:
    """One dialog takes one answer."""
    hand.machine.answered.clear()
    hand.seat.app.pop_screen()


def _answered(word: str) -> Press:
    return press(Effect(lambda hand: hand.machine.answered[-1:], [word]), undo=(_away,))


_ONLY = nothing("there is only the question")
TRIAL = Place(
    "an address on trial", "Trial", (_try_address,),
    {
        "enter": _answered(address.KEEP), "escape": _answered(address.UNDO), "ctrl+c": _answered(address.UNDO),
        "tab": _ONLY, "shift+tab": _ONLY,
    },
    frozenset({"Yes"}), family=DIALOG,
)  # fmt: skip

# -- a disk being taken for images ------------------------------------------------------------------------------------


def _take_disk(hand: Hand) -> None:
    hand.seat.app.push_screen(Taking("7", "sdb"))


_LEFT = press(Effect(top, CHANGES))
TAKING = Place(
    "a disk being taken", "Taking", (_take_disk,), {"escape": _LEFT, "ctrl+c": _LEFT, "tab": _ONLY, "shift+tab": _ONLY},
    frozenset(), family=DIALOG,
)  # fmt: skip
