"""Sentences about clients, each at most once a minute: a broken or hostile client must not fill the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

_QUIET_S = 60.0
_MAX_KEYS = 4096
_MAX_LINES = 60  # in one quiet time, all clients together


class Complaints:
    """Logs a sentence at once, then holds back the same one for a minute and says how often it came.

    Invented MACs make invented sentences: beyond some lines a minute, one line says that others were left out.
    """

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._said: dict[str, tuple[float, int]] = {}
        self._window, self._lines = float("-inf"), 0

    def say(self, key: str, level: int, text: str, *args: object) -> None:
        """Log `text` under `key`; the key tells which repetitions are the same."""
        now = self._clock()
        since, held_back = self._said.get(key, (float("-inf"), 0))
        if now - since < _QUIET_S:
            self._said[key] = (since, held_back + 1)
            return
        if not self._has_room(now):
            return
        if len(self._said) >= _MAX_KEYS:
            self._said.clear()
        self._said[key] = (now, 0)
        if held_back:
            text += f" (and {held_back} times more since)"
        self._log.log(level, text, *args)

    def _has_room(self, now: float) -> bool:
        if now - self._window >= _QUIET_S:
            if self._lines > _MAX_LINES:
                self._log.warning("%d lines about DHCP clients were left out.", self._lines - _MAX_LINES)
            self._window, self._lines = now, 0
        self._lines += 1
        if self._lines == _MAX_LINES + 1:
            self._log.warning("More than %d lines about DHCP clients in a minute: others are left out.", _MAX_LINES)
        return self._lines <= _MAX_LINES
