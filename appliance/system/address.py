"""The box's own address: what can be asked for, asking root for it, and how it stands.

A change is on trial first: root's `diecast-address.service` (`address_apply`) sets it and goes back after `CONFIRM_S`
unless somebody says that it is to be kept. Who came over the network and is cut off by the change has lost nothing.

References: systemd.network(5), RFC 1122 section 3.2.1.3 (addresses that no host can have).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from appliance.errors import BadData, Conflict, Unavailable, UsageError
from appliance.system import mailbox, networkd, units
from appliance.system.links import Link, links

NAME = "address"  # of wish and report
ANSWER = "address-answer"  # of the wish that says keep, or go back
UNIT = "diecast-address.service"
CONFIRM_S = 60
DHCP = "dhcp"
KEEP, UNDO = "keep", "undo"

TRYING, WAITING, KEEPING, KEPT, UNDONE, FAILED = "trying", "waiting", "keeping", "kept", "undone", "failed"
_UNDER_WAY = frozenset({TRYING, WAITING, KEEPING})
_LONGEST_S = 120.0  # a report that is under way for longer than this past its time was left by a root that was killed

_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,14}")
_ID = re.compile(r"[0-9a-f]{16}")
_MOST_DNS = 3
_MOST_CONFIRM_S = 600
_PREFIXES = range(8, 31)


@dataclass(frozen=True, slots=True)
class Wish:
    """An interface and the address that it shall have."""

    interface: str
    address: IPv4Interface | None  # None: from a DHCP server
    gateway: IPv4Address | None = None
    dns: tuple[IPv4Address, ...] = ()
    confirm_s: int = CONFIRM_S  # seconds until it is taken back; 0: it is kept at once
    id: str = ""

    @property
    def words(self) -> str:
        """The address as it is written: `10.20.4.1/22`, or `dhcp`."""
        return str(self.address) if self.address is not None else DHCP

    def plain(self) -> dict[str, Any]:
        """In JSON's types."""
        return {
            "id": self.id,
            "interface": self.interface,
            "address": self.words,
            "gateway": str(self.gateway or ""),
            "dns": [str(each) for each in self.dns],
            "confirm_s": self.confirm_s,
        }


def parse(plain: dict[str, Any]) -> Wish:
    """A wish out of a file that anybody may have written. Raises `BadData`; `check` judges its values."""
    try:
        name, number, dns, confirm_s = plain["interface"], plain["id"], plain["dns"], plain["confirm_s"]
        whole = type(confirm_s) is int and 0 <= confirm_s <= _MOST_CONFIRM_S
        lists = isinstance(dns, list) and len(dns) <= _MOST_DNS
        if not (_INTERFACE.fullmatch(name) and _ID.fullmatch(number) and whole and lists):
            raise ValueError
        address, gateway = plain["address"], plain["gateway"]
        return Wish(
            name,
            None if address == DHCP else _written(_text(address)),
            IPv4Address(_text(gateway)) if gateway else None,
            tuple(IPv4Address(_text(each)) for each in dns),
            confirm_s,
            number,
        )
    except (KeyError, TypeError, ValueError, UsageError):
        raise BadData("What was asked for is no address for an interface.", hint="Ask for it again.") from None


def _text(value: Any) -> str:
    """Addresses are written as text: the number 1 is none."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def _written(text: str) -> IPv4Interface:
    """`10.20.4.1/22`. Raises `UsageError`: without its prefix length an address says nothing about its subnet."""
    number, slash, length = text.strip().partition("/")
    try:
        if slash and length.isdecimal() and int(length) in _PREFIXES:
            return IPv4Interface(f"{IPv4Address(number)}/{int(length)}")
    except ValueError:
        pass
    raise UsageError(f"'{text}' is no IPv4 address with its prefix length.", hint="Write it as 10.20.4.1/22.")


def typed(interface: str, address: str, gateway: str = "", dns: str = "", *, confirm_s: int = CONFIRM_S) -> Wish:
    """A wish from what somebody typed. Raises `UsageError`."""
    if not _INTERFACE.fullmatch(interface):
        raise UsageError(f"'{interface}' is no name of an interface.", hint="See: diecast box address show")
    found = None if address.strip() == DHCP else _written(address)
    servers = [_plain_address(part) for part in dns.replace(",", " ").split()]
    router = _plain_address(gateway) if gateway.strip() else None
    if found is None and (router or servers):
        raise UsageError("A DHCP server tells router and name servers too.", hint="Leave them out.")
    if len(servers) > _MOST_DNS:
        raise UsageError(f"More than {_MOST_DNS} name servers are never asked.", hint="Leave some out.")
    return Wish(interface, found, router, tuple(servers), confirm_s, mailbox.new_id())


def _plain_address(text: str) -> IPv4Address:
    try:
        return IPv4Address(text.strip())
    except ValueError:
        raise UsageError(f"'{text}' is no IPv4 address.", hint="Write it as 10.20.5.1.") from None


def check(wish: Wish, machine: Sequence[Link]) -> None:
    """Raise `UsageError` for an address that a host cannot have, or that does not fit this machine's other ones."""
    link = next((each for each in machine if each.name == wish.interface), None)
    if link is None or link.name == "lo":
        raise UsageError(f"There is no interface {wish.interface}.", hint="See: diecast box address show")
    own = wish.address
    if own is None:
        return
    _check_host(own.ip)
    network = own.network
    if own.ip in (network.network_address, network.broadcast_address):
        raise UsageError(f"{own.ip} names the subnet {network} itself.", hint="Take an address between its ends.")
    router = wish.gateway
    if router is not None:
        if router not in network or router in (network.network_address, network.broadcast_address):
            raise UsageError(f"The router {router} is not in the subnet {network}.", hint="Take one of its addresses.")
        if router == own.ip:
            raise UsageError(f"{router} is this box's own address, not a router's.", hint="Leave the router empty.")
    for server in wish.dns:
        _check_host(server)
    for other in machine:
        for there in other.addresses:
            if other.name != link.name and there.network.overlaps(network):
                raise UsageError(
                    f"{other.name} is in the subnet {there.network} already, which {network} overlaps.",
                    hint="Take another subnet, or another interface.",
                )


def _check_host(address: IPv4Address) -> None:
    """RFC 1122: what is no single host on a network."""
    if address.is_multicast or address.is_loopback or address.is_unspecified or address.is_reserved:
        raise UsageError(f"{address} is an address that no host can have.", hint="Take one of the lab's subnet.")
    if address.is_link_local:
        raise UsageError(f"{address} is for networks without addresses.", hint="Take one of the lab's subnet.")


# -- how it stands


@dataclass(frozen=True, slots=True)
class State:
    """What root last said about a change."""

    id: str
    stage: str
    interface: str
    wanted: str
    text: str = ""  # how it ended, a sentence
    hint: str = ""
    until_s: float = 0.0  # on the machine's clock: when it goes back

    @property
    def under_way(self) -> bool:
        """Whether root is at it."""
        return self.stage in _UNDER_WAY and mailbox.now_s() < self.until_s + _LONGEST_S

    @property
    def left_s(self) -> float:
        """Seconds until it goes back."""
        return max(0.0, self.until_s - mailbox.now_s())


def state(run: Path) -> State | None:
    """How the last change stands; None when there was none since the machine started."""
    plain = mailbox.reported(run, NAME)
    if plain is None:
        return None
    try:
        id_, stage, interface, wanted, text, hint = (
            str(plain[key]) for key in ("id", "stage", "interface", "wanted", "text", "hint")
        )
        return State(id_, stage, interface, wanted, text, hint, float(plain["until_s"]))
    except (KeyError, TypeError, ValueError):
        return None


# -- asking


def ask(run: Path, wish: Wish) -> None:
    """Have root set it, on trial. Raises `ApplianceError` when it makes no sense, or is not ours to do here."""
    networkd.refuse_unless_ours(wish.interface)
    check(wish, links())
    before = state(run)
    if before is not None and before.under_way:
        raise Conflict(
            f"The address of {before.interface} is being changed already.", hint="Answer that first, or wait a minute."
        )
    mailbox.forget(run, ANSWER)
    mailbox.wish(run, NAME, wish.plain())
    units.begin(UNIT)


def answer(run: Path, word: str) -> State:
    """Say `KEEP` or `UNDO` to the change on trial. Raises `Unavailable` when none is."""
    now = state(run)
    if now is None or not now.under_way:
        raise Unavailable("No address is on trial.", hint="Set one: diecast box address set")
    mailbox.wish(run, ANSWER, {"id": now.id, "word": word})
    return now
