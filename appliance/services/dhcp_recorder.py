"""Group commit: leases are on disk before their ACK leaves, many of them with one write.

While one transaction is being written in its thread, the next leases gather; so under load each commit carries as many
as arrived during the one before, and a lone client waits for a single commit only. Sightings go the same way after
the leases, because nobody waits for them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol
from uuid import UUID

from appliance.events import BootStage
from appliance.model import Lease

log = logging.getLogger(__name__)

_MAX_WAITING_SIGHTINGS = 5000  # beyond it the oldest news is dropped: sightings must not fill the memory

_SIGHTINGS_AT_ONCE = 2  # each is a transaction of its own, some milliseconds long
_SIGHTINGS_PAUSE_S = 0.005  # between them: a lease may arrive

_CLOSE_S = 2.0  # for sightings at the end; leases are always written


class LeaseSink(Protocol):
    """What is used of `store.leases` here."""

    def save(self, leases: Iterable[Lease], removed: Iterable[IPv4Address] = ()) -> None: ...


class SightingSink(Protocol):
    """What is used of `store.hosts` here."""

    def seen(
        self,
        mac: str,
        stage: BootStage,
        *,
        ip: str = "",
        uuid: UUID | None = None,
        arch: int | None = None,
        detail: str = "",
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """A firmware was answered, or could not be."""

    mac: str
    ip: str
    uuid: UUID | None
    arch: int
    detail: str


class Recorder:
    """Writes leases and sightings from one thread of its own, leases first."""

    def __init__(self, leases: LeaseSink, sightings: SightingSink) -> None:
        self._leases, self._sightings = leases, sightings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dhcp-store")
        self._saved: list[Lease] = []
        self._removed: list[IPv4Address] = []
        self._then: list[Callable[[], None]] = []
        self._seen: dict[str, Seen] = {}
        self._loop = asyncio.get_running_loop()
        self._is_writing = False
        self._next: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._leases_were_last = False

    def commit(self, lease: Lease, removed: Iterable[IPv4Address], then: Callable[[], None] | None = None) -> None:
        """Store `lease`, forget `removed`, and call `then` once both are on disk; never, if that fails."""
        self._saved.append(lease)
        self._removed.extend(removed)
        if then is not None:
            self._then.append(then)
        self._schedule()

    def seen(self, seen: Seen) -> None:
        """Store a sighting some time soon; the last one of a MAC counts."""
        if len(self._seen) < _MAX_WAITING_SIGHTINGS or seen.mac in self._seen:
            self._seen[seen.mac] = seen
        self._schedule()

    def _schedule(self) -> None:
        """Write soon: leases after this turn of the loop, so that datagrams being read now share the commit."""
        self._idle.clear()
        if self._is_writing:
            return
        if self._next is not None:
            if not isinstance(self._next, asyncio.TimerHandle) or not self._saved:
                return
            self._next.cancel()
        if self._saved or self._leases_were_last:
            self._next = self._loop.call_soon(self._start)
        else:
            self._next = self._loop.call_later(_SIGHTINGS_PAUSE_S, self._start)

    def _start(self) -> None:
        self._next, self._is_writing = None, True
        # A few sightings after each commit: they come through under a steady load, and hold no lease up for long.
        if self._seen and (self._leases_were_last or not self._saved):
            self._leases_were_last = False
            some = [self._seen.pop(mac) for mac in list(self._seen)[:_SIGHTINGS_AT_ONCE]]
            job = self._loop.run_in_executor(self._thread, self._write_sightings, some)
            job.add_done_callback(self._finish_sightings)
            return
        self._leases_were_last = True
        saved, removed, then = self._saved, self._removed, self._then
        self._saved, self._removed, self._then = [], [], []
        job = self._loop.run_in_executor(self._thread, self._write_leases, saved, removed)
        job.add_done_callback(lambda done: self._finish_leases(done, then))

    def _finish_leases(self, job: asyncio.Future[None], then: list[Callable[[], None]]) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None:
            log.error("The store took no leases (%s): %d clients get no answer and will ask again.", error, len(then))
        else:
            for call in then:
                call()
        self._go_on()

    def _finish_sightings(self, job: asyncio.Future[None]) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None:
            log.error("The store took no sightings: %s", error)
        self._go_on()

    def _go_on(self) -> None:
        self._is_writing = False
        if self._saved or self._removed or self._seen:
            self._schedule()
        else:
            self._leases_were_last = False
            self._idle.set()

    def _write_leases(self, saved: list[Lease], removed: list[IPv4Address]) -> None:
        # Last one of an address wins, and a lease that came after its removal stays.
        leases = {lease.address: lease for lease in saved}
        self._leases.save(list(leases.values()), [item for item in removed if item not in leases])

    def _write_sightings(self, seen: list[Seen]) -> None:
        for item in seen:
            self._sightings.seen(
                item.mac, BootStage.DHCP, ip=item.ip, uuid=item.uuid, arch=item.arch, detail=item.detail
            )

    async def close(self) -> None:
        """Write the leases that wait, and sightings for a while, then end the thread."""
        try:
            await asyncio.wait_for(self._idle.wait(), _CLOSE_S)
        except TimeoutError:
            self._seen.clear()
            await self._idle.wait()
        self._thread.shutdown(wait=True)
