"""Keys are taken in the order in which they were typed, each by what the one before has brought about.

Textual hands a key to the widget that has the focus when the key is read. A burst (a stalled SSH session, a pasted
form, a quick hand) is read at once: text typed after Tab would still go to the field before. So:

- One key at a time goes to Textual; the next one when all messages that it caused are done, the focus has moved, and a
  screen that it opened is mounted and drawn. Pasted texts wait in the same row.
- A key that does something waits for the workers that it started, a moment: a form that writes to the store is closed
  before the next letter comes. Keys that only move a cursor wait for none, and no key waits long for anything.
- Esc and a character read at once are what Alt and that key send. No key of ours has Alt: it is Esc, then the key.
- A dialog that warns and wants only Enter takes no key but Esc that was typed before it was drawn (`Wary.refuses`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser
from textual.message_pump import MessagePump

if TYPE_CHECKING:
    from textual.app import App
    from textual.worker import Worker

_QUIET_ROUNDS = 2  # a message may be between two queues while one round goes by
_MOST_ROUNDS = 50
_ROUND_S = 0.5  # for a widget whose queue does not move
_WORKERS_S = 0.7  # what an operator may take for the time that a key takes
_LOOK_S = 0.005
_ESC = chr(27)
_ESCAPE_AND = "escape-and-"  # begins our name of a key
_MOVES = frozenset({"up", "down", "left", "right", "pageup", "pagedown", "home", "end"})


@runtime_checkable
class Wary(Protocol):
    """A screen that does not take every key."""

    def refuses(self, typed_at: float) -> bool:
        """Whether a key typed then (`time.monotonic`) comes too early."""


@dataclass(frozen=True, slots=True)
class _After:
    """What Textual's table of sequences has for Esc and a character: one key, to be taken apart here."""

    value: str


def _keep_escape() -> None:
    """Have Textual tell of both keys.

    It waits for the rest of a sequence after Esc; for Esc and 4 it has the cent sign, as a Mac's terminal means it, and
    for most others the second key alone.
    """
    for char in map(chr, range(1, 0x7F)):
        if char not in ("[", "O", _ESC):  # these begin sequences
            ANSI_SEQUENCES_KEYS[_ESC + char] = (_After(_ESCAPE_AND + char),)  # type: ignore[index]


def _apart(event: events.Event) -> list[events.Event]:
    """The keys that were pressed, where Textual has made one of two."""
    if not isinstance(event, events.Key) or not event.key.startswith(_ESCAPE_AND):
        return [event]
    pressed: list[events.Event] = [events.Key("escape", _ESC)]
    pressed += [key for key in XTermParser().feed(event.key[-1]) if isinstance(key, events.Key)]
    for key in pressed:
        key.time = event.time
    return pressed


class TypeAhead:
    """What was typed and is not done."""

    def __init__(self, app: App[None], press: Callable[[events.Event], Awaitable[None]]) -> None:
        """`press` hands a key to Textual; it is called in the application's own loop."""
        self._app = app
        self._press = press
        self._waiting: deque[events.Event] = deque()
        self._task: asyncio.Task[None] | None = None
        _keep_escape()

    def add(self, event: events.Event) -> None:
        """A key or a pasted text came."""
        self._waiting += _apart(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work(), name="type-ahead")

    async def done(self) -> None:
        """Wait until everything typed so far has had its effect."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def stop(self) -> None:
        """Forget what waits; the console ends."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    async def _work(self) -> None:
        while self._waiting:
            event = self._waiting.popleft()
            if self._is_refused(event):
                continue
            workers = set(self._app.workers)
            if not self._app.call_later(self._press, event):
                return  # it is ending
            await self._settled()
            if not isinstance(event, events.Key) or event.key not in _MOVES:
                await self._wait_for(workers)

    def _is_refused(self, event: events.Event) -> bool:
        screen = self._app.screen
        return isinstance(screen, Wary) and screen.refuses(event.time) and getattr(event, "key", "") != "escape"

    async def _wait_for(self, before: set[Worker[object]]) -> None:
        """Wait for workers that were not there `before`, and for what they brought about."""
        deadline = time.monotonic() + _WORKERS_S
        while any(not worker.is_finished for worker in set(self._app.workers) - before):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(_LOOK_S)
            if all(worker.is_finished for worker in set(self._app.workers) - before):
                await self._settled()  # which may have started others

    async def _settled(self) -> None:
        """Wait until no message waits, and what changed was drawn."""
        quiet, whole, before = 0, False, self._state()
        for _round in range(_MOST_ROUNDS):
            if not await self._round(whole=whole):
                return
            after = self._state()
            changed, before = after != before, after
            if changed:
                await self._drawn()
            whole = changed or self._any_waits()
            quiet = 0 if whole else quiet + 1
            if quiet >= _QUIET_ROUNDS:
                return

    def _state(self) -> tuple[object, ...]:
        return (self._app.screen, self._app.focused, len(self._app.screen_stack))

    def _pumps(self) -> list[MessagePump]:
        return [self._app, *self._app.screen_stack[:-1], *self._app.screen.walk_children(with_self=True)]

    def _any_waits(self) -> bool:
        return any(pump.message_queue_size for pump in self._pumps())

    async def _round(self, *, whole: bool) -> bool:
        """Let each queue come to its end: of every widget, or of those that a key passes. False when one did not."""
        focused = self._app.focused
        pumps: list[MessagePump] = self._pumps() if whole or focused is None else list(focused.ancestors_with_self)
        came, left = asyncio.Event(), 0

        def one_came() -> None:
            nonlocal left
            left -= 1
            if left <= 0:
                came.set()

        left = sum(pump.call_later(one_came) for pump in pumps)
        if left:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(came.wait(), _ROUND_S)
        return came.is_set()

    async def _drawn(self) -> None:
        """Wait until the screen shown was drawn."""
        drawn = asyncio.Event()
        if self._app.screen.call_after_refresh(drawn.set):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(drawn.wait(), _ROUND_S)
