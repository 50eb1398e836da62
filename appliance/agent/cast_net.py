"""The two sockets of a cast's receiver: one that hears the group, one that talks with the sender.

References: ip(7) IP_ADD_MEMBERSHIP, IP_MULTICAST_ALL; udp(7) UDP_GRO: one receive returns many datagrams of a run, and
a control message says how long each is. socket(7) SO_RCVBUFFORCE, SO_MEMINFO (linux/sock_diag.h: its first two numbers
are the bytes that wait in the socket and the most that may).
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from appliance.wire.agentapi import CastOrder

_IP_MULTICAST_ALL = 49
_UDP_GRO = 104
_SO_RCVBUFFORCE = 33
_SO_MEMINFO = 55
_ANCILLARY_BYTES = socket.CMSG_SPACE(4)
RUN_BYTES = 1 << 16  # the most that one receive returns
_ROOMY_BYTES = 16 << 20  # holds what comes while nobody looks for a few hundredths of a second
RECEIVE_BUFFER_BYTES = 64 << 20  # more than half a second at 900 Mb/s: a stall of this PC loses nothing


class CastSockets:
    """Open until `close`. Nothing blocks. `may_rest`: the kernel's buffer bridges pauses between two looks."""

    def __init__(self, order: CastOrder, interface: str, receive_buffer_bytes: int = RECEIVE_BUFFER_BYTES) -> None:
        """Join the group on `interface` (empty: where the kernel's routes say). Raises `OSError` or `ValueError`."""
        self._group = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._talk = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            _listen(self._group, order, interface, receive_buffer_bytes)
            self._talk.connect((order.server, order.server_port))
        except (OSError, ValueError, OverflowError):
            self.close()
            raise
        for one in (self._group, self._talk):
            one.setblocking(False)
        self._buffer = bytearray(RUN_BYTES)
        self.may_rest = self._group.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) >= _ROOMY_BYTES

    def close(self) -> None:
        """Leave the group."""
        self._group.close()
        self._talk.close()

    @property
    def group_fd(self) -> int:
        """To wait for what is sent to the group."""
        return self._group.fileno()

    @property
    def talk_fd(self) -> int:
        """To wait for what the sender answers."""
        return self._talk.fileno()

    def receive(self) -> tuple[memoryview, int] | None:
        """What one receive from the group returns, good until the next one, and how long each datagram in it is."""
        try:
            size, extra, _, _ = self._group.recvmsg_into([self._buffer], _ANCILLARY_BYTES)
        except OSError:  # nothing there, or an error that the network reported once
            return None
        each = size
        for level, kind, data in extra:
            if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                (each,) = struct.unpack("i", data[:4])
        return memoryview(self._buffer)[:size], each

    def unread(self) -> float:
        """How full the buffer of the group's socket is, 0 to 1."""
        waiting, most = struct.unpack("II", self._group.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 8))
        return min(waiting / most, 1.0) if most else 0.0

    def answer(self) -> bytes | None:
        """One datagram of the sender. A refused port (the sender is away) is none."""
        with suppress(OSError):
            return self._talk.recv(RUN_BYTES)
        return None

    def say(self, frame: bytes) -> None:
        """Send one datagram to the sender. What cannot be sent now is lost, as datagrams may be."""
        with suppress(OSError):
            self._talk.send(frame)


def _listen(sock: socket.socket, order: CastOrder, interface: str, receive_buffer_bytes: int) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, receive_buffer_bytes)
    except PermissionError:  # not as root: what net.core.rmem_max allows
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
    sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
    # Not bound to the group: what the sender broadcasts, because the room is deaf, comes to the same port.
    sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    sock.bind(("", order.port))
    index = socket.if_nametoindex(interface) if interface else 0
    member = struct.pack("@4s4si", socket.inet_aton(order.group), bytes(4), index)  # struct ip_mreqn
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
