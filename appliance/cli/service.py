"""`diecast service`: how the services are; starting, stopping and restarting them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from appliance.cli import show
from appliance.cli.command import JSON, Argument, Command, argument
from appliance.cli.context import Context
from appliance.errors import Unavailable
from appliance.events import ServiceHealth
from appliance.model import ServiceState

if TYPE_CHECKING:
    from appliance.system.units import Unit

_NAMES: tuple[Argument, ...] = (
    argument("names", nargs="*", metavar="NAME", help="dhcp tftp http nfs scheduler cast; none: all"),
)
_DONE = {"start": "Started", "stop": "Stopped", "restart": "Restarted"}


def _list(context: Context, options: argparse.Namespace) -> int:
    from appliance import overrides
    from appliance.system import units

    states = {state.name: state for state in context.store.services.list()}
    found = {unit.service: unit for unit in _units(context)}
    old = overrides.restart_needed(context.store)
    if options.json:
        context.say(
            show.as_json(
                [
                    {"name": name, "service": states.get(name), "unit": found.get(name), "restart": old.get(name, ())}
                    for name in units.SERVICES
                ]
            )
        )
        return 0
    rows = []
    for name in units.SERVICES:
        state, unit = states.get(name), found.get(name)
        words = (state.words if state else "") or ("restart needed: " + ", ".join(old[name]) if name in old else "")
        rows.append((name, *_health(state), unit.words if unit else "-", words))
    context.say(show.table(("SERVICE", "STATE", "SINCE", ">PID", "SYSTEMD", "REMARK"), rows, width=context.width))
    return 0


def _units(context: Context) -> list[Unit]:
    """What systemd says; nothing where it does not run or does not answer, which is said."""
    from appliance.system import units

    try:
        return units.list_units()
    except Unavailable as error:
        context.note(f"diecast: {error}")
        return []


def _health(state: ServiceState | None) -> tuple[str, str, str]:
    """State, since when, process."""
    if state is None:
        return "never ran", "-", "-"
    gone = state.state in {ServiceHealth.STOPPED, ServiceHealth.FAILED}
    return str(state.state), show.moment(state.since), "-" if gone else str(state.pid)


def _act(verb: str) -> Callable[[Context, argparse.Namespace], int]:
    def run(context: Context, options: argparse.Namespace) -> int:
        from appliance.system import units

        done = units.act(units.Verb(verb), options.names)
        context.record(f"service {verb}", ", ".join(done))
        context.say(f"{_DONE[verb]} {', '.join(done)}.")
        return 0

    return run


COMMAND = Command(
    "service",
    "list, start, stop and restart the services",
    parts=(
        Command("list", "list the services and how they are", _list, (JSON,)),
        Command("start", "start services", _act("start"), _NAMES),
        Command("stop", "stop services; transfers in progress wait until they are started again", _act("stop"), _NAMES),
        Command("restart", "restart services; transfers in progress wait and go on", _act("restart"), _NAMES),
    ),
)
