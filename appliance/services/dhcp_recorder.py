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
    """Writes leases and sightings from one thread of its own."""

    def __init__(self, leases: LeaseSink, sightings: SightingSink) -> None:
        self._leases, self._sightings = leases, sightings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dhcp-store")
        self._saved: list[Lease] = []
        self._removed: list[IPv4Address] = []
        self._then: list[Callable[[], None]] = []
        self._seen: dict[str, Seen] = {}
        self._writing: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    def commit(self, lease: Lease, removed: Iterable[IPv4Address], then: Callable[[], None] | None = None) -> None:
        """Store `lease`, forget `removed`, and call `then` once both are on disk; never, if that fails."""
        self._saved.append(lease)
        self._removed.extend(removed)
        if then is not None:
            self._then.append(then)
        self._kick()

    def seen(self, seen: Seen) -> None:
        """Store a sighting some time soon; the last one of a MAC counts."""
        if len(self._seen) < _MAX_WAITING_SIGHTINGS or seen.mac in self._seen:
            self._seen[seen.mac] = seen
        self._kick()

    def _kick(self) -> None:
        if self._writing is None:
            # After this turn of the loop: the datagrams that are being read now share the commit.
            self._writing = self._loop.create_future()
            self._loop.call_soon(self._start)

    def _start(self) -> None:
        saved, removed, then, seen = self._saved, self._removed, self._then, list(self._seen.values())
        self._saved, self._removed, self._then, self._seen = [], [], [], {}
        job = self._loop.run_in_executor(self._thread, self._write, saved, removed, seen if not saved else [])
        if saved:
            self._seen = {item.mac: item for item in seen} | self._seen
        job.add_done_callback(lambda done: self._finish(done, then))

    def _finish(self, job: asyncio.Future[None], then: list[Callable[[], None]]) -> None:
        error = None if job.cancelled() else job.exception()
        if error is not None:
            log.error("The store took no leases (%s): %d clients get no answer and will ask again.", error, len(then))
        else:
            for call in then:
                call()
        waiting, self._writing = self._writing, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)
        if self._saved or self._removed or self._seen:
            self._kick()

    def _write(self, saved: list[Lease], removed: list[IPv4Address], seen: list[Seen]) -> None:
        if saved or removed:
            # Last one of an address wins, and a lease that came after its removal stays.
            leases = {lease.address: lease for lease in saved}
            self._leases.save(list(leases.values()), [item for item in removed if item not in leases])
        for item in seen:
            self._sightings.seen(
                item.mac, BootStage.DHCP, ip=item.ip, uuid=item.uuid, arch=item.arch, detail=item.detail
            )

    async def close(self) -> None:
        """Write what is waiting, then end the thread."""
        while self._writing is not None:
            await self._writing
        self._thread.shutdown(wait=True)
