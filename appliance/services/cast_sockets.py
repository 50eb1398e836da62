"""The sockets of casts on one interface: DATA and PROBE to the group, FEEDBACK in and ECHO out, IGMP.

References: ip(7) (IP_MULTICAST_IF, IP_MULTICAST_TTL), udp(7) (UDP_SEGMENT: one send of many datagrams of one size),
raw(7); RFC 2236 section 2 (IGMP goes out with TTL 1 and the Router Alert option).
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

import psutil

from appliance.cast.querier import Querier
from appliance.config import Cast, Network
from appliance.errors import ConfigError
from appliance.services.runtime import cannot_listen
from appliance.wire import igmp
from appliance.wire.cast import MAX_FRAME_BYTES

log = logging.getLogger(__name__)

RUN_FRAMES = 65507 // MAX_FRAME_BYTES  # one send holds at most 64 KiB less headers
_UDP_SEGMENT = 103  # linux/udp.h
_SEND_BUFFER = 1 << 20
_RECEIVE_BUFFER = 4 << 20  # messages of a thousand PCs
_SEND_TIMEOUT_S = 1.0
_FEEDBACK_AT_ONCE = 64  # messages taken before sending goes on
# The interface cannot cut a run: an MTU below 1500, or a driver that refuses.
_NO_SEGMENTS = frozenset({errno.EINVAL, errno.EIO, errno.EMSGSIZE, errno.EOPNOTSUPP, errno.ENOPROTOOPT})


@dataclass(frozen=True, slots=True)
class Card:
    """One address of an interface."""

    name: str
    index: int
    address: IPv4Address
    broadcast: IPv4Address | None


def cards_of(network: Network) -> list[Card]:
    """Every IPv4 address that the chosen interfaces have now. Raises `ConfigError` when none is chosen."""
    if not network.interfaces:
        raise ConfigError("Casts have no interface to go out of.", hint="Set network.interfaces in the settings.")
    known, found = psutil.net_if_addrs(), []
    for name in network.interfaces:
        with suppress(OSError):  # it has gone just now
            index = socket.if_nametoindex(name)
            for item in known.get(name, ()):
                if item.family == socket.AF_INET:
                    broadcast = IPv4Address(item.broadcast) if item.broadcast else None
                    found.append(Card(name, index, IPv4Address(item.address), broadcast))
    return found


class Outlet:
    """The way out to the PCs of one card, and in from them."""

    def __init__(self, card: Card, settings: Cast) -> None:
        self.card = card
        self._port = settings.port
        self._segments = True
        self._complaint = ""
        self.data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.feedback = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._prepare(settings)
        except OSError as error:
            self.close()
            raise cannot_listen("The cast service", str(card.address), settings.feedback_port, error) from error

    def _prepare(self, settings: Cast) -> None:
        data, address = self.data, self.card.address.packed
        data.setsockopt(
            socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("4s4si", bytes(4), address, self.card.index)
        )
        data.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, settings.ttl)
        data.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        data.bind((str(self.card.address), 0))
        data.settimeout(_SEND_TIMEOUT_S)
        try:
            data.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, MAX_FRAME_BYTES)
        except OSError as error:
            self._without_segments(error)
        self.feedback.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self.feedback.bind((str(self.card.address), settings.feedback_port))
        self.feedback.setblocking(False)

    def send(self, frames: bytes, group: IPv4Address) -> None:
        """Send a run of frames to the group, or to a broadcast address. What cannot be sent counts as lost."""
        try:
            self._send(frames, (str(group), self._port))
            self._complaint = ""
        except OSError as error:
            if str(error) != self._complaint:
                log.warning("%s: frames of a cast to %s are lost: %s", self.card.name, group, error)
            self._complaint = str(error)

    def _send(self, frames: bytes, target: tuple[str, int]) -> None:
        """As one send where the interface cuts it, else frame by frame."""
        if self._segments:
            try:
                self.data.sendto(frames, target)
                return
            except OSError as error:
                if error.errno not in _NO_SEGMENTS:
                    raise
                self._without_segments(error)
        for at in range(0, len(frames), MAX_FRAME_BYTES):
            self.data.sendto(frames[at : at + MAX_FRAME_BYTES], target)

    def _without_segments(self, error: OSError) -> None:
        log.info("%s sends each frame of a cast by itself, since runs are refused: %s", self.card.name, error)
        self._segments = False
        with suppress(OSError):
            self.data.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, 0)

    def heard(self) -> list[tuple[bytes, tuple[str, int]]]:
        """FEEDBACK that has come, each with its sender's address."""
        found: list[tuple[bytes, tuple[str, int]]] = []
        with suppress(OSError):  # nothing more, or the ICMP error of an ECHO to a PC that is gone
            while len(found) < _FEEDBACK_AT_ONCE:
                found.append(self.feedback.recvfrom(MAX_FRAME_BYTES + 1))
        return found

    def answer(self, frame: bytes, address: tuple[str, int]) -> None:
        """Send an ECHO; a lost one is answered by the next."""
        with suppress(OSError):
            self.feedback.sendto(frame, address)

    def close(self) -> None:
        """Close both sockets."""
        self.data.close()
        self.feedback.close()


class IgmpPort:
    """The querier of one interface and its raw socket. It listens always and asks only while a cast is open."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self._querier: Querier | None = None
        self._last: tuple[igmp.Query, IPv4Address, float] | None = None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_IGMP)
        try:
            where = struct.pack("4s4si", bytes(4), card.address.packed, card.index)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, card.name.encode() + b"\0")
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, igmp.ROUTER_ALERT)
            self.socket.setblocking(False)
        except OSError:
            self.socket.close()
            raise

    def hear(self, now: float) -> None:
        """Take in the IGMP messages that have come."""
        with suppress(OSError):
            while True:
                packet = self.socket.recv(2048)
                with suppress(igmp.MalformedIgmp):
                    self._take(packet, now)

    def _take(self, packet: bytes, now: float) -> None:
        """A raw socket gives the IPv4 header too."""
        if len(packet) < 20:
            return
        message, source = igmp.parse(packet[(packet[0] & 15) * 4 :]), IPv4Address(packet[12:16])
        if isinstance(message, igmp.Query) and source != self.card.address:
            self._last = message, source, now
            if self._querier is not None:
                self._querier.heard(message, source, now)

    def query(self, active: bool, now: float) -> None:
        """Send the query that is due while casts are open (`active`)."""
        if not active:
            self._querier = None
            return
        if self._querier is None:
            self._querier = Querier(self.card.address, now)
            if self._last is not None:
                self._querier.heard(*self._last)
        message = self._querier.due(now)
        if message is not None:
            with suppress(OSError):
                self.socket.sendto(igmp.encode(message), (str(igmp.ALL_SYSTEMS), 0))

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()


def igmp_ports(cards: list[Card]) -> list[IgmpPort]:
    """A querier for each interface; without the right to raw sockets none, and the log says so."""
    ports: list[IgmpPort] = []
    try:
        ports.extend(map(IgmpPort, {card.index: card for card in reversed(cards)}.values()))
    except OSError as error:
        for port in ports:
            port.close()
        log.warning("The box sends no IGMP queries (%s): switches that snoop need a querier of their own.", error)
        return []
    return ports
