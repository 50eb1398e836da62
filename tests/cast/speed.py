"""How fast one core takes in DATA and makes and uses parity: `python -m tests.cast.speed`.

One core of an AMD EPYC, shared with other work, CPU time: see docs/cast-protocol.md section 11.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from appliance.cast import fec
from appliance.cast.assembly import Assembly
from appliance.cast.receiver import CastReceiver, Place
from appliance.services.cast_sockets import RUN_FRAMES
from appliance.wire.cast import MAX_FRAME_BYTES, SEGMENT_BYTES, Data, data_frames, segment_count

LENGTH = 420_000
CHUNKS = 400


def cpu(action: Callable[[], object]) -> float:
    """CPU seconds of `action`."""
    begun = time.process_time()
    action()
    return time.process_time() - begun


def runs_of(chunk: int, file: bytes, sequence: int) -> list[bytes]:
    """Buffers as UDP_GRO returns them: full runs, the last one shorter."""
    pieces = [file[at : at + SEGMENT_BYTES] for at in range(0, len(file), SEGMENT_BYTES)]
    return [
        data_frames(Data(1, sequence + at, chunk, len(file), at), pieces[at : at + RUN_FRAMES])
        for at in range(0, len(pieces), RUN_FRAMES)
    ]


def receive(step: int) -> float:
    """Bytes of chunk files per CPU second, when one receive returns a run (step 0) or single datagrams (step 1)."""
    receiver = CastReceiver(Place(1, 1, bytes(32), bytes(32), CHUNKS, 64 << 20), 0.0, random.Random(1))
    receiver.want_all()
    file, segments = random.Random(1).randbytes(LENGTH), segment_count(LENGTH)
    buffers = [[memoryview(run) for run in runs_of(chunk, file, chunk * segments)] for chunk in range(CHUNKS)]
    if step:
        buffers = [
            [run[at : at + MAX_FRAME_BYTES] for run in chunk for at in range(0, len(run), MAX_FRAME_BYTES)]
            for chunk in buffers
        ]

    def take() -> None:
        for chunk in buffers:
            for buffer in chunk:
                receiver.frames(buffer, MAX_FRAME_BYTES, 1.0)
            receiver.done(receiver.ready.popleft())

    spent = cpu(take)
    assert receiver.complete()
    return CHUNKS * LENGTH / spent


def parity(loss: float) -> tuple[float, float]:
    """CPU seconds for each chunk: of the sender's parity ahead for this loss, of a receiver's repair."""
    rng = random.Random(1)
    file, segments = rng.randbytes(LENGTH), segment_count(LENGTH)
    numbers = range(fec.ahead(segments, loss) * fec.groups_of(segments))
    made: dict[int, bytes] = {}

    def make() -> None:
        for chunk in range(20):
            encoder = fec.Encoder(chunk, file)
            made.update({number: encoder.parity(number) for number in numbers})

    making = cpu(make) / 20
    spent, repaired = 0.0, 0
    for _ in range(40):
        part = Assembly(19, LENGTH)
        for number in range(segments):
            if rng.random() >= loss:
                part.add(number, [file[number * SEGMENT_BYTES : (number + 1) * SEGMENT_BYTES]], 1)
        part.parities = {number: body for number, body in made.items() if rng.random() >= loss}
        if part.rounds_needed() == 0:
            spent += cpu(part.file)
            repaired += 1
            assert bytes(part.file() or b"") == file
    return making, spent / repaired


if __name__ == "__main__":
    print(f"receive, runs: {receive(0) / 1e6:.0f} MB/s of CPU time")
    print(f"receive, single datagrams: {receive(1) / 1e6:.0f} MB/s of CPU time")
    for share in (0.01, 0.10):
        make_s, repair_s = parity(share)
        print(f"parity for {share:.0%} loss: {make_s * 1e3:.2f} ms to make, {repair_s * 1e3:.2f} ms to repair a chunk")
