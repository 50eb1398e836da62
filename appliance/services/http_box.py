"""What every HTTP handler works with, and the one place where errors become answers.

Rules: handlers that touch the store or files run in a pool of threads, one hop a request; no traceback, no token and no
header of a request ever goes into an answer or a log; whoever asks for nonsense is told so in one sentence.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from aiohttp import web

from appliance.boot.script import Templates
from appliance.config import Settings
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ApplianceError, BadData, Conflict, NoSpace, NotFound, Unavailable, UsageError
from appliance.services.metrics import Counters, FolderSize
from appliance.services.uploads import Uploads
from appliance.store import Store
from appliance.system.about import about
from appliance.wire import agentapi as api

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

MAX_BODY_BYTES = 1 << 20  # of every call but uploads; the longest is a log of 1024 lines
BODY_TIMEOUT_S = 60.0  # a PC that stops in the middle of its body is not waited for any longer
THREADS = 8
_MAX_GUESTS = 512

# Our errors -> HTTP. Everything else is a bug: 500, its traceback in our log only.
_STATUS: tuple[tuple[type[ApplianceError], int], ...] = (
    (NotFound, 404),
    (Conflict, 409),
    (NoSpace, 409),
    (BadData, 422),
    (UsageError, 422),
    (Unavailable, 503),
)


class Refusal(ApplianceError):
    """A call that is refused with a status of its own: 401, 403, 503 with a time to wait."""

    def __init__(self, status: int, message: str, *, hint: str = "", retry_after_s: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


class Guests:
    """Check-ins of unknown PCs, until they register. In memory only: after a restart the agent checks in again."""

    def __init__(self) -> None:
        self._by_mac: OrderedDict[str, api.CheckIn] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, mac: str, who: api.CheckIn) -> None:
        """Keep what the PC said of itself; the oldest of too many is forgotten."""
        with self._lock:
            self._by_mac.pop(mac, None)
            self._by_mac[mac] = who
            while len(self._by_mac) > _MAX_GUESTS:
                self._by_mac.popitem(last=False)

    def get(self, mac: str) -> api.CheckIn | None:
        """What the PC said, if it is remembered."""
        with self._lock:
            return self._by_mac.get(mac)


@dataclass(slots=True)
class Box:
    """Settings, store, image store, and what this process remembers."""

    settings: Settings
    store: Store
    chunks: ChunkStore
    templates: Templates
    uploads: Uploads
    chunk_size: FolderSize
    counters: Counters = field(default_factory=Counters)
    guests: Guests = field(default_factory=Guests)
    adopting: threading.Lock = field(default_factory=threading.Lock)
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "http"))

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what may block in a thread, whose log lines are about the same PC as the caller's."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(
            self.pool, lambda: context.run(function, *args, **kwargs)
        )


BOX = web.AppKey("box", Box)


def netloc(request: web.Request) -> str:
    """ADDRESS:PORT at which this client reached us: what its kernel line and its exports must name."""
    address, port = sockname(request)
    return f"{address}:{port}"


def sockname(request: web.Request) -> tuple[str, int]:
    """Our own end of the connection. Raises `Unavailable` when the client has gone meanwhile."""
    name = request.transport.get_extra_info("sockname") if request.transport else None
    if not name:
        raise Unavailable("The connection has ended.")
    return str(name[0]), int(name[1])


async def read_body(request: web.Request) -> bytes:
    """The body of a call, at most `MAX_BODY_BYTES` (413) and within `BODY_TIMEOUT_S` (408)."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


@web.middleware
async def answer_errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Turn every exception into an answer: JSON for agents, a line of text for loaders and people."""
    with about():  # handlers find out whom
        return await _answered(request, handler)


async def _answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _say(request, error.status, error.reason, "", dict(error.headers))
    except Refusal as error:
        headers = {"Retry-After": str(error.retry_after_s)} if error.retry_after_s else {}
        return _say(request, error.status, error.message, error.hint, headers)
    except ApplianceError as error:
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        headers = {"Retry-After": "5"} if status == 503 else {}
        log.log(logging.WARNING if status >= 500 else logging.INFO, "%s: %s", _where(request), error)
        return _say(request, status, error.message, error.hint, headers)
    except web.RequestPayloadError as error:
        return _say(request, 400, f"The body cannot be read ({type(error).__name__}).", "", {})
    except (ConnectionError, asyncio.CancelledError):
        raise  # the client has gone; there is nobody to answer
    except Exception:
        log.exception("%s: a defect", _where(request))
        return _say(request, 500, "The box made a mistake.", "Read the log of its http service.", {})


def _where(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return f"{request.remote} {request.method} {resource.canonical if resource else 'nothing'}"


def _say(request: web.Request, status: int, error: str, remedy: str, headers: dict[str, str]) -> web.Response:
    kept = {name: value for name, value in headers.items() if name in ("Retry-After", "Allow")}
    if request.path.startswith(api.PREFIX):
        body = api.Problem(error, remedy).to_json()
        return web.Response(status=status, body=body, content_type="application/json", headers=kept)
    return web.Response(status=status, text=f"{error} {remedy}".rstrip() + "\n", headers=kept)
