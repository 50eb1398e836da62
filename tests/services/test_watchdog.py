"""The watchdog hears nothing any more when the work hangs, whichever thread does it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import cast

import pytest

from appliance.config import Settings
from appliance.services import runtime
from appliance.services.runtime import Notifier, run_services
from appliance.services.watchdog import Duty, duty, feed, keeps_up
from appliance.store import Store
from tests.services.test_runtime import HealthBook

WATCHDOG_S = 0.15
LIMIT_S = 0.2


class Bowl:
    """Counts how often the watchdog was fed."""

    def __init__(self) -> None:
        self.fed = 0

    def alive(self) -> None:
        self.fed += 1


@pytest.fixture
async def bowl() -> AsyncIterator[Bowl]:
    found = Bowl()
    feeding = asyncio.create_task(feed(found.alive, WATCHDOG_S))
    yield found
    feeding.cancel()


async def is_fed(bowl: Bowl) -> bool:
    before = bowl.fed
    await asyncio.sleep(2 * WATCHDOG_S)
    return bowl.fed > before


async def test_it_is_fed_while_work_goes_on_and_not_while_it_hangs(
    bowl: Bowl, caplog: pytest.LogCaptureFixture
) -> None:
    with duty("the round", LIMIT_S) as rounds:
        assert await is_fed(bowl)
        await asyncio.sleep(LIMIT_S)
        assert not await is_fed(bowl)
        assert caplog.text.count("the round has not gone on for 0 s") == 1, "told once"
        rounds.turned()
        assert await is_fed(bowl)
        await asyncio.sleep(LIMIT_S)
        assert not await is_fed(bowl)
    assert await is_fed(bowl), "what has ended cannot hang"


async def test_a_pool_whose_threads_all_hang_stops_it(bowl: Bowl) -> None:
    stop, release = asyncio.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        keeping = asyncio.create_task(keeps_up("answers", pool, stop, LIMIT_S))
        await asyncio.sleep(2 * LIMIT_S)
        assert await is_fed(bowl)
        pool.submit(release.wait)
        assert await is_fed(bowl), "one of two is busy"
        pool.submit(release.wait)
        await asyncio.sleep(2 * LIMIT_S)
        assert not await is_fed(bowl)
        release.set()
        await asyncio.sleep(LIMIT_S)
        assert await is_fed(bowl)
        stop.set()
        await keeping


async def test_nobody_is_fed_where_nobody_watches() -> None:
    found = Bowl()
    await asyncio.wait_for(feed(found.alive, 0.0), 5)
    assert found.fed == 0


def test_a_duty_is_silent_only_beyond_its_limit() -> None:
    now = 100.0
    found = Duty("x", 10.0, lambda: now)
    now = 110.0
    assert found.silent_s == 0.0
    now = 111.0
    assert found.silent_s == 11.0


def test_a_services_own_loop_that_hangs_is_heard_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: a manager's socket, a service in its process, and a call in its loop that does not come back."""
    times: list[float] = []
    hung: list[float] = []

    async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
        ready()
        await asyncio.sleep(4 * WATCHDOG_S)
        hung.append(time.monotonic())
        time.sleep(6 * WATCHDOG_S)  # the defect that is looked for
        hung.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()

    monkeypatch.setattr(runtime, "_load", lambda name: serve)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(0.05)
        over = threading.Event()

        def listen() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    if manager.recv(200) == b"WATCHDOG=1":
                        times.append(time.monotonic())

        listening = threading.Thread(target=listen)
        listening.start()
        notifier = Notifier(str(tmp_path / "notify"), watchdog_s=WATCHDOG_S)
        run_services(["http"], Settings(), cast(Store, HealthBook()), notifier=notifier)
        over.set()
        listening.join()
    assert [at for at in times if at < hung[0]]
    assert [at for at in times if hung[0] + WATCHDOG_S / 3 < at < hung[1]] == []
