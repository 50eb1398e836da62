"""A DHCPv4 message, and where the answer to it has to go.

References: RFC 2131 (section 2 format, section 4.1 addressing of replies), RFC 1542 (relays, 300-byte minimum),
RFC 951 (BOOTP header), PXE 2.1 section 2.2 (port 4011).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address

from appliance.wire.dhcp_options import (
    MalformedOption,
    MessageType,
    Opt,
    Options,
    encode_options,
    encode_overloaded,
    parse_overloaded,
    u16_of,
)

SERVER_PORT = 67
CLIENT_PORT = 68

BOOTREQUEST = 1
BOOTREPLY = 2
ETHERNET = 1
BROADCAST_FLAG = 0x8000

ANY = IPv4Address(0)
EVERYBODY = IPv4Address("255.255.255.255")

_HEADER = struct.Struct("!BBBBIHHIIII16s64s128sI")
_COOKIE = 0x63825363
_MIN_BYTES = 300  # RFC 1542 section 2.1: shorter ones are dropped by some relays and firmware
_DEFAULT_MAX_BYTES = 576  # RFC 2131 section 2: what every client must take, IP and UDP headers included
_ETHERNET_MAX_BYTES = 1500
_IP_UDP_BYTES = 28


class MalformedPacket(MalformedOption):
    """A datagram is no DHCP message."""


@dataclass(frozen=True, slots=True)
class Packet:
    """One message. `chaddr` has exactly the length that hlen says; `file` and `sname` are without padding."""

    op: int
    xid: int
    chaddr: bytes
    options: Mapping[int, bytes] = field(default_factory=dict)
    htype: int = ETHERNET
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = ANY
    yiaddr: IPv4Address = ANY
    siaddr: IPv4Address = ANY
    giaddr: IPv4Address = ANY
    sname: bytes = b""
    file: bytes = b""

    @property
    def mac(self) -> str:
        """The hardware address as text, `52:54:00:aa:01:02`."""
        return self.chaddr.hex(":")

    @property
    def message_type(self) -> MessageType | None:
        """Option 53; None for a BOOTP message. Raises `MalformedOption` for a number that RFC 2132 does not know."""
        value = self.options.get(Opt.MESSAGE_TYPE)
        if value is None:
            return None
        if len(value) != 1 or not 1 <= value[0] <= 8:
            raise MalformedOption(f"option 53 (message type) is {value[:8].hex()}: no type that RFC 2132 knows")
        return MessageType(value[0])

    @property
    def wants_broadcast(self) -> bool:
        """Whether the client says it cannot take a unicast before it has an address."""
        return bool(self.flags & BROADCAST_FLAG)

    @classmethod
    def parse(cls, data: bytes) -> Packet:
        """Read one datagram. Raises `MalformedPacket` or `MalformedOption`, nothing else."""
        if len(data) < _HEADER.size:
            raise MalformedPacket(f"{len(data)} bytes: too short for DHCP, which has at least {_HEADER.size}")
        op, htype, hlen, hops, xid, secs, flags, ci, yi, si, gi, chaddr, sname, file, cookie = _HEADER.unpack_from(data)
        if cookie != _COOKIE:
            raise MalformedPacket(f"magic cookie {cookie:08x}: not DHCP")
        if op not in (BOOTREQUEST, BOOTREPLY):
            raise MalformedPacket(f"op {op}: neither request nor reply")
        if hlen > 16:
            raise MalformedPacket(f"hardware address of {hlen} bytes: the field has 16")
        options, overload = parse_overloaded(data[_HEADER.size :], file, sname)
        return cls(
            op=op,
            xid=xid,
            chaddr=chaddr[:hlen],
            options=options,
            htype=htype,
            hops=hops,
            secs=secs,
            flags=flags,
            ciaddr=IPv4Address(ci) if ci else ANY,
            yiaddr=IPv4Address(yi) if yi else ANY,
            siaddr=IPv4Address(si) if si else ANY,
            giaddr=IPv4Address(gi) if gi else ANY,
            sname=b"" if overload & 2 else sname.partition(b"\0")[0],
            file=b"" if overload & 1 else file.partition(b"\0")[0],
        )

    def encode(self, max_bytes: int = _ETHERNET_MAX_BYTES) -> bytes:
        """Write the message, using free header fields (option 52) when it would be over `max_bytes` (with IP and UDP).

        Raises `MalformedOption` when it does not fit even so.
        """
        file, sname = self.file, self.sname
        options = encode_options(self.options)
        room = max_bytes - _IP_UDP_BYTES - _HEADER.size
        if len(options) > room:
            free = (room, 0 if file else 128, 0 if sname else 64)
            options, more_file, more_sname = encode_overloaded(self.options, free)
            file, sname = file or more_file, sname or more_sname
        header = _HEADER.pack(
            self.op,
            self.htype,
            len(self.chaddr),
            self.hops,
            self.xid,
            self.secs,
            self.flags,
            int(self.ciaddr),
            int(self.yiaddr),
            int(self.siaddr),
            int(self.giaddr),
            self.chaddr,
            sname,
            file,
            _COOKIE,
        )
        return (header + options).ljust(_MIN_BYTES, b"\0")


def max_reply_bytes(request: Packet) -> int:
    """How large the reply may be, IP and UDP headers included: option 57, within what Ethernet carries."""
    asked = u16_of(request.options, Opt.MAX_SIZE)
    if asked is None:
        return _DEFAULT_MAX_BYTES
    return max(_DEFAULT_MAX_BYTES, min(asked, _ETHERNET_MAX_BYTES))


def reply_to(request: Packet, options: Options, **fields: IPv4Address | bytes) -> Packet:
    """An empty reply with everything that RFC 2131 table 3 copies from the request; `fields` are set on top."""
    values: dict[str, IPv4Address | bytes] = {"giaddr": request.giaddr, **fields}
    return Packet(
        op=BOOTREPLY,
        xid=request.xid,
        chaddr=request.chaddr,
        options=options,
        htype=request.htype,
        flags=request.flags,
        **values,  # type: ignore[arg-type]
    )


class Via(Enum):
    """How a reply reaches its client."""

    RELAY = "relay"  # unicast to the relay's server port
    ROUTED = "routed"  # unicast to an address that the client has already
    BROADCAST = "broadcast"
    LINK = "link"  # unicast to an address that the client has not yet: a neighbour entry must name its MAC


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to send a reply."""

    via: Via
    address: IPv4Address
    port: int


def reply_destination(request: Packet, reply: Packet) -> Destination:
    """RFC 2131 section 4.1, in its order: relay, NAK, client's own address, broadcast flag, offered address.

    A proxyDHCP offer has no `yiaddr` to send to, so it is broadcast.
    """
    if request.giaddr != ANY:
        return Destination(Via.RELAY, request.giaddr, SERVER_PORT)
    if reply.message_type is MessageType.NAK:
        return Destination(Via.BROADCAST, EVERYBODY, CLIENT_PORT)
    if request.ciaddr != ANY:
        return Destination(Via.ROUTED, request.ciaddr, CLIENT_PORT)
    if request.wants_broadcast or reply.yiaddr == ANY:
        return Destination(Via.BROADCAST, EVERYBODY, CLIENT_PORT)
    return Destination(Via.LINK, reply.yiaddr, CLIENT_PORT)
