"""Is somebody using an address that nobody was lent? Asked of many addresses at once, before they are offered.

References: RFC 2131 section 3.1 step 2 and section 4.4.1, RFC 5227 section 2.1.1 (ARP probe: sender address 0.0.0.0),
RFC 826 (ARP), RFC 792 (echo). ARP finds everybody on the link, even behind a host firewall; ICMP is for clients
behind a relay, whom ARP does not reach.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from appliance.services.dhcp_server import Link

log = logging.getLogger(__name__)

_ETH_P_ARP = 0x0806
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ARP_BYTES = 14 + _ARP.size
_ETHERNET_BROADCAST = b"\xff" * 6
_ICMP_ECHO = 8
_ICMP_ECHO_REPLY = 0


@dataclass(slots=True)
class _Probe:
    address: IPv4Address
    link: Link
    client_mac: bytes
    then: Callable[[str], None]


def arp_probe(own_mac: bytes, address: bytes) -> bytes:
    """An Ethernet frame that asks who has `address`, without claiming an address for the asker."""
    arp = _ARP.pack(1, 0x0800, 6, 4, 1, own_mac, bytes(4), bytes(6), address)
    return b"".join((_ETHERNET_BROADCAST, own_mac, _ETH_P_ARP.to_bytes(2, "big"), arp))


def arp_sender(frame: bytes) -> tuple[bytes, bytes] | None:
    """MAC and address of whoever sent this ARP frame; None for anything else."""
    if len(frame) < _ARP_BYTES:
        return None
    hardware, protocol, hlen, plen, _, mac, address, _, _ = _ARP.unpack_from(frame, 14)
    if (hardware, protocol, hlen, plen) != (1, 0x0800, 6, 4):
        return None
    return mac, address


def icmp_echo(identifier: int, sequence: int) -> bytes:
    """An echo request (RFC 792)."""
    header = struct.pack("!BBHHH", _ICMP_ECHO, 0, 0, identifier, sequence)
    total = sum(struct.unpack("!4H", header))
    total = (total & 0xFFFF) + (total >> 16)
    return b"".join((header[:2], (~total & 0xFFFF).to_bytes(2, "big"), header[4:]))


def icmp_reply(packet: bytes, identifier: int) -> bool:
    """Whether this IP packet is an answer to our echo."""
    if not packet:
        return False
    header = (packet[0] & 0x0F) * 4
    icmp = packet[header : header + 8]
    return len(icmp) == 8 and icmp[0] == _ICMP_ECHO_REPLY and int.from_bytes(icmp[4:6], "big") == identifier


class ConflictProber:
    """Asks once at the beginning and once after half of the waiting time, and reports who answered first."""

    def __init__(self, links: Iterable[Link], wait_s: float) -> None:
        self._wait_s = wait_s
        self._loop = asyncio.get_running_loop()
        self._identifier = os.getpid() & 0xFFFF
        self._sequence = 0
        self._waiting: dict[bytes, _Probe] = {}
        self._again: deque[tuple[float, _Probe]] = deque()
        self._due: deque[tuple[float, _Probe]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._arp: dict[int, socket.socket] = {}
        self._icmp: socket.socket | None = None
        if wait_s > 0:
            self._open(links)

    def _open(self, links: Iterable[Link]) -> None:
        for link in links:
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
            sock.setblocking(False)
            sock.bind((link.name, _ETH_P_ARP))
            self._arp[link.index] = sock
            self._loop.add_reader(sock, self._arp_arrived, sock)
        self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.IPPROTO_ICMP)
        self._icmp.setblocking(False)
        self._loop.add_reader(self._icmp, self._icmp_arrived, self._icmp)

    def probe(self, link: Link, address: IPv4Address, client_mac: str, then: Callable[[str], None]) -> None:
        """Call `then` with the MAC (address, behind a relay) of whoever has `address`, or '' when the time is over.

        An answer from `client_mac` itself is no conflict: it still has the address from before.
        """
        if self._wait_s <= 0:
            then("")
            return
        probe = _Probe(address, link, bytes.fromhex(client_mac.replace(":", "")), then)
        now = self._loop.time()
        self._waiting[address.packed] = probe
        self._again.append((now + self._wait_s / 2, probe))
        self._due.append((now + self._wait_s, probe))
        self._ask(probe)
        if self._timer is None:
            self._arm()

    def _ask(self, probe: _Probe) -> None:
        # A probe that cannot be sent (link down, no route) finds nobody, as one that nobody hears.
        with suppress(OSError):
            if probe.link.is_local(probe.address):
                frame = arp_probe(bytes.fromhex(probe.link.mac.replace(":", "")), probe.address.packed)
                self._arp[probe.link.index].send(frame)
            elif self._icmp is not None:
                self._sequence = (self._sequence + 1) & 0xFFFF
                self._icmp.sendto(icmp_echo(self._identifier, self._sequence), (str(probe.address), 0))

    def _arm(self) -> None:
        at = min(queue[0][0] for queue in (self._again, self._due) if queue) if self._due else None
        self._timer = None if at is None else self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        # 5 ms ahead: neighbours in time share one wake-up.
        now = self._loop.time() + 0.005
        while self._again and self._again[0][0] <= now:
            probe = self._again.popleft()[1]
            if self._waiting.get(probe.address.packed) is probe:
                self._ask(probe)
        while self._due and self._due[0][0] <= now:
            probe = self._due.popleft()[1]
            if self._waiting.get(probe.address.packed) is probe:
                self._finish(probe, "")
        self._arm()

    def _finish(self, probe: _Probe, user: str) -> None:
        del self._waiting[probe.address.packed]
        try:
            probe.then(user)
        except Exception:
            log.exception("After the conflict probe of %s", probe.address)

    def _arp_arrived(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                frame = sock.recv(2048)
            except OSError:
                return
            sender = arp_sender(frame)
            probe = self._waiting.get(sender[1]) if sender is not None else None
            if probe is None or sender is None:
                continue
            if self._arp.get(probe.link.index) is sock and sender[0] != probe.client_mac:
                self._finish(probe, sender[0].hex(":"))

    def _icmp_arrived(self, sock: socket.socket) -> None:
        for _ in range(64):
            try:
                packet, source = sock.recvfrom(2048)
            except OSError:
                return
            probe = self._waiting.get(socket.inet_aton(source[0]))
            if probe is not None and not probe.link.is_local(probe.address) and icmp_reply(packet, self._identifier):
                self._finish(probe, source[0])

    def close(self) -> None:
        """Forget all probes and close the sockets."""
        if self._timer is not None:
            self._timer.cancel()
        for sock in (*self._arp.values(), *([self._icmp] if self._icmp else [])):
            self._loop.remove_reader(sock)
            sock.close()
