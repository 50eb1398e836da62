"""How fast a cast goes, and how casts share the link. Pure; `now` in seconds, rates in bytes/s of UDP payload.

Rules: docs/cast-protocol.md section 5. A cast's rate rises by steps and falls when half of its receivers lose
frames or fall behind, but loss that does not fall with the rate is not congestion and is ignored. Between casts:
start-time fair queueing (Goyal, Vin, Cheng 1996), so that what one cast cannot use goes to the others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

STEP_S = 1.0  # the rate is judged so often
RISE = 0.05  # of the ceiling, each step
FALL = 0.85
LOSS_LIMIT = 0.02  # more than this above the usual loss is congestion
DEEP_LOSS = 0.3  # after a fall for more than this one step is waited, since queues are still full
HOPELESS = 0.95  # loss at which too little arrives to tell congestion from a bad cable: it is taken for congestion
ROOM_LOW = 0.5  # buffers with less room than this on half of the receivers: they set the pace
FLOOR = 0.01  # of the ceiling; the slowest a cast gets
BURST_S = 0.005  # how far sending may lag behind the clock and catch up


@dataclass(frozen=True, slots=True)
class Report:
    """What one receiver told since the last step."""

    heard: int  # DATA frames
    missed: int
    dropped: int
    taken: int  # bytes that left its buffer
    seconds: float  # between the first and the last message that this covers
    room: float  # free share of its buffer, 0 to 1

    @property
    def loss(self) -> float:
        """Share of the frames sent that never came."""
        return self.missed / max(self.heard + self.missed, 1)

    @property
    def behind(self) -> float:
        """Share of the frames heard for which the buffer had no room."""
        return self.dropped / max(self.heard, 1)


def median(values: Sequence[float]) -> float:
    """The upper median; 0 of nothing."""
    return sorted(values)[len(values) // 2] if values else 0.0


@dataclass(slots=True)
class Rate:
    """The rate of one cast: additive rise, multiplicative fall."""

    ceiling: float
    rate: float = 0.0
    usual_loss: float = 0.0  # loss that was there at every rate
    _before_fall: tuple[float, float] | None = None  # loss and rate
    _settling: bool = False  # the next reports are still about the old rate, in part

    def __post_init__(self) -> None:
        self.rate = self.rate or self.ceiling

    def set_ceiling(self, ceiling: float) -> None:
        """The operator's new limit; holds at once. A rate that nothing but the old limit held goes up to it."""
        self.rate = ceiling if self.rate >= self.ceiling else min(self.rate, ceiling)
        self.ceiling = ceiling

    def step(self, reports: Sequence[Report]) -> None:
        """Judge one second: `reports` of the receivers that want something."""
        if not reports:
            return
        loss = median([report.loss for report in reports])
        if self._settling:
            self._settling = False
        else:
            self._judge(loss)
        self._heed_buffers(reports)
        self.rate = min(max(self.rate, FLOOR * self.ceiling), self.ceiling)

    def _judge(self, loss: float) -> None:
        """Fall, rise, or take the fall back."""
        if self._before_fall is not None:
            old_loss, old_rate = self._before_fall
            if 0.7 * old_loss < loss < HOPELESS and not self._held(loss, old_loss, old_rate):
                self.usual_loss, self.rate = max(self.usual_loss, loss), old_rate
            self._before_fall = None
        if loss < self.usual_loss:
            self.usual_loss += 0.1 * (loss - self.usual_loss)
        slack = LOSS_LIMIT + 0.25 * self.usual_loss
        if loss > self.usual_loss + slack:
            self._before_fall, self._settling = (loss, self.rate), loss > DEEP_LOSS
            self.rate *= min(FALL, max(1 - loss, 0.3))
        else:
            self.rate += RISE * self.ceiling

    def _held(self, loss: float, old_loss: float, old_rate: float) -> bool:
        """Whether about as much arrived at the slower rate: what a bottleneck lets through, while loss that is there
        at every rate would have made it less. A receiver that takes a tenth of the rate loses most of it for long."""
        return (1 - loss) * self.rate > (1 - old_loss) * math.sqrt(old_rate * self.rate)

    def _heed_buffers(self, reports: Sequence[Report]) -> None:
        """Half of the receivers have little room: go as fast as they write, a bit slower the fuller they are."""
        room = median([report.room for report in reports])
        if room >= ROOM_LOW:
            return
        pace = median([report.taken / report.seconds for report in reports if report.seconds > 0])
        if pace:
            self.rate = min(self.rate, pace * (1 + room - ROOM_LOW / 2))
        elif median([report.behind for report in reports]) > 0:
            self.rate *= FALL


@dataclass(slots=True)
class _Share:
    weight: float = 1.0
    tag: float = 0.0  # virtual time of its next frame
    free_at: float = 0.0  # its own rate allows the next frame then


@dataclass(slots=True)
class Link:
    """The budget of all casts together: says which sends next, and when."""

    ceiling: float
    _shares: dict[int, _Share] = field(default_factory=dict)
    _virtual: float = 0.0
    _free_at: float = 0.0

    def next(self, ready: Mapping[int, float], now: float) -> tuple[int | None, float]:
        """Which of the casts that have something to send may send now, and else when to ask again.

        `ready`: cast id -> its own rate. Returns (cast id, now) or (None, time to ask again)."""
        self._shares = {cast: self._shares.get(cast) or _Share(tag=self._virtual) for cast in {*ready, *self._shares}}
        if not ready:
            return None, float("inf")
        if now < self._free_at:
            return None, self._free_at
        allowed = [cast for cast in ready if self._shares[cast].free_at <= now]
        if not allowed:
            return None, min(self._shares[cast].free_at for cast in ready)
        for cast in allowed:
            share = self._shares[cast]
            share.tag = max(share.tag, self._virtual)
        chosen = min(allowed, key=lambda cast: self._shares[cast].tag)
        self._virtual = self._shares[chosen].tag
        return chosen, now

    def sent(self, cast: int, size: int, rate: float, now: float) -> None:
        """`cast` sent `size` bytes at its rate `rate`."""
        share = self._shares[cast]
        share.tag += size / share.weight
        share.free_at = max(share.free_at, now - BURST_S) + size / rate
        self._free_at = max(self._free_at, now - BURST_S) + size / self.ceiling

    def forget(self, cast: int) -> None:
        """The cast is over."""
        self._shares.pop(cast, None)
