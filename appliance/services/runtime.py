"""What every service needs from the system: readiness, watchdog, signals, logs, and one loop to run in.

Rules: services run in one event loop; the first that fails ends all; every way out goes through `stop`. How each
service is stands in the store: told at every change, and every `BEAT_S` for as long as the loop turns.
References: sd_notify(3), sd_watchdog_enabled(3), sd-daemon(3) (the `<N>` prefix of a log line).
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from appliance.config import Settings
from appliance.errors import ApplianceError, Unavailable, UsageError
from appliance.events import ServiceHealth
from appliance.services import watchdog
from appliance.system.journal import Journal, JournalHandler, journald_reads_stderr, priority_of

if TYPE_CHECKING:
    from appliance.store import Store

log = logging.getLogger(__name__)

BEAT_S = 5.0  # `store.services` calls a service silent that missed three
STOP_GRACE_S = 10.0  # a service that has not returned so long after `stop` is cancelled; systemd kills at 20

# What the operator calls a service -> the module that holds its `serve`. Order is the order of starting.
MODULES: dict[str, str] = {
    "dhcp": "appliance.services.dhcpd",
    "tftp": "appliance.services.tftpd",
    "http": "appliance.services.httpd",
    "nfs": "appliance.services.nfsd",
    "scheduler": "appliance.services.scheduler",
    "cast": "appliance.services.castd",
}

# Libraries that log every request or packet at INFO: only what is wrong is wanted from them.
_NOISY = ("aiohttp.access", "asyncio", "pyroute2", "tftpy")

# Names, options and agent lines come from the network: none may begin a forged log line or move a terminal's cursor.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}


class Serve(Protocol):
    """A service: runs until `stop` is set, calls `ready` once it can be used. Raises `ApplianceError` if it cannot."""

    def __call__(
        self, settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]
    ) -> Coroutine[Any, Any, None]: ...


@dataclass(frozen=True, slots=True)
class Notifier:
    """Tells the service manager how we are; does nothing when there is none."""

    address: str = ""  # path, or `@name` in the abstract namespace
    watchdog_s: float = 0.0  # the manager kills us when it hears nothing for so long; 0: it does not watch

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Notifier:
        """Read `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`, this protocol's only way in."""
        address = environ.get("NOTIFY_SOCKET", "")
        usable = address[:1] in {"/", "@"}  # vsock: is for containers' managers only
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        usec = environ.get("WATCHDOG_USEC", "")
        return cls(address if usable else "", int(usec) / 1e6 if mine and usec.isdecimal() else 0.0)

    def send(self, **state: str) -> None:
        """Send `NAME=value` lines. Never raises: a deaf manager must not stop a service."""
        if not self.address:
            return
        message = "\n".join(f"{name}={value}".replace("\n", " ") for name, value in state.items())
        target = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(message.encode(), target)

    def ready(self, status: str) -> None:
        """Start-up is finished."""
        self.send(READY="1", STATUS=status)

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self.send(STATUS=text)

    def stopping(self) -> None:
        """Shutdown has begun."""
        self.send(STOPPING="1", STATUS="Stopping.")

    def alive(self) -> None:
        """Feed the watchdog."""
        self.send(WATCHDOG="1")


class LineFormatter(logging.Formatter):
    """One record, one line (tracebacks apart), with control characters spelled out.

    With `journal` they carry no time, because the journal has its own; with `marked`, each begins with `<N>`, from
    which journald knows its priority.
    """

    def __init__(self, *, journal: bool, marked: bool = False) -> None:
        fmt = "%(name)s: %(message)s" if journal else "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
        super().__init__(fmt)
        self._marked = marked

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if not self._marked:
            return text
        return "\n".join(f"<{priority_of(record.levelno)}>{line}" for line in text.split("\n"))

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = record.message.translate(_CONTROL)
        return super().formatMessage(record)


def set_up_logging(level: str, *, environ: Mapping[str, str] = os.environ) -> None:
    """Log at `level` (debug, info, warning, error) to the journal or to standard error. Called once, by `serve`."""
    logging.basicConfig(level=level.upper(), handlers=[_handler(environ)], force=True)
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def _handler(environ: Mapping[str, str]) -> logging.Handler:
    """To journald with the fields of each line, if it reads our standard error; what it cannot take goes there."""
    handler: logging.Handler
    if journald_reads_stderr(environ):
        with suppress(OSError):
            handler = JournalHandler(Journal())
            handler.setFormatter(LineFormatter(journal=True))
            return handler
    handler = logging.StreamHandler(sys.stderr)
    in_journal = "JOURNAL_STREAM" in environ
    handler.setFormatter(LineFormatter(journal=in_journal, marked=in_journal))
    return handler


def cannot_listen(what: str, address: str, port: int, error: OSError) -> Unavailable:
    """The error for a socket that could not be bound, in words."""
    return Unavailable(
        f"{what} cannot listen on {address or '0.0.0.0'} port {port}: {error.strerror or error}.",
        hint=f"See who uses it: ss -lnp 'sport = :{port}'",
    )


def run_services(names: Iterable[str], settings: Settings, store: Store, *, notifier: Notifier | None = None) -> None:
    """Run the named services (none named: all) in one loop until SIGTERM or SIGINT.

    Raises `UsageError` for an unknown name, and the `ApplianceError` of the first service that fails, after the others
    have been stopped. Call `set_up_logging` first.
    """
    chosen = list(dict.fromkeys(names)) or list(MODULES)
    unknown = [name for name in chosen if name not in MODULES]
    if unknown:
        raise UsageError(f"There is no service '{unknown[0]}'.", hint=f"Services are: {', '.join(MODULES)}.")
    services = {name: _load(name) for name in MODULES if name in chosen}
    asyncio.run(_main(services, settings, store, notifier or Notifier.from_environment()))


def _load(name: str) -> Serve:
    return cast("Serve", importlib.import_module(MODULES[name]).serve)


async def _main(services: Mapping[str, Serve], settings: Settings, store: Store, notifier: Notifier) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    feeding = asyncio.create_task(watchdog.feed(notifier.alive, notifier.watchdog_s))
    try:
        await supervise(services, settings, store, stop, notifier)
    finally:
        feeding.cancel()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


class Pulse:
    """Tells the store how the services of this process are. Never raises: a store that is away must not stop them."""

    def __init__(self, store: Store, names: Iterable[str]) -> None:
        self._store = store
        self._states = dict.fromkeys(names, (ServiceHealth.STARTING, ""))
        self._told: dict[str, tuple[ServiceHealth, str]] = {}
        self._started = datetime.now(UTC)
        self._news = asyncio.Event()
        self._over = False
        self._complaint = ""

    def set(self, name: str, health: ServiceHealth, words: str = "") -> None:
        """Service `name` is so from now on; a failure stays."""
        if self._states[name][0] is not ServiceHealth.FAILED:
            self._states[name] = (health, words)
            self._news.set()

    def set_all(self, health: ServiceHealth) -> None:
        """As `set`, for every service."""
        for name in self._states:
            self.set(name, health)

    def end(self) -> None:
        """Let `run` tell the last state and return."""
        self._over = True
        self._news.set()

    async def run(self) -> None:
        """The only writer, so that nothing old is told after something new."""
        while not self._over:
            self._news.clear()
            await asyncio.to_thread(self._tell, dict(self._states))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), BEAT_S)
        await asyncio.to_thread(self._tell, dict(self._states))

    def _tell(self, states: Mapping[str, tuple[ServiceHealth, str]]) -> None:
        try:
            for name, (health, words) in states.items():
                news = self._told.get(name) != (health, words)
                self._store.services.beat(name, health, words, pid=os.getpid(), started=self._started, durable=news)
                self._told[name] = (health, words)
            self._complaint = ""
        except ApplianceError as error:
            if str(error) != self._complaint:
                log.error("nobody can be told how the services are: %s", error)
            self._complaint = str(error)


async def supervise(
    services: Mapping[str, Serve], settings: Settings, store: Store, stop: asyncio.Event, notifier: Notifier
) -> None:
    """Run `services` until `stop` is set or one ends; then stop all. Raises what the first one raised."""
    pulse = Pulse(store, services)
    telling = asyncio.create_task(pulse.run())
    try:
        await _run_all(services, settings, store, stop, notifier, pulse)
    finally:
        pulse.end()
        await telling


async def _run_all(
    services: Mapping[str, Serve],
    settings: Settings,
    store: Store,
    stop: asyncio.Event,
    notifier: Notifier,
    pulse: Pulse,
) -> None:
    waiting = set(services)

    def ready(name: str) -> None:
        log.info("%s is ready", name)
        pulse.set(name, ServiceHealth.OK)
        waiting.discard(name)
        if not waiting:
            notifier.ready(f"Serving {', '.join(services)}.")

    tasks = {
        name: asyncio.create_task(serve(settings, store, stop, ready=partial(ready, name)), name=name)
        for name, serve in services.items()
    }
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({*tasks.values(), stopped}, return_when=asyncio.FIRST_COMPLETED)
    asked_to_stop = stop.is_set()
    failed = next((task for task in tasks.values() if task.done()), None)
    stop.set()
    notifier.stopping()
    _note_failures(tasks.values(), pulse)
    pulse.set_all(ServiceHealth.STOPPING)
    await _finish(tasks.values())
    await stopped
    problems = {task.get_name(): error for task in tasks.values() if (error := _error_of(task))}
    if failed is not None and not problems and not asked_to_stop:
        ended = Unavailable(
            f"The service '{failed.get_name()}' ended by itself.", hint="This is a defect; see the log."
        )
        pulse.set(failed.get_name(), ServiceHealth.FAILED, str(ended))
        pulse.set_all(ServiceHealth.STOPPED)
        raise ended
    _note_failures(tasks.values(), pulse)
    pulse.set_all(ServiceHealth.STOPPED)
    _report(problems, failed)


def _note_failures(tasks: Iterable[asyncio.Task[None]], pulse: Pulse) -> None:
    for task in tasks:
        if error := _error_of(task):
            pulse.set(task.get_name(), ServiceHealth.FAILED, str(error) or type(error).__name__)


async def _finish(tasks: Iterable[asyncio.Task[None]]) -> None:
    """Wait for services that were told to stop; cancel those that do not."""
    _, late = await asyncio.wait(tasks, timeout=STOP_GRACE_S)
    for task in late:
        log.warning("%s did not stop within %.0f s and is cancelled", task.get_name(), STOP_GRACE_S)
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=STOP_GRACE_S)


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    if not task.done() or task.cancelled():
        return None
    return task.exception()


def _report(problems: Mapping[str, BaseException], first: asyncio.Task[None] | None) -> None:
    """Raise the error that came first; log the others, which may be its consequences."""
    if not problems:
        return
    name = first.get_name() if first is not None and first.get_name() in problems else next(iter(problems))
    for other, error in problems.items():
        if other != name:
            log.error("%s: %s", other, error, exc_info=None if isinstance(error, ApplianceError) else error)
    log.error("%s failed: %s", name, problems[name])
    raise problems[name]
