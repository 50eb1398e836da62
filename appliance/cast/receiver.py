"""The receiver of one cast: what it lacks, what it has in part, what it says. Pure; `now` in seconds comes in.

Rules: docs/cast-protocol.md section 6. One thread calls it (the one that reads the sockets); worker threads get whole
chunk files from `ready`, and their results come back through `done` and `bad`. Nothing that arrives is trusted: a
chunk counts when a worker has found its hash right.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum

from appliance.cast.assembly import Assembly
from appliance.wire.cast import (
    DATA_HEADER_BYTES,
    MAX_CHUNK_BYTES,
    PART_LIMIT,
    BadFrame,
    Beat,
    Data,
    Feedback,
    Flag,
    Kind,
    Notice,
    Part,
    after,
    kind_of,
    pack_feedback,
    parse_beat,
    parse_data,
)

FEEDBACK_S = (0.5, 1.0)  # random between
JOIN_S = (0.05, 0.15)
URGENT_S = (0.02, 0.08)  # after a PROBE that says that the sender is idle; the end grows with the room
URGENT_EACH_S = 0.0005  # by so much for each receiver
DEAF_S = 3.0  # ECHO is heard, the group is not
ECHO_AFTER_S = 1.5  # ... and ECHO so long after the group: more than PROBE's interval, else the sender may have died
GONE_S = 5.0  # nothing is heard: longer than a service that crashed needs to be there again
TAIL_CHUNKS = 16
TAIL_S = 2.0
STALE_S = 10.0  # a chunk in part that gets nothing for so long is dropped
STRIKES = 3  # bad hashes of one chunk, then it is fetched by NFS
CHOOSY = 0.25  # of the buffer: with less room than this only some chunks are taken, see `_has_room`
MAX_GAP = 1 << 16  # frames; a jump further than this in the sequence is believed of PROBE and ECHO only
_WORD = 0xFFFFFFFF


class State(IntEnum):
    """Of one chunk."""

    HERE = 0  # right on the disk
    WANTED = 1
    IN_WORK = 2  # whole; a worker has it
    BY_NFS = 3  # claimed for NFS
    UNCHECKED = 4  # nobody has looked yet what the disk holds: taken when it passes, not asked for


class Mode(Enum):
    """How the receiver gets its chunks, and why."""

    JOINING = "joining the cast"
    WAITING = "waiting for more PCs"
    CAST = "by multicast"
    DEAF = "by NFS: multicast does not arrive here"
    GONE = "by NFS: the cast does not answer"
    MOVED = "by NFS: moved out of the cast by the box"


DEAF_HINT = (
    "Multicast does not arrive at this PC: give the switch an IGMP querier, or turn IGMP snooping off for this VLAN."
)
BY_NFS_MODES = frozenset({Mode.DEAF, Mode.GONE, Mode.MOVED})


@dataclass(slots=True)
class Counts:
    """What was thrown away, and why."""

    foreign: int = 0  # DATA of another cast
    malformed: int = 0  # no frame, or numbers that do not fit
    forged: int = 0  # MAC wrong, or a length that contradicts what came before
    replayed: int = 0  # PROBE, ECHO or DATA that came before
    unwanted: int = 0  # DATA of chunks that are here or in work: others asked for them
    dropped: int = 0  # DATA for which the buffer had no room
    bad_hash: int = 0  # whole chunks
    stale: int = 0  # chunks in part, given up


@dataclass(slots=True)
class _Since:
    """Counts since the last FEEDBACK."""

    heard: int = 0
    missed: int = 0
    dropped: int = 0
    taken: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Who this receiver is; from the task's order."""

    cast_id: int
    receiver: int
    cast_key: bytes  # of PROBE
    key: bytes  # of FEEDBACK and ECHO: `wire.cast.feedback_key`
    chunks: int
    buffer_bytes: int
    max_chunk_bytes: int = MAX_CHUNK_BYTES


@dataclass(slots=True)
class _Times:
    """When what was heard last."""

    joined: float
    group: float | None = None
    echo: float | None = None
    progress: float = 0.0  # when a wanted segment came, or a chunk ended
    due: float = 0.0  # of the next FEEDBACK


class CastReceiver:
    """The state of one receiver. At first no chunk is wanted: `want`, `want_all` and `have` say what the disk holds."""

    def __init__(self, place: Place, now: float, rng: random.Random) -> None:
        self.place = place
        self.counts = Counts()
        self.ready: deque[Assembly] = deque()  # whole chunks for the workers
        self.notice = Notice.NONE
        self.lacking = 0  # chunks that are WANTED
        self.unchecked = place.chunks
        self.written = 0  # chunks that are HERE
        self.fetched_bytes = 0  # of chunk files that came by cast and were right
        self._state = bytearray([State.UNCHECKED]) * place.chunks
        self._parts: dict[int, Assembly] = {}
        self._free = place.buffer_bytes
        self._strikes: dict[int, int] = {}
        self._rng = rng
        self._at = _Times(now, progress=now, due=now + rng.uniform(*JOIN_S))
        self._since = _Since()
        self._highest: int | None = None
        self._number = 0
        self._echoed = 0
        self._probe_stamp = -1
        self._asked_at: int | None = None  # sequence of the PROBE that was answered in haste
        self._first = 0  # chunk that the next FEEDBACK begins with

    # What arrives

    def frames(self, buffer: memoryview | bytes, datagram_bytes: int, now: float) -> None:
        """Take in what one receive returned: datagrams of `datagram_bytes` each, the last may be shorter (UDP_GRO).

        Of a run of frames that belong together only the first and the last header are read, and the payloads are
        copied in bulk: the chunk's hash proves what is between them."""
        view = memoryview(buffer)
        if not view or datagram_bytes <= 0:
            return
        todo = [(0, -(-len(view) // datagram_bytes))]
        while todo:
            first, count = todo.pop()
            if not self._run(view, first, count, datagram_bytes, now):
                half = count // 2
                todo += [(first + half, count - half), (first, half)]

    def _run(self, view: memoryview, first: int, count: int, size: int, now: float) -> bool:
        """Take in frames `first`.. as one run. False: they are not one, cut them in two."""
        start, last_at = first * size, (first + count - 1) * size
        try:
            head = parse_data(view, start, min(size, len(view) - start))
            last = head if count == 1 else parse_data(view, last_at, min(size, len(view) - last_at))
        except BadFrame:
            if count == 1:
                self._no_data(view[start : start + size], now)
            return count == 1
        if head.cast_id != self.place.cast_id and last.cast_id == head.cast_id:
            self.counts.foreign += count
            return True
        if count > 1 and not _is_run(head, last, count):
            return False
        # Only the last frame of a run can be short; `parse_data` has seen that a first one of several is not.
        end = min(last_at + size, len(view))
        payloads = [view[at + DATA_HEADER_BYTES : at + size] for at in range(start, last_at, size)]
        payloads.append(view[last_at + DATA_HEADER_BYTES : end])
        self.run(head, count, payloads, now)
        return True

    def run(self, head: Data, count: int, payloads: list[memoryview] | None, now: float) -> None:
        """Take in `count` frames that follow each other, of one chunk and all data or all parity."""
        self._hear(head.sequence, count)
        self._at.group = now
        chunk = head.chunk
        if chunk >= self.place.chunks or head.length > self.place.max_chunk_bytes:
            self.counts.malformed += count
            return
        if self._state[chunk] not in (State.WANTED, State.UNCHECKED):
            self.counts.unwanted += count
            return
        part = self._parts.get(chunk)
        if part is None:
            if head.segment >= head.segments:
                self.counts.unwanted += count  # parity alone is of no use
                return
            if not self._has_room(head):
                self.counts.dropped += count
                self._since.dropped += count
                return
            part = self._parts[chunk] = Assembly(chunk, head.length)
            self._free -= head.length
        elif part.length != head.length:
            self.counts.forged += count
            self._spoil(chunk)
            return
        self._add(part, head, count, payloads, now)

    def _has_room(self, head: Data) -> bool:
        """Whether to begin this chunk. The fuller the buffer, the fewer, and on every PC the same ones: what one slow
        disk must leave, slower ones leave too, and one repetition serves them all."""
        return self._free >= max(head.length, CHOOSY * _rank(head.chunk) * self.place.buffer_bytes)

    def _add(self, part: Assembly, head: Data, count: int, payloads: list[memoryview] | None, now: float) -> None:
        if head.segment < head.segments:
            new = part.add(head.segment, payloads, count)
        else:
            new = 0
            for offset in range(count):
                new += part.add_parity(head.segment - head.segments + offset, payloads[offset] if payloads else b"")
        self.counts.replayed += count - new if head.segment < head.segments else 0
        if new:
            part.heard_at = self._at.progress = now
            if part.got.bit_count() + len(part.parities) >= part.segments and part.rounds_needed() == 0:
                self._finish(part)

    def _finish(self, part: Assembly) -> None:
        del self._parts[part.chunk]
        self._set(part.chunk, State.IN_WORK)
        self.ready.append(part)

    def _hear(self, sequence: int, count: int) -> None:
        """Account for frames `sequence`.. by the gaps they leave."""
        self._since.heard += count
        last = (sequence + count - 1) & _WORD
        if self._highest is None:
            self._highest = last
        elif after(sequence, self._highest):
            gap = (sequence - self._highest - 1) & _WORD
            if gap <= MAX_GAP:
                self._since.missed += gap
                self._highest = last
        else:
            self._since.missed = max(self._since.missed - count, 0)  # late, not lost
            if after(last, self._highest) and (last - self._highest) & _WORD <= MAX_GAP:
                self._highest = last

    def _no_data(self, frame: memoryview, now: float) -> None:
        """A PROBE that follows DATA at once comes in the same receive."""
        if frame.nbytes > 3 and frame[3] in (Kind.PROBE, Kind.ECHO):
            self.control(frame, now)
        else:
            self.counts.malformed += 1

    def control(self, frame: memoryview | bytes, now: float) -> None:
        """Take in a PROBE or an ECHO."""
        try:
            kind, cast_id = kind_of(frame)
            if cast_id != self.place.cast_id:
                self.counts.foreign += 1
                return
            if kind not in (Kind.PROBE, Kind.ECHO):
                self.counts.malformed += 1
                return
            beat = parse_beat(frame, self.place.cast_key if kind is Kind.PROBE else self.place.key)
        except BadFrame:
            self.counts.forged += 1
            return
        self.beat(beat, now)

    def beat(self, beat: Beat, now: float) -> None:
        """Take in a PROBE or an ECHO whose MAC is right."""
        if beat.kind is Kind.ECHO:
            if not self._echoed < beat.stamp <= self._number:
                self.counts.replayed += 1
                return
            self._echoed, self._at.echo = beat.stamp, now
            self.notice = beat.notice
        else:
            if beat.stamp <= self._probe_stamp:
                self.counts.replayed += 1
                return
            self._probe_stamp, self._at.group = beat.stamp, now
            self.notice = (self.notice & Notice.MOVED) | beat.notice
        self._correct(beat)
        if beat.kind is Kind.PROBE and self.lacking and self._asked_at != beat.sequence:
            self._asked_at = beat.sequence
            latest = max(URGENT_S[1], URGENT_S[0] + beat.present * URGENT_EACH_S)
            self._at.due = min(self._at.due, now + self._rng.uniform(URGENT_S[0], latest))

    def _correct(self, beat: Beat) -> None:
        """The sequence by word of the sender: the end of a burst that was lost, or a forged jump."""
        newest = (beat.sequence - 1) & _WORD
        if self._highest is not None:
            distance = (newest - self._highest) & _WORD
            if MAX_GAP < distance < _WORD - MAX_GAP:
                self._highest = newest
                return
        if beat.kind is not Kind.PROBE:
            return  # an ECHO can overtake DATA, a PROBE hardly
        if self._highest is None:
            self._highest = newest
        elif after(newest, self._highest):
            self._since.missed += (newest - self._highest) & _WORD
            self._highest = newest

    # What the workers and the NFS fetcher say

    def want(self, chunk: int) -> None:
        """The chunk is not on the disk."""
        if self._state[chunk] == State.UNCHECKED:
            self._set(chunk, State.WANTED)

    def want_all(self) -> None:
        """Nothing on the disk is worth a look: everything that was not checked is wanted."""
        self._state = self._state.replace(bytes([State.UNCHECKED]), bytes([State.WANTED]))
        self.lacking, self.unchecked = self.lacking + self.unchecked, 0

    def have(self, chunk: int) -> None:
        """The chunk is right on the disk already."""
        part = self._parts.pop(chunk, None)
        if part:
            self._free += part.length
        if self._state[chunk] != State.HERE:
            self.written += 1
            self._set(chunk, State.HERE)

    def done(self, part: Assembly) -> None:
        """A worker found the hash right and wrote the chunk."""
        self._release(part)
        self.fetched_bytes += part.length
        self.have(part.chunk)

    def bad(self, part: Assembly) -> None:
        """A worker found the hash wrong."""
        self.counts.bad_hash += 1
        self._release(part)
        if self._state[part.chunk] == State.IN_WORK:
            self._strike(part.chunk)

    def _release(self, part: Assembly) -> None:
        self._free += part.length
        self._since.taken += part.length

    def _spoil(self, chunk: int) -> None:
        """What is there of the chunk contradicts itself."""
        self._free += self._parts.pop(chunk).length
        self._strike(chunk)

    def _strike(self, chunk: int) -> None:
        strikes = self._strikes[chunk] = self._strikes.get(chunk, 0) + 1
        self._set(chunk, State.BY_NFS if strikes >= STRIKES else State.WANTED)

    def _set(self, chunk: int, state: State) -> None:
        self.lacking += (state == State.WANTED) - (self._state[chunk] == State.WANTED)
        self.unchecked -= self._state[chunk] == State.UNCHECKED
        self._state[chunk] = state

    def complete(self) -> bool:
        """Whether every chunk is on the disk."""
        return self.written == self.place.chunks

    def mode(self, now: float) -> Mode:
        """How chunks come at the moment."""
        group = self._at.group if self._at.group is not None else self._at.joined
        echo = self._at.echo if self._at.echo is not None else self._at.joined
        if self.notice & Notice.MOVED:
            return Mode.MOVED
        if now - max(group, echo) >= GONE_S or self.notice & Notice.ENDED:
            return Mode.GONE
        if now - group >= DEAF_S and echo - group >= ECHO_AFTER_S:
            return Mode.DEAF
        if self.notice & Notice.WAITING:
            return Mode.WAITING
        return Mode.CAST if self._at.group is not None else Mode.JOINING

    def claim(self, now: float, limit: int) -> list[int]:
        """At most `limit` chunks to fetch by NFS now: all when the cast is of no use, the spoilt ones, the tail.

        Each ends with `have` or `unclaim`."""
        claimed = self._struck_out(max(limit, 0))
        if self._by_nfs(now):
            at = -1
            while len(claimed) < limit and (at := self._state.find(State.WANTED, at + 1)) >= 0:
                claimed.append(at)
                self._set(at, State.BY_NFS)
                part = self._parts.pop(at, None)
                self._free += part.length if part else 0
        return claimed

    def _struck_out(self, limit: int) -> list[int]:
        out = [c for c, n in self._strikes.items() if n >= STRIKES and self._state[c] == State.BY_NFS][:limit]
        for chunk in out:
            del self._strikes[chunk]
        return out

    def _by_nfs(self, now: float) -> bool:
        if self.mode(now) in BY_NFS_MODES:
            return True
        if self.unchecked or not 0 < self.lacking <= TAIL_CHUNKS or self.notice & Notice.WAITING:
            return False
        return now - self._at.progress >= TAIL_S

    def unclaim(self, chunk: int) -> None:
        """NFS did not give the chunk: the cast may."""
        if self._state[chunk] == State.BY_NFS:
            self._set(chunk, State.WANTED)

    # What it says

    @property
    def due(self) -> float:
        """When the next FEEDBACK is to be sent."""
        return self._at.due

    def feedback(self, now: float, unread: float = 0.0) -> bytes:
        """The FEEDBACK to send now; the next one is due later. `unread` is how full the socket's own buffer is, 0 to 1:
        a PC whose processor is slower than the cast shows it there first."""
        self._at.due = now + self._rng.uniform(*FEEDBACK_S)
        self._drop_stale(now)
        flags = Flag.DEAF if self.mode(now) is Mode.DEAF else Flag.NONE
        message = self._message(flags, self._first, self.place.chunks, unread)
        frame, end = pack_feedback(message, self.place.key)
        self._first = end if end < self.place.chunks else 0
        return frame

    def farewell(self) -> bytes:
        """The last word: complete, or leaving. To be sent three times, made anew each time."""
        flag = Flag.COMPLETE if self.complete() else Flag.LEAVING
        return pack_feedback(self._message(flag, 0, 0), self.place.key)[0]

    def _message(self, flags: Flag, first: int, end: int, unread: float = 0.0) -> Feedback:
        self._number += 1
        since, self._since = self._since, _Since()
        wanted, parts = self._wishes() if end else (0, ())
        room = max(min(self._free / self.place.buffer_bytes, 1 - unread), 0.0)
        return Feedback(
            self.place.cast_id, self.place.receiver, self._number, self._highest or 0, since.heard, since.missed,
            since.dropped, self.written, since.taken, int(room * 255),
            flags | (Flag.SILENT if self._highest is None else Flag.NONE), first, end, wanted, parts,
        )  # fmt: skip

    def _wishes(self) -> tuple[int, tuple[Part, ...]]:
        """The chunks wanted whole, and those in part that parity would complete."""
        wanted = int(self._state[::-1].translate(_IS_WANTED), 2)
        parts: list[Part] = []
        for part in self._parts.values():
            if part.lacks_much():
                continue
            wanted &= ~(1 << part.chunk)
            if len(parts) < PART_LIMIT:
                parts.append(Part(part.chunk, part.rounds_needed()))
        return wanted, tuple(parts)

    def _drop_stale(self, now: float) -> None:
        for part in [p for p in self._parts.values() if now - p.heard_at >= STALE_S]:
            del self._parts[part.chunk]
            self._free += part.length
            self.counts.stale += 1


_IS_WANTED = bytes(b"0"[0] if state != State.WANTED else b"1"[0] for state in range(256))


def _rank(chunk: int) -> float:
    """0 to 1, neighbours far apart (multiplicative hashing by the golden ratio: Knuth, TAOCP 3, 6.4)."""
    return (chunk * 0x9E3779B1 & _WORD) / (_WORD + 1)


def _is_run(head: Data, last: Data, count: int) -> bool:
    """Whether the first and the last of `count` frames are as if all between them followed each other."""
    ahead = count - 1
    return (
        last.cast_id == head.cast_id
        and last.chunk == head.chunk
        and last.length == head.length
        and last.segment == head.segment + ahead
        and last.sequence == (head.sequence + ahead) & _WORD
        and (last.segment < head.segments or head.segment >= head.segments)
    )
