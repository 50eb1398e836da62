"""`diecast host`: the PCs that are known."""

from __future__ import annotations

import argparse
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from appliance.cli import show
from appliance.cli.command import JSON, Argument, Command, argument
from appliance.cli.context import Context
from appliance.cli.host_list import EXPORT, IMPORT
from appliance.cli.names import Known, disks_of, firmware_in_words, stage_in_words
from appliance.errors import UsageError
from appliance.events import LocalBoot, UefiLoader
from appliance.model import normalise_mac


def _uuid(text: str) -> UUID | None:
    if not text:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no UUID") from None


def _address(text: str) -> IPv4Address | None:
    if not text:
        return None
    try:
        return IPv4Address(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is no IPv4 address") from None


_NAME = argument("name", metavar="HOST", help="the host's name")
_MARKS: tuple[Argument, ...] = (
    argument("--mac", action="append", metavar="MAC", help="a card of its; repeat it, the one it boots from first"),
    argument("--uuid", type=_uuid, default=argparse.SUPPRESS, help="its SMBIOS UUID"),
)
_FIELDS: tuple[Argument, ...] = (
    argument("--disk", help="disk to use: path, serial, WWN or model; empty: its only fixed one"),
    argument("--local-boot", choices=[str(x) for x in LocalBoot], help="how it is handed to its own disk"),
    argument(
        "--uefi-loader", choices=[str(x) for x in UefiLoader], help="loader under UEFI; ipxe needs Secure Boot off"
    ),
    argument("--room", metavar="ROOM", help="the room it stands in; empty: none"),
    argument("--notes", help="free text"),
    argument(
        "--address", type=_address, default=argparse.SUPPRESS, help="reserve this IPv4 address for its first card"
    ),
)
_FIELD_NAMES = ("disk", "local_boot", "uefi_loader", "notes", "room")


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """The options that were given and are fields of a host."""
    values = {name: getattr(options, name) for name in _FIELD_NAMES if getattr(options, name) is not None}
    return values | {name: getattr(options, name) for name in ("uuid", "address") if hasattr(options, name)}


def _add(context: Context, options: argparse.Namespace) -> int:
    values = _given(options)
    host = context.store.hosts.add(options.name, options.mac or [], sealed=options.sealed, **values)
    if values.get("uuid") is not None and host.uuid is None:
        context.note(f"The UUID {values['uuid']} is one that many boards share; it was left out.")
    context.record("host add", host.name)
    context.say(f"Added {host.name} ({', '.join(host.macs) or host.uuid}).")
    return 0


def _edit(context: Context, options: argparse.Namespace) -> int:
    changes = _given(options)
    if options.mac is not None:
        changes["macs"] = options.mac
    if options.new_name is not None:
        changes["name"] = options.new_name
    if options.sealed is not None:
        changes["sealed"] = options.sealed
    if not changes:
        raise UsageError("Nothing is to be changed.", hint="See: diecast host edit --help")
    host = context.store.hosts.edit(options.name, **changes)
    context.record("host edit", f"{host.name}: {', '.join(sorted(changes))}")
    context.say(f"Changed {host.name}.")
    return 0


def _remove(context: Context, options: argparse.Namespace) -> int:
    for name in options.names:
        host = context.store.hosts.get(name)
        context.store.hosts.remove(name)
        context.record("host remove", host.name)
        context.say(f"Removed {host.name}.")
    return 0


def _list(context: Context, options: argparse.Namespace) -> int:
    if options.unknown:
        return _list_unknown(context, options)
    hosts = context.store.hosts.list() if options.room is None else context.store.rooms.hosts(options.room)
    if options.json:
        context.say(show.as_json(hosts))
        return 0
    if not hosts:
        text = "No host is known. Add one: diecast host add NAME --mac MAC"
        context.say(text if options.room is None else f"No PC stands in room {options.room}.")
        return 0
    known = Known(context)
    rows = [
        (
            host.name,
            host.macs[0] if host.macs else "-",
            firmware_in_words(host),
            known.content(host),
            known.doing(host),
            show.moment(host.last_seen),
        )
        for host in hosts
    ]
    context.say(show.table(("NAME", "MAC", "FIRMWARE", "HOLDS", "NOW", "SEEN"), rows, width=context.width))
    return 0


def _list_unknown(context: Context, options: argparse.Namespace) -> int:
    """PCs that booted from the network and are no hosts."""
    from appliance.boot.firmware import firmware_of

    unknown = [sighting for sighting in context.store.hosts.sightings() if not sighting.host_name]
    if options.json:
        context.say(show.as_json(unknown))
        return 0
    if not unknown:
        context.say("No unknown PC has booted from the network.")
        return 0
    rows = []
    for sighting in unknown:
        firmware = None if sighting.arch is None else firmware_of(sighting.arch)
        what = "-" if firmware is None else firmware.label + ("" if firmware.has_agent else ": no agent for it")
        rows.append((sighting.mac, what, stage_in_words(sighting.stage), sighting.ip or "-", show.moment(sighting.at)))
    context.say(show.table(("MAC", "FIRMWARE", "CAME TO", "ADDRESS", "SEEN"), rows, width=context.width))
    return 0


def _show(context: Context, options: argparse.Namespace) -> int:
    host = context.store.hosts.get(options.name)
    inventory = context.store.hosts.inventory(host.id)
    task = context.store.tasks.for_host(host.id)
    if options.json:
        context.say(show.as_json({**show.plain(host), "inventory": inventory, "task": task}))
        return 0
    reserved = [str(item.address) for item in context.store.leases.reservations() if item.mac in host.macs]
    data = inventory.data if inventory else {}
    context.say(
        show.facts(
            (
                ("Name", host.name),
                ("Room", host.room),
                ("MAC", ", ".join(host.macs)),
                ("UUID", str(host.uuid or "")),
                ("Firmware", firmware_in_words(host)),
                ("Sealed", "yes: it must be captured before it starts its own disk" if host.sealed else ""),
                ("Holds", Known(context).content(host)),
                ("Task", f"{task.id}: {task.kind} {task.image_name}, {task.state}" if task else ""),
                ("Came to", f"{stage_in_words(host.stage)}, {show.moment(host.last_seen)}" if host.stage else ""),
                ("Address", host.ip),
                ("Reserved", ", ".join(reserved)),
                ("Disk to use", host.disk or "its only fixed one"),
                ("Local boot", str(host.local_boot)),
                ("UEFI loader", str(host.uefi_loader)),
                ("Model", " ".join(filter(None, (str(data.get(key, "")) for key in ("vendor", "model", "serial"))))),
                ("BIOS", str(data.get("bios_version", ""))),
                ("Processor", str(data.get("cpu", ""))),
                ("Memory", show.size(data["memory_bytes"]) if data.get("memory_bytes") else ""),
                *((f"Disk {number}", text) for number, text in enumerate(disks_of(data), 1)),
                ("Inventory", show.moment(inventory.at) if inventory else "none yet"),
                ("Notes", host.notes),
            )
        )
    )
    return 0


def _wake(context: Context, options: argparse.Namespace) -> int:
    in_room = [host.name for room in options.room or [] for host in context.store.rooms.hosts(room)]
    names = list(dict.fromkeys([*options.names, *in_room]))
    if not names:
        raise UsageError("No PC is named.", hint="Name hosts, or a room that has some with --room.")
    context.store.hosts.wake(names)
    context.record("host wake", ", ".join(names))
    context.say(f"Waking {show.count(len(names), 'PC')}: {', '.join(names)}.")
    return 0


def _dock(context: Context, options: argparse.Namespace) -> int:
    hosts = context.store.hosts
    for mac in options.add or []:
        hosts.add_dock_mac(mac)
        context.record("host dock add", normalise_mac(mac))
    for mac in options.remove or []:
        hosts.remove_dock_mac(mac)
        context.record("host dock remove", normalise_mac(mac))
    macs = hosts.dock_macs()
    context.say(show.as_json(macs) if options.json else "\n".join(macs) or "No shared dock is listed.")
    return 0


_SEAL = (
    argument(
        "--sealed", dest="sealed", action="store_true", default=None, help="never start its own disk until captured"
    ),
    argument("--not-sealed", dest="sealed", action="store_false", default=None, help="lift the seal"),
)

_WAKE_NOTES = """\
The scheduler sends magic packets to all cards of each PC, and again a minute later, until it is seen.
Wake-on-LAN must be on in the PC's firmware, and left on by the system it was switched off from.
"""

COMMAND = Command(
    "host",
    "add, list, show, edit, wake and remove PCs; export and import lists of them",
    parts=(
        Command(
            "add",
            "register a PC by its MAC or UUID",
            _add,
            (_NAME, *_MARKS, *_FIELDS, argument("--sealed", action="store_true", help="it was generalised (Sysprep)")),
        ),
        Command(
            "list",
            "list the PCs that are known",
            _list,
            (
                argument("--unknown", action="store_true", help="those that booted and are not known"),
                argument("--room", metavar="ROOM", help="those that stand in a room"),
                JSON,
            ),
        ),
        Command("show", "show one PC with its inventory", _show, (_NAME, JSON)),
        Command(
            "edit",
            "change what is known of a PC",
            _edit,
            (_NAME, argument("--name", dest="new_name", metavar="NEW", help="new name"), *_MARKS, *_FIELDS, *_SEAL),
        ),
        Command(
            "remove", "forget PCs", _remove, (argument("names", nargs="+", metavar="HOST", help="the hosts' names"),)
        ),
        Command(
            "wake",
            "switch PCs on by Wake-on-LAN",
            _wake,
            (
                argument("names", nargs="*", metavar="HOST", help="the hosts' names"),
                argument("--room", action="append", metavar="ROOM", help="all that stand in a room; may be repeated"),
            ),
            notes=_WAKE_NOTES,
        ),
        EXPORT,
        IMPORT,
        Command(
            "dock",
            "list, add and remove MACs of shared docks, which identify nobody",
            _dock,
            (
                argument("--add", action="append", metavar="MAC", help="declare a MAC a shared dock's"),
                argument("--remove", action="append", metavar="MAC", help="let it identify a host again"),
                JSON,
            ),
        ),
    ),
)
