"""The keys that are the same at many places, by action: of lists and texts, of every screen, of dialogs and jobs."""

from __future__ import annotations

from appliance.tui import i18n, theme
from appliance.tui.screens.base import FindLine
from appliance.tui.screens.table import SCREENS
from appliance.tui.widgets.forms import Choice
from appliance.tui.widgets.lines import Board, Scrolling
from tests.tui.presses import (
    CHANGES,
    Effect,
    Hand,
    Press,
    base,
    focus,
    keys_shown,
    nothing,
    opens,
    part_of,
    press,
    row_at,
    rows,
    top,
)


def _last(hand: Hand) -> int:
    return len(rows(hand).rows) - 1


def _title_line(hand: Hand) -> str:
    return "".join(text for text, _role in rows(hand)._drawn[0][0])


def _all_marked(hand: Hand) -> bool:
    return rows(hand).marked == set(keys_shown(hand))


def line_at(hand: Hand) -> int:
    """The first line in sight of a text."""
    focused = hand.seat.app.focused
    assert isinstance(focused, Scrolling), focused
    return focused.top


def target(hand: Hand) -> int:
    """Which of the lines that lead somewhere the cursor is on."""
    focused = hand.seat.app.focused
    assert isinstance(focused, Board), focused
    return focused._targets().index(focused.target)


def choice(hand: Hand) -> str:
    """What stands in the field that has the keys."""
    focused = hand.seat.app.focused
    assert isinstance(focused, Choice), focused
    return focused.value


def find_text(hand: Hand) -> str:
    """What the list is filtered by."""
    return hand.seat.app.screen.query_one(FindLine).value


LISTS: dict[str, Press] = {
    "cursor(-1)": press(Effect(row_at, lambda was: was - 1), first=("end",)),
    "cursor(1)": press(Effect(row_at, 1), first=("home",)),
    "page(-1)": press(Effect(row_at, CHANGES), first=("end",)),
    "page(1)": press(Effect(row_at, CHANGES), first=("home",)),
    "cursor(-1000000000)": press(Effect(row_at, 0), first=("end",)),
    "cursor(1000000000)": press(Effect(lambda hand: row_at(hand) == _last(hand), True), first=("home",)),
    "mark": press(Effect(lambda hand: len(rows(hand).marked), 1), first=("home",)),
    "mark_all": press(Effect(_all_marked, True)),
    "sort": press(
        Effect(lambda hand: rows(hand)._sort, 0),
        Effect(lambda hand: "▸" in _title_line(hand), True),
    ),
    "reverse": press(Effect(keys_shown, CHANGES), Effect(lambda hand: "▲" in _title_line(hand), True), first=("s",)),
}
TEXTS: dict[str, Press] = {
    "scroll_by(-1)": press(Effect(line_at, lambda was: was - 1), first=("end",)),
    "scroll_by(1)": press(Effect(line_at, 1), first=("home",)),
    "scroll_page(-1)": press(Effect(line_at, CHANGES), first=("end",)),
    "scroll_page(1)": press(Effect(line_at, CHANGES), first=("home",)),
    "scroll_by(-1000000000)": press(Effect(line_at, 0), first=("end",)),
    "scroll_by(1000000000)": press(Effect(line_at, CHANGES), first=("home",)),
}
BOARD: dict[str, Press] = {
    "up": press(Effect(target, lambda was: was - 1), first=("end",)),
    "down": press(Effect(target, 1), first=("home",)),
    "home": press(Effect(target, 0), first=("end",)),
    "end": press(Effect(target, CHANGES), first=("home",)),
}
UNMARKED = {
    "space": nothing("its rows cannot be marked"),
    "asterisk": nothing("its rows cannot be marked"),
}

# -- of every screen --------------------------------------------------------------------------------------------------

_HELP = opens("Reading")
_LANGUAGE = press(Effect(lambda hand: i18n.current().language, "fr"), undo=("ctrl+l",))
_THEME = press(Effect(lambda hand: theme.current(), theme.MONO), undo=("ctrl+t", "ctrl+t"))
_PALETTE = opens("Pick", asks="What do you want to do or see?")
_LEAVE = opens("Confirm", asks="Leave the console?")

NUMBERED: dict[str, Press] = {
    "act('capture')": opens("CaptureJob"),
    "act('deploy')": opens("DeployJob"),
    "act('new_pcs')": opens("NewPcsJob"),
    "act('find')": press(Effect(find_text, "zzz"), then=("'zzz",)),
    "act('palette')": _PALETTE,
    "act('help')": _HELP,
    "act('language')": _LANGUAGE,
    "act('theme')": _THEME,
    "act('back')": press(Effect(find_text, ""), first=("slash", "'zzz", "enter")),
    "act('leave')": _LEAVE,
}


def numbered(name: str) -> dict[str, Press]:
    """The keys of every numbered screen, on the one of that name."""
    there = {f"go('{entry.name}')": press(Effect(base, entry.name)) for entry in SCREENS}
    return NUMBERED | there | {f"go('{name}')": nothing("it is the screen shown")}


PARTS: dict[str, Press] = {
    "part(1)": press(Effect(part_of, CHANGES)),
    "part(-1)": press(Effect(part_of, CHANGES)),
}
FOCUS: dict[str, Press] = {
    "app.focus_next": press(Effect(focus, CHANGES)),
    "app.focus_previous": press(Effect(focus, CHANGES)),
}
ALONE: dict[str, Press] = {
    "app.focus_next": nothing("nothing else there takes keys"),
    "app.focus_previous": nothing("nothing else there takes keys"),
}
OVER: dict[str, Press] = {
    "act('help')": _HELP,
    "act('language')": _LANGUAGE,
    "act('theme')": _THEME,
    "act('back')": press(Effect(top, CHANGES)),
    "act('find')": _PALETTE,
    "ask_leave": _LEAVE,
}
OVER_LIST = OVER | {"act('find')": NUMBERED["act('find')"]}
JOB: dict[str, Press] = {
    "act('help')": _HELP,
    "act('language')": _LANGUAGE,
    "act('theme')": _THEME,
    "act('find')": NUMBERED["act('find')"],
    "act('leave')": press(Effect(top, CHANGES)),
}
DIALOG: dict[str, Press] = {"back": press(Effect(top, CHANGES))}
FORM = {
    "row(1)": press(Effect(focus, CHANGES)),
    "row(-1)": press(Effect(focus, CHANGES), first=("down",)),
} | FOCUS
