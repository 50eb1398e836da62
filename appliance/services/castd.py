"""Casts: sends the chunks of versions to rooms of PCs by multicast (docs/cast-protocol.md).

One thread owns the sockets and all senders; one reads chunk files ahead; the service's loop brings it what the store
says and writes once a second how it goes. So neither SQLite nor the image disk ever holds up a frame.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import select
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.cast.rate import Link
from appliance.config import Cast as CastSettings
from appliance.config import Settings
from appliance.engine.castlist import cast_chunks
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ApplianceError, Conflict, Unavailable
from appliance.model import Cast, CastMember
from appliance.services.cast_live import LiveCast, Plan
from appliance.services.cast_reader import Reader
from appliance.services.cast_sockets import Card, cards_of
from appliance.services.cast_wiring import Wiring
from appliance.services.watchdog import duty
from appliance.wire.cast import BadFrame, sender_of

if TYPE_CHECKING:
    from appliance.store import Store

log = logging.getLogger(__name__)

ROUND_S = 0.2  # how often the store is looked at
SECOND_S = 1.0
_LONGEST_WAIT_S = 0.05  # PROBE and what happens once a second are looked at so often when nothing else is
_SENDER_HANGS_S = 30.0
_LOOK_HANGS_S = 120.0  # the index of a large version is read in one look
_LAST_WORDS = 3  # PROBEs that say that a cast has ended, one a second

Figures = tuple[tuple[Cast, list[CastMember]], ...]


def make_clock(
    wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[], float]:
    """Seconds that go on as the monotonic clock does, but not from 0 after the box restarts: PROBE stamps ascend."""
    offset = wall() - monotonic()
    return lambda: monotonic() + offset


@dataclass(slots=True)
class _Ending:
    live: LiveCast
    left: int = _LAST_WORDS


class Caster:
    """The sending thread's state. Only `obey`, `follow`, `figures` and `stop` may be used by others."""

    def __init__(self, settings: CastSettings, cards: list[Card], read: Callable[[bytes], bytes]) -> None:
        """Raises `Unavailable` when a port is taken."""
        self.settings = settings
        self.figures: Figures = ()
        self.malformed = 0  # datagrams on the feedback port that are no FEEDBACK of an open cast
        self._clock = make_clock()
        self._link = Link(settings.rate_mbit * 1e6 / 8)
        self._live: dict[int, LiveCast] = {}
        self._ending: list[_Ending] = []
        self._plans: tuple[Plan, ...] | None = None
        self._stopped = False
        self._second_at = self._clock()
        self._wiring = Wiring(settings, cards)
        self._cards: frozenset[Card] | None = None
        self._bell, self._ring = socket.socketpair()
        self._bell.setblocking(False)
        self._ring.setblocking(False)
        self._wiring.poll.register(self._bell, select.POLLIN)
        self._reader = Reader(read, self.wake)

    # -- from other threads

    def obey(self, plans: tuple[Plan, ...]) -> None:
        """These are the open casts."""
        self._plans = plans
        self.wake()

    def follow(self, cards: list[Card]) -> None:
        """These are the addresses of the box."""
        if frozenset(cards) != self._wiring.cards:
            self._cards = frozenset(cards)
            self.wake()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped = True
        self.wake()

    def wake(self) -> None:
        """Do not wait any longer."""
        with suppress(OSError):  # rung already, or over
            self._ring.send(b"!")

    # -- the thread

    def run(self, turned: Callable[[], None]) -> None:
        """Send and hear until `stop`, and say `turned` each time. Then every socket is closed."""
        try:
            while not self._stopped:
                turned()
                now = self._clock()
                if self._plans is not None:
                    plans, self._plans = self._plans, None
                    self._take_over(plans, now)
                if self._cards is not None:
                    cards, self._cards = self._cards, None
                    self._wiring.follow(cards)
                if now >= self._second_at:
                    self._second_at = now + SECOND_S
                    self._second(now)
                self._hear(self._send(now))
        finally:
            self._reader.close()
            self._close_sockets()

    def _close_sockets(self) -> None:
        self._wiring.close()
        self._bell.close()
        self._ring.close()

    def _take_over(self, plans: tuple[Plan, ...], now: float) -> None:
        wanted = {int(plan.cast.cast_id, 16): plan for plan in plans}
        for number in self._live.keys() - wanted.keys():
            live = self._live.pop(number)
            self._link.forget(number)
            live.close()
            self._ending.append(_Ending(live))
        for number, plan in wanted.items():
            if number in self._live:
                self._live[number].obey(plan)
            else:
                self._live[number] = LiveCast(plan, self._reader, self._link.ceiling, now)

    def _send(self, now: float) -> float:
        """Send one run, if one may go out now, and the PROBEs that are due; returns how long to wait, in seconds."""
        ready = {n: live.sender.rate.rate for n, live in self._live.items() if live.ready(now) and live.sender}
        chosen, again = self._link.next(ready, now)
        if chosen is not None:
            live = self._live[chosen]
            run = live.take(now)
            self._out(live, run.frames)
            self._link.sent(chosen, len(run.frames), ready[chosen], now)
            again = now
        for live in self._live.values():
            if live.idle and (frame := live.probe(now)):
                self._out(live, frame)
        return min(max(again - now, 0.0), _LONGEST_WAIT_S)

    def _out(self, live: LiveCast, frames: bytes) -> None:
        outlets = [outlet for number, outlet in self._wiring.outlets.items() if number in live.outlets]
        if not live.broadcast:  # two addresses of one interface lead to the same PCs
            outlets = list({outlet.card.index: outlet for outlet in outlets}.values())
        for outlet in outlets:
            subnet = outlet.card.broadcast if live.broadcast else None
            outlet.send(frames, subnet or live.plan.cast.group)

    def _hear(self, wait_s: float) -> None:
        for fd, _ in self._wiring.poll.poll(wait_s * 1000):
            now = self._clock()
            if (number := self._wiring.outlet_of(fd)) is not None:
                for frame, address in self._wiring.outlets[number].heard():
                    self._feedback(number, frame, address, now)
            elif (port := self._wiring.igmp_of(fd)) is not None:
                port.hear(now)
            else:
                with suppress(BlockingIOError):
                    self._bell.recv(4096)

    def _feedback(self, outlet: int, frame: bytes, address: tuple[str, int], now: float) -> None:
        try:
            cast_id, receiver = sender_of(frame)
        except BadFrame:
            self.malformed += 1
            return
        live = self._live.get(cast_id)
        if live is None:
            self.malformed += 1
            return
        echo = live.hear(frame, receiver, outlet, now)
        if echo is not None:
            self._wiring.outlets[outlet].answer(echo, address)

    def _second(self, now: float) -> None:
        for live in self._live.values():
            live.second(now, self.settings.broadcast)
        for ending in self._ending:
            ending.left -= 1
            if frame := ending.live.ended(now):
                self._out(ending.live, frame)
        self._ending = [ending for ending in self._ending if ending.left > 0]
        active = any(live.sender is not None for live in self._live.values())
        for port in self._wiring.igmp:
            port.query(active, now)
        self.figures = tuple(live.figures(now) for live in self._live.values())


class Desk:
    """What passes between the store and the sending thread. Its methods block: run them in a thread, one at a time."""

    def __init__(self, store: Store, chunks: ChunkStore, caster: Caster) -> None:
        self._store = store
        self._chunks = chunks
        self._caster = caster
        self._ids: dict[str, tuple[bytes, ...]] = {}  # version -> its chunk list
        self._seen = -1
        self._told_at = float("-inf")
        self._told: Mapping[int, object] = {}
        self._complaint = ""

    def round(self) -> None:
        """Look at the store if it has changed; once a second write figures and end what is finished."""
        try:
            if time.monotonic() - self._told_at >= SECOND_S:
                self._told_at = time.monotonic()
                self._tell()
            seen = self._store.data_version()
            if seen != self._seen:
                self._caster.obey(self._plans())
                self._seen = seen
            self._complaint = ""
        except Unavailable as error:  # the store: casts go on as they are
            if str(error) != self._complaint:
                log.error("%s", error)
            self._complaint = str(error)

    def leave(self) -> None:
        """The service stops: nothing is sent any more, and `diecast cast list` must not say otherwise."""
        with suppress(Unavailable):
            casts = self._store.casts.list(open_only=True)
            still = [dataclasses.replace(cast, present=0, waiting=False, wanted=0, rate_bytes_s=0.0) for cast in casts]
            self._store.casts.record([(cast, []) for cast in still])

    def _tell(self) -> None:
        for cast in self._store.casts.end_finished():
            log.info("cast %d (%s) has ended: %s", cast.id, cast.image_name, cast.why)
        figures = self._caster.figures
        fresh = [(cast, members) for cast, members in figures if self._told.get(cast.id) != (cast, members)]
        if fresh:
            self._store.casts.record(fresh)
        self._told = {cast.id: (cast, members) for cast, members in figures}

    def _plans(self) -> tuple[Plan, ...]:
        plans = []
        casts = self._store.casts.list(open_only=True)
        for cast in casts:
            seats, expected = self._store.casts.seats(cast.id)
            ids = self._list_of(cast)
            if ids:
                plans.append(Plan(cast, ids, tuple(seats), expected))
        self._ids = {cast.version_id: self._ids[cast.version_id] for cast in casts if cast.version_id in self._ids}
        return tuple(plans)

    def _list_of(self, cast: Cast) -> tuple[bytes, ...]:
        """The chunk list of a cast's version. One that cannot be read ends the cast."""
        if cast.version_id not in self._ids:
            try:
                manifest = self._chunks.read_manifest(cast.version_id)
                ids = cast_chunks(manifest, lambda name: self._chunks.read_index(cast.version_id, name))
            except (OSError, ApplianceError) as error:
                log.error("cast %d (%s) cannot be sent: %s", cast.id, cast.image_name, error)
                with suppress(Conflict):
                    self._store.casts.stop(cast.id, f"its version cannot be read: {error}")
                return ()
            self._ids[cast.version_id] = tuple(ids)
        return self._ids[cast.version_id]


async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Send casts until `stop` is set. Raises `ApplianceError` when sockets or the image store cannot be had."""
    chunks = await asyncio.to_thread(ChunkStore, settings.paths.images)
    cards = cards_of(settings.network)
    caster = Caster(settings.cast, cards, chunks.get_frame)
    desk = Desk(store, chunks, caster)
    if not cards:
        log.warning("%s: no IPv4 address yet; casts wait for one.", ", ".join(settings.network.interfaces))

    def look() -> None:
        desk.round()
        caster.follow(cards_of(settings.network))

    pool = ThreadPoolExecutor(1, "cast")
    with duty("the sender of casts", _SENDER_HANGS_S) as sender, duty("the look at the store", _LOOK_HANGS_S) as looks:
        sending = asyncio.get_running_loop().run_in_executor(pool, caster.run, sender.turned)
        try:
            ready()
            while not stop.is_set() and not sending.done():
                await asyncio.to_thread(look)
                looks.turned()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), ROUND_S)
        finally:
            caster.stop()
            pool.shutdown(wait=False)
            await asyncio.to_thread(desk.leave)
            await sending
