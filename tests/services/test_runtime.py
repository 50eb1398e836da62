"""Readiness, watchdog, signals, logs, and the rule that the first failing service ends all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from appliance.config import Settings
from appliance.errors import Unavailable, UsageError
from appliance.events import ServiceHealth
from appliance.services import runtime
from appliance.services.runtime import LineFormatter, Notifier, Serve, run_services, supervise
from appliance.store import Store

SILENT = Notifier()


class HealthBook:
    """A store that remembers what services said of themselves, and nothing else."""

    def __init__(self, *, away: bool = False) -> None:
        self.services = self
        self.away = away
        self.said: list[tuple[str, ServiceHealth, str, bool]] = []

    def beat(self, name: str, health: ServiceHealth, words: str = "", *, durable: bool = False, **_: object) -> None:
        if self.away:
            raise Unavailable("The store is away.")
        self.said.append((name, health, words, durable))

    def course_of(self, name: str) -> list[ServiceHealth]:
        """The changes of one service's health, in order."""
        return [health for who, health, _, durable in self.said if who == name and durable]

    def words_of(self, name: str) -> str:
        """What was said of it last."""
        return [words for who, _, words, _ in self.said if who == name][-1]


def book() -> Store:
    return cast(Store, HealthBook())


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def service(
    *, fails: Exception | None = None, ends: bool = False, late: bool = False, seen: list[str] | None = None
) -> Serve:
    async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
        ready()
        if fails is not None:
            raise fails
        if ends:
            return
        await stop.wait()
        if late:
            await asyncio.sleep(60)
        if seen is not None:
            seen.append("stopped")

    return serve


async def run(
    services: dict[str, Serve],
    stop: asyncio.Event | None = None,
    notifier: Notifier = SILENT,
    store: HealthBook | None = None,
) -> None:
    used = cast(Store, store or HealthBook())
    await supervise(services, Settings(), used, stop or asyncio.Event(), notifier)


def test_manager_is_told_when_the_service_is_ready(manager: socket.socket) -> None:
    Notifier(manager.getsockname()).ready("Serving\ntftp.")
    assert manager.recv(200) == b"READY=1\nSTATUS=Serving tftp."


def test_a_missing_manager_stops_nothing(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody")).ready("x")
    Notifier("").alive()


def test_an_abstract_notify_socket_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(f"\0diecast-test-{os.getpid()}")
        sock.settimeout(5)
        Notifier.from_environment({"NOTIFY_SOCKET": f"@diecast-test-{os.getpid()}"}).alive()
        assert sock.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "2000000"}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_watchdog_is_only_fed_when_it_watches_this_process(environ: dict[str, str], watchdog_s: float) -> None:
    assert Notifier.from_environment(environ).watchdog_s == watchdog_s


async def test_ready_is_only_said_once_all_are_ready(manager: socket.socket) -> None:
    release = asyncio.Event()
    stop = asyncio.Event()

    async def slow(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
        await release.wait()
        ready()
        await stop.wait()

    manager.setblocking(False)
    running = asyncio.create_task(run({"http": service(), "nfs": slow}, stop, Notifier(manager.getsockname())))
    await asyncio.sleep(0.05)
    with pytest.raises(BlockingIOError):
        manager.recv(200)
    release.set()
    assert b"READY=1" in await asyncio.get_running_loop().sock_recv(manager, 200)
    stop.set()
    await running
    assert b"STOPPING=1" in manager.recv(200)


async def test_first_failure_stops_the_others_and_is_raised() -> None:
    seen: list[str] = []
    with pytest.raises(Unavailable, match="port 69"):
        await run({"http": service(seen=seen), "tftp": service(fails=Unavailable("port 69 is taken."))})
    assert seen == ["stopped"]


async def test_a_service_that_just_returns_is_a_failure() -> None:
    with pytest.raises(Unavailable, match="'tftp' ended by itself"):
        await run({"http": service(), "tftp": service(ends=True)})


async def test_a_service_that_will_not_stop_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "STOP_GRACE_S", 0.05)
    stop = asyncio.Event()
    stop.set()
    await asyncio.wait_for(run({"http": service(late=True)}, stop), 5)


def test_unknown_service_is_named_with_those_there_are() -> None:
    with pytest.raises(UsageError, match=r"no service 'ftp'.*dhcp, tftp, http, nfs, scheduler"):
        run_services(["ftp"], Settings(), book())


def test_sigterm_ends_the_services_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(runtime, "_load", lambda name: service(seen=seen))
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    run_services(["tftp", "http", "tftp"], Settings(), book(), notifier=SILENT)
    timer.join()
    assert seen == ["stopped", "stopped"]


def test_watchdog_is_fed_while_services_run(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_load", lambda name: service())
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    run_services(["tftp"], Settings(), book(), notifier=Notifier(manager.getsockname(), watchdog_s=0.15))
    timer.join()
    manager.setblocking(False)
    messages: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            messages.append(manager.recv(200))
    assert messages.count(b"WATCHDOG=1") >= 4


STARTING, OK, STOPPING, STOPPED, FAILED = (
    ServiceHealth.STARTING, ServiceHealth.OK, ServiceHealth.STOPPING, ServiceHealth.STOPPED, ServiceHealth.FAILED,
)  # fmt: skip


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what another task is about to do; the test's own time limit ends it."""
    while not condition():
        await asyncio.sleep(0.01)


async def test_the_store_is_told_how_a_service_is_from_its_start_to_its_end() -> None:
    told, stop, release = HealthBook(), asyncio.Event(), asyncio.Event()

    async def slow(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
        await release.wait()
        ready()
        await stop.wait()
        await until(lambda: told.course_of("nfs")[-1] is STOPPING)

    running = asyncio.create_task(run({"nfs": slow}, stop, store=told))
    await until(lambda: told.course_of("nfs") == [STARTING])
    release.set()
    await until(lambda: told.course_of("nfs") == [STARTING, OK])
    stop.set()
    await running
    assert told.course_of("nfs") == [STARTING, OK, STOPPING, STOPPED]


async def test_a_service_beats_for_as_long_as_its_loop_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "BEAT_S", 0.01)
    told, stop = HealthBook(), asyncio.Event()
    running = asyncio.create_task(run({"http": service()}, stop, store=told))
    await until(lambda: told.said.count(("http", OK, "", False)) >= 3)
    stop.set()
    await running
    assert told.course_of("http")[-1] is STOPPED


async def test_a_failed_service_leaves_its_sentence_and_the_others_are_stopped() -> None:
    told = HealthBook()
    with pytest.raises(Unavailable):
        await run({"http": service(), "tftp": service(fails=Unavailable("Port 69 is taken."))}, store=told)
    assert told.course_of("tftp")[-1] is FAILED
    assert told.words_of("tftp") == "Port 69 is taken."
    assert told.course_of("http")[-1] is STOPPED


async def test_a_service_that_just_returns_has_failed() -> None:
    told = HealthBook()
    with pytest.raises(Unavailable):
        await run({"http": service(), "tftp": service(ends=True)}, store=told)
    assert told.course_of("tftp")[-1] is FAILED
    assert "ended by itself" in told.words_of("tftp")


async def test_a_store_that_is_away_stops_no_service_and_is_complained_of_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "BEAT_S", 0.01)
    told, stop = HealthBook(away=True), asyncio.Event()
    running = asyncio.create_task(run({"http": service()}, stop, store=told))
    await until(lambda: "nobody can be told" in caplog.text)
    await asyncio.sleep(0.05)
    told.away = False
    await until(lambda: told.course_of("http") == [OK])
    stop.set()
    await running
    assert caplog.text.count("nobody can be told") == 1


def test_a_service_that_is_killed_falls_silent_and_one_that_is_told_to_stop_has_stopped(tmp_path: Path) -> None:
    config = tmp_path / "diecast.toml"
    folders = "".join(f'{name} = "{tmp_path / name}"\n' for name in ("state", "images", "boot", "run"))
    config.write_text(f"[paths]\n{folders}")
    command = [sys.executable, "-m", "tests.services.run_service", str(config), "scheduler"]
    with Store.open(tmp_path / "state" / "diecast.sqlite") as store:

        def state_after(seconds: float) -> ServiceHealth:
            (state,) = store.services.list(now=datetime.now(UTC) + timedelta(seconds=seconds))
            return state.state

        for number, end in ((signal.SIGKILL, ServiceHealth.SILENT), (signal.SIGTERM, ServiceHealth.STOPPED)):
            with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as process:
                while process.pid not in [s.pid for s in store.services.list() if s.state is ServiceHealth.OK]:
                    assert process.poll() is None
                    time.sleep(0.02)
                process.send_signal(number)
            assert state_after(60) is end


def record(message: str, *args: Any, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("appliance.x", level, __file__, 1, message, args, None)


def test_a_name_from_the_network_cannot_forge_a_log_line() -> None:
    text = LineFormatter(journal=False).format(record("file %s", "a\nERROR forged\x1b[2J\x9b"))
    assert "\n" not in text
    assert r"a\x0aERROR forged\x1b[2J\x9b" in text


@pytest.mark.parametrize(("level", "prefix"), [(logging.ERROR, "<3>"), (logging.INFO, "<6>"), (logging.DEBUG, "<7>")])
def test_journal_lines_carry_their_priority(level: int, prefix: str) -> None:
    formatter = LineFormatter(journal=True, marked=True)
    assert formatter.format(record("hello", level=level)) == f"{prefix}appliance.x: hello"


def test_every_line_of_a_traceback_carries_the_priority() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        entry = record("it failed", level=logging.ERROR)
        entry.exc_info = (ValueError, error, error.__traceback__)
    lines = LineFormatter(journal=True, marked=True).format(entry).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("<3>") for line in lines)
