"""What tests of the two state machines share: chunks with hashes, a sender that makes real frames, a receiver."""

from __future__ import annotations

import random

from blake3 import blake3

from appliance.cast import fec
from appliance.cast.rate import Rate
from appliance.cast.receiver import CastReceiver, Place
from appliance.cast.sender import CastSender, Send, Start
from appliance.wire.cast import (
    MAX_FRAME_BYTES,
    SEGMENT_BYTES,
    Beat,
    Data,
    Feedback,
    data_frames,
    feedback_key,
    pack_beat,
    parse_feedback,
    segment_count,
)

CAST, CAST_KEY, KEY = 0x1234, b"\7" * 32, feedback_key(b"\1" * 32)


def chunk_files(number: int, seed: int = 1, length: int = 20_000) -> list[bytes]:
    """Made-up chunk files of different lengths."""
    rng = random.Random(seed)
    return [rng.randbytes(rng.randint(1, length)) for _ in range(number)]


class Desk:
    """A sender with its chunk files, giving out what would go to the group."""

    def __init__(self, files: list[bytes], now: float = 0.0, start: Start | None = None) -> None:
        self.files = files
        self.key = KEY  # of its receivers
        self.sender = CastSender(CAST, len(files), Rate(100e6), now, start, first_sequence=0xFFFFFF00)

    def listen(self, frame: bytes, now: float) -> bytes | None:
        """A FEEDBACK frame comes in; returns the ECHO."""
        message: Feedback = parse_feedback(frame, self.key)
        if not self.sender.feedback(message, now):
            return None
        return pack_beat(self.sender.echo(message, now), self.key)

    def send(self, now: float) -> list[bytes]:
        """The runs (buffers of frames) of the next chunk; empty when nothing is to be sent."""
        item = self.sender.next(now)
        if item is None:
            return []
        runs = self.frames(item)
        self.sender.sent(item, len(self.files[item.chunk]), now)
        return runs

    def frames(self, item: Send) -> list[bytes]:
        """The datagrams of `item`, in runs."""
        file = self.files[item.chunk]
        segments, sequence = segment_count(len(file)), self.sender.sequence
        runs = []
        if item.whole:
            pieces = [file[at : at + SEGMENT_BYTES] for at in range(0, len(file), SEGMENT_BYTES)]
            runs.append(data_frames(Data(CAST, sequence, item.chunk, len(file), 0), pieces))
            sequence += segments
        if numbers := item.parity_numbers(len(file)):
            encoder = fec.Encoder(item.chunk, file)
            head = Data(CAST, sequence, item.chunk, len(file), segments + numbers.start)
            runs.append(data_frames(head, [encoder.parity(n) for n in numbers]))
        return runs

    def probe(self, now: float) -> bytes | None:
        """The PROBE that is due."""
        beat: Beat | None = self.sender.probe(now)
        return pack_beat(beat, CAST_KEY) if beat else None


class Seat:
    """A receiver whose workers check the hash at once and write to a dictionary."""

    def __init__(self, files: list[bytes], *, number: int = 1, now: float = 0.0, buffer_bytes: int = 1 << 20) -> None:
        self.ids = [blake3(file).digest() for file in files]
        place = Place(CAST, number, CAST_KEY, KEY, len(files), buffer_bytes, max_chunk_bytes=1 << 17)
        self.receiver = CastReceiver(place, now, random.Random(number))
        self.disk: dict[int, bytes] = {}

    def work(self) -> None:
        """What the workers do with whole chunks."""
        while self.receiver.ready:
            part = self.receiver.ready.popleft()
            file = part.file()
            if file is not None and blake3(file).digest() == self.ids[part.chunk]:
                self.disk[part.chunk] = bytes(file)
                self.receiver.done(part)
            else:
                self.receiver.bad(part)


def datagrams(run: bytes) -> list[bytes]:
    """A run cut into its datagrams."""
    return [run[at : at + MAX_FRAME_BYTES] for at in range(0, len(run), MAX_FRAME_BYTES)]
