"""Threads that work side by side with bounded memory, stop together, and fail as one.

`for_each` is all the engine needs: a pool of threads pulls items, works on each, and hands results to one consumer.
Python's big calls here (pread, pwrite, BLAKE3, zstd) release the interpreter lock, so threads do overlap.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from appliance.errors import ApplianceError, Cancelled, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Stop(Exception):
    """Raised inside a worker that waits, when another one has failed."""


class Gate:
    """Lets at most `limit_bytes` through at once: the bound on what the threads hold in memory."""

    def __init__(self, limit_bytes: int) -> None:
        self._free = self._limit = limit_bytes
        self._condition = threading.Condition()
        self._stopped = False

    def take(self, size: int) -> None:
        """Wait until `size` bytes are free; more than the limit is allowed when nothing else is out. Raises `Stop`."""
        with self._condition:
            while not self._stopped and self._free < size and self._free < self._limit:
                self._condition.wait()
            if self._stopped:
                raise Stop
            self._free -= size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        with self._condition:
            self._free += size
            self._condition.notify_all()

    def stop(self) -> None:
        """Wake everybody with `Stop`."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()


def for_each(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    consume: Callable[[Result], None],
    *,
    threads: int,
    cancelled: Callable[[], bool] = lambda: False,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run `work` on every item in `threads` threads and `consume` every result, one at a time, in any order.

    No item is taken before a thread is free for it. The first exception (or `cancelled`, asked before every item)
    stops all; `on_stop` then wakes those who wait elsewhere. Every thread has ended on return. Raises that first
    exception: as it is if it is an `ApplianceError`, else (an I/O error) as `Unavailable`; `Cancelled`.
    """
    run = _Run(iter(items), work, consume, cancelled, on_stop)
    crew = [threading.Thread(target=run.worker, name=f"engine-{i}", daemon=True) for i in range(threads)]
    for thread in crew:
        thread.start()
    try:
        for thread in crew:
            thread.join()
    except BaseException as error:  # KeyboardInterrupt while we wait
        run.fail(error)
        for thread in crew:
            thread.join()
        raise
    if run.error is not None:
        raise in_words(run.error)


class _Run:
    """The state that the threads of one `for_each` share."""

    def __init__(
        self,
        items: Iterator[Item],
        work: Callable[[Item], Result],
        consume: Callable[[Result], None],
        cancelled: Callable[[], bool],
        on_stop: Callable[[], None],
    ) -> None:
        self._items, self._work, self._consume = items, work, consume
        self._cancelled, self._on_stop = cancelled, on_stop
        self._feeding, self._consuming, self._failing = threading.Lock(), threading.Lock(), threading.Lock()
        self.error: BaseException | None = None

    def worker(self) -> None:
        try:
            while not self.has_failed():
                with self._feeding:
                    if self.has_failed():
                        return
                    if self._cancelled():
                        raise Cancelled("Cancelled.")
                    try:
                        item = next(self._items)
                    except StopIteration:
                        return
                result = self._work(item)
                with self._consuming:
                    if not self.has_failed():
                        self._consume(result)
        except Stop:
            return
        except BaseException as error:
            self.fail(error)

    def has_failed(self) -> bool:
        """Whether somebody has failed."""
        return self.error is not None

    def fail(self, error: BaseException) -> None:
        """Keep the first error and wake everybody."""
        with self._failing:
            if self.error is None:
                self.error = error
        self._on_stop()


def in_words(error: BaseException) -> BaseException:
    """An I/O error as an `Unavailable` that names what could not be read or written; anything else as it is."""
    if isinstance(error, OSError) and not isinstance(error, ApplianceError):
        return Unavailable(f"Reading or writing failed: {error}.", hint="Check the disk, its cable and the network.")
    return error
