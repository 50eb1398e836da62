"""Network and system: their parts, and what each key does there (`tests.tui.presses`)."""

from __future__ import annotations

import json

from appliance.events import Role
from tests.tui.places_numbered import LIST, PASSWORD, to_part
from tests.tui.presses import (
    CHANGES,
    Do,
    Effect,
    Place,
    Press,
    at_part,
    nothing,
    opens,
    press,
    rows,
    shown_part,
    stored,
)
from tests.tui.usual_keys import PARTS, UNMARKED, numbered

NETWORK, SYSTEM = numbered("network") | PARTS, numbered("system") | PARTS


def _network(part: str, keys: dict[str, Press], *, first: bool = False) -> Place:
    return Place(part, "NetworkScreen", ("6", at_part(part)), keys, LIST, part=part, family=NETWORK, first=first)


def _system(part: str, keys: dict[str, Press], *, first: bool = False) -> Place:
    return Place(part, "SystemScreen", ("7", at_part(part)), keys, LIST, part=part, family=SYSTEM, first=first)


_RESERVED = "52:54:00:aa:01:03"
BOOTING = _network("booting", {
    **UNMARKED,
    "enter": opens("HostPage"),
    "u": to_part("servers", "other"),
}, first=True)  # fmt: skip
LEASES = _network("leases", {
    **UNMARKED,
    "enter": nothing("there is nothing more to say of a lease"),
    "a": stored(lambda s: len(s.leases.reservations()), lambda was: was + 1, asks="A new reservation", then=("enter",)),
    "u": press(Effect(lambda hand: len(rows(hand).rows), 3), asks="What do you want to see?",
               then=("'expired", "enter")),
})  # fmt: skip
RESERVATIONS = _network("reservations", {
    "enter": nothing("a reservation is all in its row"),
    "a": stored(lambda s: [str(r.address) for r in s.leases.reservations()], CHANGES, asks="A new reservation",
                then=("'lab-09", "down", "'10.20.4.77", "enter")),
    "e": stored(lambda s: {r.mac: str(r.address) for r in s.leases.reservations()}[_RESERVED], "10.20.4.91",
                asks="Reservation of 10.20.4.9", then=("down", "'1", "enter")),
    "u": to_part("docks", "docks"),
    "delete": opens("Confirm", asks="Free what is reserved?"),
    "x": stored(lambda s: len(s.leases.reservations()), lambda was: was - 1, asks="Free what is reserved?",
                then=("enter",)),
})  # fmt: skip
UNKNOWN = _network("unknown", {
    "enter": opens("Form", asks="Register 52:54:00"),
    "a": stored(lambda s: len(s.hosts.list()), lambda was: was + 1, asks="Register 52:54:00",
                then=("'pc-new", "enter")),
    "u": to_part("docks", "docks"),
})  # fmt: skip
SERVERS = _network("servers", {
    **UNMARKED,
    "enter": opens("Reading", asks="DHCP server 10.20.4."),
    "u": to_part("docks", "docks"),
})  # fmt: skip
DOCKS = _network("docks", {
    "enter": nothing("a dock is all in its row"),
    "a": stored(lambda s: "52:54:00:dd:00:09" in s.hosts.dock_macs(), True, asks="A shared dock",
                then=("'52:54:00:dd:00:09", "enter")),
    "u": to_part("leases", "leases"),
    "delete": stored(lambda s: len(s.hosts.dock_macs()), lambda was: was - 1),
    "x": stored(lambda s: len(s.hosts.dock_macs()), lambda was: was - 1),
})  # fmt: skip
INTERFACES = _network("interfaces", {
    **UNMARKED,
    "enter": opens("Reading"),
    "u": to_part("docks", "docks"),
    "e": opens("Form", asks="Another address for"),
})  # fmt: skip

# -- system -----------------------------------------------------------------------------------------------------------


def _called(verb: str) -> Effect:
    return Effect(lambda hand: [call[2:] for call in hand.systemd.calls() if call[2] == verb],
                  [[verb, "diecast-dhcp.service"]])  # fmt: skip


def _asked(words: str) -> Effect:
    return Effect(lambda hand: len(hand.cli.calls(words)), lambda was: was + 1)


SERVICES = _system("services", {
    "enter": nothing("what is known of a service stands below the list"),
    "r": press(_called("restart"), asks="Restart dhcp?", then=("enter",)),
    "t": press(_called("start")),
    "k": press(_called("stop"), asks="Stop dhcp?", then=("'dhcp", "enter")),
    "u": to_part("audit", "audit"),
    "l": press(Effect(shown_part, "log"), Effect(lambda hand: len(rows(hand).rows), 2)),
}, first=True)  # fmt: skip
LOG = _system("log", {
    **UNMARKED,
    "enter": opens("Reading"),
    "f": press(Effect(lambda hand: "following" in hand.seat.lines()[2], False)),
    "u": press(Effect(lambda hand: len(rows(hand).rows), 2), asks="What do you want to see?",
               then=("'log of dhcp", "enter")),
})  # fmt: skip
DISKS = _system("disks", {
    **UNMARKED,
    "enter": opens("ImagesScreen", first=("end",)),
    "e": opens("Pick", asks="Which disk shall hold the images?"),
    "u": to_part("audit", "audit"),
})  # fmt: skip
BACKUPS = _system("backups", {
    **UNMARKED,
    "enter": nothing("what is known of a backup stands below the list"),
    "t": press(_asked("backup run"), asks="Back up now", then=("enter",)),
    "v": press(_asked("backup verify")),
    "r": press(_asked("backup list")),
    "e": stored(lambda s: s.settings.get("backup.keep", ""), "77", asks="Backups: where to and when",
                then=("down", "down", "'7", "enter")),
    "u": to_part("audit", "audit"),
})  # fmt: skip
_LEASE: tuple[Do, ...] = ("slash", "'dhcp.lease_s", "enter")
SETTINGS = _system("settings", {
    **UNMARKED,
    "enter": nothing("what is known of a setting stands below the list"),
    "t": press(_asked("notify test")),
    "u": to_part("audit", "audit"),
    "e": stored(lambda s: json.loads(s.settings.get("config.dhcp.lease_s", "0")), 36007, first=_LEASE,
                asks="Setting dhcp.lease_s", then=("7", "enter")),
    "delete": opens("Confirm", asks="Take back dhcp.lease_s?", first=_LEASE),
    "x": stored(lambda s: s.settings.get("config.dhcp.lease_s", ""), "", first=_LEASE, asks="Take back dhcp.lease_s?",
                then=("enter",)),
})  # fmt: skip
OPERATORS = Place(
    "operators", "SystemScreen", ("7", at_part("operators")),
    {
        **UNMARKED,
        "enter": nothing("what an operator may do stands below the list"),
        "a": stored(lambda s: [one.name for one in s.operators.list()], CHANGES, asks="A new operator",
                    then=("'anne", "down", "down", "'secret-secret", "down", "'secret-secret", "enter")),
        "e": stored(lambda s: s.operators.get("luc").role, Role.ADMIN, asks="Operator luc",
                    first=("slash", "'luc", "enter"), then=("right", "enter")),
        "u": to_part("audit", "audit"),
        "delete": opens("Confirm", asks="Remove operator luc?", first=("slash", "'luc", "enter")),
        "x": stored(lambda s: [one.name for one in s.operators.list()], CHANGES, asks="Remove operator luc?",
                    first=("slash", "'luc", "enter"), then=("'luc", "enter")),
    },
    LIST, part="operators", family=SYSTEM, first=False, staff=True, once=("'marie", "down", f"'{PASSWORD}", "enter"),
)  # fmt: skip
AUDIT = _system("audit", {
    **UNMARKED,
    "enter": nothing("an entry of the audit trail is all in its row"),
    "u": to_part("doctor", "doctor"),
})  # fmt: skip
DOCTOR = _system("doctor", {
    **UNMARKED,
    "enter": opens("Reading"),
    "v": press(_asked("doctor")),
    "u": to_part("audit", "audit"),
})  # fmt: skip
