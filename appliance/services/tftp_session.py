"""One TFTP transfer on tftpy's session, state and packet classes, made safe. The only module that imports tftpy.

What tftpy 0.8.7 would do and this module does not: end the server on a malformed datagram, accept writes, open paths,
follow symlinks, compare option names with case, answer options nobody asked for, send blocks larger than RFC 2348
allows, wait for 20 duplicates. What it keeps: the session with its socket and counters, OACK, DATA and ERROR.

References: RFC 1350 (TFTP), RFC 1123 section 4.2 (Sorcerer's Apprentice), RFC 2347 (options), RFC 2348 (blksize),
RFC 2349 (timeout, tsize).
"""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from tftpy.TftpContexts import TftpContextServer
from tftpy.TftpPacketTypes import TftpPacketDAT
from tftpy.TftpShared import TftpErrors
from tftpy.TftpStates import TftpState

RRQ, WRQ, DATA, ACK, ERROR = 1, 2, 3, 4, 5  # opcodes, RFC 1350 section 5
NOT_FOUND: int = TftpErrors.FileNotFound
ACCESS_VIOLATION: int = TftpErrors.AccessViolation
ILLEGAL: int = TftpErrors.IllegalTftpOp

MIN_BLKSIZE = 8  # RFC 2348
MAX_REQUEST_BYTES = 512  # RFC 2347: a request is at most that long
_DATAGRAM_BYTES = 2048  # clients send ACK and ERROR only, which are short
_SHORT = struct.Struct("!HH")


class MalformedRequest(Exception):
    """A datagram on the server's port is no request."""


@dataclass(frozen=True, slots=True)
class Request:
    """A read or write request; names of options are in lower case."""

    name: bytes
    mode: str  # octet, netascii or mail, lower case
    write: bool = False
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, datagram: bytes) -> Request:
        """Parse RRQ and WRQ (RFC 1350 section 5, RFC 2347). Raises `MalformedRequest`, never anything else."""
        if not 4 <= len(datagram) <= MAX_REQUEST_BYTES:
            raise MalformedRequest(f"{len(datagram)} bytes are no request")
        opcode = int.from_bytes(datagram[:2])
        if opcode not in (RRQ, WRQ):
            raise MalformedRequest(f"opcode {opcode} is no request")
        *words, rest = datagram[2:].split(b"\0")
        if rest or len(words) < 2 or len(words) % 2:
            raise MalformedRequest("name, mode and options do not end where they should")
        options: dict[str, str] = {}
        for name, value in zip(words[2::2], words[3::2], strict=True):
            options.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
        return cls(words[0], words[1].decode("latin-1").lower(), opcode == WRQ, options)


@dataclass(frozen=True, slots=True)
class Limits:
    """The operator's settings for a transfer."""

    max_blksize: int = 1468  # bytes
    timeout_s: float = 2.0
    retries: int = 5


def grant(options: Mapping[str, str], size_bytes: int, max_blksize: int) -> dict[str, str]:
    """The options to acknowledge: only what was asked for, understood and valid (RFC 2347).

    A value out of its range counts as not understood; a block size above ours is answered with ours (RFC 2348).
    """
    granted = {}
    blksize = _number(options.get("blksize", ""))
    if blksize >= MIN_BLKSIZE:
        granted["blksize"] = str(min(blksize, max_blksize))
    if 1 <= _number(options.get("timeout", "")) <= 255:
        granted["timeout"] = str(_number(options["timeout"]))
    if "tsize" in options:
        granted["tsize"] = str(size_bytes)
    return granted


def _number(text: str) -> int:
    """A decimal number of at most nine digits, or -1."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


@lru_cache(maxsize=8)  # shared by all transfers of a file, as its plain content is
def netascii(content: bytes) -> bytes:
    """Content as mode `netascii` carries it: LF as CR LF, CR as CR NUL (RFC 764)."""
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")


class _Sending(TftpState):  # type: ignore[misc]
    """Waits for the acknowledgement of the OACK or block that was sent last."""

    def acknowledged(self, block: int) -> bool:
        """Take one ACK; returns whether the transfer is complete.

        Only the block that is waited for moves us on. A repeated ACK is ignored rather than answered, or every
        block from there on would be sent twice (RFC 1123 section 4.2.3.1).
        """
        context = self.context
        if block != context.next_block:
            context.metrics.dupcount += 1
            return False
        if context.pending_complete:
            return True
        # Beyond 65535 blocks they are counted from 0 again, as all clients expect.
        context.next_block = (block + 1) & 0xFFFF
        context.pending_complete = self.sendDAT()
        return False

    def sendDAT(self) -> bool:
        """Send the next block; returns whether it is the last. tftpy's own spends half its time on log lines."""
        context = self.context
        data = context.fileobj.read(context.blksize)
        packet = TftpPacketDAT()
        packet.buffer = _SHORT.pack(DATA, context.next_block) + data
        context.last_pkt = packet
        context.metrics.bytes += len(data)
        context.send(packet.buffer)
        return len(data) < int(context.blksize)


class Transfer(TftpContextServer):  # type: ignore[misc]
    """One read transfer to one client, on a socket of its own, bound to the address the client asked at.

    The caller owns the loop: it calls `readable` when the socket is, and `expired` when `deadline` has passed.
    `peer` and `local` are IPv4 addresses with ports as the socket module has them. Raises `OSError` from the start.
    """

    def __init__(self, peer: tuple[str, int], local: str, device: str, limits: Limits) -> None:
        super().__init__(peer[0], peer[1], limits.timeout_s, "", retries=limits.retries, flock=False)
        self.limits = limits
        self.peer = peer
        self.tidport = peer[1]
        self.fileno: int = self.sock.fileno()  # remembered, since a closed socket has none
        self.request: Request | None = None
        self.started = time.monotonic()
        self.deadline = self.started + limits.timeout_s  # monotonic seconds
        self.heard = False  # the client has acknowledged something: it is no forged address
        self.blksize = 512
        self.state = _Sending(self)
        try:
            self.sock.setblocking(False)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            self.sock.bind((local, 0))
            self.sock.connect(peer)  # the kernel drops what others send to this port
        except (OSError, OverflowError):
            self.sock.close()
            raise

    def begin(self, request: Request, content: bytes) -> None:
        """Answer a read request with an OACK, or with block 1 when no option was granted."""
        if request.mode == "netascii":
            content = netascii(content)
        self.request = request
        self.fileobj = io.BytesIO(content)
        self.options = grant(request.options, len(content), self.limits.max_blksize)
        self.blksize = int(self.options.get("blksize", 512))
        self.timeout = float(self.options.get("timeout", self.limits.timeout_s))
        self.deadline = time.monotonic() + self.timeout
        if self.options:
            self.next_block = 0
            self.state.sendOACK()
        else:
            self.next_block = 1
            self.pending_complete = self.state.sendDAT()

    def refuse(self, code: int) -> None:
        """Send an ERROR and end."""
        self.state.sendError(code)
        self.end()

    def readable(self) -> bool:
        """Take one datagram; returns whether the transfer is complete.

        Raises `ConnectionError` when the client has given up, by ERROR or by closing its port.
        """
        try:
            datagram = self.sock.recv(_DATAGRAM_BYTES)
        except BlockingIOError:
            return False
        if len(datagram) < 4:
            return False
        opcode, number = _SHORT.unpack_from(datagram)
        if opcode == ACK:
            return self._acknowledged(number)
        if opcode == ERROR:
            raise ConnectionAbortedError(f"the client sent error {number}")
        return False

    def _acknowledged(self, block: int) -> bool:
        waited_for = self.next_block
        done: bool = self.state.acknowledged(block)
        if done or self.next_block != waited_for:
            self.heard = True
            self.retry_count = 0
            self.deadline = time.monotonic() + self.timeout
        return done

    def expired(self) -> None:
        """Send the last packet again. Raises `TimeoutError` when it has been sent often enough."""
        if self.retry_count >= self.limits.retries:
            raise TimeoutError(f"no answer to block {self.next_block}")
        self.retry_count += 1
        self.deadline = time.monotonic() + self.timeout
        self.repeat()

    def repeat(self) -> None:
        """Send the last packet again, without counting."""
        self.metrics.resent_bytes += len(self.last_pkt.buffer)
        self.send(self.last_pkt.buffer)

    def send(self, packet: bytes) -> None:
        """Send, or leave it to the next retry when the system has no room or no route just now."""
        try:
            self.sock.send(packet)
        except ConnectionError:
            raise
        except OSError:
            self.metrics.errors += 1

    @property
    def sent_bytes(self) -> int:
        """Bytes of content sent, repeats not counted."""
        return int(self.metrics.bytes)
