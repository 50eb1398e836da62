"""TFTP: hands loaders and GRUB's first configuration to PCs that boot from the network, and nothing else.

Rules: read-only; answers only on the chosen interfaces, from the address that was asked; no datagram and no client can
stop the loop; a client costs one socket and a shared copy of the file, for a bounded time.
One thread with epoll does the transfers, so that tftpy's session classes may block nobody else; the event loop beside
it records who fetched a loader and watches over the thread.

References: RFC 1350, RFC 2347, RFC 2348, RFC 2349; ip(7) (IP_PKTINFO), socket(7) (SO_BINDTODEVICE).
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from appliance.boot.script import Templates, grub_entry
from appliance.config import Settings, Tftp, bootfiles_dir
from appliance.errors import ApplianceError, BadData, ConfigError, NotFound, Unavailable
from appliance.events import BootStage
from appliance.services.neighbours import mac_of
from appliance.services.runtime import cannot_listen
from appliance.services.tftp_files import GRUB_CONFIG, LOADERS, Library, plain_name
from appliance.services.tftp_session import (
    ACCESS_VIOLATION,
    ILLEGAL,
    MAX_REQUEST_BYTES,
    NOT_FOUND,
    Limits,
    MalformedRequest,
    Request,
    Transfer,
)
from appliance.system.about import about, tell

if TYPE_CHECKING:
    from appliance.store import Store

log = logging.getLogger(__name__)

TICK_S = 0.1  # how often time-outs, interfaces and the wish to stop are looked at
HANGS_AFTER_S = 20.0  # a loop that has not ticked for so long is taken for dead
REQUESTS_AT_ONCE = 64  # read from one interface before transfers get their turn again
SIGHTINGS_WAITING = 1024  # more are dropped: they are for the operator's eyes only
IP_PKTINFO = 8  # Linux; Python 3.11's socket module does not name it
_PKTINFO = struct.Struct("=i4s4s")  # in_pktinfo: interface index, our address, destination of the packet
_RECEIVE_BUFFER = 1 << 20  # bytes; a room that powers on at once sends its requests within milliseconds


@dataclass(frozen=True, slots=True)
class Fetched:
    """One complete transfer."""

    address: str
    name: str
    size_bytes: int
    seconds: float


@dataclass(slots=True)
class _Listener:
    """The request socket of one interface."""

    interface: str
    index: int
    sock: socket.socket


class LoaderServer:
    """Serves a `Library` on some interfaces, in the thread that calls `run`.

    `report` is called in that thread after each complete transfer; it must not block.
    """

    def __init__(
        self, settings: Tftp, library: Library, interfaces: Iterable[str], report: Callable[[Fetched], None]
    ) -> None:
        self._settings = settings
        self._library = library
        self._interfaces = tuple(interfaces)
        self._report = report
        self._limits = Limits(settings.max_blksize, settings.timeout_s, settings.retries)
        self._epoll = select.epoll()
        self._listeners: dict[int, _Listener] = {}
        self._transfers: dict[int, Transfer] = {}  # by file descriptor
        self._by_peer: dict[tuple[str, int], Transfer] = {}
        self._stop = threading.Event()
        self._told_full = 0.0
        self.last_tick = time.monotonic()

    def open(self) -> None:
        """Bind the interfaces. Raises `Unavailable` for one that does not exist or whose port is taken."""
        for interface in self._interfaces:
            self._listen(interface)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(next(iter(self._listeners.values())).sock.getsockname()[1])

    @property
    def transfers(self) -> int:
        """How many transfers are under way."""
        return len(self._transfers)

    def stop(self) -> None:
        """Let `run` return. May be called from any thread."""
        self._stop.set()

    def run(self) -> None:
        """Serve until `stop`, then close everything."""
        try:
            next_tick = 0.0
            while not self._stop.is_set():
                for fd, _ in self._epoll.poll(TICK_S):
                    self._serve(fd)
                now = time.monotonic()
                if now >= next_tick:
                    next_tick = now + TICK_S
                    self.last_tick = now
                    self._tick(now)
        finally:
            self._close()

    def _listen(self, interface: str) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
            sock.bind(("0.0.0.0", self._settings.port))
            listener = _Listener(interface, socket.if_nametoindex(interface), sock)
        except OSError as error:
            sock.close()
            raise cannot_listen("TFTP", f"interface {interface},", self._settings.port, error) from None
        self._listeners[sock.fileno()] = listener
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _close(self) -> None:
        for transfer in list(self._transfers.values()):
            self._end(transfer)
        for listener in self._listeners.values():
            listener.sock.close()
        self._listeners.clear()
        self._epoll.close()

    def _serve(self, fd: int) -> None:
        """Act on one readable socket. The one place where whatever goes wrong with a client ends."""
        transfer = self._transfers.get(fd)
        if transfer is None:
            if fd in self._listeners:
                self._take_requests(self._listeners[fd])
            return
        try:
            if transfer.readable():
                self._complete(transfer)
        except OSError as error:
            log.debug("%s: transfer ended: %s", transfer.host, error)
            self._end(transfer)
        except Exception:
            log.exception("%s: transfer ended by a defect", transfer.host)
            self._end(transfer)

    def _take_requests(self, listener: _Listener) -> None:
        for _ in range(REQUESTS_AT_ONCE):
            try:
                datagram, control, flags, peer = listener.sock.recvmsg(MAX_REQUEST_BYTES, socket.CMSG_SPACE(12))
            except BlockingIOError:
                return
            except OSError as error:
                log.warning("%s: %s", listener.interface, error)
                return
            local = _asked_address(control)
            if local and not flags & socket.MSG_TRUNC:
                self._take_request(listener, datagram, peer, local)

    def _take_request(self, listener: _Listener, datagram: bytes, peer: tuple[str, int], local: str) -> None:
        try:
            request = Request.parse(datagram)
            if self._repeated(peer, request) or not self._has_room():
                return
            transfer = Transfer(peer, local, listener.interface, self._limits)
        except MalformedRequest as error:
            log.debug("%s: %s", peer[0], error)
            return
        except (OSError, OverflowError) as error:
            log.debug("%s: cannot be answered: %s", peer[0], error)
            return
        try:
            self._answer(transfer, request)
        except OSError as error:
            log.debug("%s: cannot be answered: %s", peer[0], error)
            self._end(transfer)
        except Exception:
            log.exception("%s: request ended by a defect", peer[0])
            self._end(transfer)

    def _repeated(self, peer: tuple[str, int], request: Request) -> bool:
        """Whether this was the same request once more, which gets the same answer once more.

        Another request from the same port replaces the transfer: some PXE ROMs use one port for all they fetch, and
        leave a transfer that only asked for `tsize` without a word.
        """
        running = self._by_peer.get(peer)
        if running is None:
            return False
        if running.request == request and not running.heard:
            with suppress(OSError):
                running.repeat()
            return True
        self._end(running)
        return False

    def _has_room(self) -> bool:
        """Whether another transfer may begin. When full, the oldest that never answered makes room.

        A client that is not answered asks again within seconds, while an error would end its start from the network.
        """
        if len(self._transfers) < self._settings.max_clients:
            return True
        silent = next((transfer for transfer in self._transfers.values() if not transfer.heard), None)
        if silent is not None:
            self._end(silent)
            return True
        if time.monotonic() - self._told_full > 10:
            self._told_full = time.monotonic()
            log.warning("All %d transfers (tftp.max_clients) are taken; clients have to wait", len(self._transfers))
        return False

    def _answer(self, transfer: Transfer, request: Request) -> None:
        """Begin the transfer, or send the protocol's own error."""
        name = plain_name(request.name)
        if request.write:
            log.warning("%s wanted to write '%s': refused", transfer.host, name)
            return transfer.refuse(ACCESS_VIOLATION)
        if request.mode not in ("octet", "netascii"):
            log.debug("%s wanted mode '%s': refused", transfer.host, request.mode)
            return transfer.refuse(ILLEGAL)
        try:
            content = self._library.read(name)
        except NotFound:
            log.debug("%s wanted '%s': not served", transfer.host, name)
            return transfer.refuse(NOT_FOUND)
        except BadData as error:
            log.error("%s wanted '%s': %s", transfer.host, name, error)
            return transfer.refuse(NOT_FOUND)
        self._transfers[transfer.fileno] = transfer
        self._by_peer[transfer.peer] = transfer
        self._epoll.register(transfer.fileno, select.EPOLLIN)
        transfer.begin(request, content)

    def _complete(self, transfer: Transfer) -> None:
        self._end(transfer)
        name = plain_name(transfer.request.name) if transfer.request else ""
        seconds = time.monotonic() - transfer.started
        self._report(Fetched(transfer.host, name, transfer.sent_bytes, seconds))

    def _end(self, transfer: Transfer) -> None:
        """Forget a transfer and close its socket, which also takes it out of epoll. Never raises."""
        self._transfers.pop(transfer.fileno, None)
        if self._by_peer.get(transfer.peer) is transfer:
            del self._by_peer[transfer.peer]
        try:
            transfer.end()
        except Exception:
            log.exception("%s: the end of a transfer failed", transfer.host)

    def _tick(self, now: float) -> None:
        for transfer in [item for item in self._transfers.values() if item.deadline <= now]:
            try:
                transfer.expired()
            except OSError as error:
                name = plain_name(transfer.request.name) if transfer.request else ""
                log.log(logging.INFO if transfer.heard else logging.DEBUG, "%s: %s: %s", transfer.host, name, error)
                self._end(transfer)
        self._follow_interfaces()

    def _follow_interfaces(self) -> None:
        """A card that was replugged has a new index, to which the old socket is deaf."""
        for fd, listener in list(self._listeners.items()):
            try:
                index = socket.if_nametoindex(listener.interface)
            except OSError:
                continue
            if index != listener.index:
                log.info("%s came back: listening again", listener.interface)
                listener.sock.close()
                del self._listeners[fd]
                with suppress(Unavailable):
                    self._listen(listener.interface)


def _asked_address(control: list[tuple[int, int, bytes]]) -> str:
    """The address of ours that a packet was sent to; empty for a broadcast, which RFC 1123 4.2.3.4 says to ignore."""
    for level, kind, data in control:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= _PKTINFO.size:
            _, ours, destination = _PKTINFO.unpack_from(data)
            return socket.inet_ntoa(ours) if ours == destination else ""
    return ""


async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Serve loaders until `stop` is set. Raises `ConfigError` without interfaces, `Unavailable` if it cannot listen."""
    if not settings.network.interfaces:
        raise ConfigError("TFTP has no interface to answer on.", hint="Set network.interfaces in the settings.")
    grub_config = grub_entry(Templates.load(bootfiles_dir()), settings.http.port).encode()
    library = Library(settings.paths.boot, {GRUB_CONFIG: grub_config})
    log.info("TFTP serves %s", ", ".join(library.names()))
    loop = asyncio.get_running_loop()
    sightings: asyncio.Queue[Fetched] = asyncio.Queue(SIGHTINGS_WAITING)

    def report(fetched: Fetched) -> None:
        if fetched.name in LOADERS:
            loop.call_soon_threadsafe(_put, sightings, fetched)
        else:
            _told(fetched)

    server = LoaderServer(settings.tftp, library, settings.network.interfaces, report)
    server.open()
    thread = threading.Thread(target=server.run, name="tftp", daemon=True)
    thread.start()
    recorder = asyncio.create_task(_record(store, sightings))
    ready()
    try:
        await _watch(server, thread, stop)
    finally:
        server.stop()
        recorder.cancel()
        await asyncio.to_thread(thread.join, HANGS_AFTER_S)


def _told(fetched: Fetched) -> None:
    log.info("%s got %s: %d kB in %.2f s", fetched.address, fetched.name, fetched.size_bytes // 1000, fetched.seconds)


def _put(sightings: asyncio.Queue[Fetched], fetched: Fetched) -> None:
    try:
        sightings.put_nowait(fetched)
    except asyncio.QueueFull:
        _told(fetched)


async def _watch(server: LoaderServer, thread: threading.Thread, stop: asyncio.Event) -> None:
    while not stop.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)
        silence_s = time.monotonic() - server.last_tick
        if not stop.is_set() and (not thread.is_alive() or silence_s > HANGS_AFTER_S):
            raise Unavailable("The TFTP loop ended or hangs.", hint="This is a defect; see the log.")


async def _record(store: Store, sightings: asyncio.Queue[Fetched]) -> None:
    """Tell the store and the log who fetched a loader. Trouble with the store is logged and stops no transfer."""
    while True:
        fetched = await sightings.get()
        with about():
            try:
                await asyncio.to_thread(_sighted, store, fetched)
            except ApplianceError as error:
                log.warning("%s: the loader it fetched is not recorded: %s", fetched.address, error)
            except Exception:
                log.exception("%s: the loader it fetched is not recorded", fetched.address)
            _told(fetched)


def _sighted(store: Store, fetched: Fetched) -> None:
    mac = mac_of(fetched.address, store)
    if mac is None:
        log.debug("%s: no MAC is known for it", fetched.address)
        return
    host = store.hosts.identify([mac], None)
    tell(host=host.name if host else "")
    store.hosts.seen(mac, BootStage.LOADER, ip=fetched.address, detail=fetched.name)
