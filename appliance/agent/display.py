"""What the agent tells whoever stands before the PC, on every console at once, and keeps for the task's log.

Lines on serial consoles begin with `diecast: `; the virtual lab and people with a terminal server wait for them:
`agent starting`, `agent ready`, `KIND NN % RATE LEFT left`, `waiting: WHY`, `done, HOW`, `failed: SENTENCE REMEDY`.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import replace
from typing import Any

from appliance.agent import page
from appliance.agent.consoles import Consoles
from appliance.agent.page import Meter, View
from appliance.wire.agentapi import MAX_LIST, MAX_TEXT

PREFIX = "diecast: "
_REDRAW_S = 1.0  # kernel messages may have been written over the page


class Display:
    """The page, the lines, and the log; callable from every thread."""

    def __init__(self, consoles: Consoles) -> None:
        self.consoles = consoles
        self._view = View()
        self._lock = threading.RLock()
        self._begun = time.monotonic()
        self._pending: deque[str] = deque(maxlen=MAX_LIST)
        self._last: tuple[str, int] = ("", -1)
        self._why = ""  # we wait
        self._is_over = False  # a thread that was left behind has nothing more to say
        self._closed = threading.Event()
        self._painter = threading.Thread(target=self._paint_again, name="screen", daemon=True)

    def start(self) -> None:
        """Draw the page, and from now on once a second."""
        self._painter.start()
        self._paint()

    def close(self) -> None:
        """Draw a last time and stop drawing; the page stays."""
        self._closed.set()
        if self._painter.is_alive():
            self._painter.join(5)
        self._paint()

    @property
    def view(self) -> View:
        """What is shown now."""
        return self._view

    def show(self, **changes: Any) -> None:
        """Change fields of the page; serial consoles are not told."""
        with self._lock:
            self._view = replace(self._view, **changes)
        self._paint()

    def say(self, text: str, **changes: Any) -> None:
        """Something happened: one line everywhere."""
        self.note(text)
        with self._lock:
            self._view = replace(self._view.with_line(text), **changes)
            self.consoles.line(PREFIX + page.clean(text))
        self._paint()

    def note(self, text: str) -> None:
        """One line for the task's log only."""
        with self._lock:
            for line in text.splitlines():
                self._pending.append(f"{time.monotonic() - self._begun:8.1f} {line}"[:MAX_TEXT])

    def doing(self, state: str) -> None:
        """What is being done now; clears why we waited."""
        if self._view.state != state and not self._is_over:
            self._why = ""
            self.say(state, state=state, waiting="")

    def waiting(self, why: str, left_s: float = 0.0) -> None:
        """Why nothing moves, and for how long at most; empty when it moves again. Each reason is said once."""
        with self._lock:
            if self._is_over:
                return
            known, self._why = self._why == why, why
        shown = f"{why}; waiting {page.span(left_s)} more at most" if why and left_s else why
        if known:
            if shown != self._view.waiting:
                self.show(waiting=shown)
        else:
            self.say(f"waiting: {why}" if why else "going on", waiting=shown)

    def progress(self, kind: str, meter: Meter) -> None:
        """How far the task is. A serial line for each new percent or phase."""
        with self._lock:
            if self._is_over:
                return
            self._view = replace(self._view, meter=meter, state=meter.phase or self._view.state)
            now = (meter.phase, meter.percent)
            if now == self._last:
                return
            if meter.phase != self._last[0]:
                self.note(f"{kind}: {meter.phase}")
            self._last = now
            left = meter.left_s
            parts = [kind, f"{meter.percent} %", page.rate(meter.rate_bytes_s)]
            parts.append(f"{page.span(left)} left" if left is not None else f"({meter.phase})")
            self.consoles.line(PREFIX + page.clean(" ".join(parts)))

    def failed(self, error: str, remedy: str) -> None:
        """The one sentence why it failed and the one that says what to do."""
        self._is_over = True
        self.say(f"failed: {error} {remedy}".rstrip(), error=error, remedy=remedy, question="", waiting="")

    def done(self, how: str, text: str) -> None:
        """The end of all that went well."""
        self._is_over = True
        self.say(how, good=text, question="", waiting="")

    def take_pending(self) -> list[str]:
        """Log lines that the box has not been sent yet; they are forgotten here."""
        with self._lock:
            lines = list(self._pending)
            self._pending.clear()
        return lines

    def give_back(self, lines: list[str]) -> None:
        """Lines that could not be sent."""
        with self._lock:
            room = MAX_LIST - len(self._pending)
            self._pending.extendleft(reversed(lines[-room:] if room > 0 else []))

    def _paint(self) -> None:
        with self._lock:
            self.consoles.draw(page.paint(page.render(self._view)))

    def _paint_again(self) -> None:
        while not self._closed.wait(_REDRAW_S):
            self._paint()
