"""What a key must bring about, said in tables: places of the console, keys pressed there, and what is read afterwards.

A `Place` is a screen, a part of one, a page of a job or a dialog, with the keys that lead to it. `Press` says what one
key does there. Every effect is read before and after, must differ, and must be what was said: a key that does nothing
cannot pass. A key that is meant to do nothing says why (`Press(nothing=...)`), and then nothing on the screen and no
row of the store may change.

Which keys there are is asked of the console itself (`offered`): what Textual would do with a key at that place, footer
or not. `try_every_key` fails on a key that no table names, and on a table that names a key which is not there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from textual.binding import Binding
from textual.keys import key_to_character
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from appliance.store import Store
from appliance.tui.jobs import steps
from appliance.tui.screens.base import FindLine
from appliance.tui.screens.parts import PartsScreen
from appliance.tui.widgets.rowlist import RowList
from tests.fakes.command_line import FakeCommandLine
from tests.fakes.systemd import FakeSystemd
from tests.tui.kit import Seat


@dataclass
class Hand:
    """Who presses: at a console, before a store, with what the console asks of the machine."""

    seat: Seat
    store: Store
    cli: FakeCommandLine
    systemd: FakeSystemd
    machine: Any = None  # of the first start


Do = str | Callable[[Hand], object]  # a key; 'letters to be typed; or something done beside the console
Reads = Callable[[Hand], Any]
_FIELD_KEYS = frozenset({"enter", "delete", "backspace", "home", "end", "left", "right"})
CHANGES = object()  # any other value than before


@dataclass(frozen=True)
class Effect:
    """What is read, and what it must be afterwards: a value, a function of the value before, or `CHANGES`."""

    reads: Reads
    becomes: Any


@dataclass(frozen=True)
class Press:
    """One key at one place."""

    effects: tuple[Effect, ...] = ()
    asks: str = ""  # words that the key itself brings onto the screen
    first: tuple[Do, ...] = ()  # done before the key
    then: tuple[Do, ...] = ()  # done after it, to bring it to its end
    undo: tuple[Do, ...] = ()
    nothing: str = ""  # why it does nothing here
    beyond: bool = False  # no binding: a text field or `on_key` takes it

    def __post_init__(self) -> None:
        assert bool(self.effects or self.asks) != bool(self.nothing), "a press says what it does, or why nothing"


@dataclass(frozen=True)
class Place:
    """Where keys are pressed. `way` leads there from the overview; `owners` are whose keys there are."""

    name: str
    screen: str  # class of the screen on top
    way: tuple[Do, ...]
    keys: Mapping[str, Press]
    owners: frozenset[str]  # classes of ours with keys of their own that are in force
    part: str = ""  # of a screen of parts or pages
    family: Mapping[str, Press] = field(default_factory=dict)  # what the keys of all such screens do, by action
    first: bool = True  # whether those are pressed here, and not at another place of the same screen
    staff: bool = False  # the box has operators
    empty: bool = False  # the box has nothing
    once: tuple[Do, ...] = ()  # before all else


def at_part(name: str) -> Do:
    """To a part of the numbered screen shown; that Tab leads from one to the next is pressed at each of them."""

    def go(hand: Hand) -> None:
        screen = hand.seat.app.screen
        assert isinstance(screen, PartsScreen)
        screen.change_part(screen.named_part(name))

    return go


# -- what is there ----------------------------------------------------------------------------------------------------


def own_keys_of(kind: type) -> list[tuple[str, str]]:
    """Keys and actions that a class adds."""
    found = []
    for binding in kind.__dict__.get("BINDINGS", ()):
        assert isinstance(binding, Binding)
        found += [(key.strip(), binding.action) for key in binding.key.split(",")]
    return found


def offered(hand: Hand) -> dict[str, tuple[str, str]]:
    """Every key that one of our classes takes at this place: the class that says so, and its action."""
    found: dict[str, tuple[str, str]] = {}
    focused = hand.seat.app.focused
    for node, bindings in hand.seat.app.screen._modal_binding_chain:
        for key, binding in bindings:
            kinds = [kind for kind in type(node).__mro__ if (key, binding.action) in _own(kind)]
            if kinds and key not in found and not _is_typed(focused, key):
                found[key] = (kinds[0].__name__, binding.action)
    return found


def _is_typed(focused: Widget | None, key: str) -> bool:
    """Whether a text field has the keys and takes this one: letters, and what Textual's own field does with others."""
    if not isinstance(focused, Input):
        return False
    return key in _FIELD_KEYS or focused.check_consume_key(key, key_to_character(key))


def _own(kind: type) -> list[tuple[str, str]]:
    return own_keys_of(kind) if kind.__module__.startswith("appliance.") else []


def part_of(hand: Hand) -> str:
    """The part or page in sight."""
    screen = hand.seat.app.screen
    if isinstance(screen, PartsScreen):
        return screen.part.NAME
    return screen.page.NAME if isinstance(screen, steps.JobScreen) else ""


# -- what can be read -------------------------------------------------------------------------------------------------


def top(hand: Hand) -> str:
    """The class of the screen on top."""
    return type(hand.seat.app.screen).__name__


def base(hand: Hand) -> str:
    """The numbered screen."""
    screen = hand.seat.app.base_screen
    return screen.NAME if screen is not None else ""


def shown_part(hand: Hand) -> str:
    """The part of the numbered screen, whatever is over it."""
    screen = hand.seat.app.base_screen
    return screen.part.NAME if isinstance(screen, PartsScreen) else ""


def focus(hand: Hand) -> str:
    """What has the keys."""
    focused = hand.seat.app.focused
    return f"{type(focused).__name__} {focused.id}" if focused is not None else ""


def rows(hand: Hand) -> RowList[Any]:
    """The list that has the keys."""
    focused = hand.seat.app.focused
    assert isinstance(focused, RowList), focused
    return focused


def row_at(hand: Hand) -> int:
    """Where the cursor is."""
    return rows(hand)._at


def keys_shown(hand: Hand) -> list[Any]:
    """The rows shown, by key."""
    return [rows(hand)._key(row) for row in rows(hand).rows]


def dump(store: Store) -> list[str]:
    """Every row of the store: what a key may have changed."""
    with sqlite3.connect(store.path) as found:
        return list(found.iterdump())


def woken(store: Store) -> list[str]:
    """The hosts that somebody wants woken; whether they were seen since does not matter, nor what time it is."""
    with sqlite3.connect(store.path) as found:
        return [name for (name,) in found.execute("SELECT name FROM wake JOIN host ON host.id = host_id ORDER BY 1")]


# -- effects ----------------------------------------------------------------------------------------------------------


def press(*effects: Effect, **more: Any) -> Press:
    """A press with these effects."""
    return Press(effects, **more)


def opens(screen: str, **more: Any) -> Press:
    """Another screen is on top."""
    return press(Effect(top, screen), **more)


def stored(reads: Callable[[Store], Any], becomes: Any, **more: Any) -> Press:
    """The store holds something else."""
    return press(Effect(lambda hand: reads(hand.store), becomes), **more)


def asks(words: str, **more: Any) -> Press:
    """Words come onto the screen."""
    return Press(asks=words, **more)


def nothing(why: str, **more: Any) -> Press:
    """Nothing happens."""
    return Press(nothing=why, **more)


# -- doing ------------------------------------------------------------------------------------------------------------


async def do(hand: Hand, steps_: tuple[Do, ...]) -> None:
    """Press, type, and do."""
    pressed: list[str] = []
    for step in steps_:
        if callable(step) or step.startswith("'"):
            if pressed:
                await hand.seat.press(*pressed)
                pressed = []
            if callable(step):
                step(hand)
                await hand.seat.settle()
            else:
                await hand.seat.type(step[1:])
        else:
            pressed.append(step)
    if pressed:
        await hand.seat.press(*pressed)


async def try_every_key(hand: Hand, place: Place, usual: Mapping[str, Press]) -> None:
    """Press every key of a place, and look. `usual` are the keys of lists and texts, by action."""
    await do(hand, place.once)
    await _arrive(hand, place)
    there = offered(hand)
    assert (top(hand), part_of(hand)) == (place.screen, place.part)
    table = _table(hand, place, there, usual)
    named = {key for key, press_ in place.keys.items() if not press_.beyond}
    absent = sorted(named - there.keys())
    assert not absent, f"{place.name}: the table names keys that are not there: {absent}"
    elsewhere = set() if place.first else {key for key, (_by, action) in there.items() if action in place.family}
    unnamed = {key: there[key] for key in there.keys() - table.keys() - elsewhere}
    assert not unnamed, f"{place.name}: no table says what these keys do: {unnamed}"
    assert {owner for owner, _action in there.values()} - _not_widgets(hand) == place.owners
    here = _where(hand)
    for key, press_ in table.items():
        if _where(hand) == here:
            await _tidy_here(hand)
        else:
            await _arrive(hand, place)
            here = _where(hand)
        try:
            await _try(hand, key, press_)
        except AssertionError as error:
            raise AssertionError(f"{place.name}, key {key}: {error}\n{hand.seat.text()}") from error


def _not_widgets(hand: Hand) -> set[str]:
    kinds = (*type(hand.seat.app.screen).__mro__, *type(hand.seat.app).__mro__)
    return {kind.__name__ for kind in kinds}


def _table(hand: Hand, place: Place, there: dict[str, tuple[str, str]], usual: Mapping[str, Press]) -> dict[str, Press]:
    """What each key must do. What only moves is pressed before what changes things."""
    table = {}
    for key, (_owner, action) in there.items():
        found = usual.get(action) or (place.family.get(action) if place.first else None)
        if _is_of_another_page(hand, action):
            found = nothing("it is another page's")
        other = _other_part(hand, action)
        if other:
            found = press(Effect(shown_part, other))
        if found is not None:
            table[key] = found
    return {key: press_ for key, press_ in table.items() if key not in place.keys} | dict(place.keys)


def _other_part(hand: Hand, action: str) -> str:
    """The part that such a key leads to, because the one in sight has none."""
    screen = hand.seat.app.screen
    if not isinstance(screen, PartsScreen) or action in {f"act('{key.name}')" for key in screen.part.KEYS}:
        return ""
    return next((part.NAME for part in screen.parts for key in part.KEYS if action == f"act('{key.name}')"), "")


def _is_of_another_page(hand: Hand, action: str) -> bool:
    screen = hand.seat.app.screen
    if not isinstance(screen, steps.JobScreen):
        return False
    ours = {f"act('{key.name}')" for key in screen.KEYS if key.name != steps.LATER.name}
    here = {f"act('{key.name}')" for key in screen.page.own_keys()}
    return action in ours - here


async def _try(hand: Hand, key: str, press_: Press) -> None:
    await do(hand, press_.first)
    before, text = [effect.reads(hand) for effect in press_.effects], _text(hand)
    kept = dump(hand.store) if press_.nothing else []
    await do(hand, (key,))
    if press_.nothing:
        assert _text(hand) == text, "something on the screen has changed"
        assert dump(hand.store) == kept, "the store has changed"
    if press_.asks:
        assert press_.asks not in text, f"{press_.asks!r} stood there before"
        assert press_.asks in _text(hand), f"no {press_.asks!r}"
    await do(hand, press_.then)
    for effect, was in zip(press_.effects, before, strict=True):
        now = effect.reads(hand)
        assert now != was, f"still {was!r}"
        if effect.becomes is not CHANGES:
            wanted = effect.becomes(was) if callable(effect.becomes) else effect.becomes
            assert now == wanted, f"{now!r}, not {wanted!r}"
    await do(hand, press_.undo)


def _text(hand: Hand) -> str:
    return " ".join(hand.seat.text().split())


async def _arrive(hand: Hand, place: Place) -> None:
    """Go the way from the overview, as if nobody had been anywhere."""
    app = hand.seat.app
    if not app.locked:
        steps._drafts.pop(app, None)
        app.say("")
        app.go("overview")
        await hand.seat.settle()
        for screen in app._kept.values():
            if screen.first_focus():
                screen.set_focus(screen.query_one(screen.first_focus()))
            _tidy(screen)
    await do(hand, place.way)


def _where(hand: Hand) -> tuple[object, ...]:
    """While this stays the same nobody has gone anywhere."""
    screen = hand.seat.app.screen
    typed = [field.value for field in screen.query(Input)]
    return (id(screen), part_of(hand), focus(hand), typed, hand.seat.app.notice)


async def _tidy_here(hand: Hand) -> None:
    """The list that has the keys as it was."""
    if isinstance(hand.seat.app.focused, RowList):
        _as_it_was(hand.seat.app.focused)
        await hand.seat.pilot.pause()


def _as_it_was(shown: RowList[Any]) -> None:
    """Nothing marked, sorted or filtered, the cursor on top."""
    shown.marked.clear()
    shown._sort, shown._reversed = None, False
    shown.find("")
    shown.action_cursor(-len(shown.rows))


def _tidy(screen: Screen[Any]) -> None:
    for shown in screen.query(RowList):
        _as_it_was(shown)
    for line in screen.query(FindLine):
        line.value = ""
        line.remove_class("-shown")
