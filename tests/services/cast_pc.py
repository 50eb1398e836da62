"""A software PC of a cast: `appliance.cast.receiver` with real sockets and a dictionary for a disk.

`python -m tests.services.cast_pc JSON` runs until everything is there (or `seconds` are over) and prints as JSON how it
went. Lines `{"written": n}` come meanwhile, a few a second.
"""

from __future__ import annotations

import json
import random
import select
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from appliance.cast.receiver import CastReceiver, Mode, Place
from appliance.engine.castlist import cast_chunks
from appliance.engine.chunk import open_frame
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.errors import ChunkInvalid
from appliance.wire.cast import feedback_key

_SO_RCVBUFFORCE = 33  # socket(7)


@dataclass(frozen=True, slots=True)
class Errand:
    """What the PC is to do."""

    images: str  # folder of the image store, for the chunk list only
    version_id: str
    cast_id: str
    key: str
    receiver: int
    token_hash: str
    group: str
    port: int
    server: str
    server_port: int
    loss: float = 0.0  # share of the datagrams that it throws away
    seconds: float = 30.0
    until: str = "complete"  # complete, or the name of a `Mode`
    half: int = 0  # it holds every so manieth chunk already


@dataclass(slots=True)
class Report:
    """How it went."""

    complete: bool = False
    seconds: float = 0.0
    written: int = 0
    mode: str = ""
    counts: dict[str, int] = field(default_factory=dict)


class Pc:
    """The sockets and the disk."""

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        store = ChunkStore(Path(errand.images))
        manifest = store.read_manifest(errand.version_id)
        self.ids = cast_chunks(manifest, lambda name: store.read_index(errand.version_id, name))
        key = feedback_key(bytes.fromhex(errand.token_hash))
        place = Place(int(errand.cast_id, 16), errand.receiver, bytes.fromhex(errand.key), key, len(self.ids), 32 << 20)
        self.rng = random.Random(errand.receiver)
        self.receiver = CastReceiver(place, time.monotonic(), self.rng)
        if errand.half:
            for chunk in range(0, len(self.ids), errand.half):
                self.receiver.have(chunk)
        self.receiver.want_all()
        self.group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.group.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 16 << 20)
        self.group.bind(("", errand.port))
        member = struct.pack("4s4si", socket.inet_aton(errand.group), bytes(4), socket.if_nametoindex("eth0"))
        self.group.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        self.own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.own.connect((errand.server, errand.server_port))
        for sock in (self.group, self.own):
            sock.setblocking(False)

    def run(self) -> Report:
        """Until what was asked for has come, or the time is over."""
        begin = told = time.monotonic()
        while not self.done(now := time.monotonic()) and now - begin < self.errand.seconds:
            if now >= self.receiver.due:
                self.say(self.receiver.feedback(now))
            if now - told > 0.2:
                told = now
                print(json.dumps({"written": self.receiver.written}), flush=True)
            select.select([self.group, self.own], [], [], max(0.0, min(self.receiver.due - now, 0.2)))
            self.hear()
            self.work()
        seconds = time.monotonic() - begin
        for _ in range(3):
            self.say(self.receiver.farewell())
        mode = self.receiver.mode(time.monotonic()).name
        counts = asdict(self.receiver.counts)
        return Report(self.receiver.complete(), seconds, self.receiver.written, mode, counts)

    def done(self, now: float) -> bool:
        if self.errand.until == "complete":
            return self.receiver.complete()
        return self.receiver.mode(now) is Mode[self.errand.until]

    def say(self, frame: bytes) -> None:
        try:
            self.own.send(frame)
        except OSError:
            return  # the box is away

    def hear(self) -> None:
        for sock in (self.own, self.group):
            try:
                for _ in range(200):
                    frame = sock.recv(65535)
                    if self.rng.random() >= self.errand.loss:
                        self.receiver.frames(frame, len(frame), time.monotonic())
            except OSError:
                continue

    def work(self) -> None:
        while self.receiver.ready:
            part = self.receiver.ready.popleft()
            file = part.file()
            try:
                if file is None:
                    raise ChunkInvalid("it cannot be put together")
                open_frame(bytes(file), self.ids[part.chunk])
                self.receiver.done(part)
            except ChunkInvalid:
                self.receiver.bad(part)


def main(text: str) -> None:
    """Run one errand."""
    errand: dict[str, Any] = json.loads(text)
    print(json.dumps(asdict(Pc(Errand(**errand)).run())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
