"""A room in a discrete-event simulation: the real state machines, a made-up clock, network and disks.

    python -m tests.cast.simulator             the bench scenarios, and Frisbee's Tables 3 and 4
    python -m tests.cast.simulator thousand    1000 receivers
    python -m tests.cast.simulator ezio        the rooms that EZIO and udpcast have published times of

What is simulated: the wire (one send after the other at the link's rate), loss per receiver and common loss, disks that
write one chunk after the other, the in-place check, NFS as one shared unicast link, arrival, death and return. FEEDBACK
goes through the real codec. Not simulated: CPU time, socket buffers, the delay of switches (0.2 ms stands for all).
"""

from __future__ import annotations

import heapq
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count

from appliance.cast.assembly import Assembly
from appliance.cast.rate import Link, Rate
from appliance.cast.receiver import CastReceiver, Place
from appliance.cast.sender import CastSender, Send, Start
from appliance.wire.cast import MAX_FRAME_BYTES, Beat, Data, parse_feedback, segment_count

KEY = bytes(32)
DELAY_S = 0.0002
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Pc:
    """One simulated receiver."""

    arrives_s: float = 0.0
    disk_bytes_s: float = 400e6  # plain bytes
    loss: float = 0.0
    dies_s: float = math.inf
    returns_s: float = math.inf
    differs: float | None = None  # share of the windows that are wrong on its disk; None: blank, no check
    check_bytes_s: float = 500e6
    deaf: bool = False
    cast: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """One scenario. Rates in bytes/s of UDP payload."""

    pcs: tuple[Pc, ...]
    chunks: int = 500
    plain_bytes: int = MIB  # of a chunk
    file_bytes: int = 420_000  # of a chunk file: zstd makes 2.5 of a system disk
    ceiling: float = 100e6
    common_loss: float = 0.0  # before the switch: the same frames for all
    casts: int = 1
    start: Start = field(default_factory=Start)
    nfs_bytes_s: float = 100e6
    seed: int = 1
    buffer_bytes: int = 256 * MIB
    limit_s: float = 3600.0


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    seconds: list[float]  # from arrival to the end, of each PC that ended
    ended_at: list[float]
    unfinished: int
    sent_frames: int = 0
    image_frames: int = 0
    parity_frames: int = 0
    nfs_bytes: int = 0
    messages: int = 0
    moved: list[str] = field(default_factory=list)
    cast_ended_at: dict[int, float] = field(default_factory=dict)
    by_pc: dict[int, float] = field(default_factory=dict)  # number of the PC in the room -> seconds

    @property
    def mean(self) -> float:
        """Mean time of a PC, s."""
        return statistics.fmean(self.seconds) if self.seconds else math.inf

    def first_mean(self, number: int) -> float:
        """Mean time of the first `number` PCs of the room, s."""
        times = [seconds for pc, seconds in self.by_pc.items() if pc < number]
        return statistics.fmean(times) if times else math.inf

    @property
    def sent_ratio(self) -> float:
        """Frames sent for each frame of the image (or of the union of what was missing)."""
        return self.sent_frames / self.image_frames


class _Machine:
    """A PC in the simulation."""

    def __init__(self, number: int, pc: Pc, room: Room, rng: random.Random, now: float) -> None:
        self.number, self.pc = number, pc
        place = Place(pc.cast + 1, number, KEY, KEY, room.chunks, room.buffer_bytes)
        self.receiver = CastReceiver(place, now, rng)
        self.rng = rng
        self.disk_free_at = now
        self.nfs_open = 0
        self.alive = True
        self.scheduled = math.inf
        self.life = 0


class Simulation:
    """Runs one `Room` to its end."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self.rng = random.Random(room.seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._link = Link(room.ceiling)
        self.senders = {
            n + 1: CastSender(n + 1, room.chunks, Rate(room.ceiling), 0.0, room.start) for n in range(room.casts)
        }
        self.machines: dict[int, _Machine] = {}
        self.wrong = {n: self._wrong(pc) for n, pc in enumerate(room.pcs)}
        self._nfs_free_at = 0.0
        self._wire_free_at = 0.0
        self._waking = math.inf
        self.out = Outcome([], [], 0)
        per_chunk = segment_count(room.file_bytes)
        for cast in self.senders:
            needed: set[int] = set()
            for n, pc in enumerate(room.pcs):
                needed |= self.wrong[n] if pc.cast + 1 == cast else set()
            self.out.image_frames += len(needed) * per_chunk

    def _wrong(self, pc: Pc) -> set[int]:
        if pc.differs is None:
            return set(range(self.room.chunks))
        return set(self.rng.sample(range(self.room.chunks), max(1, round(pc.differs * self.room.chunks))))

    def at(self, time: float, action: Callable[[], None]) -> None:
        """Do `action` at `time`."""
        heapq.heappush(self._events, (max(time, self.now), next(self._order), action))

    def run(self) -> Outcome:
        """Until every PC has ended, or the limit."""
        left = len(self.room.pcs)
        for n, pc in enumerate(self.room.pcs):
            self.at(pc.arrives_s, lambda n=n: self._arrive(n))  # type: ignore[misc]
            if pc.dies_s < math.inf:
                self.at(pc.dies_s, lambda n=n: self._die(n))  # type: ignore[misc]
            if pc.returns_s < math.inf:
                self.at(pc.returns_s, lambda n=n: self._arrive(n))  # type: ignore[misc]
        self._wake(0.0)
        expected = left - sum(pc.dies_s < math.inf and pc.returns_s == math.inf for pc in self.room.pcs)
        while self._events and self.now < self.room.limit_s and len(self.out.seconds) < expected:
            self.now, _, action = heapq.heappop(self._events)
            action()
        self.out.unfinished = expected - len(self.out.seconds)
        return self.out

    # PCs

    def _arrive(self, number: int) -> None:
        pc = self.room.pcs[number]
        life = self.machines[number].life + 1 if number in self.machines else 0
        machine = self.machines[number] = _Machine(number, pc, self.room, self.rng, self.now)
        machine.life = life
        if life:  # a reboot: what was written is found by the check, its numbers begin anew with a new task session
            self.senders[pc.cast + 1].forget(number)
        if pc.differs is None:
            machine.receiver.want_all()
        else:
            step = self.room.plain_bytes / pc.check_bytes_s
            for chunk in range(self.room.chunks):
                self.at(self.now + (chunk + 1) * step, lambda c=chunk: self._checked(machine, c))  # type: ignore[misc]
        self._plan_feedback(machine)

    def _checked(self, machine: _Machine, chunk: int) -> None:
        if chunk in self.wrong[machine.number]:
            machine.receiver.want(chunk)
        else:
            machine.receiver.have(chunk)
        self._look_after(machine)

    def _die(self, number: int) -> None:
        self.machines[number].alive = False

    def _plan_feedback(self, machine: _Machine) -> None:
        if machine.receiver.due < machine.scheduled:
            machine.scheduled = machine.receiver.due
            self.at(machine.scheduled, lambda: self._feedback(machine))

    def _feedback(self, machine: _Machine) -> None:
        machine.scheduled = math.inf
        if not machine.alive:
            return
        if self.now >= machine.receiver.due - 1e-9:
            frame = machine.receiver.feedback(self.now)
            self.out.messages += 1
            self.at(self.now + DELAY_S, lambda: self._heard(machine, frame))
        self._plan_feedback(machine)
        self._look_after(machine)

    def _heard(self, machine: _Machine, frame: bytes) -> None:
        sender = self.senders[machine.pc.cast + 1]
        message = parse_feedback(frame, KEY)
        if sender.feedback(message, self.now):
            beat = sender.echo(message, self.now)
            self.at(self.now + DELAY_S, lambda: self._beat(machine, beat))
        self._wake(self.now)

    def _beat(self, machine: _Machine, beat: Beat) -> None:
        if machine.alive:
            machine.receiver.beat(beat, self.now)
            self._plan_feedback(machine)

    def _look_after(self, machine: _Machine) -> None:
        """Start what the receiver has ready, fetch what it claims, and see whether it is complete."""
        receiver = machine.receiver
        while receiver.ready:
            part = receiver.ready.popleft()
            self._write(machine, lambda part=part: self._written(machine, part))  # type: ignore[misc]
        for chunk in receiver.claim(self.now, 4 - machine.nfs_open):
            machine.nfs_open += 1
            self.out.nfs_bytes += self.room.file_bytes
            self._nfs_free_at = max(self._nfs_free_at, self.now) + self.room.file_bytes / self.room.nfs_bytes_s
            self.at(self._nfs_free_at, lambda c=chunk: self._fetched(machine, c))  # type: ignore[misc]
        if machine.alive and receiver.complete():
            machine.alive = False
            message = parse_feedback(receiver.farewell(), KEY)
            self.senders[machine.pc.cast + 1].feedback(message, self.now)
            self.out.seconds.append(self.now - min(machine.pc.arrives_s, self.now))
            self.out.ended_at.append(self.now)
            self.out.by_pc[machine.number] = self.out.seconds[-1]
            self.out.cast_ended_at[machine.pc.cast] = self.now

    def _write(self, machine: _Machine, then: Callable[[], None]) -> None:
        machine.disk_free_at = max(machine.disk_free_at, self.now) + self.room.plain_bytes / machine.pc.disk_bytes_s
        self.at(machine.disk_free_at, then)

    def _written(self, machine: _Machine, part: Assembly) -> None:
        machine.receiver.done(part)
        self._look_after(machine)

    def _fetched(self, machine: _Machine, chunk: int) -> None:
        machine.nfs_open -= 1
        self._write(machine, lambda: self._on_disk(machine, chunk))

    def _on_disk(self, machine: _Machine, chunk: int) -> None:
        machine.receiver.have(chunk)
        self._look_after(machine)

    # The box

    def _wake(self, time: float) -> None:
        if time < self._waking:
            self._waking = time
            self.at(time, self._serve)

    def _serve(self) -> None:
        if self.now < self._waking - 1e-9:
            return
        self._waking = math.inf
        ready = {}
        for cast, sender in self.senders.items():
            self.out.moved += [m.moved for m in sender.moved_now(self.now)]
            if sender.next(self.now):
                ready[cast] = sender.rate.rate
            elif beat := sender.probe(self.now):
                for machine in self._listeners(cast):
                    if self.rng.random() >= machine.pc.loss:
                        arrival = max(self._wire_free_at, self.now) + DELAY_S
                        self.at(arrival, lambda m=machine, b=beat: self._beat(m, b))  # type: ignore[misc]
        chosen, again = self._link.next(ready, self.now)
        if chosen is not None:
            again = self._send(chosen)
        self._wake(min(again, self.now + 0.02))

    def _listeners(self, cast: int) -> list[_Machine]:
        return [m for m in self.machines.values() if m.alive and not m.pc.deaf and m.pc.cast + 1 == cast]

    def _send(self, cast: int) -> float:
        sender = self.senders[cast]
        item = sender.next(self.now)
        assert item is not None
        length, sequence = self.room.file_bytes, sender.sequence
        frames = item.frames(length)
        sender.sent(item, length, self.now)
        self.out.sent_frames += frames
        self.out.parity_frames += frames - segment_count(length) * item.whole
        self._link.sent(cast, frames * MAX_FRAME_BYTES, sender.rate.rate, self.now)
        self._wire_free_at = max(self._wire_free_at, self.now) + frames * MAX_FRAME_BYTES / self.room.ceiling
        self.at(self._wire_free_at + DELAY_S, lambda: self._deliver(cast, item, sequence))
        return self.now

    def _deliver(self, cast: int, item: Send, sequence: int) -> None:
        length = self.room.file_bytes
        segments = segment_count(length)
        numbers = item.parity_numbers(length)
        pieces = [(0, segments)] if item.whole else []
        if numbers:
            pieces.append((segments + numbers.start, len(numbers)))
        common = [self._survivors(n, self.room.common_loss) for _, n in pieces]
        for machine in self._listeners(cast):
            at = sequence
            for (first, size), through in zip(pieces, common, strict=True):
                for begin, run in self._lose(through, machine.pc.loss):
                    machine.receiver.run(
                        Data(cast, (at + begin) & 0xFFFFFFFF, item.chunk, length, first + begin), run, None, self.now
                    )
                at += size
            self._look_after(machine)

    def _survivors(self, size: int, loss: float) -> list[tuple[int, int]]:
        """Runs (first, count) of `size` frames that are not lost."""
        if loss <= 0:
            return [(0, size)]
        runs, at = [], 0
        while at < size:
            gap = int(math.log(1 - self.rng.random()) / math.log(1 - loss))
            if gap:
                runs.append((at, min(gap, size - at)))
            at += gap + 1
        return runs

    def _lose(self, through: list[tuple[int, int]], loss: float) -> Iterable[tuple[int, int]]:
        if loss <= 0:
            return through
        return [(begin + b, n) for begin, size in through for b, n in self._survivors(size, loss)]


def simulate(room: Room) -> Outcome:
    """Run `room`."""
    return Simulation(room).run()


def alike(number: int, pc: Pc | None = None) -> tuple[Pc, ...]:
    """`number` PCs as `pc`."""
    return tuple(pc or Pc() for _ in range(number))


def alone(room: Room) -> float:
    """Seconds that one undisturbed PC of this room's kind takes."""
    undisturbed = Room((Pc(),), chunks=room.chunks, file_bytes=room.file_bytes, ceiling=room.ceiling)
    return simulate(undisturbed).mean


def bench_rooms(receivers: int = 32, chunks: int = 2000) -> dict[str, Room]:
    """The bench entries' scenarios, at 100 MB/s."""
    one_cast = chunks * segment_count(420_000) * MAX_FRAME_BYTES / 100e6
    some = max(receivers // 8, 1)
    base = Room(alike(receivers), chunks=chunks)
    late = tuple(Pc(arrives_s=one_cast * n / receivers) for n in range(receivers))
    dead = alike(receivers - some) + alike(some, Pc(dies_s=one_cast / 2))
    slow = (*alike(receivers - 1), Pc(disk_bytes_s=10e6))
    two = alike(receivers // 2) + alike(receivers // 2, Pc(cast=1))
    return {
        "1": Room(alike(1), chunks=chunks),
        "32_vs_1": base,
        "late": replace(base, pcs=late),
        "loss_1pct": replace(base, pcs=alike(receivers, Pc(loss=0.01))),
        "loss_10pct": replace(base, pcs=alike(receivers, Pc(loss=0.10))),
        "loss_10pct_alone": Room(alike(1, Pc(loss=0.10)), chunks=chunks),
        "loss_1pct_common": replace(base, common_loss=0.01),
        "dead": replace(base, pcs=dead),
        "slow": replace(base, pcs=slow),
        "two_images": replace(base, pcs=two, casts=2),
        "redeploy": replace(base, pcs=alike(receivers, Pc(differs=0.02))),
    }


def frisbee_rooms() -> dict[str, Room]:
    """Tables 3 and 4 of Hibler et al. 2003: 80 PCs with disks of 21.4 MB/s, 70 Mb/s; 180 MB (small) and 655 MB."""
    small = Room((), chunks=172, plain_bytes=3_628_000, file_bytes=MIB, ceiling=7.85e6, buffer_bytes=64 * MIB)
    large = replace(small, chunks=625, plain_bytes=2_842_000)
    pc, rooms = Pc(disk_bytes_s=21.4e6), {}
    for name, room in (("small", small), ("large", large)):
        rooms[f"T3 {name}, together"] = replace(room, pcs=alike(80, pc))
        rooms[f"T3 {name}, 4 groups, 10 s apart"] = replace(
            room, pcs=tuple(replace(pc, arrives_s=10.0 * (n // 20)) for n in range(80))
        )
        rooms[f"T3 {name}, spread over 30 s"] = replace(
            room, pcs=tuple(replace(pc, arrives_s=30.0 * n / 80) for n in range(80))
        )
    fast, slow = replace(pc, disk_bytes_s=30e6), replace(pc, disk_bytes_s=17.5e6)
    for mbit, rate in ((70, 7.85e6), (90, 10.1e6)):
        for number in (0, 1, 4, 8):
            pcs = alike(4, fast) + alike(number, slow)
            rooms[f"T4 {mbit} Mb/s, 4 fast, {number} slow"] = replace(large, pcs=pcs, ceiling=rate)
    return rooms


def thousand_rooms() -> dict[str, Room]:
    """1000 PCs that come within 5 s, 1 % loss, 20 slow disks, 20 that are switched off after a second."""
    pcs = [Pc(arrives_s=n / 200, loss=0.01) for n in range(1000)]
    for n in range(0, 1000, 50):
        pcs[n] = replace(pcs[n], disk_bytes_s=20e6)
        pcs[n + 1] = replace(pcs[n + 1], dies_s=pcs[n + 1].arrives_s + 1)
    return {"1000 PCs": Room(tuple(pcs), chunks=400)}


def ezio_rooms() -> dict[str, Room]:
    """EZIO's README: 50 GB onto hard disks by 1 Gb/s. One PC by udpcast takes 390 s: its disk writes 128 MB/s or more.

    `alike`: only that; `raw`: chunks that cannot be compressed, as EZIO sends them; `uneven`: disks of 103 to 154 MB/s,
    128 on the average, and 0.1 % loss, so that no two PCs are alike.
    """
    disk, gigabit = 50e9 / 390, 900e6 / 8
    base = Room((), chunks=round(50e9 / MIB), ceiling=gigabit)
    rooms = {}
    for number in (1, 2, 4, 8, 16, 24, 32):
        pcs = alike(number, Pc(disk_bytes_s=disk))
        rooms[f"alike, {number}"] = replace(base, pcs=pcs)
        rooms[f"raw, {number}"] = replace(base, pcs=pcs, file_bytes=MIB)
        rooms[f"uneven, {number}"] = replace(
            base, pcs=tuple(Pc(disk_bytes_s=disk * (0.8 + 0.4 * (n + 0.5) / number), loss=0.001) for n in range(number))
        )
    return rooms


def _print(rooms: dict[str, Room]) -> None:
    heads = ["scenario", "PCs", "mean s", "median s", "first 4: mean s", "last ended at s", "sent / image"]
    heads += ["of it parity", "NFS MB", "FEEDBACK", "CPU s"]
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for name, room in rooms.items():
        begun = time.process_time()
        out = simulate(room)
        cells = [
            name, f"{len(room.pcs)}", f"{out.mean:.2f}", f"{statistics.median(out.seconds):.2f}",
            f"{out.first_mean(4):.2f}", f"{max(out.ended_at):.2f}", f"{out.sent_ratio:.3f}",
            f"{out.parity_frames / out.image_frames:.3f}",
            f"{out.nfs_bytes / 1e6:.0f}", f"{out.messages}", f"{time.process_time() - begun:.1f}",
        ]  # fmt: skip
        print("| " + " | ".join(cells) + " |", flush=True)
        for why in sorted(set(out.moved)):
            print(f"  moved to NFS: {out.moved.count(why)}, since {why}")


if __name__ == "__main__":
    if sys.argv[1:] == ["thousand"]:
        _print(thousand_rooms())
    elif sys.argv[1:2] == ["ezio"]:
        _print({name: room for name, room in ezio_rooms().items() if not sys.argv[2:] or name in sys.argv[2:]})
    else:
        _print(bench_rooms() | frisbee_rooms())
