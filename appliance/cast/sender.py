"""The sender of one cast: who wants what, and what to send next. Pure; the clock comes in as `now`, in seconds.

Rules: docs/cast-protocol.md section 5. Nobody asks, nothing is sent; a chunk that many miss is sent once, and what
each lost of it is repaired for all by the same parity; a dead receiver's wishes are dropped, a slow one's come after
all others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from appliance.cast import bits, fec
from appliance.cast.rate import STEP_S, Rate, Report
from appliance.wire.cast import Beat, Feedback, Flag, Kind, Notice, after, segment_count

GONE_S = 5.0  # no FEEDBACK for so long: its wishes are dropped
IDLE_END_S = 60.0  # nobody there for so long: the cast is over
FLIGHT_S = 15.0  # longest time from sending a chunk to the FEEDBACK that has heard it; socket buffers hold seconds
QUEUE = 64  # chunks planned at once; a plan older than PLAN_S is made anew
PLAN_S = 0.1
PROBE_S = 1.0  # while nothing is sent
SLOW_SHARE = 0.5  # dropped / heard above which a receiver is called slow ...
SLOW_LAST_S = 3.0  # ... after so long, and served last; ...
SLOW_MOVED_S = 30.0  # ... and after so long moved to NFS, when others are not slow
ALONE_LIMIT = 8  # times one chunk is sent whole on the wish of one receiver alone


@dataclass(frozen=True, slots=True)
class Send:
    """What to send next: a chunk file whole or not at all, and then some rounds of parity."""

    chunk: int
    whole: bool
    first_round: int
    repair: int = 0  # rounds of parity when it is not sent whole; a round has one for each group of the chunk
    loss: float = 0.0  # that parity is sent ahead for when it is

    def rounds(self, length: int) -> int:
        """How many rounds of parity, for a chunk file of `length` bytes."""
        return fec.ahead(segment_count(length), self.loss) if self.whole else self.repair

    def parity_numbers(self, length: int) -> range:
        """Numbers of the parity segments, for a chunk file of `length` bytes."""
        groups = fec.groups_of(segment_count(length))
        return range(self.first_round * groups, (self.first_round + self.rounds(length)) * groups)

    def frames(self, length: int) -> int:
        """How many DATA frames that is."""
        return segment_count(length) * self.whole + len(self.parity_numbers(length))


@dataclass(slots=True)
class Member:
    """What the sender knows of one receiver."""

    number: int
    wants: int = 0  # whole chunks, without what was sent since
    parts: dict[int, int] = field(default_factory=dict)  # chunk -> rounds of parity
    message: int = -1
    heard_at: float = 0.0
    flags: Flag = Flag.NONE
    written: int = 0
    loss: float = 0.0  # smoothed
    behind_since: float | None = None  # since when it drops most of what it hears
    preferred: bool = False
    moved: str = ""  # why it is not served any more; else empty
    alone: dict[int, int] = field(default_factory=dict)  # chunk -> times sent for it alone
    report: Report | None = None  # since the last step of the rate
    step_from: float = 0.0

    def wants_anything(self) -> bool:
        """Whether it takes part and lacks something."""
        return not self.moved and not self.flags & Flag.DEAF and bool(self.wants or self.parts)


@dataclass(frozen=True, slots=True)
class Start:
    """When to begin: a courtesy. With `wait_for` PCs or `wait_s` after the first came, whichever is first."""

    wait_for: int = 0
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sent:
    chunk: int
    whole: bool
    last_sequence: int
    at: float


class CastSender:
    """The state of one cast of a version with `chunks` chunks."""

    def __init__(
        self, cast_id: int, chunks: int, rate: Rate, now: float, start: Start | None = None, first_sequence: int = 0
    ) -> None:
        self.cast_id = cast_id
        self.chunks = chunks
        self.rate = rate
        self.members: dict[int, Member] = {}
        self.sequence = first_sequence  # of the next frame; random, so that a restart is noticed
        self.refused = 0  # FEEDBACK that was old, repeated or about chunks that do not exist
        self._start = start or Start()
        self._started = not self._start.wait_for
        self._first_came: float | None = None
        self._someone_at = now
        self._cursor = 0
        self._flight: deque[_Sent] = deque()
        self._plan: deque[Send] = deque()
        self._planned_at = float("-inf")
        self._news = True  # something happened since the plan was made
        self._sent_whole: list[int] = []  # since the members' wishes were last brought up to date
        self._sent_any: set[int] = set()
        self._alone = 0  # chunks of the plan that one receiver alone wants
        self._ever = 0  # chunks that were sent before
        self._unreadable = 0
        self._rounds: dict[int, int] = {}  # next parity round of each chunk
        self._stepped_at = now
        self._probe_at = now
        self._quiet_probes = 0
        self._broadcast = False

    # What receivers say

    def feedback(self, message: Feedback, now: float) -> bool:
        """Take in one message whose MAC was right. False: it is old, repeated, or about chunks that do not exist."""
        member = self.members.get(message.receiver) or Member(message.receiver)
        if message.number <= member.message or message.end > self.chunks or message.cast_id != self.cast_id:
            self.refused += 1
            return False
        self.members[message.receiver] = member
        if member.message < 0:
            member.step_from = now
        self._first_came = now if self._first_came is None else self._first_came
        self._someone_at = now
        self._news = True
        self._settle()
        whole_flight, flight = self._flight_after(message)
        member.message, member.heard_at, member.flags, member.written = (
            message.number, now, message.flags, message.written,
        )  # fmt: skip
        if message.flags & (Flag.LEAVING | Flag.COMPLETE):
            member.wants, member.parts, member.behind_since = 0, {}, None
            return True
        covered = bits.span(message.first, message.end)
        member.wants = (member.wants & ~covered) | (message.wanted & ~whole_flight)
        member.parts = {p.chunk: p.rounds for p in message.parts if p.chunk < self.chunks and p.chunk not in flight}
        self._judge(member, message, now)
        return True

    def _flight_after(self, message: Feedback) -> tuple[int, set[int]]:
        """Chunks that were sent after what the receiver has heard, so that its word on them is too old: those that were
        sent whole (bit set), and all of which anything was sent."""
        whole: list[int] = []
        flying: set[int] = set()
        if message.flags & Flag.SILENT:
            return 0, flying
        for item in reversed(self._flight):
            if not after(item.last_sequence, message.highest):
                break
            flying.add(item.chunk)
            if item.whole:
                whole.append(item.chunk)
        return bits.of(whole), flying

    def _judge(self, member: Member, message: Feedback, now: float) -> None:
        """Its loss, its pace, and whether its disk is behind."""
        all_sent = message.heard + message.missed
        if all_sent:
            member.loss += min(1.0, all_sent / 2000) * (message.missed / all_sent - member.loss)
        if message.heard and message.dropped > SLOW_SHARE * message.heard:
            member.behind_since = now if member.behind_since is None else member.behind_since
        elif message.heard:
            member.behind_since = None
        old = member.report or Report(0, 0, 0, 0, 0.0, 1.0)
        member.report = Report(
            old.heard + message.heard, old.missed + message.missed, old.dropped + message.dropped,
            old.taken + message.taken, now - member.step_from, message.room / 255,
        )  # fmt: skip

    # What the operator and the tasks say

    def move(self, number: int, why: str) -> None:
        """Stop serving a receiver: it goes on by NFS. `why` is for the operator."""
        if number in self.members:
            self.members[number].moved = why

    def readmit(self, number: int) -> None:
        """Serve a moved receiver again."""
        if number in self.members:
            member = self.members[number]
            member.moved, member.behind_since, member.alone = "", None, {}

    def forget(self, number: int) -> None:
        """The receiver's task ended or was cancelled."""
        self.members.pop(number, None)

    def prefer(self, number: int, on: bool = True) -> None:
        """Serve this receiver's wishes before all others."""
        self.members.setdefault(number, Member(number)).preferred = on

    def begin(self) -> None:
        """Wait for nobody any more."""
        self._started = True

    def unreadable(self, chunk: int) -> None:
        """This chunk's file cannot be read: receivers get it by NFS, which will say why."""
        self._unreadable |= bits.bit(chunk)

    # What to do next

    def present(self, now: float) -> int:
        """How many receivers are there."""
        return sum(1 for _ in self._present(now))

    def _present(self, now: float) -> Iterator[Member]:
        return (
            m for m in self.members.values() if now - m.heard_at < GONE_S and m.message >= 0
            and not m.flags & (Flag.LEAVING | Flag.COMPLETE)
        )  # fmt: skip

    def over(self, now: float) -> bool:
        """Whether nobody has been there for so long that the cast ends."""
        if self.present(now):
            self._someone_at = now
        return now - self._someone_at >= IDLE_END_S

    def waiting(self, now: float) -> bool:
        """Whether the start is still held back for more PCs."""
        if not self._started and self._first_came is not None:
            enough = self.present(now) >= self._start.wait_for
            self._started = enough or now - self._first_came >= self._start.wait_s
        return not self._started

    def next(self, now: float) -> Send | None:
        """What to send next; None: nobody wants anything that is not under way. `sent` must follow before the next."""
        if self.waiting(now):
            return None
        self._step_rate(now)
        if now - self._planned_at >= PLAN_S or (not self._plan and self._news):
            self._make_plan(now)
        return self._plan[0] if self._plan else None

    def upcoming(self) -> list[int]:
        """Chunks that will be sent soon, for the reader thread."""
        return [item.chunk for item in self._plan]

    def sent(self, item: Send, length: int, now: float) -> None:
        """`item`, of a chunk file of `length` bytes, went out in frames numbered from `sequence` on."""
        if self._plan and self._plan[0] is item:
            self._plan.popleft()
        self.sequence = (self.sequence + item.frames(length)) & 0xFFFFFFFF
        self._flight.append(_Sent(item.chunk, item.whole, (self.sequence - 1) & 0xFFFFFFFF, now))
        self._rounds[item.chunk] = item.first_round + item.rounds(length)
        if self._rounds[item.chunk] + 255 > fec.MAX_PARITY // fec.groups_of(segment_count(length)):
            self._rounds[item.chunk] = 0
        if item.whole:
            self._count_alone(item.chunk)
            self._ever |= bits.bit(item.chunk)
            self._sent_whole.append(item.chunk)
            self._cursor = item.chunk + 1 if item.chunk + 1 < self.chunks else 0
        self._sent_any.add(item.chunk)
        self._news = True
        self._probe_at, self._quiet_probes = now, 0

    def skip(self, item: Send) -> None:
        """The reader could not read `item`."""
        self.unreadable(item.chunk)
        if self._plan and self._plan[0] is item:
            self._plan.popleft()

    def probe(self, now: float) -> Beat | None:
        """The PROBE that is due, if one is: at once and twice more quickly when sending ends, then every second."""
        if now < self._probe_at:
            return None
        self._quiet_probes += 1
        self._probe_at = now + (0.05 if self._quiet_probes < 3 else PROBE_S)
        return self._beat(Kind.PROBE, int(now * 1000), now, Notice.WAITING if self.waiting(now) else Notice.NONE)

    def echo(self, message: Feedback, now: float) -> Beat:
        """The answer to a FEEDBACK that `feedback` took."""
        member = self.members.get(message.receiver)
        notice = Notice.WAITING if self.waiting(now) else Notice.NONE
        if member and member.moved:
            notice |= Notice.MOVED
        return self._beat(Kind.ECHO, message.number, now, notice)

    def _beat(self, kind: Kind, stamp: int, now: float, notice: Notice) -> Beat:
        return Beat(kind, self.cast_id, self.sequence, stamp, self.present(now), notice)

    def moved_now(self, now: float) -> list[Member]:
        """Move those that are slow while others are not, or asked too often; returns them with the reason."""
        moved = []
        here = [m for m in self._present(now) if not m.moved]
        quick = any(m.behind_since is None and m.wants_anything() for m in here)
        for member in here:
            if quick and member.behind_since is not None and now - member.behind_since >= SLOW_MOVED_S:
                member.moved = f"its disk takes less than half of the cast's rate for {SLOW_MOVED_S:.0f} s"
            elif any(times >= ALONE_LIMIT for times in member.alone.values()):
                member.moved = f"it alone asked for the same chunk {ALONE_LIMIT} times"
            else:
                continue
            moved.append(member)
        return moved

    def wanted(self, now: float) -> int:
        """How many chunks somebody asks for, whole or in part."""
        self._settle()
        wanted = 0
        for member in self._present(now):
            if member.wants_anything():
                wanted |= member.wants | bits.of(member.parts)
        return wanted.bit_count()

    def use_broadcast(self, now: float) -> bool:
        """Whether to send to the subnet's broadcast address rather than to the group: more than half of the receivers
        are deaf, and more than one, since one alone costs everybody else less by NFS. Stays so until the cast is over.
        """
        here = list(self._present(now))
        deaf = sum(bool(m.flags & Flag.DEAF) for m in here)
        self._broadcast |= deaf > 1 and 2 * deaf > len(here)
        return self._broadcast

    def loss(self, now: float) -> float:
        """The loss that parity is sent ahead for: a quarter of the receivers lose as much or more."""
        losses = sorted(m.loss for m in self._present(now) if m.wants_anything())
        return losses[len(losses) * 3 // 4] if losses else 0.0

    # The plan

    def _step_rate(self, now: float) -> None:
        if now - self._stepped_at < STEP_S:
            return
        self._stepped_at = now
        reports = []
        for member in self._present(now):
            if member.report and (member.report.heard or member.report.missed) and member.wants_anything():
                reports.append(member.report)
            member.report, member.step_from = None, member.heard_at
        self.rate.step(reports)

    def _settle(self) -> None:
        """Take what was sent out of everybody's wishes; they come back only with a FEEDBACK that repeats them."""
        if not self._sent_any:
            return
        keep = ~bits.of(self._sent_whole)
        for member in self.members.values():
            member.wants &= keep
            for chunk in self._sent_any & member.parts.keys():
                del member.parts[chunk]
        self._sent_whole.clear()
        self._sent_any.clear()

    def _make_plan(self, now: float) -> None:
        self._planned_at, self._news = now, False
        self._settle()
        while self._flight and now - self._flight[0].at > FLIGHT_S:
            self._flight.popleft()
        wants, repairs = [0, 0, 0], [0, 0, 0]  # preferred, all, slow
        whole = twice = 0
        parts: dict[int, int] = {}
        for member in self._present(now):
            if not member.wants_anything():
                continue
            twice |= whole & member.wants
            whole |= member.wants
            for chunk, rounds in member.parts.items():
                parts[chunk] = max(parts.get(chunk, 0), fec.repair(rounds, member.loss))
            slow = member.behind_since is not None and now - member.behind_since >= SLOW_LAST_S
            rank = 0 if member.preferred else 2 if slow else 1
            wants[rank] |= member.wants
            repairs[rank] |= bits.of(member.parts)
        self._alone = whole & ~twice
        self._fill_plan(wants, repairs, parts, self.loss(now))

    def _fill_plan(self, wants: list[int], repairs: list[int], parts: dict[int, int], loss: float) -> None:
        """Rank after rank: first repairs, which are small and complete chunks, then whole chunks."""
        self._plan.clear()
        repaired = done = self._unreadable
        for some_wants, some_repairs in zip(wants, repairs, strict=True):
            for chunk in bits.ascending_from(some_repairs & ~repaired, self._cursor, QUEUE - len(self._plan)):
                self._plan.append(Send(chunk, False, self._rounds.get(chunk, 0), repair=parts[chunk]))
            for chunk in bits.ascending_from(some_wants & ~done, self._cursor, QUEUE - len(self._plan)):
                first_round = self._rounds.get(chunk, 0) + (parts.get(chunk, 0) if some_repairs >> chunk & 1 else 0)
                self._plan.append(Send(chunk, True, first_round, loss=loss))
            repaired |= some_repairs
            done |= some_wants

    def _count_alone(self, chunk: int) -> None:
        """A chunk that was sent before is sent whole again on the wish of one receiver alone: remember whose."""
        if not (self._ever & self._alone) >> chunk & 1:
            return
        for member in self.members.values():
            if member.wants >> chunk & 1:
                member.alone[chunk] = member.alone.get(chunk, 0) + 1
