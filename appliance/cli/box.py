"""`diecast box`: the machine itself: its address, and the disk that images lie on."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from appliance.cli import box_disk, show
from appliance.cli.command import JSON, Command, Run, argument
from appliance.cli.context import Context
from appliance.errors import ApplianceError, Cancelled, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from appliance.system.address import State, Wish

_POLL_S = 0.3
_BEGUN_S = 15.0  # in which systemd has started the unit and that has said something
_NOTES = """\
The change is on trial first: it is taken back after a minute unless somebody says `keep`, so that who is
cut off by it loses nothing. The interface must be one that systemd-networkd manages.
"""


def _run_folder(context: Context) -> Path:
    """Of the settings file alone: root reads no store."""
    return context.file_settings.paths.run


# -- address


def _show(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import address, networkd
    from appliance.system.links import links

    rows, plain = [], []
    for link in links():
        if link.name == "lo":
            continue
        managed = networkd.managed(link.name)
        try:
            networkd.refuse_unless_ours(link.name)
            obstacle = ""
        except ApplianceError as error:
            obstacle = error.message
        addresses = [str(each) for each in link.addresses]
        plain.append(
            {
                "interface": link.name,
                "up": link.up,
                "addresses": addresses,
                "file": managed.file,
                "can_be_set": not obstacle,
                "why_not": obstacle,
            }
        )
        rows.append((link.name, "up" if link.up else "down", ", ".join(addresses) or "-", managed.file or obstacle))
    state = address.state(_run_folder(context))
    if options.json:
        context.say(show.as_json({"interfaces": plain, "change": state}))
        return 0
    context.say(show.table(("INTERFACE", "LINK", "ADDRESS", "FROM"), rows, width=context.width))
    if state is not None:
        context.say(_words(state))
    return 0


def _words(state: State) -> str:
    """A change in a sentence."""
    from appliance.system import address

    if state.stage == address.WAITING:
        left = f"for {state.left_s:.0f} s more"
        return f"{state.interface} has {state.wanted} on trial {left}. Keep it: diecast box address keep"
    return f"{state.text} {state.hint}".strip() or f"{state.interface} is being given {state.wanted}."


def _set(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import address

    confirm_s = 0 if options.yes else address.CONFIRM_S
    wish = address.typed(
        options.interface, options.address, options.gateway or "", ",".join(options.dns or ()), confirm_s=confirm_s
    )
    run = _run_folder(context)
    address.ask(run, wish)
    context.record("box address set", f"{wish.interface}: {wish.words}")
    state = _until(run, wish, {address.WAITING})
    if state.stage == address.WAITING:
        context.say(f"{wish.interface} has {wish.words} on trial.")
        if not context.can_ask:
            context.say(f"Within {state.left_s:.0f} s: diecast box address keep")
            return 0
        word = _asked(context, state)
        if address.state(run) == state:
            address.answer(run, word)
        state = _until(run, wish, set())
    return _ended(context, state)


def _asked(context: Context, state: State) -> str:
    from appliance.system import address

    try:
        context.confirm(f"Keep it? It is taken back after {state.left_s:.0f} s.")
    except Cancelled:
        return address.UNDO
    return address.KEEP


def _until(run: Path, wish: Wish, stages: set[str]) -> State:
    """Wait until the change has ended or is at one of `stages`. Raises `Unavailable` when nothing happens."""
    from appliance.system import address

    begun = time.monotonic()
    while True:
        state = address.state(run)
        if state is not None and state.id == wish.id and (state.stage in stages or not state.under_way):
            return state
        if (state is None or state.id != wish.id) and time.monotonic() - begun > _BEGUN_S:
            raise Unavailable(
                f"{address.UNIT} has not begun after {_BEGUN_S:.0f} s.", hint=f"See: journalctl -u {address.UNIT}"
            )
        time.sleep(_POLL_S)


def _ended(context: Context, state: State) -> int:
    from appliance.system import address

    if state.stage == address.KEPT:
        context.record("box address keep", f"{state.interface}: {state.wanted}")
        context.say(state.text)
        context.say("Services take it when they start: diecast service restart")
        _tell_of_subnets(context, state)
        return 0
    if state.stage == address.UNDONE:
        raise Cancelled(state.text)
    raise Unavailable(state.text, hint=state.hint)


def _tell_of_subnets(context: Context, state: State) -> None:
    """A full DHCP server lends in its settings' subnets, wherever the box stands."""
    from ipaddress import IPv4Interface

    dhcp = context.settings.dhcp
    try:
        own = IPv4Interface(state.wanted)
    except ValueError:
        return
    if dhcp.mode == "full" and not any(own.ip in subnet.network for subnet in dhcp.subnet):
        context.note(f"No subnet of dhcp.subnet holds {own.ip}: nobody is lent an address there until one does.")


def _answer(word: str) -> Run:
    def run(context: Context, options: argparse.Namespace) -> int:
        from appliance.system import address

        folder = _run_folder(context)
        state = address.answer(folder, word)
        while state.under_way:
            time.sleep(_POLL_S)
            state = address.state(folder) or state
        if state.stage == address.UNDONE and word == address.UNDO:
            context.record("box address undo", f"{state.interface}: {state.wanted}")
            context.say(state.text)
            return 0
        return _ended(context, state)

    return run


def _apply(context: Context, options: argparse.Namespace) -> int:
    from appliance.system import address_apply

    address_apply.run_unit(_run_folder(context), settle_only=options.settle)
    return 0


_ADDRESS = Command(
    "address",
    "show and set the box's own address",
    parts=(
        Command("show", "show the interfaces, their addresses, and whether these can be set here", _show, (JSON,)),
        Command(
            "set",
            "give an interface another address",
            _set,
            (
                argument("interface", metavar="INTERFACE", help="its name, such as enp1s0"),
                argument("address", metavar="ADDRESS", help="10.20.4.1/22, or dhcp for one from a DHCP server"),
                argument("--gateway", metavar="ADDRESS", help="its router; none named: none"),
                argument("--dns", metavar="ADDRESS", action="append", help="a name server; may be repeated"),
                argument("--yes", "-y", action="store_true", help="keep it at once, without a trial"),
            ),
            notes=_NOTES,
        ),
        Command("keep", "keep the address that is on trial", _answer("keep")),
        Command("undo", "take the address that is on trial back", _answer("undo")),
        Command(
            "apply",
            "as root: do what was asked for; diecast-address.service runs this",
            _apply,
            (argument("--settle", action="store_true", help="only take away what was left on trial"),),
        ),
    ),
)

COMMAND = Command("box", "the machine: its address, and the disk for images", parts=(_ADDRESS, box_disk.COMMAND))
