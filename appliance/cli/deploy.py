"""`diecast deploy`: write an image onto PCs."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.cli import show
from appliance.cli.cast import cast_for, check_waiting
from appliance.cli.command import WHEN, YES, Command, argument, whole
from appliance.cli.context import Context
from appliance.cli.names import Known, manifest_of, version_name, what_next
from appliance.cli.watch import watch
from appliance.errors import Conflict, UsageError
from appliance.events import AfterTask
from appliance.model import Host, ImageVersion
from appliance.when import start_time

_NOTES = """\
Everything on the disks of the named PCs is lost; without --yes they are listed and it is asked first.
With --cast they are written at once by multicast, together with those that already are (see diecast cast).
With --new, each of the next N unknown PCs that boot from the network is named, registered and deployed;
with --cast too, their cast stays open until they have all come or the order is cancelled.
With --hold they are only named and registered until diecast task release ORDER confirms them all.
"""


# Options that mean nothing beside the others: (option, its attribute, what it belongs to, an example).
_ONLY_NEW = (
    ("--names", "names", "--new 20 --names 'LAB1-{nn}'"),
    ("--minutes", "minutes", "--new 20 --minutes 30"),
    ("--hold", "hold", "--new 20 --hold"),
)
_NOT_NEW = (
    ("--wait", "wait", "Watch the tasks as they come: diecast task watch"),
    ("--at", "at", "New PCs are taken from now on."),
    ("--wake", "wake", "A PC that is not known cannot be woken."),
)


def _run(context: Context, options: argparse.Namespace) -> int:
    if not options.cast and (options.wait_for or options.wait_seconds is not None):
        raise UsageError("--wait-for and --wait-seconds belong to --cast.", hint="See: diecast deploy --help")
    if options.new is None:
        for option, name, example in _ONLY_NEW:
            if getattr(options, name):
                raise UsageError(f"{option} belongs to --new.", hint=f"For example: {example}")
        return _deploy(context, options)
    if options.hosts:
        raise UsageError("Name hosts or give --new, not both.", hint="See: diecast deploy --help")
    for option, name, hint in _NOT_NEW:
        if getattr(options, name):
            raise UsageError(f"{option} needs named hosts.", hint=hint)
    return _order(context, options)


def _deploy(context: Context, options: argparse.Namespace) -> int:
    in_room = context.store.rooms.hosts(options.room) if options.room else []
    if options.room and not in_room:
        raise UsageError(f"No PC stands in room {options.room}.", hint="Put some there: diecast room assign ROOM HOST")
    if not options.hosts and not in_room:
        raise UsageError("No PC is named.", hint="Name hosts or a --room, or give --new N --names PATTERN.")
    start_at = start_time(options.at) if options.at else None
    version = context.store.images.resolve(options.image)
    hosts = _ready_hosts(context, [*options.hosts, *(host.name for host in in_room)], wake=options.wake)
    check_waiting(len(hosts), options)
    _announce(context, version, hosts)
    if not options.yes:
        context.confirm("Go on?")
    cast_id = cast_for(context, version, len(hosts), options)
    tasks = []
    for host in hosts:
        task = context.store.tasks.deploy(
            host, version, after=AfterTask(options.after), cast_id=cast_id, start_at=start_at, wake=options.wake
        )
        context.record("deploy", f"task {task.id}: {version_name(version)} to {host.name}")
        context.say(f"Task {task.id}: deploy {version_name(version)} to {host.name}. {what_next(task, 'it')}")
        tasks.append(task.id)
    return watch(context, tasks) if options.wait else 0


def _ready_hosts(context: Context, names: list[str], *, wake: bool) -> list[Host]:
    """The named hosts, each once. Raises before anything is ordered when one is unknown, busy, sealed or deaf."""
    hosts = list({host.id: host for host in map(context.store.hosts.get, names)}.values())
    for host in hosts:
        task = context.store.tasks.for_host(host.id)
        if task is not None:
            raise Conflict(
                f"{host.name} is busy with task {task.id} ({task.kind} {task.image_name}, {task.state}).",
                hint=f"Wait for it, or run: diecast task cancel {task.id}",
            )
        if host.sealed:
            raise Conflict(
                f"{host.name} is sealed and not captured yet: deploying would destroy the master.",
                hint=f"Capture it first, or run: diecast host edit {host.name} --not-sealed",
            )
        if wake and not host.macs:
            raise UsageError(f"{host.name} has no MAC and cannot be woken.", hint="Leave --wake out.")
    return hosts


def _announce(context: Context, version: ImageVersion, hosts: list[Host]) -> None:
    """Name what will be lost, and what cannot fit."""
    rows, too_small, known = [], [], Known(context)
    manifest = manifest_of(context, version)
    needed_bytes = manifest.minimum_disk_bytes if manifest else version.disk_bytes
    for host in hosts:
        disk, size_bytes = _disk(context, host)
        rows.append((host.name, disk, known.content(host).replace("-", "unknown", 1)))
        if size_bytes is not None and size_bytes < needed_bytes:
            too_small.append(f"{host.name} has {show.size(size_bytes)}")
    whose = "the disk of this PC" if len(hosts) == 1 else f"the disks of these {len(hosts)} PCs"
    source = f" from {version.master_name}" if version.master_name else ""
    context.say(f"This overwrites {whose} with {version_name(version)}")
    context.say(f"(captured {show.moment(version.created)}{source}, {show.size(version.used_bytes)} used):\n")
    context.say(show.table(("HOST", "DISK", "HOLDS NOW"), rows, width=context.width) + "\n")
    if too_small:
        need = show.size(needed_bytes)
        context.note(f"Warning: {version_name(version)} needs a disk of {need}, but {', '.join(too_small)}.")


def _disk(context: Context, host: Host) -> tuple[str, int | None]:
    """Which disk will be written, in words, and its size, as far as the last inventory tells."""
    inventory = context.store.hosts.inventory(host.id)
    disks: list[dict[str, Any]] = (inventory.data.get("disks") or []) if inventory else []
    if host.disk:
        marks = ("path", "serial", "wwn", "model")
        wanted = {host.disk, f"/dev/{host.disk}"}
        chosen = [disk for disk in disks if any(disk.get(mark) in wanted for mark in marks)]
        if len(chosen) != 1:
            return f"'{host.disk}'", None
    else:
        chosen = [disk for disk in disks if not disk.get("removable")]
    if not disks:
        return "not known yet", None
    if len(chosen) != 1:
        return f"one of {len(chosen)}: set it with host edit --disk", None
    disk = chosen[0]
    words = (disk.get("path"), show.size(disk.get("size_bytes") or 0), disk.get("model"))
    return " ".join(str(word) for word in words if word), disk.get("size_bytes")


def _order(context: Context, options: argparse.Namespace) -> int:
    version = context.store.images.resolve(options.image)
    check_waiting(options.new, options)
    pattern = options.names or context.settings.tasks.name_pattern
    first = context.store.hosts.next_name(pattern)
    room = context.store.rooms.get(options.room).name if options.room else ""
    until = datetime.now(UTC) + timedelta(minutes=options.minutes) if options.minutes else None
    what = f"{version_name(version)} onto the next {show.count(options.new, 'unknown PC')} to boot"
    what += f" until {show.moment(until)}" if until else ""
    what += f", from {first} on" + (f", into room {room}" if room else "")
    if not options.yes and context.can_ask:
        context.confirm(f"This writes {what}; whatever is on their disks is lost. Go on?")
    cast_id = cast_for(context, version, options.new, options)
    order = context.store.tasks.order_new_pcs(
        version,
        options.new,
        pattern,
        AfterTask(options.after),
        cast_id=cast_id,
        until=until,
        hold=options.hold,
        room=room,
    )
    context.record("deploy", f"order {order.id}: {what}")
    context.say(f"Order {order.id}: {what}. Boot them from the network.")
    if order.hold:
        context.say(f"They wait until you confirm them: diecast task release {order.id}")
    return 0


COMMAND = Command(
    "deploy",
    "write an image onto PCs",
    _run,
    (
        argument("image", metavar="IMAGE[@VERSION]", help="the newest version, or the one named"),
        argument("hosts", nargs="*", metavar="HOST", help="the PCs to overwrite"),
        argument("--new", type=whole("number of PCs"), metavar="N", help="the next N unknown PCs that boot"),
        argument("--names", metavar="PATTERN", help="their names, such as 'LAB1-{nn}'"),
        argument(
            "--minutes",
            type=whole("number of minutes", 1, 7 * 24 * 60),
            metavar="M",
            help="with --new: for so long, and no longer",
        ),
        argument("--hold", action="store_true", help="with --new: nothing is written before diecast task release"),
        argument("--room", metavar="ROOM", help="all PCs of a room; with --new: the room that new PCs are put into"),
        argument(
            "--after",
            choices=[str(x) for x in AfterTask],
            default=str(AfterTask.REBOOT),
            help="what each PC does afterwards (reboot)",
        ),
        argument("--cast", action="store_true", help="write them at once by multicast"),
        argument(
            "--wait-for",
            type=whole("number of PCs"),
            metavar="N",
            help="with --cast: begin when N PCs are there, or ...",
        ),
        argument(
            "--wait-seconds",
            type=whole("number of seconds", 0, 86400),
            metavar="T",
            help="... T seconds after the first (cast.wait_s)",
        ),
        *WHEN,
        YES,
        argument("--wait", action="store_true", help="show progress until all have ended; exit with their status"),
    ),
    notes=_NOTES,
)
