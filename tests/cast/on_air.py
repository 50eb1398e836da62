"""A small sender on real sockets: `kit.Desk` with a thread, for receivers that are tested without the box's service.

It can lose datagrams of its own (a lossy relay), be killed, be heard by nobody, and be forged.
"""

from __future__ import annotations

import contextlib
import ctypes
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from appliance.cast.sender import Start
from appliance.wire.agentapi import CastOrder
from appliance.wire.cast import MAX_FRAME_BYTES, BadFrame
from tests.cast.kit import CAST, CAST_KEY, Desk, datagrams

GROUP, PORT, TALK_PORT = "239.192.68.7", 4020, 4021
TOKEN_HASH = b"\1" * 32  # `kit.KEY` is made of it
_UDP_SEGMENT = 103
_RUN = 44  # frames in one send
_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Sockets that this thread makes in the body belong to the network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/thread-self/ns/net") as home, (Path("/run/netns") / namespace).open() as there:
        if libc.setns(there.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), _CLONE_NEWNET) == 0


class OnAir:
    """A cast of `files` from `address`; use as a context manager, with sockets of the namespace it is made in."""

    def __init__(
        self,
        files: list[bytes],
        address: str,
        *,
        rate: float = 40e6,
        loses: Callable[[], bool] | None = None,
        to: str = GROUP,
        start: Start | None = None,
    ) -> None:
        """`rate` in bytes/s; `loses` says of each datagram whether it is lost; `to`: the group, or a broadcast."""
        self.desk = Desk(files, time.monotonic(), start)
        self.address, self.to, self.rate, self.loses = address, to, rate, loses
        self.sent_chunks: list[int] = []  # whole
        self.sent_frames = 0
        self.refused = 0  # FEEDBACK whose MAC was wrong
        self.is_muted = False  # nothing goes to the group
        self._group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._group.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(address))
        self._talk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._talk.bind((address, 0))
        self._talk.setblocking(False)
        self.port = self._talk.getsockname()[1]
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def order(self, receiver: int = 1) -> CastOrder:
        """What the task of a receiver says."""
        return CastOrder(f"{CAST:016x}", receiver, CAST_KEY.hex(), GROUP, PORT, self.address, self.port)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()

    def kill(self) -> None:
        """No further word."""
        self._ended.set()
        self._thread.join()
        self._group.close()
        self._talk.close()

    def _run(self) -> None:
        free_at = time.monotonic()
        while not self._ended.is_set():
            now = time.monotonic()
            select.select([self._talk], [], [], min(max(free_at - now, 0), 0.01))
            self._hear()
            now = time.monotonic()
            if now < free_at:
                continue
            free_at = max(free_at, now - 0.01) + self._send(now) / self.rate

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                frame, peer = self._talk.recvfrom(2048)
                try:
                    echo = self.desk.listen(frame, time.monotonic())
                except BadFrame:
                    self.refused += 1
                    continue
                if echo:
                    self._talk.sendto(echo, peer)

    def _send(self, now: float) -> int:
        item = self.desk.sender.next(now)
        runs = self.desk.send(now)
        if item is not None and item.whole:
            self.sent_chunks.append(item.chunk)
        if not runs:
            probe = self.desk.probe(now)
            if probe is None:
                time.sleep(0.002)
            elif not self.is_muted:
                self._group.sendto(probe, (self.to, PORT))
        for run in runs:
            self._send_run(run)
        return sum(map(len, runs))

    def _send_run(self, run: bytes) -> None:
        pieces = datagrams(run)
        self.sent_frames += len(pieces)
        if self.is_muted:
            return
        if self.loses is not None:
            for piece in pieces:
                if not self.loses():
                    self._group.sendto(piece, (self.to, PORT))
            return
        segment = [(socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("H", MAX_FRAME_BYTES))]
        for at in range(0, len(pieces), _RUN):
            part = b"".join(pieces[at : at + _RUN])
            self._group.sendmsg([part], segment if len(part) > MAX_FRAME_BYTES else [], 0, (self.to, PORT))


def one_in(number: int, seed: int = 1) -> Callable[[], bool]:
    """Loses one of `number` datagrams."""
    chance = random.Random(seed)
    return lambda: chance.randrange(number) == 0


def files_of(chunks: Path, ids: list[bytes]) -> list[bytes]:
    """The chunk files of a store's chunk folder, by chunk number."""
    return [(chunks / id.hex()[:2] / id.hex()).read_bytes() for id in ids]
