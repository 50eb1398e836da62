"""The numbered screens and their parts, and what each key does there (`tests.tui.presses`)."""

from __future__ import annotations

from typing import Any

from appliance.events import CastState, TaskState
from appliance.store import Store
from appliance.tui.screens.images import ImagesScreen
from tests.tui.presses import (
    CHANGES,
    Do,
    Effect,
    Hand,
    Place,
    Press,
    asks,
    at_part,
    base,
    focus,
    nothing,
    opens,
    press,
    row_at,
    rows,
    shown_part,
    stored,
    woken,
)
from tests.tui.usual_keys import ALONE, BOARD, FOCUS, PARTS, UNMARKED, numbered

PASSWORD = "correct horse"
LIST = frozenset({"RowList"})
GRID = frozenset({"RowList", "RoomGrid"})


def shows(words: str, letters: str, **more: Any) -> Press:
    """`u` asks what to see; what is chosen is seen."""
    return press(
        Effect(lambda hand: words in hand.seat.text(), True),
        asks="What do you want to see?",
        then=(f"'{letters}", "enter"),
        **more,
    )


def to_part(part: str, letters: str) -> Press:
    """`u` leads to another part."""
    return press(
        Effect(shown_part, part),
        asks="What do you want to see?",
        then=(f"'{letters}", "enter"),
    )


def host_named(name: str) -> Any:
    return lambda store: {host.name: host for host in store.hosts.list()}.get(name)


def state_of(store: Store, host: str) -> TaskState:
    return next(task.state for task in store.tasks.list() if task.host_name == host)


def audits(action: str) -> Effect:
    return Effect(lambda hand: [e.detail for e in hand.store.audit.list() if e.action == action], CHANGES)


# -- overview ---------------------------------------------------------------------------------------------------------

OVERVIEW = Place(
    "overview", "OverviewScreen", ("1",),
    {
        **BOARD,
        "pageup": press(Effect(lambda hand: hand.seat.app.focused.target, CHANGES), first=("end",)),  # type: ignore[union-attr]
        "pagedown": press(Effect(lambda hand: hand.seat.app.focused.target, CHANGES), first=("home",)),  # type: ignore[union-attr]
        "enter": press(Effect(base, "tasks"), first=("home",)),
        "slash": opens("Pick", asks="What do you want to do or see?"),
        "escape": nothing("it is the first screen, and has no list"),
    },
    frozenset({"Board", "Scrolling"}), family=numbered("overview") | ALONE,
)  # fmt: skip

# -- hosts ------------------------------------------------------------------------------------------------------------

_SECOND: tuple[Do, ...] = ("home", "down")  # lab-01; the first is dev-01
HOSTS = Place(
    "hosts", "HostsScreen", ("2",),
    {
        "enter": opens("HostPage"),
        "a": stored(host_named("new-01"), CHANGES, asks="A new host",
                    then=("'new-01", "down", "'52:54:00:99:00:01", "enter")),
        "e": stored(host_named("lab-01x"), CHANGES, asks="Edit lab-01", first=_SECOND, then=("x", "enter"),
                    undo=(lambda hand: hand.store.hosts.edit("lab-01x", name="lab-01"),)),
        "u": shows("sealed: 1", "sealed", undo=("u", "'all", "enter")),
        "g": stored(lambda s: s.hosts.get("lab-01").room, "Library", asks="Where do 1 host stand?", first=_SECOND,
                    then=("'Library", "enter")),
        "w": stored(woken, ["lab-01"], first=_SECOND),
        "z": stored(lambda s: s.hosts.get("lab-01").sealed, True, asks="Seal 1 host?", first=_SECOND, then=("enter",)),
        "l": opens("TaskPage", first=_SECOND),
        "i": opens("ImportPage", asks="Import hosts", then=("enter",)),
        "o": press(audits("host export"), asks="Export hosts", then=("enter", "enter")),
        "delete": opens("Confirm", asks="Remove 1 host?"),
        "x": stored(host_named("lab-10"), None, asks="Remove 1 host?", first=("slash", "'lab-10", "enter"),
                    then=("'lab-10", "enter")),
    },
    LIST, part="hosts", family=numbered("hosts") | PARTS,
)  # fmt: skip
ROOMS = Place(
    "rooms", "HostsScreen", ("2", at_part("rooms")),
    {
        "enter": press(Effect(shown_part, "hosts")),
        "a": stored(lambda s: [r.name for r in s.rooms.list()], CHANGES, asks="A new room", then=("'Cellar", "enter")),
        "e": stored(lambda s: sorted(r.name for r in s.rooms.list())[0], "B204x", asks="Room B204", then=("x", "enter"),
                    undo=(lambda hand: hand.store.rooms.edit("B204x", name="B204"),)),
        "w": stored(lambda s: len(woken(s)), 16),
        "u": to_part("unknown", "unknown"),
        "delete": opens("Confirm", asks="Remove this room?"),
        "x": stored(lambda s: [r.name for r in s.rooms.list()], CHANGES, asks="Remove this room?", then=("enter",)),
    },
    LIST, part="rooms", family=numbered("hosts") | PARTS, first=False,
)  # fmt: skip
UNKNOWN = Place(
    "unknown", "HostsScreen", ("2", at_part("unknown")),
    {
        "enter": opens("Form", asks="Register 52:54:00"),
        "a": stored(lambda s: len(s.hosts.list()), lambda was: was + 1, asks="Register 52:54:00",
                    then=("'pc-new", "enter")),
        "u": to_part("rooms", "rooms"),
    },
    LIST, part="unknown", family=numbered("hosts") | PARTS, first=False,
)  # fmt: skip

# -- images, tasks, casts ---------------------------------------------------------------------------------------------


def checks(hand: Hand) -> list[str]:
    screen = hand.seat.app._kept["images"]
    assert isinstance(screen, ImagesScreen)
    return [check.found.value for check in screen.verifier.checks.values()]


IMAGES = Place(
    "images", "ImagesScreen", ("3",),
    {
        **UNMARKED,
        "enter": press(Effect(focus, "RowList versions")),
        "e": stored(lambda s: s.images.get("old-img").notes, "for all", asks="Notes on image old-img",
                    then=("'for all", "enter")),
        "v": press(Effect(checks, ["sound"])),
        "k": asks("Nothing is being verified."),
        "delete": opens("Confirm", asks="Remove old-img?"),
        "x": stored(lambda s: [i.name for i in s.images.list()], ["ubuntu-dev", "win11-lab"], asks="Remove old-img?",
                    then=("'old-img", "enter")),
    },
    LIST, family=numbered("images") | FOCUS,
)  # fmt: skip
VERSIONS = Place(
    "versions", "ImagesScreen", ("3", "down", "enter"),
    {
        "enter": opens("VersionPage"),
        "e": stored(lambda s: s.images.resolve("ubuntu-dev@2").notes, "newer", asks="Notes on version ubuntu-dev@2",
                    then=("'newer", "enter")),
        "v": press(Effect(checks, ["sound"])),
        "k": asks("Nothing is being verified."),
        "delete": opens("Confirm", asks="Remove ubuntu-dev@1?", first=("end",)),
        "x": stored(lambda s: [v.number for v in s.images.versions("ubuntu-dev")], [2], first=("end",),
                    asks="Remove ubuntu-dev@1?", then=("'ubuntu-dev@1", "enter")),
    },
    LIST, family=numbered("images") | FOCUS, first=False,
)  # fmt: skip

TASKS = Place(
    "tasks", "TasksScreen", ("4",),
    {
        "enter": opens("TaskPage"),
        "l": opens("TaskPage"),
        "u": press(Effect(lambda hand: "unfinished tasks" in hand.seat.text(), True), undo=("u", "u")),
        "y": opens("DeployJob"),
        "t": stored(lambda s: state_of(s, "lab-20"), TaskState.WAITING, first=("slash", "'lab-20", "enter")),
        "k": stored(lambda s: state_of(s, "lab-18"), TaskState.CANCELLED, asks="Cancel 1 task?",
                    first=("slash", "'lab-18", "enter"), then=("1", "enter")),
        "r": stored(lambda s: state_of(s, "lab-17"), TaskState.WAITING, asks="Do 1 task once more?",
                    first=("slash", "'lab-17", "enter"), then=("1", "enter")),
    },
    LIST, family=numbered("tasks") | ALONE,
)  # fmt: skip


CASTS = Place(
    "casts", "CastsScreen", ("5",),
    {
        **UNMARKED,
        "enter": press(Effect(focus, "RoomGrid room")),
        "j": opens("JoinScreen"),
        "b": stored(lambda s: s.casts.get(3).begun, True),
        "m": stored(lambda s: s.casts.get(3).rate_mbit, 500, asks="Limit cast 3", then=("backspace", "'500", "enter")),
        "p": press(Effect(focus, "RoomGrid room"), asks="Choose PCs in the room first."),
        "x": press(Effect(focus, "RoomGrid room"), asks="Choose PCs in the room first."),
        "delete": press(Effect(focus, "RoomGrid room"), asks="Choose PCs in the room first."),
        "u": asks("PCs that are not done", first=("end",), undo=("u", "u")),
        "k": stored(lambda s: s.casts.get(3).state, CastState.ENDED, asks="Stop cast 3?", then=("3", "enter")),
    },
    LIST, family=numbered("casts") | FOCUS,
)  # fmt: skip


def _members(name: str) -> Any:
    return lambda store: sum(getattr(member, name) for member in store.casts.members(1))


ROOM = Place(
    "room of a cast", "CastsScreen", ("5", "end", "enter"),
    {
        "up": press(Effect(row_at, CHANGES), first=("end",)),
        "down": press(Effect(row_at, CHANGES), first=("home",)),
        "left": press(Effect(row_at, lambda was: was - 1), first=("end",)),
        "right": press(Effect(row_at, 1), first=("home",)),
        "s": press(Effect(lambda hand: rows(hand)._sort, 0)),
        "S": press(Effect(lambda hand: [cell.name for cell in rows(hand).rows], lambda was: was[::-1]), first=("s",)),
        "enter": opens("TaskPage"),
        "j": opens("JoinScreen"),
        "b": asks("It waits for nobody."),
        "m": stored(lambda s: s.casts.get(1).rate_mbit, 500, asks="Limit cast 1", then=("backspace", "'500", "enter")),
        "u": asks("PCs that are not done", undo=("u", "u")),
        "p": stored(_members("preferred"), 1, first=("home",)),
        "x": stored(_members("dropped"), 1, first=("home",)),
        "delete": stored(_members("dropped"), 2, first=("home", "right")),
        "k": stored(lambda s: s.casts.get(1).state, CastState.ENDED, asks="Stop cast 1?", then=("1", "enter")),
    },
    GRID, family=numbered("casts") | FOCUS, first=False,
)  # fmt: skip
