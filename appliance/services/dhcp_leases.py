"""Which address belongs to whom: the lease pool in memory, with no socket, database or clock of its own.

References: RFC 2131 section 4.3.1 (order in which an address is chosen), section 4.2 (client ids).

A client is known by a key: `mac:52:54:..` for PXE clients, known hosts and clients whose id is only their MAC;
`cid:<hex>` for others. A PC that once booted from the network keeps the address it got then, whatever its own system
sends as client id: a `cid` client finds the lease of its MAC, and a PXE client takes over a `cid` lease of its MAC.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from ipaddress import IPv4Address

from appliance.config import Subnet
from appliance.model import Lease, Reservation


class State(Enum):
    """What an entry of the pool stands for."""

    OFFERED = "offered"  # held for its client for a few seconds
    BOUND = "bound"
    FREE = "free"  # released: remembered, so that its client gets it again
    DECLINED = "declined"  # somebody who has no lease uses it


@dataclass(slots=True)
class Entry:
    """One address that somebody has, had or was offered. `expires` is in seconds of the pool's clock."""

    address: IPv4Address
    key: str
    mac: str
    expires: float
    state: State
    client_id: str = ""
    hostname: str = ""
    is_stored: bool = False  # it was bound once: the store has a row of it
    replaces: Entry | None = None  # what the client had when this was offered; given up once it takes this one

    def is_live(self, now: float) -> bool:
        """Whether nobody else may get it."""
        return self.state is not State.FREE and self.expires > now

    def as_lease(self) -> Lease:
        """The row that the store keeps."""
        return Lease(
            address=self.address,
            client_key=self.key,
            mac=self.mac,
            expires=datetime.fromtimestamp(self.expires, UTC),
            client_id=self.client_id,
            hostname=self.hostname,
            declined=self.state is State.DECLINED,
        )


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks, as far as leases are concerned."""

    key: str
    mac: str
    client_id: str = ""
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An address that may be offered."""

    address: IPv4Address
    is_fresh: bool  # the client does not hold it now: somebody without a lease may sit there, so probe first


class RangeExhausted(Exception):
    """No address is left for this client; never leaves the services."""


def client_key(mac: str, client_id: bytes, *, by_mac: bool) -> str:
    """The key of a client; `by_mac` for PXE clients and known hosts. Id 01+MAC says no more than the MAC does."""
    if by_mac or not client_id or client_id.hex() == "01" + mac.replace(":", ""):
        return f"mac:{mac}"
    return f"cid:{client_id.hex()}"


class LeasePool:
    """All addresses of all subnets. Methods are quick and never wait; the caller makes leases durable."""

    def __init__(
        self,
        subnets: Iterable[Subnet],
        leases: Iterable[Lease] = (),
        *,
        lease_s: int,
        offer_s: int,
        decline_s: int,
        clock: Callable[[], float],
        own: Iterable[IPv4Address] = (),
    ) -> None:
        self._lease_s, self._offer_s, self._decline_s = lease_s, offer_s, decline_s
        self._clock = clock
        self._own = frozenset(own)  # the box's own addresses
        self._subnets = tuple(subnets)
        self._entries: dict[IPv4Address, Entry] = {}
        self._by_key: dict[tuple[Subnet, str], Entry] = {}
        self._by_mac: dict[tuple[Subnet, str], Entry] = {}  # last entry of a MAC, whatever its key
        self._reserved: dict[IPv4Address, str] = {}
        self._reserved_of: dict[str, list[IPv4Address]] = {}
        self._unused = {subnet: self._addresses(subnet) for subnet in self._subnets}
        # Used addresses by the time they may be used again. An entry counts only if `_queued` has the same time.
        self._by_expiry: dict[Subnet, list[tuple[float, int]]] = {subnet: [] for subnet in self._subnets}
        self._queued: dict[int, float] = {}
        for lease in leases:
            self._load(lease)

    def _load(self, lease: Lease) -> None:
        subnet = self.subnet_of(lease.address)
        if subnet is None:
            return
        state = State.DECLINED if lease.declined else State.BOUND
        expires = lease.expires.timestamp()
        self._insert(
            subnet,
            Entry(
                lease.address,
                lease.client_key,
                lease.mac,
                expires,
                state,
                lease.client_id,
                lease.hostname,
                is_stored=True,
            ),
        )

    def subnet_of(self, address: IPv4Address) -> Subnet | None:
        """The configured subnet that holds `address`."""
        return next((subnet for subnet in self._subnets if address in subnet.network), None)

    def _in_range(self, subnet: Subnet, address: IPv4Address) -> bool:
        """Whether `address` is to be lent: a range may be so wide that it covers what no client can have."""
        taken = (subnet.network.network_address, subnet.network.broadcast_address, subnet.router)
        inside = subnet.range_first <= address <= subnet.range_last
        return inside and address not in taken and address not in self._own

    def _addresses(self, subnet: Subnet) -> Iterator[IPv4Address]:
        for number in range(int(subnet.range_first), int(subnet.range_last) + 1):
            if self._in_range(subnet, address := IPv4Address(number)):
                yield address

    def set_reservations(self, reservations: Iterable[Reservation]) -> None:
        """Replace all reservations."""
        before = self._reserved
        self._reserved, self._reserved_of = {}, {}
        for item in reservations:
            self._reserved[item.address] = item.mac
            self._reserved_of.setdefault(item.mac, []).append(item.address)
        for address in before.keys() - self._reserved.keys() - self._entries.keys():
            subnet = self.subnet_of(address)
            if subnet is not None:
                self._queue(subnet, address, 0.0)  # it was passed over until now

    def entry(self, address: IPv4Address) -> Entry | None:
        """Whoever has or had `address`."""
        return self._entries.get(address)

    def held_by(self, subnet: Subnet, client: Client) -> Entry | None:
        """The client's own entry in a subnet, live or not; a lease of the same MAC is found as the module says."""
        found = self._by_key.get((subnet, client.key))
        if found is not None:
            return found
        if client.key.startswith("mac:"):
            return self._by_mac.get((subnet, client.mac))
        found = self._by_key.get((subnet, f"mac:{client.mac}"))
        if found is None or self._other_system_has(found, client):
            return None
        return found

    def _other_system_has(self, entry: Entry, client: Client) -> bool:
        """Two ids of their own behind one MAC at the same time are two systems (containers on one card)."""
        plain = ("", "01" + entry.mac.replace(":", ""), client.client_id)
        return entry.client_id not in plain and entry.is_live(self._clock())

    def _reservation(self, subnet: Subnet, mac: str) -> IPv4Address | None:
        return next((item for item in self._reserved_of.get(mac, ()) if item in subnet.network), None)

    def candidate(self, subnet: Subnet, client: Client, requested: IPv4Address | None = None) -> Candidate:
        """Choose what to offer: reservation, own lease, own earlier lease, what it asks for, unused, longest expired.

        Raises `RangeExhausted`.
        """
        now = self._clock()
        own = self.held_by(subnet, client)
        wanted = self._reservation(subnet, client.mac)
        if wanted is not None:
            holder = self._entries.get(wanted)
            if holder is None or holder is own or not holder.is_live(now):
                return Candidate(wanted, is_fresh=not (holder is not None and holder is own and holder.is_live(now)))
        if own is not None and self._reserved.get(own.address, client.mac) == client.mac:
            return Candidate(own.address, is_fresh=not own.is_live(now))
        if requested is not None and self._is_free(subnet, requested, now):
            return Candidate(requested, is_fresh=True)
        return Candidate(self._next_free(subnet, now), is_fresh=True)

    def _is_free(self, subnet: Subnet, address: IPv4Address, now: float) -> bool:
        if not self._in_range(subnet, address) or address in self._reserved:
            return False
        entry = self._entries.get(address)
        return entry is None or not entry.is_live(now)

    def _next_free(self, subnet: Subnet, now: float) -> IPv4Address:
        for address in self._unused[subnet]:
            if address not in self._entries and address not in self._reserved:
                self._queue(subnet, address, now)  # for somebody else, should it not be taken now
                return address
        heap = self._by_expiry[subnet]
        while heap and heap[0][0] <= now:
            expires, number = heapq.heappop(heap)
            if self._queued.get(number) != expires:
                continue
            del self._queued[number]
            address = IPv4Address(number)
            entry = self._entries.get(address)
            if entry is not None and (entry.expires > expires or entry.is_live(now)):
                self._queue(subnet, address, entry.expires)  # renewed since it was put here
            elif address in self._reserved:
                self._queue(subnet, address, now + self._offer_s)
            else:
                self._queue(subnet, address, now)  # stays at hand until somebody takes it
                return address
        raise RangeExhausted

    def _queue(self, subnet: Subnet, address: IPv4Address, expires: float) -> None:
        if self._in_range(subnet, address):
            self._queued[int(address)] = expires
            heapq.heappush(self._by_expiry[subnet], (expires, int(address)))

    def offer(self, subnet: Subnet, client: Client, address: IPv4Address) -> None:
        """Hold `address` for its client; a live lease of the same client stays as it is."""
        entry = self._entries.get(address)
        if entry is not None and entry.state is State.BOUND and entry.is_live(self._clock()):
            return
        self._take(subnet, client, address, State.OFFERED, self._offer_s)

    def bind(self, subnet: Subnet, client: Client, address: IPv4Address) -> tuple[Lease, list[IPv4Address]]:
        """Lend `address`; return the lease to be stored and the addresses that this client gives up for it."""
        entry = self._take(subnet, client, address, State.BOUND, self._lease_s)
        entry.is_stored = True
        given_up = []
        earlier, entry.replaces = entry.replaces, None
        while earlier is not None:
            if self._entries.get(earlier.address) is earlier and earlier is not entry and earlier.mac == client.mac:
                self._free(subnet, earlier)
                earlier.key = earlier.mac = earlier.client_id = earlier.hostname = ""
                given_up.append(earlier.address)
            following, earlier.replaces = earlier.replaces, None
            earlier = following
        return entry.as_lease(), given_up

    def _take(self, subnet: Subnet, client: Client, address: IPv4Address, state: State, seconds: float) -> Entry:
        entry = self._entries.get(address)
        if entry is not None and entry.key == client.key and entry.mac == client.mac:
            entry.state, entry.expires = state, self._clock() + seconds
            entry.client_id, entry.hostname = client.client_id, client.hostname or entry.hostname
            return entry
        own = self.held_by(subnet, client)
        if entry is not None:
            self._unlink(subnet, entry)
        # The lease of a PXE client keeps its `mac:` key when its own system, with an id of its own, renews it.
        key = client.key
        if entry is not None and entry.mac == client.mac and entry.key.startswith("mac:"):
            key = entry.key
        expires = self._clock() + seconds
        replaces = own if own is None or own.is_stored else own.replaces
        if replaces is entry:
            replaces = None
        entry = Entry(address, key, client.mac, expires, state, client.client_id, client.hostname, replaces=replaces)
        self._insert(subnet, entry)
        return entry

    def _insert(self, subnet: Subnet, entry: Entry) -> None:
        if int(entry.address) not in self._queued:
            self._queue(subnet, entry.address, entry.expires)
        self._entries[entry.address] = entry
        if entry.state is not State.DECLINED:
            self._by_key[subnet, entry.key] = entry
            self._by_mac[subnet, entry.mac] = entry

    def _unlink(self, subnet: Subnet, entry: Entry) -> None:
        if self._by_key.get((subnet, entry.key)) is entry:
            del self._by_key[subnet, entry.key]
        if self._by_mac.get((subnet, entry.mac)) is entry:
            del self._by_mac[subnet, entry.mac]

    def _free(self, subnet: Subnet, entry: Entry) -> None:
        entry.state, entry.expires = State.FREE, self._clock()
        self._queue(subnet, entry.address, entry.expires)

    def release(self, subnet: Subnet, client: Client, address: IPv4Address) -> Lease | None:
        """End the client's lease of `address`; None when it has none. It gets the same address next time."""
        entry = self.held_by(subnet, client)
        if entry is None or entry.address != address or entry.state is not State.BOUND:
            return None
        self._free(subnet, entry)
        return entry.as_lease()

    def drop_offer(self, subnet: Subnet, client: Client) -> None:
        """The client chose another server: what was held for it is free again."""
        entry = self.held_by(subnet, client)
        if entry is not None and entry.state is State.OFFERED:
            self._free(subnet, entry)

    def set_aside(self, subnet: Subnet, address: IPv4Address, user_mac: str = "") -> Lease:
        """Somebody without a lease uses `address`: lend it to nobody for the decline time."""
        entry = self._entries.get(address)
        if entry is not None:
            self._unlink(subnet, entry)
        entry = Entry(address, f"declined:{address}", user_mac, self._clock() + self._decline_s, State.DECLINED)
        self._insert(subnet, entry)
        return entry.as_lease()

    def must_move(self, subnet: Subnet, client: Client, address: IPv4Address) -> bool:
        """Whether the client has to give `address` up: another is reserved for it, or this one for somebody else."""
        wanted = self._reservation(subnet, client.mac)
        if wanted is None or wanted == address:
            return self._reserved.get(address, client.mac) != client.mac
        holder = self._entries.get(wanted)
        return holder is None or not holder.is_live(self._clock())

    def is_lendable(self, subnet: Subnet, client: Client, address: IPv4Address) -> bool:
        """Whether `address` could be this client's although nothing is remembered of it (a renewal after a loss)."""
        if self._reservation(subnet, client.mac) == address:
            holder = self._entries.get(address)
            return holder is None or not holder.is_live(self._clock())
        return self._is_free(subnet, address, self._clock())
