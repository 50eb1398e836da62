"""The full DHCP server: what is done with each message. No socket and no waiting; effects go through `Effects`.

References: RFC 2131 section 4.3 (server behaviour), table 4 (the four kinds of REQUEST), RFC 3046 (82), RFC 3527
(link selection), RFC 5227 (conflict probe). Where RFC 2131 leaves a choice:

- A renewal of an address nobody is known to have is granted if the address is free (the box may be new), else NAKed.
- An INIT-REBOOT for an address of another subnet is NAKed; for an unknown lease there is silence, as the RFC demands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Protocol

from appliance.boot.firmware import BootServer, boot_file, firmware_of
from appliance.boot.offer import Boot, Terms, grant, inform_ack, refusal
from appliance.config import Subnet
from appliance.model import Host, Lease
from appliance.services.dhcp_directory import Directory
from appliance.services.dhcp_leases import Client, LeasePool, RangeExhausted, client_key
from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_recorder import Seen
from appliance.system.about import tell
from appliance.wire.dhcp4 import ANY, EVERYBODY, Destination, Packet, Via, max_reply_bytes, reply_destination
from appliance.wire.dhcp_options import MessageType, Opt, address_of, suboptions_of, text_of
from appliance.wire.pxe import PxeClient

_LINK_SELECTION = 5  # sub-option of 82 (RFC 3527): the subnet to serve, where giaddr is only the way back


@dataclass(frozen=True, slots=True)
class Link:
    """One interface that the operator chose."""

    name: str
    index: int
    mac: str
    addresses: tuple[IPv4Interface, ...]
    fetch_from: IPv4Address | None = None  # where clients are told to fetch loaders; None: from our own address

    @property
    def server_id(self) -> IPv4Address:
        """What this server calls itself in option 54 on this link."""
        return self.addresses[0].ip

    @property
    def own(self) -> frozenset[IPv4Address]:
        """Every address that means us."""
        return frozenset(item.ip for item in self.addresses) | ({self.fetch_from} if self.fetch_from else frozenset())

    def server_id_in(self, network: IPv4Network) -> IPv4Address:
        """Our address in one of the networks of this link: its clients may have no router to reach another one."""
        return next((item.ip for item in self.addresses if item.ip in network), self.server_id)

    def is_local(self, address: IPv4Address) -> bool:
        """Whether `address` is reached without a router."""
        return any(address in item.network for item in self.addresses)


class Effects(Protocol):
    """Everything that the server does to the world."""

    def send(self, link: Link, data: bytes, to: Destination, mac: str, *, from_boot_server: bool = False) -> None:
        """Send one datagram, from port 67 or from 4011."""

    def probe(self, link: Link, address: IPv4Address, client_mac: str, then: Callable[[str], None]) -> None:
        """Call `then` with the MAC (or address) of whoever uses `address`, or '' when nobody answers in time."""

    def commit(self, lease: Lease, removed: list[IPv4Address], then: Callable[[], None] | None = None) -> None:
        """Make a lease durable, then call `then`."""

    def seen(self, seen: Seen) -> None:
        """Record a sighting."""


@dataclass(frozen=True, slots=True)
class Asker:
    """A request and all that is known about who sent it."""

    request: Packet
    link: Link
    source: tuple[str, int]
    subnet: Subnet
    client: Client
    host: Host | None
    pxe: PxeClient | None

    @property
    def server_id(self) -> IPv4Address:
        """What this server calls itself towards this client."""
        return self.link.server_id_in(self.subnet.network)


def boot_of(server: BootServer, mac: str, pxe: PxeClient, host: Host | None) -> Boot | None:
    """How this firmware goes on; None when there is no agent for it."""
    file = boot_file(pxe, host, server, mac)
    return None if file is None else Boot(pxe, server, file)


def note_sighting(
    effects: Effects, complaints: Complaints, pxe: PxeClient, mac: str, ip: IPv4Address, *, loader: bool
) -> None:
    """Record that a firmware asked; an architecture without an agent is named in the log as well."""
    label = firmware_of(pxe.arch).label
    detail = "iPXE" if pxe.is_ipxe else label
    if not loader:
        detail = f"{label}: no agent for this architecture, no loader offered"
        text = "%s is %s (option 93 = %d): there is no agent for it, so it is offered no loader."
        complaints.say(f"arch {mac}", logging.WARNING, text, mac, label, pxe.arch)
    effects.seen(Seen(mac, "" if ip == ANY else str(ip), pxe.machine_id, pxe.arch, detail))


class FullServer:
    """Lends addresses and names loaders."""

    def __init__(
        self,
        pool: LeasePool,
        directory: Directory,
        effects: Effects,
        complaints: Complaints,
        *,
        lease_s: int,
        http_port: int,
        gives_time: Callable[[], bool] = lambda: False,
    ) -> None:
        """`gives_time`: whether this box is to be named as time server where a subnet names none."""
        self._gives_time = gives_time
        self._pool, self._directory, self._effects, self._complaints = pool, directory, effects, complaints
        self._lease_s, self._http_port = lease_s, http_port
        self._probing: dict[IPv4Address, Asker] = {}
        self._handlers: dict[MessageType, Callable[[Asker], None]] = {
            MessageType.DISCOVER: self._discover,
            MessageType.REQUEST: self._request,
            MessageType.DECLINE: self._decline,
            MessageType.RELEASE: self._release,
            MessageType.INFORM: self._inform,
        }

    def handle(self, request: Packet, link: Link, source: tuple[str, int]) -> None:
        """Take one request. Raises `MalformedOption` for options that cannot be read."""
        kind = request.message_type
        handler = self._handlers.get(kind) if kind is not None else None
        if handler is None:
            return  # BOOTP, or a message that only servers send
        self._directory.refresh()
        asker = self._identify(request, link, source)
        if asker is None:
            return
        # A firmware that is to start its own disk hears nothing; once its system runs, it is an ordinary client.
        if asker.pxe is not None and self._directory.is_silent_for(asker.host, asker.pxe):
            return
        handler(asker)

    def _identify(self, request: Packet, link: Link, source: tuple[str, int]) -> Asker | None:
        mac = request.mac
        subnet = self._subnet_of(request, link)
        if subnet is None:
            text = "%s asks on %s from %s, but no [[dhcp.subnet]] has that network: it gets no address."
            where = request.giaddr if request.giaddr != ANY else link.addresses[0].network
            self._complaints.say(f"subnet {where}", logging.WARNING, text, mac, link.name, where)
            return None
        pxe = PxeClient.from_options(request.options)
        host = self._directory.host_of(mac, pxe)
        tell(host=host.name if host else "")
        client_id = request.options.get(Opt.CLIENT_ID, b"")
        key = client_key(mac, client_id, by_mac=pxe is not None or host is not None)
        client = Client(key, mac, client_id.hex(), text_of(request.options, Opt.HOST_NAME)[:63])
        return Asker(request, link, source, subnet, client, host, pxe)

    def _subnet_of(self, request: Packet, link: Link) -> Subnet | None:
        if request.ciaddr != ANY:
            # A renewal comes unicast through routers: only its own address says where the client is.
            found = self._pool.subnet_of(request.ciaddr)
            if found is not None:
                return found
        if request.giaddr != ANY:
            selected = address_of(suboptions_of(request.options, Opt.RELAY_AGENT), _LINK_SELECTION)
            return self._pool.subnet_of(selected or request.giaddr)
        for item in link.addresses:
            found = self._pool.subnet_of(item.ip)
            if found is not None:
                return found
        return None

    # DISCOVER

    def _discover(self, asker: Asker) -> None:
        requested = address_of(asker.request.options, Opt.REQUESTED_ADDRESS)
        try:
            candidate = self._pool.candidate(asker.subnet, asker.client, requested)
        except RangeExhausted:
            span = f"{asker.subnet.range_first} to {asker.subnet.range_last}"
            text = "The range %s is exhausted: %s gets no address. Enlarge the range or shorten dhcp.lease_s."
            self._complaints.say(f"range {span}", logging.ERROR, text, span, asker.client.mac)
            return
        self._pool.offer(asker.subnet, asker.client, candidate.address)
        if self._is_being_probed_for(asker, candidate.address):
            self._probing[candidate.address] = asker  # the client repeated itself: answer its last message
        elif not candidate.is_fresh:
            self._send_offer(asker, candidate.address)
        else:
            self._probing[candidate.address] = asker
            self._effects.probe(
                asker.link,
                candidate.address,
                asker.client.mac,
                lambda user: self._probed(candidate.address, user),
            )

    def _is_being_probed_for(self, asker: Asker, address: IPv4Address) -> bool:
        other = self._probing.get(address)
        return other is not None and other.client.key == asker.client.key

    def _probed(self, address: IPv4Address, user: str) -> None:
        asker = self._probing.pop(address, None)
        if asker is None:
            return
        if user:
            text = "%s is used by %s, who has no lease of it: it is not lent for a while."
            self._complaints.say(f"conflict {address}", logging.WARNING, text, address, user)
            self._effects.commit(self._pool.set_aside(asker.subnet, address, user), [])
            self._discover(asker)
            return
        self._send_offer(asker, address)

    def _send_offer(self, asker: Asker, address: IPv4Address) -> None:
        boot = self._boot(asker)
        reply = grant(asker.request, MessageType.OFFER, address, self._terms(asker), asker.server_id, boot)
        self._send(asker, reply)
        if asker.pxe is not None and boot is None:
            self._sighted(asker, address, loader=False)

    # REQUEST

    def _request(self, asker: Asker) -> None:
        options = asker.request.options
        server_id = address_of(options, Opt.SERVER_ID)
        requested = address_of(options, Opt.REQUESTED_ADDRESS)
        if server_id is not None:
            if server_id not in asker.link.own:
                self._pool.drop_offer(asker.subnet, asker.client)
                return
            self._select(asker, requested or asker.request.ciaddr)
        elif requested is not None:
            self._init_reboot(asker, requested)
        elif asker.request.ciaddr != ANY:
            self._renew(asker, asker.request.ciaddr)

    def _select(self, asker: Asker, address: IPv4Address) -> None:
        entry = self._pool.held_by(asker.subnet, asker.client)
        mine = entry is not None and entry.address == address
        # Not mine but lendable: the offer was made before this service was restarted.
        if mine or (address not in self._probing and self._pool.is_lendable(asker.subnet, asker.client, address)):
            self._bind(asker, address)
        else:
            self._refuse(asker, f"{address} was not offered to you")

    def _init_reboot(self, asker: Asker, address: IPv4Address) -> None:
        if address not in asker.subnet.network:
            self._refuse(asker, f"{address} is not in {asker.subnet.network}")
            return
        entry = self._pool.held_by(asker.subnet, asker.client)
        if entry is None:
            return
        if entry.address != address or self._pool.must_move(asker.subnet, asker.client, address):
            self._refuse(asker, f"your address is not {address}")
        else:
            self._bind(asker, address)

    def _renew(self, asker: Asker, address: IPv4Address) -> None:
        entry = self._pool.held_by(asker.subnet, asker.client)
        mine = entry is not None and entry.address == address
        if self._pool.must_move(asker.subnet, asker.client, address):
            self._refuse(asker, f"{address} is no longer yours")
        elif mine or self._pool.is_lendable(asker.subnet, asker.client, address):
            self._bind(asker, address)
        else:
            self._refuse(asker, f"{address} is not lent to you")

    def _bind(self, asker: Asker, address: IPv4Address) -> None:
        lease, given_up = self._pool.bind(asker.subnet, asker.client, address)
        self._effects.commit(lease, given_up, lambda: self._acknowledge(asker, address))

    def _acknowledge(self, asker: Asker, address: IPv4Address) -> None:
        boot = self._boot(asker)
        self._send(asker, grant(asker.request, MessageType.ACK, address, self._terms(asker), asker.server_id, boot))
        if asker.pxe is not None:
            self._sighted(asker, address, loader=boot is not None)

    def _refuse(self, asker: Asker, why: str) -> None:
        self._complaints.say(f"refused {asker.client.mac}", logging.INFO, "%s is refused: %s.", asker.client.mac, why)
        self._send(asker, refusal(asker.request, asker.server_id, why))

    # DECLINE, RELEASE, INFORM

    def _decline(self, asker: Asker) -> None:
        options = asker.request.options
        address = address_of(options, Opt.REQUESTED_ADDRESS)
        if address is None or address_of(options, Opt.SERVER_ID) not in asker.link.own | {None}:
            return
        entry = self._pool.held_by(asker.subnet, asker.client)
        if entry is None or entry.address != address:
            return  # nobody can take addresses out of service that were never lent to it
        text = "%s declines %s: somebody else uses that address. It is not lent for a while."
        self._complaints.say(f"declined {asker.client.mac}", logging.WARNING, text, asker.client.mac, address)
        self._effects.commit(self._pool.set_aside(asker.subnet, address), [])

    def _release(self, asker: Asker) -> None:
        lease = self._pool.release(asker.subnet, asker.client, asker.request.ciaddr)
        if lease is not None:
            self._effects.commit(lease, [])

    def _inform(self, asker: Asker) -> None:
        reply = inform_ack(asker.request, self._terms(asker), asker.server_id, self._boot(asker))
        to = reply_destination(asker.request, reply)
        if to.via is Via.BROADCAST and asker.source[0] not in ("0.0.0.0", str(EVERYBODY)):
            # Without ciaddr, against RFC 2131 section 4.4.3: some clients have their address in the IP header only.
            to = Destination(Via.ROUTED, IPv4Address(asker.source[0]), to.port)
        self._effects.send(asker.link, reply.encode(max_reply_bytes(asker.request)), to, asker.client.mac)

    # Shared

    def _terms(self, asker: Asker) -> Terms:
        name = asker.host.name if asker.host is not None else ""
        return Terms(asker.subnet, self._lease_s, name, asker.server_id if self._gives_time() else None)

    def _boot(self, asker: Asker) -> Boot | None:
        if asker.pxe is None:
            return None
        server = BootServer(asker.link.fetch_from or asker.server_id, self._http_port)
        return boot_of(server, asker.client.mac, asker.pxe, asker.host)

    def _sighted(self, asker: Asker, address: IPv4Address, *, loader: bool) -> None:
        assert asker.pxe is not None
        note_sighting(self._effects, self._complaints, asker.pxe, asker.client.mac, address, loader=loader)

    def _send(self, asker: Asker, reply: Packet) -> None:
        to = reply_destination(asker.request, reply)
        self._effects.send(asker.link, reply.encode(max_reply_bytes(asker.request)), to, asker.client.mac)
