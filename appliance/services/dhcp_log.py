"""Sentences about clients, each at most once a minute: a broken or hostile client must not fill the log."""

from __future__ import annotations

import logging
from collections.abc import Callable

_QUIET_S = 60.0
_MAX_KEYS = 4096


class Complaints:
    """Logs a sentence at once, then holds back the same one for a minute and says how often it came."""

    def __init__(self, log: logging.Logger, clock: Callable[[], float]) -> None:
        self._log, self._clock = log, clock
        self._said: dict[str, tuple[float, int]] = {}

    def say(self, key: str, level: int, text: str, *args: object) -> None:
        """Log `text` under `key`; the key tells which repetitions are the same."""
        now = self._clock()
        since, held_back = self._said.get(key, (float("-inf"), 0))
        if now - since < _QUIET_S:
            self._said[key] = (since, held_back + 1)
            return
        if len(self._said) >= _MAX_KEYS:
            self._said.clear()
        self._said[key] = (now, 0)
        if held_back:
            text += f" (and {held_back} times more since)"
        self._log.log(level, text, *args)
