"""One cast at work: its PCs' keys, its sender while somebody is there, and the runs of frames to send next.

No sockets and no store: `castd` gives it what came and takes what is to go out. The sender's state is made with the
first FEEDBACK that is right, and forgotten when nobody has been there for a minute; the next FEEDBACK makes it anew.
"""

from __future__ import annotations

import dataclasses
import logging
import secrets
from collections import deque
from dataclasses import dataclass, field

from appliance.cast import fec
from appliance.cast.rate import Rate
from appliance.cast.sender import GONE_S, CastSender, Member, Send, Start
from appliance.events import TaskState
from appliance.model import Cast, CastMember, CastSeat
from appliance.services import cast_status
from appliance.services.cast_reader import AHEAD, UNREADABLE, Reader
from appliance.services.cast_sockets import RUN_FRAMES
from appliance.system.about import about
from appliance.wire.cast import (
    SEGMENT_BYTES,
    BadFrame,
    Beat,
    Data,
    Flag,
    Kind,
    Notice,
    data_frames,
    feedback_key,
    pack_beat,
    parse_feedback,
    segment_count,
)

log = logging.getLogger(__name__)

_DROPPED = "the operator dropped it from the cast"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the store says of one open cast."""

    cast: Cast
    ids: tuple[bytes, ...]  # chunk number -> id
    seats: tuple[CastSeat, ...]
    expected: int  # PCs that are there or can still come: unfinished tasks, and new PCs that orders wait for

    def host_of(self, task_id: int) -> str:
        """The name of a task's PC; empty when its task has ended meanwhile."""
        return next((seat.host_name for seat in self.seats if seat.task_id == task_id), "")


@dataclass(frozen=True, slots=True)
class Run:
    """Frames for one send."""

    frames: bytes
    is_parity: bool


@dataclass(slots=True)
class _Totals:
    sent: int = 0  # bytes
    parity: int = 0
    forged: int = 0
    refused: int = 0
    replayed: int = 0
    told_sent: int = 0  # when figures were last made
    told_at: float = 0.0


@dataclass(slots=True)
class _Item:
    """The chunk that is going out, cut into runs; each is (sequence of its first frame, numbers, is parity)."""

    chunk: int
    file: bytes
    todo: deque[tuple[int, range, bool]] = field(default_factory=deque)
    encoder: fec.Encoder | None = None

    def take(self, cast_id: int) -> Run:
        """The next run."""
        sequence, numbers, is_parity = self.todo.popleft()
        file = self.file
        head = Data(cast_id, sequence, self.chunk, len(file), numbers.start)
        if not is_parity:
            view = memoryview(file)
            pieces = [view[n * SEGMENT_BYTES : (n + 1) * SEGMENT_BYTES] for n in numbers]
            return Run(data_frames(head, pieces), False)
        self.encoder = self.encoder or fec.Encoder(self.chunk, file)
        head = dataclasses.replace(head, segment=segment_count(len(file)) + numbers.start)
        return Run(data_frames(head, [self.encoder.parity(n) for n in numbers]), True)


class LiveCast:
    """The state of one open cast in this process."""

    def __init__(self, plan: Plan, reader: Reader, ceiling: float, now: float) -> None:
        self.id = int(plan.cast.cast_id, 16)
        self.plan = plan
        self.sender: CastSender | None = None
        self.outlets: set[int] = set()  # those that its PCs were heard through
        self.broadcast = False
        self.idle = True  # nothing is asked for, or waited for from the disk
        self._reader = reader
        self._key = bytes.fromhex(plan.cast.key)
        self._keys: dict[int, tuple[bytes, bytes]] = {}  # receiver -> token hash, key
        self._ceiling = ceiling
        self._item: _Item | None = None
        self._next: tuple[Send, bytes] | None = None
        c = plan.cast  # its figures go on where a predecessor left them
        self._totals = _Totals(c.sent_bytes, c.parity_bytes, c.forged, c.refused, c.replayed, c.sent_bytes, now)
        self.obey(plan)

    # -- the store's word

    def obey(self, plan: Plan) -> None:
        """Take over what the operator and the tasks say now."""
        self.plan = plan
        seats = {seat.task_id: seat for seat in plan.seats}
        for number in self._keys.keys() - seats.keys():
            del self._keys[number]
            if self.sender is not None:
                self.sender.forget(number)
        for number, seat in seats.items():
            old = self._keys.get(number)
            if old is None or old[0] != seat.token_hash:
                self._keys[number] = seat.token_hash, feedback_key(seat.token_hash)
                if old is not None and self.sender is not None:
                    self.sender.forget(number)  # it checked in again: its message numbers begin anew
            if self.sender is not None:
                _obey_seat(self.sender, seat)
        if self.sender is not None:
            self.sender.rate.set_ceiling(self._limit())
            if plan.cast.begun:
                self.sender.begin()

    def _limit(self) -> float:
        own = self.plan.cast.rate_mbit * 1e6 / 8
        return min(own, self._ceiling) if own else self._ceiling

    def _wake_up(self, now: float) -> CastSender:
        cast = self.plan.cast
        start = Start(0 if cast.begun else cast.wait_for, cast.wait_seconds)
        sender = CastSender(self.id, len(self.plan.ids), Rate(self._limit()), now, start, secrets.randbits(32))
        for seat in self.plan.seats:
            _obey_seat(sender, seat)
        log.info("cast %d (%s) begins: a PC is there", cast.id, cast.image_name)
        return sender

    # -- what PCs say

    def hear(self, frame: bytes, receiver: int, outlet: int, now: float) -> bytes | None:
        """Take in a FEEDBACK that says it is from `receiver`; returns the ECHO, or None when it did not count."""
        keys = self._keys.get(receiver)
        if keys is None:
            self._totals.refused += 1
            return None
        try:
            message = parse_feedback(frame, keys[1])
        except BadFrame:
            self._totals.forged += 1
            return None
        if self.sender is None:
            if message.flags & (Flag.LEAVING | Flag.COMPLETE):
                return None
            self.sender = self._wake_up(now)
        if not self.sender.feedback(message, now):
            self._totals.replayed += 1
            return None
        self.outlets.add(outlet)
        return pack_beat(self.sender.echo(message, now), keys[1])

    # -- what to send

    def ready(self, now: float) -> bool:
        """Whether a run can go out now; if so `take` gives it."""
        if self._item is not None:
            return True
        if self.sender is None:
            return False
        while (item := self.sender.next(now)) is not None:
            self.idle = False
            file = self._reader.get(self.plan.cast.id, item.chunk)
            if file is None:
                self._read_ahead()
                return False
            if file != UNREADABLE:
                self._next = item, file
                return True
            log.error("cast %d skips chunk %d, which cannot be read", self.plan.cast.id, item.chunk)
            self.sender.skip(item)
        self.idle = True
        return False

    def take(self, now: float) -> Run:
        """The next run, after `ready`."""
        if self._item is None:
            self._begin_item(now)
        assert self._item is not None
        run = self._item.take(self.id)
        if not self._item.todo:
            self._item = None
        self._totals.sent += len(run.frames)
        self._totals.parity += len(run.frames) * run.is_parity
        return run

    def _begin_item(self, now: float) -> None:
        assert self.sender is not None
        assert self._next is not None
        (item, file), self._next = self._next, None
        sequence, length = self.sender.sequence, len(file)
        self.sender.sent(item, length, now)
        self._item = _Item(item.chunk, file)
        parts = [(range(segment_count(length)), False)] if item.whole else []
        for numbers, is_parity in [*parts, (item.parity_numbers(length), True)]:
            for at in range(0, len(numbers), RUN_FRAMES):
                run = numbers[at : at + RUN_FRAMES]
                self._item.todo.append((sequence & 0xFFFFFFFF, run, is_parity))
                sequence += len(run)
        self._read_ahead()

    def _read_ahead(self) -> None:
        assert self.sender is not None
        chunks = self.sender.upcoming()[:AHEAD]
        self._reader.plan(self.plan.cast.id, [(chunk, self.plan.ids[chunk]) for chunk in chunks])

    def probe(self, now: float) -> bytes | None:
        """The PROBE that is due, if one is; only while nothing is to be sent."""
        if self.sender is None or not self.idle or self._item is not None:
            return None
        beat = self.sender.probe(now)
        return pack_beat(beat, self._key) if beat else None

    def ended(self, now: float) -> bytes | None:
        """A PROBE that says that the cast is over; None when nobody was there to hear it."""
        if self.sender is None:
            return None
        beat = Beat(Kind.PROBE, self.id, self.sender.sequence, int(now * 1000), 0, Notice.ENDED)
        return pack_beat(beat, self._key)

    # -- once a second

    def second(self, now: float, may_broadcast: bool) -> None:
        """Judge who is slow, who is deaf, and whether anybody is there."""
        sender, cast = self.sender, self.plan.cast
        if sender is None:
            return
        for member in sender.moved_now(now):
            with about(host=self.plan.host_of(member.number), task=member.number):
                log.warning("cast %d: the PC of task %d goes on by NFS: %s", cast.id, member.number, member.moved)
        if may_broadcast and not self.broadcast and sender.use_broadcast(now):
            self.broadcast = True
            log.warning("cast %d goes to the broadcast address: most of its PCs do not hear %s", cast.id, cast.group)
        if sender.waiting(now) and 0 < self.plan.expected <= sender.present(now):
            sender.begin()  # more cannot come
        if sender.over(now):
            log.info("cast %d (%s) rests: nobody is there", cast.id, cast.image_name)
            self.sender, self._item, self._next, self.broadcast, self.idle = None, None, None, False, True
            self._reader.plan(cast.id, ())

    def figures(self, now: float) -> tuple[Cast, list[CastMember]]:
        """How the cast and its PCs are going, for the store."""
        totals, sender = self._totals, self.sender
        rate = (totals.sent - totals.told_sent) / max(now - totals.told_at, 0.001)
        totals.told_sent, totals.told_at = totals.sent, now
        waiting = sender is not None and sender.waiting(now)
        cast = dataclasses.replace(
            self.plan.cast, present=sender.present(now) if sender else 0, waiting=waiting,
            wanted=sender.wanted(now) if sender else 0, rate_bytes_s=rate, sent_bytes=totals.sent,
            parity_bytes=totals.parity, forged=totals.forged, refused=totals.refused, replayed=totals.replayed,
            broadcast=self.broadcast,
        )  # fmt: skip
        heard = [m for m in sender.members.values() if m.message >= 0] if sender else []
        members = [
            CastMember(
                m.number, "", TaskState.RUNNING, status_of(m, now, waiting), m.written, len(self.plan.ids), m.loss
            )
            for m in heard
        ]
        return cast, members

    def close(self) -> None:
        """The cast has ended."""
        self._reader.forget(self.plan.cast.id)


def _obey_seat(sender: CastSender, seat: CastSeat) -> None:
    sender.prefer(seat.task_id, seat.preferred)
    moved = sender.members[seat.task_id].moved
    if seat.dropped and not moved:
        sender.move(seat.task_id, _DROPPED)
    elif not seat.dropped and moved == _DROPPED:
        sender.readmit(seat.task_id)


def status_of(member: Member, now: float, waiting: bool) -> str:
    """How a PC gets its chunks, in words."""
    if member.flags & Flag.COMPLETE:
        return cast_status.COMPLETE
    if member.flags & Flag.LEAVING:
        return cast_status.LEFT
    if member.moved:
        return cast_status.BY_NFS + member.moved
    if now - member.heard_at >= GONE_S:
        return cast_status.SILENT
    if member.flags & Flag.DEAF:
        return f"{cast_status.BY_NFS}multicast does not arrive there"
    if waiting:
        return cast_status.WAITS
    return cast_status.SLOW if member.behind_since is not None else cast_status.BY_MULTICAST
