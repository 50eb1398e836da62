"""Which other DHCP servers are there? Two DISCOVERs of our own, and whoever offers something is named.

References: RFC 2131 section 4.4.1 (DISCOVER), section 4.1 (broadcast flag: the answer can be heard without an address),
PXE 2.1 section 2.2 (a proxyDHCP server answers only those who say PXEClient). An offer binds nobody: none is accepted.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.errors import Unavailable
from appliance.services.dhcp_server import Link
from appliance.wire.dhcp4 import (
    ANY,
    BOOTREPLY,
    BOOTREQUEST,
    BROADCAST_FLAG,
    CLIENT_PORT,
    EVERYBODY,
    SERVER_PORT,
    Packet,
)
from appliance.wire.dhcp_options import MalformedOption, MessageType, Opt, Options, address_of, text_of
from appliance.wire.pxe import PXE_CLASS

# dnsmasq pings an address for up to 3 s before it offers it, ISC's server for 1 s.
WAIT_S = 4.0
_REPEAT_S = 1.5
_SETTLE_S = 0.5  # after the first answer, for a second server to be named as well


@dataclass(frozen=True, slots=True)
class OtherServer:
    """Somebody else who answers DHCP on one of our links."""

    address: IPv4Address
    interface: str
    lends: bool  # False: a proxyDHCP server, which only names loaders
    detail: str


def discover(xid: int, mac: str, *, pxe: bool) -> Packet:
    """The question. Asking for no particular address and with a random transaction id."""
    options: Options = {Opt.MESSAGE_TYPE: bytes((MessageType.DISCOVER,)), Opt.PARAMETER_LIST: bytes((1, 3, 6, 54))}
    if pxe:
        options[Opt.VENDOR_CLASS] = PXE_CLASS + b":Arch:00007:UNDI:003016"
        options[Opt.CLIENT_ARCH] = b"\x00\x07"
        options[Opt.CLIENT_NDI] = b"\x01\x03\x10"
    chaddr = bytes.fromhex(mac.replace(":", ""))
    return Packet(op=BOOTREQUEST, xid=xid, chaddr=chaddr, options=options, flags=BROADCAST_FLAG)


def other_server(reply: Packet, source: IPv4Address, link: Link) -> OtherServer | None:
    """Who made this offer; None when it is our own or no offer. Raises `MalformedOption`."""
    if reply.op != BOOTREPLY or reply.message_type is not MessageType.OFFER:
        return None
    address = address_of(reply.options, Opt.SERVER_ID) or source
    own = {item.ip for item in link.addresses}
    if address in own or source in own:
        return None
    lends = reply.yiaddr != ANY
    boot = text_of(reply.options, Opt.BOOT_FILE) or text_of({Opt.BOOT_FILE: reply.file}, Opt.BOOT_FILE)
    detail = f"offers {reply.yiaddr}" if lends else "proxyDHCP"
    return OtherServer(address, link.name, lends, detail + (f", boot file {boot}" if boot else ""))


class ServerProbe:
    """Looks for other servers; `is_ours` lets our own server ignore these questions when they come back to it."""

    def __init__(self, links: Iterable[Link], *, server_port: int = SERVER_PORT) -> None:
        self._links = tuple(links)
        self._server_port = server_port
        self._xids: set[int] = set()

    def is_ours(self, request: Packet) -> bool:
        """Whether this DISCOVER was sent by us."""
        return request.xid in self._xids

    async def look(self, wait_s: float = WAIT_S) -> list[OtherServer]:
        """Ask on every link at once and wait up to `wait_s`; every server once. Raises `Unavailable`."""
        answers = await asyncio.gather(*(self._look_on(link, wait_s) for link in self._links))
        return [server for found in answers for server in found]

    async def _look_on(self, link: Link, wait_s: float) -> list[OtherServer]:
        loop = asyncio.get_running_loop()
        xids = {secrets.randbits(32): pxe for pxe in (False, True)}
        self._xids |= xids.keys()
        found: dict[tuple[IPv4Address, bool], OtherServer] = {}
        heard = asyncio.Event()
        sock = _listen(link)
        loop.add_reader(sock, _collect, sock, link, xids.keys(), found, heard.set)
        try:
            end = loop.time() + wait_s
            while loop.time() < end and not heard.is_set():
                self._ask(sock, link, xids)
                with suppress(TimeoutError):
                    await asyncio.wait_for(heard.wait(), min(_REPEAT_S, max(0.0, end - loop.time())))
            if heard.is_set():
                await asyncio.sleep(min(_SETTLE_S, wait_s))
        finally:
            loop.remove_reader(sock)
            sock.close()
            self._xids -= xids.keys()
        return list(found.values())

    def _ask(self, sock: socket.socket, link: Link, xids: dict[int, bool]) -> None:
        for xid, pxe in xids.items():
            # A link without carrier has no other server either.
            with suppress(OSError):
                sock.sendto(discover(xid, link.mac, pxe=pxe).encode(), (str(EVERYBODY), self._server_port))


def _listen(link: Link) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
        sock.setblocking(False)
        sock.bind(("0.0.0.0", CLIENT_PORT))
    except OSError as error:
        sock.close()
        reason = "another program has it" if error.errno == errno.EADDRINUSE else str(error)
        raise Unavailable(
            f"Other DHCP servers cannot be looked for on {link.name}: UDP port {CLIENT_PORT}: {reason}.",
            hint="Stop the DHCP client of this interface, or set dhcp.server_probe_s = 0.",
        ) from error
    return sock


def _collect(
    sock: socket.socket,
    link: Link,
    xids: Iterable[int],
    found: dict[tuple[IPv4Address, bool], OtherServer],
    heard: Callable[[], None],
) -> None:
    while True:
        try:
            data, source = sock.recvfrom(4096)
        except OSError:
            return
        try:
            reply = Packet.parse(data)
            server = other_server(reply, IPv4Address(source[0]), link) if reply.xid in xids else None
        except MalformedOption:
            continue
        if server is not None:
            found.setdefault((server.address, server.lends), server)
            heard()
