"""Whether the work itself goes on: what must come round again, and how long a round may take.

Rules: the service manager's watchdog is fed from the services' loop, and only while every duty has turned in time; so
neither a loop that hangs nor a thread that does is taken for well. References: sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress

log = logging.getLogger(__name__)

_LOOK_S = 10.0


class Duty:
    """Work that turns in rounds, in whatever thread."""

    def __init__(self, name: str, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.name, self._limit_s, self._clock = name, limit_s, clock
        self._turned_at = clock()

    def turned(self) -> None:
        """Another round is done."""
        self._turned_at = self._clock()

    @property
    def silent_s(self) -> float:
        """How long ago the last round was done, when that is longer than it may be; else 0."""
        silence = self._clock() - self._turned_at
        return silence if silence > self._limit_s else 0.0


_duties: set[Duty] = set()


@contextmanager
def duty(name: str, limit_s: float) -> Iterator[Duty]:
    """While this is open, the watchdog is fed only if the duty turns at least every `limit_s` seconds."""
    mine = Duty(name, limit_s)
    _duties.add(mine)
    try:
        yield mine
    finally:
        _duties.discard(mine)


async def keeps_up(name: str, pool: Executor, stop: asyncio.Event, limit_s: float) -> None:
    """A duty for a pool of threads: something small is done by one of them again and again, until `stop`."""
    loop = asyncio.get_running_loop()
    with duty(name, limit_s) as mine:
        while not stop.is_set():
            await loop.run_in_executor(pool, mine.turned)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(_LOOK_S, limit_s / 3))


async def feed(alive: Callable[[], None], watchdog_s: float) -> None:
    """Call `alive` three times in `watchdog_s` while this loop turns and no duty is late; 0: nobody watches."""
    told: set[Duty] = set()
    while watchdog_s:
        late = {one for one in set(_duties) if one.silent_s}
        for one in late - told:
            log.error("%s has not gone on for %.0f s: the watchdog is not fed", one.name, one.silent_s)
        told = late
        if not late:
            alive()
        await asyncio.sleep(watchdog_s / 3)
