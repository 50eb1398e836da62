"""`diecast reservation`: addresses that belong to one PC."""

from __future__ import annotations

import argparse
from contextlib import suppress
from ipaddress import IPv4Address

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.errors import ApplianceError, UsageError
from appliance.model import normalise_mac


def _list(context: Context, options: argparse.Namespace) -> int:
    names = {mac: host.name for host in context.store.hosts.list() for mac in host.macs}
    reserved = context.store.leases.reservations()
    if options.json:
        context.say(show.as_json([{**show.plain(item), "host": names.get(item.mac, "")} for item in reserved]))
        return 0
    if not reserved:
        context.say("No address is reserved.")
        return 0
    rows = [(str(item.address), item.mac, names.get(item.mac, "-")) for item in reserved]
    context.say(show.table(("ADDRESS", "MAC", "HOST"), rows, width=context.width))
    return 0


def _mac(context: Context, text: str) -> str:
    """A MAC as it is, or the first one of the host of that name."""
    with suppress(ApplianceError):
        return normalise_mac(text)
    host = context.store.hosts.get(text)
    if not host.macs:
        raise UsageError(f"{host.name} has no MAC to reserve an address for.", hint="Name a MAC address.")
    return host.macs[0]


def _add(context: Context, options: argparse.Namespace) -> int:
    done = context.store.leases.reserve(_mac(context, options.whose), options.address)
    context.record("reservation add", f"{done.address} for {done.mac}")
    context.say(f"{done.address} is reserved for {done.mac}.")
    subnets = context.settings.dhcp.subnet
    if subnets and not any(done.address in subnet.network for subnet in subnets):
        context.note(f"Warning: {done.address} is in none of the subnets of the settings, so that it is never lent.")
    return 0


def _remove(context: Context, options: argparse.Namespace) -> int:
    for text in options.whose:
        mac = _mac(context, text)
        context.store.leases.unreserve(mac)
        context.record("reservation remove", mac)
        context.say(f"No address is reserved for {mac} any more.")
    return 0


def _address(text: str) -> IPv4Address:
    return IPv4Address(text)


_address.__name__ = "IPv4 address"

COMMAND = Command(
    "reservation",
    "list, add and remove reserved addresses",
    parts=(
        Command("list", "list reserved addresses", _list, (JSON,)),
        Command(
            "add",
            "reserve an address for a PC, in place of the one it had",
            _add,
            (
                argument("whose", metavar="HOST|MAC", help="a host, whose first card counts, or any MAC"),
                argument("address", type=_address, metavar="ADDRESS", help="an IPv4 address"),
            ),
        ),
        Command(
            "remove",
            "free reserved addresses",
            _remove,
            (argument("whose", nargs="+", metavar="HOST|MAC", help="hosts or MACs"),),
        ),
    ),
)
