"""Pages over a screen, dialogs, the lock and the find line, and what each key does there (`tests.tui.presses`)."""

from __future__ import annotations

from typing import Any

from appliance.events import TaskState
from appliance.tui.screens.images_page import VersionPage
from appliance.tui.screens.images_verify import Check, Found
from appliance.tui.widgets.rowlist import RowList
from tests.tui.places_numbered import LIST, PASSWORD, checks, host_named, state_of
from tests.tui.presses import (
    CHANGES,
    Effect,
    Hand,
    Place,
    Press,
    asks,
    base,
    focus,
    nothing,
    opens,
    press,
    stored,
    top,
    woken,
)
from tests.tui.usual_keys import (
    ALONE,
    BOARD,
    DIALOG,
    FORM,
    OVER,
    OVER_LIST,
    UNMARKED,
    choice,
    find_text,
    line_at,
    numbered,
    target,
)

TEXT = frozenset({"Scrolling"})
ROWS = frozenset({"FormRows"})

HOST_PAGE = Place(
    "page of a host", "HostPage", ("2", "home", "enter"),
    {
        **BOARD,
        "pageup": press(Effect(target, 0), first=("end",)),
        "pagedown": press(Effect(target, CHANGES), first=("home",)),
        "enter": opens("TaskPage"),
        "c": opens("CaptureJob"),
        "d": opens("DeployJob"),
        "l": opens("TaskPage"),
        "h": press(Effect(base, "tasks")),
        "e": stored(host_named("dev-01x"), CHANGES, asks="Edit dev-01", then=("x", "enter"),
                    undo=(lambda hand: hand.store.hosts.edit("dev-01x", name="dev-01"),)),
        "g": stored(lambda s: s.hosts.get("dev-01").room, "Library", asks="Where do 1 host stand?",
                    then=("'Library", "enter")),
        "w": stored(woken, ["dev-01"]),
        "z": stored(lambda s: s.hosts.get("dev-01").sealed, True, asks="Seal 1 host?", then=("enter",)),
        "delete": opens("Confirm", asks="Remove 1 host?"),
        "x": stored(host_named("dev-01"), None, asks="Remove 1 host?", then=("'dev-01", "enter")),
    },
    TEXT | {"Board"}, family=OVER | ALONE,
)  # fmt: skip
TASK_PAGE = Place(
    "page of a task", "TaskPage", ("4", "slash", "'lab-03", "enter", "enter"),
    {
        "l": press(Effect(line_at, CHANGES), first=("home",)),
        "h": press(Effect(line_at, 0), first=("end",)),
        "f": press(Effect(line_at, CHANGES), asks="Following.", first=("home",)),
    },
    TEXT, family=OVER | ALONE,
)  # fmt: skip


def _reads(hand: Hand) -> None:
    """As if a version were being verified; what really reads one is tested with the images."""
    page = hand.seat.app.screen
    assert isinstance(page, VersionPage)
    page._verifier.checks["d" * 64] = Check("old-img@1", Found.READS)
    page._verifier._told()


VERSION_PAGE = Place(
    "page of a version", "VersionPage", ("3", "down", "enter", "enter"),
    {
        "e": stored(lambda s: s.images.resolve("ubuntu-dev@2").notes, "newer", asks="Notes on version ubuntu-dev@2",
                    then=("'newer", "enter")),
        "v": press(Effect(checks, ["sound"])),
        "k": press(Effect(checks, lambda was: ["stopped" if one == "reads" else one for one in was]),
                   asks="Verifying was stopped.", first=(_reads,)),
    },
    TEXT, family=OVER | ALONE,
)  # fmt: skip
JOIN = Place(
    "joining a cast", "JoinScreen", ("5", "j"),
    {
        "enter": stored(lambda s: len(s.tasks.list()), lambda was: was + 1, asks="Write old-img@1 onto 1 PC?",
                        then=("1", "enter")),
    },
    LIST, family=OVER_LIST | ALONE,
)  # fmt: skip
IMPORT = Place(
    "an import", "ImportPage", ("2", "i", "enter"),
    {
        **UNMARKED,
        "enter": opens("Reading"),
        "u": press(Effect(lambda hand: len(hand.seat.app.focused.rows), 1)),  # type: ignore[union-attr]
        "t": stored(host_named("new-07"), CHANGES),
    },
    LIST, family=OVER_LIST | ALONE,
)  # fmt: skip

# -- dialogs ----------------------------------------------------------------------------------------------------------

FORM_TEXT = Place(
    "a field of a form", "Form", ("2", "a"),
    {
        "enter": asks("Give the host a name.", beyond=True),
    },
    ROWS, family=DIALOG | FORM,
)  # fmt: skip
_TURNED = press(Effect(choice, CHANGES))
FORM_CHOICE = Place(
    "a choice of a form", "Form", ("2", "a", *["down"] * 6),
    {
        "left": _TURNED,
        "right": _TURNED,
        "space": _TURNED,
        "up": press(Effect(focus, CHANGES)),
        "enter": asks("Give the host a name."),
    },
    ROWS | {"Choice"}, family=DIALOG | FORM,
)  # fmt: skip
_ONE_FIELD = nothing("it has one field")
CONFIRM_WORD = Place(
    "a word to be typed", "Confirm", ("2", "home", "x"),
    {
        "up": _ONE_FIELD, "down": _ONE_FIELD, "tab": _ONE_FIELD, "shift+tab": _ONE_FIELD,
        "enter": stored(host_named("dev-01"), None, first=("'dev-01",), beyond=True),
    },
    ROWS, family=DIALOG,
)  # fmt: skip
CONFIRM = Place(
    "a yes", "Confirm", ("4", "slash", "'lab-19", "enter", "k"),
    {
        "tab": nothing("there is only the yes"), "shift+tab": nothing("there is only the yes"),
        "enter": stored(lambda s: state_of(s, "lab-19"), TaskState.CANCELLED),
    },
    frozenset({"Yes"}), family=DIALOG,
)  # fmt: skip


def _picked(hand: Hand) -> int:
    return hand.seat.app.screen.query_one("#pick-rows", RowList)._at


_PICK: dict[str, Press] = {
    "up": press(Effect(_picked, lambda was: was - 1), first=("down", "down"), beyond=True),
    "down": press(Effect(_picked, lambda was: was + 1), beyond=True),
    "pagedown": press(Effect(_picked, CHANGES), first=("pageup",), beyond=True),
    "pageup": press(Effect(_picked, 0), first=("pagedown",), beyond=True),
    "enter": press(Effect(top, "HostsScreen"), beyond=True),
}
_OTHER = press(Effect(focus, CHANGES))
PICK = Place("letters of a choice", "Pick", ("2", "u"), _PICK | {"tab": _OTHER, "shift+tab": _OTHER}, frozenset(),
             family=DIALOG)  # fmt: skip
PICK_LIST = Place(
    "the list of a choice", "Pick", ("2", "u", "tab"),
    {
        **_PICK, **UNMARKED, "tab": _OTHER, "shift+tab": _OTHER,
        "home": press(Effect(_picked, 0), first=("down",)),
        "end": press(Effect(_picked, CHANGES)),
        "s": press(Effect(lambda hand: hand.seat.app.screen.query_one(RowList)._sort, 0)),
        "S": press(Effect(lambda hand: [item.label for item in hand.seat.app.screen.query_one(RowList).rows], CHANGES),
                   first=("s",)),
    },
    LIST, family=DIALOG, first=False,
)  # fmt: skip
READING = Place("a text to read", "Reading", ("2", "question_mark"),
                {"tab": nothing("there is only the text"), "shift+tab": nothing("there is only the text")},
                TEXT, family=DIALOG)  # fmt: skip
FIND = Place(
    "the find line", "HostsScreen", ("2", "slash"),
    {
        "escape": press(Effect(find_text, ""), Effect(focus, "RowList part-hosts"), first=("'lab",)),
        "up": press(Effect(focus, "RowList part-hosts")),
        "down": press(Effect(focus, "RowList part-hosts")),
        "tab": press(Effect(focus, "RowList part-hosts")),
        "shift+tab": press(Effect(focus, CHANGES)),
        "enter": press(Effect(focus, "RowList part-hosts"), first=("'lab",), beyond=True),
    },
    frozenset({"FindLine"}), part="hosts", family=numbered("hosts"), first=False,
)  # fmt: skip

# -- the lock ---------------------------------------------------------------------------------------------------------

_left: list[int] = []


def _count_leaving(hand: Hand) -> None:
    """The console stays, so that the other keys can be pressed too."""
    _left.clear()
    app: Any = hand.seat.app
    app.exit = lambda: _left.append(1)


_LEAVES = press(Effect(lambda hand: len(_left), lambda was: was + 1))
LOCK = Place(
    "the lock", "LockScreen", (),
    {
        "escape": _LEAVES, "ctrl+c": _LEAVES, "ctrl+q": _LEAVES,
        "ctrl+l": asks("Verrouillé", undo=("ctrl+l",)),
        "ctrl+t": press(Effect(lambda hand: hand.seat.app.theme, "monochrome"), undo=("ctrl+t", "ctrl+t")),
        "tab": press(Effect(focus, CHANGES)),
        "shift+tab": press(Effect(focus, CHANGES)),
        "down": press(Effect(focus, "Entry field-password"), first=("up",)),
        "up": press(Effect(focus, "Entry field-name"), first=("down",)),
        "enter": press(Effect(top, "OverviewScreen"), first=("up", "'marie", "down", f"'{PASSWORD}"), beyond=True),
    },
    ROWS, staff=True, once=(_count_leaving,),
)  # fmt: skip
