"""What the DHCP servers see of the world: a book of hosts, a clock that is set by hand, and effects that are listed."""

from __future__ import annotations

import builtins
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any
from uuid import UUID

from appliance.config import Subnet
from appliance.model import Host, Lease, Reservation, Task
from appliance.services.dhcp_directory import Directory
from appliance.services.dhcp_leases import LeasePool
from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_recorder import Seen
from appliance.services.dhcp_server import FullServer, Link
from appliance.wire.dhcp4 import ANY, Destination, Packet
from appliance.wire.dhcp_options import MessageType, Opt

SUBNET = Subnet(IPv4Network("10.0.0.0/24"), IPv4Address("10.0.0.10"), IPv4Address("10.0.0.12"))
FAR_SUBNET = Subnet(IPv4Network("10.9.0.0/24"), IPv4Address("10.9.0.10"), IPv4Address("10.9.0.99"))
ME = IPv4Address("10.0.0.1")
LINK = Link("eth0", 2, "02:00:00:00:00:01", (IPv4Interface("10.0.0.1/24"),))
MAC = "52:54:00:aa:01:02"
OTHER = "52:54:00:aa:01:03"
PXE = {60: b"PXEClient:Arch:00007:UNDI:003016", 93: b"\x00\x07", 97: bytes(17)}
NOBODY = ("0.0.0.0", 68)


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Books:
    """Hosts, tasks and reservations in memory."""

    hosts: list[Host] = field(default_factory=list)
    tasks: dict[int, Task] = field(default_factory=dict)
    reserved: list[Reservation] = field(default_factory=list)
    docks: builtins.list[str] = field(default_factory=builtins.list)
    version: int = 1
    reads: int = 0
    lookups: int = 0

    def identify(self, macs: Iterable[str], uuid: UUID | None) -> Host | None:
        self.lookups += 1
        wanted = set(macs)
        return next((host for host in self.hosts if wanted & set(host.macs) or (uuid and host.uuid == uuid)), None)

    def for_host(self, host_id: int) -> Task | None:
        return self.tasks.get(host_id)

    def reservations(self) -> list[Reservation]:
        return self.reserved

    def data_version(self) -> int:
        return self.version

    def dock_macs(self) -> builtins.list[str]:
        return self.docks

    def list(self) -> list[Host]:
        self.reads += 1
        return self.hosts


@dataclass
class ListedEffects:
    """Keeps what was done; probes are answered from `used`, commits are done at once unless `disk_is_slow`."""

    used: dict[IPv4Address, str] = field(default_factory=dict)
    sent: list[tuple[Packet, Destination]] = field(default_factory=list)
    from_4011: list[bool] = field(default_factory=list)
    probed: list[IPv4Address] = field(default_factory=list)
    stored: dict[IPv4Address, Lease] = field(default_factory=dict)
    sightings: list[Seen] = field(default_factory=list)
    probe_is_slow: bool = False
    disk_is_slow: bool = False
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def send(self, link: Link, data: bytes, to: Destination, mac: str, *, from_boot_server: bool = False) -> None:
        self.sent.append((Packet.parse(data), to))
        self.from_4011.append(from_boot_server)

    def probe(self, link: Link, address: IPv4Address, client_mac: str, then: Callable[[str], None]) -> None:
        self.probed.append(address)
        if self.probe_is_slow:
            self.waiting.append(lambda: then(self.used.get(address, "")))
        else:
            then(self.used.get(address, ""))

    def commit(self, lease: Lease, removed: list[IPv4Address], then: Callable[[], None] | None = None) -> None:
        for address in removed:
            self.stored.pop(address, None)
        self.stored[lease.address] = lease
        if then is None:
            return
        if self.disk_is_slow:
            self.waiting.append(then)
        else:
            then()

    def seen(self, seen: Seen) -> None:
        self.sightings.append(seen)

    def go_on(self) -> None:
        """Answer what was slow."""
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()


class Lab:
    """A full server with fakes around it, and clients that speak to it."""

    def __init__(self, *subnets: Subnet, leases: Iterable[Lease] = ()) -> None:
        self.clock, self.books, self.effects = Clock(), Books(), ListedEffects()
        self.pool = LeasePool(subnets or (SUBNET,), leases, lease_s=3600, offer_s=10, decline_s=600, clock=self.clock)
        directory = self.directory()
        complaints = Complaints(logging.getLogger("dhcp"), self.clock)
        self.server = FullServer(self.pool, directory, self.effects, complaints, lease_s=3600, http_port=80)

    def directory(self) -> Directory:
        books = self.books
        return Directory(books, books, books, books.data_version, self.pool.set_reservations, self.clock)

    def changed(self) -> None:
        """The operator changed something in the store, a second ago."""
        self.books.version += 1
        self.clock.now += 1

    def tell(self, packet: Packet, source: tuple[str, int] = NOBODY) -> list[Packet]:
        """Give the server one message and return its answers."""
        before = len(self.effects.sent)
        self.server.handle(packet, LINK, source)
        return [reply for reply, _ in self.effects.sent[before:]]

    def discover(self, mac: str = MAC, options: dict[int, bytes] | None = None, **fields: Any) -> list[Packet]:
        return self.tell(message(MessageType.DISCOVER, mac, options, **fields))

    def request(self, mac: str = MAC, options: dict[int, bytes] | None = None, **fields: Any) -> list[Packet]:
        return self.tell(message(MessageType.REQUEST, mac, options, **fields))

    def lease(self, mac: str = MAC, options: dict[int, bytes] | None = None, **fields: Any) -> IPv4Address | None:
        """The whole exchange; returns the address, or None when it came to nothing."""
        offers = self.discover(mac, options, **fields)
        if not offers:
            return None
        offered = offers[-1].yiaddr
        chosen = {**(options or {}), 54: ME.packed, 50: offered.packed}
        answers = self.request(mac, chosen, **fields)
        if not answers or answers[-1].message_type is not MessageType.ACK:
            return None
        assert answers[-1].yiaddr == offered
        return offered


def message(
    kind: MessageType,
    mac: str = MAC,
    options: dict[int, bytes] | None = None,
    *,
    ciaddr: IPv4Address = ANY,
    **fields: Any,
) -> Packet:
    """A client's message."""
    chaddr = bytes.fromhex(mac.replace(":", ""))
    content = {Opt.MESSAGE_TYPE: bytes((kind,)), **(options or {})}
    return Packet(op=1, xid=99, chaddr=chaddr, options=content, ciaddr=ciaddr, **fields)
