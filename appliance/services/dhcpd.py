"""The DHCP service: sockets on the chosen interfaces, and the loop receive, parse, decide, answer, record.

References: RFC 2131, PXE 2.1, socket(7) (SO_BINDTODEVICE). What is decided stands in `dhcp_server` and `dhcp_proxy`.

Capabilities: CAP_NET_BIND_SERVICE (67, 68), CAP_NET_RAW (ARP and ICMP probe, SO_BINDTODEVICE), CAP_NET_ADMIN
(neighbour entries).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from appliance.config import Settings
from appliance.errors import ApplianceError, ConfigError, Conflict, Unavailable
from appliance.model import Lease
from appliance.services.dhcp_conflict import ConflictProber
from appliance.services.dhcp_directory import Directory
from appliance.services.dhcp_leases import LeasePool
from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_probe import OtherServer, ServerProbe
from appliance.services.dhcp_proxy import ProxyServer
from appliance.services.dhcp_recorder import Recorder, Seen
from appliance.services.dhcp_server import FullServer, Link
from appliance.services.netlink import Interface, Introductions, Neighbours, interfaces
from appliance.system.about import about
from appliance.system.clock import serves_time
from appliance.wire.dhcp4 import BOOTREQUEST, ETHERNET, EVERYBODY, Destination, Packet, Via
from appliance.wire.dhcp_options import MalformedOption

if TYPE_CHECKING:
    from appliance.store import Store

log = logging.getLogger(__name__)

_SO_RCVBUFFORCE = 33  # asm-generic/socket.h; Python has no name for it
_RECEIVE_BYTES = 4 << 20  # a room that is switched on at once: 4 MiB hold some 5 000 requests
_TIME_LOOK_S = 30.0
_BATCH = 64  # datagrams read before others get their turn

Handler = Callable[[Packet, Link, tuple[str, int]], None]


async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Answer DHCP until `stop` is set.

    Raises `ConfigError` without usable interfaces, `Unavailable` when a port is taken, and `Conflict` when full mode
    would stand beside another server that was not forced.
    """
    if settings.dhcp.mode == "off":
        ready()
        await stop.wait()
        return
    links = choose_links(settings, await interfaces())
    service = DhcpService(settings, store, links)
    try:
        await service.start()
        ready()
        await service.watch(stop)
    finally:
        await service.close()


def choose_links(settings: Settings, present: dict[str, Interface]) -> list[Link]:
    """The interfaces to serve. Raises `ConfigError` or `Unavailable` that names the interface."""
    if not settings.network.interfaces:
        raise ConfigError(
            "No interface is chosen for DHCP.",
            hint=f"Set network.interfaces to some of: {', '.join(sorted(set(present) - {'lo'}))}.",
        )
    links = []
    for name in settings.network.interfaces:
        found = present.get(name)
        if found is None:
            raise Unavailable(f"The interface {name} does not exist.", hint=f"There are: {', '.join(sorted(present))}.")
        if not found.addresses:
            raise Unavailable(f"The interface {name} has no IPv4 address.", hint=f"ip addr add ADDRESS/LEN dev {name}")
        links.append(Link(name, found.index, found.mac, found.addresses, settings.network.address))
    return links


class DhcpService:
    """Owns the sockets and ties the parts together."""

    def __init__(self, settings: Settings, store: Store, links: list[Link]) -> None:
        self._settings, self._store, self._links = settings, store, links
        self._loop = asyncio.get_running_loop()
        self._sockets: list[socket.socket] = []
        self._outgoing: dict[tuple[int, bool], socket.socket] = {}  # by link, and whether it is the boot server's
        self._complaints = Complaints(log, time.monotonic)
        self._time_looked_at, self._time_is_served = float("-inf"), False
        self._neighbours = Neighbours()
        self._introductions = Introductions(self._neighbours.set, time.monotonic)
        self._recorder = Recorder(store.leases, store.hosts)
        self._prober = ConflictProber(links, settings.dhcp.conflict_probe_ms / 1000)
        self._server_probe = ServerProbe(links, server_port=settings.dhcp.port)
        self._warned: set[OtherServer] = set()
        self._looked = False
        self._boot_server: Handler | None = None
        self._handler = self._full() if settings.dhcp.mode == "full" else self._proxy()

    def _directory(self, pool: LeasePool | None) -> Directory:
        return Directory(
            self._store.hosts,
            self._store.tasks,
            self._store.leases,
            self._store.data_version,
            pool.set_reservations if pool is not None else lambda _: None,
            time.monotonic,
        )

    def _full(self) -> Handler:
        dhcp = self._settings.dhcp
        pool = LeasePool(
            dhcp.subnet,
            self._store.leases.all(),
            lease_s=dhcp.lease_s,
            offer_s=dhcp.offer_s,
            decline_s=dhcp.decline_s,
            clock=time.time,
            own=[address for link in self._links for address in link.own],
        )
        for link in self._links:
            if not any(pool.subnet_of(item.ip) for item in link.addresses):
                text = "No [[dhcp.subnet]] has an address of %s (%s): only relayed clients get one there."
                log.warning(text, link.name, ", ".join(str(item) for item in link.addresses))
        server = FullServer(
            pool,
            self._directory(pool),
            self,
            self._complaints,
            lease_s=dhcp.lease_s,
            http_port=self._settings.http.port,
            gives_time=self._gives_time,
        )
        return server.handle

    def _gives_time(self) -> bool:
        """Looked at anew once in a while: chrony may be started later than this service."""
        if self._settings.dhcp.ntp == "off":
            return False
        if time.monotonic() - self._time_looked_at > _TIME_LOOK_S:
            self._time_looked_at, self._time_is_served = time.monotonic(), serves_time()
        return self._time_is_served

    def _proxy(self) -> Handler:
        server = ProxyServer(self._directory(None), self, self._complaints, http_port=self._settings.http.port)
        self._boot_server = server.handle_boot_server
        return server.handle

    async def start(self) -> None:
        """Open the ports; before that, where it matters, see who else is there. Raises `Conflict` or `Unavailable`."""
        dhcp = self._settings.dhcp
        if dhcp.mode == "full" and not dhcp.force and dhcp.server_probe_s > 0:
            self._refuse_beside(await self._look())
        for link in self._links:
            self._outgoing[link.index, False] = self._listen(link, dhcp.port, self._handler)
            if self._boot_server is not None:
                self._outgoing[link.index, True] = self._listen(link, dhcp.proxy_port, self._boot_server)
        names = ", ".join(f"{link.name} ({link.server_id})" for link in self._links)
        log.info("%s on %s.", "DHCP server" if dhcp.mode == "full" else "proxyDHCP", names)

    def _refuse_beside(self, others: list[OtherServer]) -> None:
        lending = [other for other in others if other.lends]
        if lending:
            who = ", ".join(f"{other.address} on {other.interface} ({other.detail})" for other in lending)
            raise Conflict(
                f"Another DHCP server answers: {who}. Two servers would lend the same addresses.",
                hint="Set dhcp.mode = 'proxy' to work beside it, or dhcp.force = true if you know better.",
            )

    async def _look(self) -> list[OtherServer]:
        """Who else is there; names everybody in log and store."""
        others = await self._server_probe.look()
        self._name(others)
        self._looked = True
        if self._settings.dhcp.mode == "proxy" and not any(other.lends for other in others):
            text = "No DHCP server answers on %s: proxyDHCP alone gives PCs no address, so they cannot boot."
            self._complaints.say("alone", logging.WARNING, text, ", ".join(link.name for link in self._links))
        return others

    def _name(self, others: list[OtherServer]) -> None:
        for other in others:
            self._store.servers.heard(str(other.address), other.interface, other.detail)
            if other not in self._warned:
                self._warned.add(other)
                kind = "DHCP server" if other.lends else "proxyDHCP server"
                log.warning("Another %s on %s: %s (%s).", kind, other.interface, other.address, other.detail)

    async def watch(self, stop: asyncio.Event) -> None:
        """Look for other servers, at once if that was not done, then every few minutes, until `stop` is set."""
        period = self._settings.dhcp.server_probe_s
        while not stop.is_set():
            if period <= 0 or self._looked:
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), period or None)
                    return
            await self._look_or(stop)

    async def _look_or(self, stop: asyncio.Event) -> None:
        """Look for other servers; give up when `stop` is set meanwhile."""
        look, stopped = asyncio.create_task(self._look()), asyncio.create_task(stop.wait())
        await asyncio.wait((look, stopped), return_when=asyncio.FIRST_COMPLETED)
        self._looked = True
        look.cancel()
        stopped.cancel()
        for result in await asyncio.gather(look, stopped, return_exceptions=True):
            if isinstance(result, ApplianceError):
                self._complaints.say("probe", logging.WARNING, "%s", result)
            elif isinstance(result, Exception):
                raise result

    def _listen(self, link: Link, port: int, handler: Handler) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._sockets.append(sock)
        sock.setblocking(False)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, link.name.encode())
            _enlarge(sock)
            sock.bind(("0.0.0.0", port))
        except OSError as error:
            raise Unavailable(
                f"UDP port {port} on {link.name} cannot be opened: {error}.",
                hint="See who has it: ss -lunp; and that this service has its capabilities.",
            ) from error
        self._loop.add_reader(sock, self._arrived, sock, link, handler)
        return sock

    def _arrived(self, sock: socket.socket, link: Link, handler: Handler) -> None:
        for _ in range(_BATCH):
            try:
                data, source = sock.recvfrom(4096)
            except OSError:
                return
            self._take(data, link, source, handler)

    def _take(self, data: bytes, link: Link, source: tuple[str, int], handler: Handler) -> None:
        """The one place that turns trouble with a datagram into a sentence."""
        try:
            request = Packet.parse(data)
            if request.op != BOOTREQUEST or self._server_probe.is_ours(request):
                return
            if request.htype != ETHERNET or len(request.chaddr) != 6:
                text = "A client at %s has hardware type %d with %d bytes: only Ethernet is served."
                key = f"hardware {source[0]}"
                self._complaints.say(key, logging.WARNING, text, source[0], request.htype, len(request.chaddr))
                return
            with about():  # the handler finds out whom
                handler(request, link, source)
        except MalformedOption as error:
            text = "A malformed DHCP message from %s on %s is ignored: %s."
            self._complaints.say(f"malformed {source[0]}", logging.WARNING, text, source[0], link.name, error)
        except Exception as error:
            log.exception("A DHCP message from %s on %s was not handled: %s", source[0], link.name, error)

    # Effects

    def send(self, link: Link, data: bytes, to: Destination, mac: str, *, from_boot_server: bool = False) -> None:
        """Send one reply; a unicast to a client without an address is preceded by its neighbour entry."""
        try:
            if to.via is Via.LINK and not self._introductions.introduce(link.index, to.address, mac):
                to = Destination(Via.BROADCAST, EVERYBODY, to.port)
            self._outgoing[link.index, from_boot_server].sendto(data, (str(to.address), to.port))
        except OSError as error:
            text = "The answer to %s (%s) could not be sent on %s: %s."
            self._complaints.say(f"send {link.name}", logging.ERROR, text, mac, to.address, link.name, error)

    def probe(self, link: Link, address: IPv4Address, client_mac: str, then: Callable[[str], None]) -> None:
        """See `ConflictProber.probe`."""
        self._prober.probe(link, address, client_mac, then)

    def commit(self, lease: Lease, removed: list[IPv4Address], then: Callable[[], None] | None = None) -> None:
        """See `Recorder.commit`."""
        self._recorder.commit(lease, removed, then)

    def seen(self, seen: Seen) -> None:
        """See `Recorder.seen`."""
        self._recorder.seen(seen)

    async def close(self) -> None:
        """Stop listening, then finish what is being written."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
        self._prober.close()
        await self._recorder.close()
        for sock in self._sockets:
            sock.close()
        self._neighbours.close()


def _enlarge(sock: socket.socket) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
