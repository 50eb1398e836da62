"""`diecast cast`: a room of PCs written at once by multicast."""

from __future__ import annotations

import argparse
from typing import Any

from appliance.cli import show
from appliance.cli.command import JSON, Command, argument
from appliance.cli.context import Context
from appliance.cli.names import order_in_words, version_name
from appliance.cli.watch import watch
from appliance.errors import NotFound, UsageError
from appliance.events import CastState, TaskState
from appliance.model import Cast, CastMember, ImageVersion, NewPcOrder

_NOTES = """\
Open a cast with: diecast deploy IMAGE HOST... --cast. PCs may come and go at any time; whoever
cannot take part, or hears no multicast, goes on by NFS. It ends with the last of its tasks.
"""

_DEAF = "multicast does not arrive"  # in the status of a PC, as the cast service writes it


def check_waiting(pcs: int, options: argparse.Namespace) -> None:
    """Before anything is ordered for so many PCs. Raises `UsageError`."""
    if (options.wait_for or 0) > pcs:
        raise UsageError(f"--wait-for {options.wait_for} waits for more PCs than the {pcs} that are ordered.")


def cast_for(context: Context, version: ImageVersion, pcs: int, options: argparse.Namespace) -> int | None:
    """The number of the cast that `deploy --cast` gives its PCs to, which is said: the open one of that version, or a
    new one. None without --cast.

    Who says how many to wait for gets a new one. Raises `Conflict` when there is no group for it.
    """
    if not options.cast:
        return None
    settings, wait_for, seconds = context.settings.cast, options.wait_for or 0, options.wait_seconds
    if seconds is not None:
        wait_for = wait_for or pcs
    cast, new = context.store.casts.join(
        version, wait_for, settings.wait_s if seconds is None else seconds, groups=settings.groups
    )
    if new:
        context.record("cast", f"cast {cast.id}: {version_name(version)} in group {cast.group}")
    context.say(f"Cast {cast.id} sends {version_name(version)} to group {cast.group}.")
    return cast.id


def _plain(cast: Cast) -> dict[str, Any]:
    """For programs; the key is a secret of the PCs."""
    return {name: value for name, value in show.plain(cast).items() if name != "key"}


def _doing(cast: Cast) -> str:
    """What a cast does, in words."""
    if cast.state is CastState.ENDED:
        return f"ended: {cast.why}"
    if cast.waiting:
        return f"waits for {cast.wait_for} PCs, or {cast.wait_seconds} s after the first"
    return (
        f"{show.count(cast.present, 'PC')} there, {show.rate(cast.rate_bytes_s)}" if cast.present else "nobody is there"
    )


def _image_in_words(context: Context, cast: Cast) -> str:
    """What one PC needs of the cast: to be set beside what was sent."""
    try:
        version = context.store.images.version(cast.version_id)
    except NotFound:
        return f"{cast.image_name}, a version that was removed"
    return f"{version_name(version)}, {show.size(version.stored_bytes)} in {version.chunks} chunks"


def _limit_in_words(cast: Cast) -> str:
    return f"{cast.rate_mbit} Mbit/s" if cast.rate_mbit else ""


def _list(context: Context, options: argparse.Namespace) -> int:
    casts = context.store.casts.list(open_only=options.open)
    if options.json:
        context.say(show.as_json([_plain(cast) for cast in casts]))
        return 0
    if not casts:
        context.say("No cast is open." if options.open else "There has been no cast yet.")
        return 0
    sizes = context.store.casts.sizes()
    rows = [
        (
            str(cast.id),
            cast.image_name,
            str(cast.state),
            str(sizes.get(cast.id, 0)),
            str(cast.present),
            show.rate(cast.rate_bytes_s),
            show.size(cast.sent_bytes),
            show.moment(cast.ended or cast.created),
        )
        for cast in casts
    ]
    names = (">ID", "IMAGE", "STATE", ">PCS", ">THERE", ">RATE", ">SENT", "SINCE")
    context.say(show.table(names, rows, width=context.width))
    return 0


def _how_far(member: CastMember) -> str:
    if member.task_state is TaskState.DONE:
        return "100 %"
    return f"{100 * member.written // member.total} %" if member.total else "-"


def _how(member: CastMember) -> str:
    """How a PC that is not done gets its chunks."""
    if member.task_state.is_final:
        return "-"
    return ("first of all; " if member.preferred else "") + (member.status or "-")


def _hints(cast: Cast, members: list[CastMember]) -> list[str]:
    """What to change where multicast does not arrive."""
    deaf = [m.host_name for m in members if _DEAF in m.status and not m.task_state.is_final]
    if not deaf and not cast.broadcast:
        return []
    where = ", ".join(deaf) if deaf else "most PCs"
    remedy = "give the switch an IGMP querier, or turn IGMP snooping off for this VLAN."
    return [f"Multicast does not arrive at {where}: {remedy}"]


def _orders_of(context: Context, cast: Cast) -> list[NewPcOrder]:
    """The orders for new PCs whose PCs will take part."""
    is_open = cast.state is CastState.OPEN
    return [order for order in context.store.tasks.orders() if is_open and order.cast_id == cast.id]


def _show(context: Context, options: argparse.Namespace) -> int:
    cast, members = context.store.casts.get(options.cast), context.store.casts.members(options.cast)
    if options.json:
        context.say(show.as_json({**_plain(cast), "members": members}))
        return 0
    dropped = (cast.forged, "with a wrong MAC"), (cast.refused, "from no PC of the cast"), (cast.replayed, "old")
    to_come = [f"{o.wanted - o.taken} to come, order {o.id}" for o in _orders_of(context, cast)]
    context.say(
        show.facts(
            (
                ("Cast", str(cast.id)),
                ("State", _doing(cast)),
                ("Group", f"{cast.group}" + (", but it goes to the broadcast address" if cast.broadcast else "")),
                ("Limit", _limit_in_words(cast)),
                ("New PCs", "; ".join(to_come)),
                ("Image", _image_in_words(context, cast)),
                ("Sent", f"{show.size(cast.sent_bytes)}, of it {show.size(cast.parity_bytes)} for repair"),
                ("Dropped", ", ".join(f"{number} {what}" for number, what in dropped if number)),
                ("Opened", show.moment(cast.created)),
                ("Ended", show.moment(cast.ended) if cast.ended else ""),
            )
        )
    )
    rows = [
        (
            str(member.task_id),
            member.host_name,
            str(member.task_state),
            _how_far(member),
            f"{100 * member.loss:.1f} %",
            _how(member),
        )
        for member in members
    ]
    names = (">TASK", "HOST", "STATE", ">DONE", ">LOSS", "HOW")
    context.say("\n" + show.table(names, rows, width=context.width))
    for hint in _hints(cast, members):
        context.say("\n" + hint)
    return 0


def _watch(context: Context, options: argparse.Namespace) -> int:
    casts = [context.store.casts.get(n) for n in options.casts] or context.store.casts.list(open_only=True)
    if not casts:
        context.say("No cast is open.")
        return 0

    def heads() -> list[str]:
        now = [context.store.casts.get(cast.id) for cast in casts]
        return [f"Cast {cast.id}, {cast.image_name}: {_doing(cast)}" for cast in now]

    def take_in(known: list[int]) -> list[str]:
        tasks = [member.task_id for cast in casts for member in context.store.casts.members(cast.id)]
        known += [task for task in tasks if task not in known]
        return [order_in_words(order) for cast in casts for order in _orders_of(context, cast)]

    return watch(context, (), heads, take_in)


def _stop(context: Context, options: argparse.Namespace) -> int:
    for number in options.casts:
        cast = context.store.casts.stop(number)
        context.record("cast stop", f"cast {number}: {cast.image_name}")
        context.say(f"Stopped cast {number}; PCs that are not done go on by NFS.")
    return 0


def _limit(context: Context, options: argparse.Namespace) -> int:
    cast = context.store.casts.limit(options.cast, options.mbit)
    limit = _limit_in_words(cast) or f"the ceiling of all casts, {context.settings.cast.rate_mbit} Mbit/s"
    context.record("cast limit", f"cast {cast.id}: {limit}")
    context.say(f"Cast {cast.id} goes no faster than {limit}.")
    return 0


def _begin(context: Context, options: argparse.Namespace) -> int:
    context.store.casts.begin(options.cast)
    context.record("cast begin", f"cast {options.cast}")
    context.say(f"Cast {options.cast} waits for nobody any more.")
    return 0


def _tasks_of(context: Context, options: argparse.Namespace) -> list[tuple[int, str]]:
    """Task and name of each named PC. Raises `NotFound`."""
    members = {member.host_name.lower(): member for member in context.store.casts.members(options.cast)}
    found = []
    for name in options.hosts:
        member = members.get(name.lower())
        if member is None:
            see = f"See: diecast cast show {options.cast}"
            raise NotFound(f"{name} does not take part in cast {options.cast}.", hint=see)
        found.append((member.task_id, member.host_name))
    return found


def _prefer(context: Context, options: argparse.Namespace) -> int:
    for task_id, name in _tasks_of(context, options):
        context.store.casts.prefer(options.cast, task_id, not options.off)
        context.record("cast prefer", f"cast {options.cast}: {name}{' no more' if options.off else ''}")
        context.say(f"{name} is served {'like all others' if options.off else 'before all others'}.")
    return 0


def _drop(context: Context, options: argparse.Namespace) -> int:
    for task_id, name in _tasks_of(context, options):
        context.store.casts.drop(options.cast, task_id, not options.off)
        context.record("cast drop", f"cast {options.cast}: {name}{' no more' if options.off else ''}")
        context.say(f"{name} takes part again." if options.off else f"{name} goes on by NFS.")
    return 0


def _mbit(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 100_000:
        raise ValueError
    return number


_mbit.__name__ = "rate in Mbit/s"  # argparse puts it into its sentence

_CAST = argument("cast", type=int, metavar="CAST", help="its number")
_HOSTS = argument("hosts", nargs="+", metavar="HOST", help="PCs of the cast")
_OFF = argument("--off", action="store_true", help="take it back")

COMMAND = Command(
    "cast",
    "list, show, watch and steer casts: rooms written at once",
    parts=(
        Command(
            "list",
            "list casts, newest first",
            _list,
            (argument("--open", action="store_true", help="only those that have not ended"), JSON),
            notes=_NOTES,
        ),
        Command("show", "show one cast and how each of its PCs fares", _show, (_CAST, JSON)),
        Command(
            "watch",
            "show progress until the tasks have ended; exit with their status",
            _watch,
            (argument("casts", nargs="*", type=int, metavar="CAST", help="their numbers; none: all open ones"),),
        ),
        Command(
            "stop",
            "end casts; their PCs go on by NFS",
            _stop,
            (argument("casts", nargs="+", type=int, metavar="CAST", help="their numbers"),),
        ),
        Command(
            "limit",
            "limit the rate of a cast",
            _limit,
            (_CAST, argument("mbit", type=_mbit, metavar="MBIT", help="in 10^6 bits/s; 0: only cast.rate_mbit")),
        ),
        Command("begin", "wait for no more PCs", _begin, (_CAST,)),
        Command("prefer", "serve PCs before all others", _prefer, (_CAST, _HOSTS, _OFF)),
        Command("drop", "serve PCs no more: they go on by NFS", _drop, (_CAST, _HOSTS, _OFF)),
    ),
)
