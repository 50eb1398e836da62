"""HTTP: boot scripts, kernel and initrd for loaders, the agent API for agents, health and metrics for watchers.

References: RFC 9110 and 9112 (aiohttp implements them), UEFI 2.10 section 24.7 (HTTP Boot). Handlers are in
`boot_pages`, `agent_calls` and `image_calls`; this module holds the application and its sockets together.

Nothing is answered on an address that is not one of the chosen interfaces', or the loopback's for health checks.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
from collections.abc import Callable
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from appliance.boot.script import Templates
from appliance.config import Settings, bootfiles_dir
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ConfigError, Unavailable
from appliance.services import agent_calls, boot_pages, image_calls, metrics
from appliance.services.http_box import BOX, MAX_BODY_BYTES, Box, answer_errors
from appliance.services.netlink import interfaces
from appliance.services.runtime import cannot_listen
from appliance.services.uploads import Uploads
from appliance.services.watchdog import keeps_up
from appliance.store import Store

log = logging.getLogger(__name__)

_BACKLOG = 1024  # a room of PCs is switched on by one button
_KEEPALIVE_S = 75.0
_SHUTDOWN_S = 3.0  # requests under way when we are told to stop; agents ask again
_OPEN_FILES = 65536  # each of an agent's threads keeps a connection
_POOL_HANGS_S = 120.0  # until one of the threads that answer is free: a disk or a store that never answers holds all
_LOOPBACK = "127.0.0.1"


class _OneLine(logging.Filter):
    """aiohttp logs a traceback with bytes of the request for all that is no HTTP: one line, and no error of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError):
            record.levelno, record.levelname = logging.INFO, "INFO"
            record.msg, record.exc_info = f"{record.msg}: no HTTP ({type(error).__name__})", None
        return True


_protocol_log = logging.getLogger(f"{__name__}.protocol")
_protocol_log.addFilter(_OneLine())

# How connections are kept, for `serve` and for tests.
CONNECTION: dict[str, Any] = {"access_log": None, "keepalive_timeout": _KEEPALIVE_S, "logger": _protocol_log}


def make_box(settings: Settings, store: Store) -> Box:
    """Open what the handlers need. Raises `ApplianceError`."""
    return Box(
        settings=settings,
        store=store,
        chunks=ChunkStore(settings.paths.images),
        templates=Templates.load(bootfiles_dir()),
        uploads=Uploads(settings.paths.state / "uploads"),
        chunk_size=metrics.FolderSize(settings.paths.images / "chunks"),
    )


def make_app(box: Box) -> web.Application:
    """The application, without sockets."""
    app = web.Application(middlewares=[answer_errors], client_max_size=MAX_BODY_BYTES)
    app[BOX] = box
    boot_pages.add_routes(app)
    agent_calls.add_routes(app)
    image_calls.add_routes(app)
    app.router.add_get("/healthz", _health)
    app.router.add_get("/metrics", _metrics)
    app.on_response_prepare.append(_count)
    return app


async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Answer until `stop` is set. Raises `ConfigError` without interfaces, `Unavailable` if it cannot listen."""
    sockets = [_listen(address, settings.http.port) for address in await _addresses(settings)]
    _allow_many_files()
    box = await asyncio.to_thread(make_box, settings, store)
    runner = web.AppRunner(make_app(box), shutdown_timeout=_SHUTDOWN_S, **CONNECTION)
    await runner.setup()
    try:
        for sock in sockets:
            await web.SockSite(runner, sock, backlog=_BACKLOG).start()
            log.info("HTTP on %s port %d", *sock.getsockname())
        ready()
        await keeps_up("whoever answers calls", box.pool, stop, _POOL_HANGS_S)
    finally:
        await runner.cleanup()
        box.pool.shutdown(cancel_futures=True)


async def _addresses(settings: Settings) -> list[str]:
    """Where to listen: every address of the chosen interfaces, the one that clients are told, and the loopback."""
    chosen = settings.network.interfaces
    if not chosen:
        raise ConfigError("HTTP has no interface to answer on.", hint="Set network.interfaces in the settings.")
    present = await interfaces()
    found = [str(item.ip) for name in chosen if name in present for item in present[name].addresses]
    if settings.network.address is not None:
        found.append(str(settings.network.address))
    if not found:
        raise Unavailable(
            f"HTTP cannot listen: {', '.join(chosen)} has no IPv4 address.", hint="Give the interface its address."
        )
    return list(dict.fromkeys([*found, _LOOPBACK]))


def _listen(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address, port))
    except OSError as error:
        sock.close()
        raise cannot_listen("HTTP", address, port, error) from None
    sock.setblocking(False)
    return sock


def _allow_many_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _health(request: web.Request) -> web.Response:
    """200 while the store answers."""
    box = request.app[BOX]
    await box.call(box.store.settings.get, "health")
    return web.Response(text="ok\n")


async def _metrics(request: web.Request) -> web.Response:
    """For watchers on the box itself: the lab has no business with these figures."""
    own = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if own is None or own[0] != _LOOPBACK:
        raise web.HTTPNotFound(text="Not here: ask the box itself, http://127.0.0.1/metrics\n")
    box = request.app[BOX]
    series = await box.call(metrics.collect, box.store, box.counters, box.chunk_size, box.settings)
    return web.Response(text=metrics.render(series), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _count(request: web.Request, response: web.StreamResponse) -> None:
    """One request answered; runs when the headers of every answer are about to go out."""
    response.headers["Server"] = "Diecast"  # not which versions of which programs could be attacked
    counters = request.app[BOX].counters
    resource_ = request.match_info.route.resource
    counters.answered(f"{request.method} {resource_.canonical}" if resource_ else "unknown", response.status)
    if isinstance(response, web.FileResponse) and request.method == "GET" and response.status in (200, 206):
        counters.sent(request.match_info.get("file", "other"), response.content_length or 0)
