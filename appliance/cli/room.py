"""`diecast room`: groups of PCs that are worked with together."""

from __future__ import annotations

import argparse

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.cli.names import Known
from appliance.errors import UsageError


def _list(context: Context, options: argparse.Namespace) -> int:
    rooms = context.store.rooms.list()
    if options.json:
        context.say(show.as_json(rooms))
        return 0
    if not rooms:
        context.say("No room is known. Add one: diecast room add NAME")
        return 0
    rows = [(room.name, str(room.hosts), room.notes) for room in rooms]
    context.say(show.table(("ROOM", ">PCS", "NOTES"), rows, width=context.width))
    return 0


def _show(context: Context, options: argparse.Namespace) -> int:
    room, hosts = context.store.rooms.get(options.name), context.store.rooms.hosts(options.name)
    if options.json:
        context.say(show.as_json({**show.plain(room), "hosts": hosts}))
        return 0
    context.say(show.facts((("Room", room.name), ("PCs", str(room.hosts)), ("Notes", room.notes))))
    if hosts:
        known = Known(context)
        rows = [(host.name, known.content(host), known.doing(host), show.moment(host.last_seen)) for host in hosts]
        context.say("\n" + show.table(("NAME", "HOLDS", "NOW", "SEEN"), rows, width=context.width))
    return 0


def _add(context: Context, options: argparse.Namespace) -> int:
    room = context.store.rooms.add(options.name, options.notes or "")
    context.record("room add", room.name)
    context.say(f"Added room {room.name}.")
    return 0


def _edit(context: Context, options: argparse.Namespace) -> int:
    if options.new_name is None and options.notes is None:
        raise UsageError("Nothing is to be changed.", hint="See: diecast room edit --help")
    room = context.store.rooms.edit(options.name, name=options.new_name, notes=options.notes)
    context.record("room edit", f"{options.name} is {room.name}" if options.new_name else room.name)
    context.say(f"Changed room {room.name}.")
    return 0


def _remove(context: Context, options: argparse.Namespace) -> int:
    for name in options.names:
        room = context.store.rooms.get(name)
        context.store.rooms.remove(name)
        context.record("room remove", room.name)
        kept = f"; its {show.count(room.hosts, 'PC')} stay, without a room" if room.hosts else ""
        context.say(f"Removed room {room.name}{kept}.")
    return 0


def _assign(context: Context, options: argparse.Namespace) -> int:
    names = list(options.names)
    room = None if options.none else context.store.rooms.get(names.pop(0))
    if not names:
        raise UsageError("No PC is named.", hint="For example: diecast room assign B204 PC1 PC2")
    moved = context.store.rooms.assign(room.name if room else None, names)
    where = f"into room {room.name}" if room else "out of their rooms"
    context.record("room assign", f"{where}: {', '.join(names)}")
    context.say(f"Put {show.count(moved, 'PC')} {where}.")
    return 0


_NAME = argument("name", metavar="ROOM", help="the room's name")
_NOTES = argument("--notes", help="free text")

COMMAND = Command(
    "room",
    "list, show, add, edit and remove rooms, and put PCs into them",
    parts=(
        Command("list", "list the rooms", _list, (JSON,)),
        Command("show", "show one room and its PCs", _show, (_NAME, JSON)),
        Command("add", "make an empty room", _add, (_NAME, _NOTES)),
        Command(
            "edit",
            "change a room's name or notes",
            _edit,
            (_NAME, argument("--name", dest="new_name", metavar="NEW", help="new name"), _NOTES),
        ),
        Command(
            "remove",
            "forget rooms; their PCs stay",
            _remove,
            (argument("names", nargs="+", metavar="ROOM", help="the rooms' names"),),
        ),
        Command(
            "assign",
            "put PCs into a room, or out of any",
            _assign,
            (
                argument("names", nargs="+", metavar="ROOM HOST", help="the room, then the PCs; with --none only PCs"),
                argument("--none", action="store_true", help="into no room"),
            ),
        ),
    ),
)
