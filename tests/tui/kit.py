"""The console in tests: a store with a room, the program at a size, keys in, store and screen out.

    async with console(store) as seat:
        await seat.press("4", "down", "k")
        assert "Cancel" in seat.text()

Time stands still at `NOON` (Paris is not asked: tests run in UTC), gauges and the box's name are fixed, and the read
model looks only when it is told (`seat.look()`, which `press` does by itself). So what is drawn is the same each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from appliance.config import Settings
from appliance.events import BootStage, Role, ServiceHealth, TaskState
from appliance.model import ImageVersion, Task
from appliance.store import Store
from appliance.tui import i18n, theme
from appliance.tui.app import ConsoleApp
from appliance.tui.session import Session
from appliance.tui.snapshot import Disk, Gauges, LinkUse

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SMALL, LARGE = (80, 24), (120, 40)
_SOON_S = 10.0
BOX = "lab-b204"
NO_COMMAND = ("false",)  # in place of our command line: whatever it is asked, it knows nothing
GAUGES = Gauges(
    Disk(931_000_000_000, 519_000_000_000),
    (LinkUse("eth1", "10.20.4.1/22", True, 1000, 116_750_000.0, 1_200_000.0),),
    tuple(1e6 * (20 + 15 * (i % 7)) for i in range(120)),
    tuple(1e6 * (10 + 11 * (i % 5)) for i in range(120)),
)


@dataclass
class Seat:
    """Somebody at a console."""

    app: ConsoleApp
    pilot: Pilot[None]

    @property
    def store(self) -> Store:
        """The store that this console has open."""
        return self.app.model.store

    async def look(self) -> None:
        """Let the read model look, and everything be drawn."""
        await look(self.pilot)

    async def press(self, *keys: str) -> None:
        """Press keys one after another, each when the one before has been drawn; wait for workers, and look."""
        for key in keys:
            await self.pilot.press(key)
            await self.app.typed.done()
        await self.settle()

    async def type(self, text: str) -> None:
        """Type a text, as fast as a terminal hands it over."""
        names = {" ": "space", "-": "minus", "_": "underscore", ".": "full_stop", "/": "slash", ":": "colon", "@": "at"}
        await self.pilot.press(*(names.get(char, char) for char in text))
        await self.settle()

    async def settle(self) -> None:
        """Wait for workers, let the read model look, and everything be drawn."""
        await settle(self.pilot)

    def lines(self) -> list[str]:
        """What the terminal shows, line by line."""
        return shown_lines(self.app)

    def text(self) -> str:
        """What the terminal shows."""
        return "\n".join(self.lines())

    def line_with(self, words: str) -> str:
        """The first line that holds `words`."""
        return next((line for line in self.lines() if words in line), "")

    async def shows(self, words: str) -> None:
        """Wait until the screen says it."""
        until = time.monotonic() + _SOON_S
        while words not in self.text():
            assert time.monotonic() < until, self.text()
            await self.pilot.pause(0.05)
            await self.settle()


async def look(pilot: Pilot[None]) -> None:
    """Let the read model look, and everything be drawn."""
    assert isinstance(pilot.app, ConsoleApp)
    await asyncio.to_thread(pilot.app.model.look)
    await pilot.pause()


async def settle(pilot: Pilot[None]) -> None:
    """Wait for keys and workers, let the read model look, and everything be drawn."""
    assert isinstance(pilot.app, ConsoleApp)
    await pilot.app.typed.done()
    await pilot.pause()
    for _round in range(5):
        if pilot.app.workers:
            await pilot.app.workers.wait_for_complete()
        await look(pilot)
        if not pilot.app.workers:
            return


def pressing(*keys: str) -> Callable[[Pilot[None]], Awaitable[None]]:
    """For `snap_compare(run_before=)`: press keys before the picture is taken."""

    async def press(pilot: Pilot[None]) -> None:
        await settle(pilot)
        for key in keys:
            await pilot.press(key)
            await settle(pilot)

    return press


def shown_lines(app: App[Any]) -> list[str]:
    """What the terminal of a running application shows, line by line."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return ["".join(segment.text for segment in strip)[:width].rstrip() for strip in strips][:height]


@contextlib.asynccontextmanager
async def console(
    store: Store,
    *,
    size: tuple[int, int] = SMALL,
    language: str = "",
    role: Role = Role.ADMIN,
    read_only: bool = False,
    now: datetime = NOON,
    settings: Settings | None = None,
    look: str = theme.NORMAL,
    command: Sequence[str] = NO_COMMAND,
) -> AsyncIterator[Seat]:
    """The console on `store` (which it opens by itself, as another process would)."""
    app = make_app(
        store.path,
        language=language,
        role=role,
        read_only=read_only,
        now=now,
        settings=settings,
        look=look,
        command=command,
    )
    async with app.run_test(size=size) as pilot:
        seat = Seat(app, pilot)
        await seat.settle()
        yield seat
    i18n.use("en")
    theme.use(theme.NORMAL)


def make_app(
    path: Path,
    *,
    language: str = "",
    role: Role = Role.ADMIN,
    read_only: bool = False,
    now: datetime = NOON,
    settings: Settings | None = None,
    look: str = theme.NORMAL,
    command: Sequence[str] = NO_COMMAND,
) -> ConsoleApp:
    """A console that looks at the store only when it is told, for `run_test` and snapshots."""
    theme.use(look)
    session = Session("marie", role, language=language, read_only=read_only)
    app = ConsoleApp(
        lambda: Store.open(path),
        session,
        settings or Settings(),
        measure=lambda: GAUGES,
        box=BOX,
        clock=lambda: now,
        command=command,
    )
    app.model.start = app.model.look  # type: ignore[method-assign]
    return app


# -- a populated box ------------------------------------------------------------------------------------------------


def version_of(image: str, digit: str, size_bytes: int = 44_000_000_000) -> ImageVersion:
    """A version's figures."""
    return ImageVersion(
        id=digit * 64,
        image_name=image,
        number=0,
        created=NOON - timedelta(days=3),
        disk_bytes=128_000_000_000,
        used_bytes=size_bytes,
        stored_bytes=size_bytes // 2,
        new_bytes=size_bytes // 4,
        chunks=size_bytes // 1_048_576,
    )


def capture(store: Store, host_name: str, image: str, digit: str, *, at: datetime = NOON - timedelta(days=3)) -> Task:
    """Take a host through a whole capture."""
    host = store.hosts.get(host_name)
    task = store.tasks.capture(host, image, now=at)
    store.tasks.checked_in(task.id, "10.20.5.1", host.macs[0], now=at)
    store.tasks.move(task.id, TaskState.VERIFYING, now=at + timedelta(minutes=9))
    return store.images.commit(task.id, version_of(image, digit), now=at + timedelta(minutes=10))


def deploy(store: Store, host_name: str, image: str, *, share: float = 0.0, cast_id: int | None = None) -> Task:
    """A deploy that runs since ten minutes and has written `share` of it; 0: it waits for its PC."""
    host, version = store.hosts.get(host_name), store.images.resolve(image)
    at = NOON - timedelta(minutes=10)
    task = store.tasks.deploy(host, version, cast_id=cast_id, now=at)
    if share > 0:
        store.tasks.checked_in(task.id, host.ip or "10.20.5.9", host.macs[0], now=at)
        done = int(version.used_bytes * share)
        task = store.tasks.progress(task.id, "writing windows", done, version.used_bytes, 112e6, now=NOON)
    return task


def fail(store: Store, task: Task, *, at: datetime = NOON - timedelta(minutes=19)) -> Task:
    """End a task as a PC with too small a disk does."""
    return store.tasks.move(
        task.id,
        TaskState.FAILED,
        error="The disk /dev/sda of 119 GB is too small: win11-lab@1 needs 128 GB.",
        remedy="Use a larger disk, or capture from a smaller one.",
        now=at,
    )


def furnish(store: Store, hosts: int = 20) -> None:
    """A box in the middle of a day: room B204, two images, tasks in every state, an open cast, one failure."""
    early = NOON - timedelta(days=30)
    store.rooms.add("B204", "second floor")
    store.rooms.add("Library")
    for number in range(1, hosts + 1):
        name, mac = f"lab-{number:02}", f"52:54:00:aa:01:{number:02x}"
        store.hosts.add(name, [mac], room="B204" if number <= 16 else "", now=early)
        seen = NOON - timedelta(minutes=3 * number)
        store.hosts.seen(mac, BootStage.LOCAL, ip=f"10.20.5.{number}", arch=7 if number % 4 else 0, now=seen)
    for name, mac in (("win11-master", "52:54:00:aa:02:01"), ("dev-01", "52:54:00:aa:02:02")):
        store.hosts.add(name, [mac], now=early)
    capture(store, "win11-master", "win11-lab", "a")
    capture(store, "dev-01", "ubuntu-dev", "b", at=NOON - timedelta(days=2))
    capture(store, "dev-01", "ubuntu-dev", "c", at=NOON - timedelta(days=1))
    store.hosts.edit("win11-master", sealed=True, notes="Office 2024, keys in the safe")
    for number in (1, 2):
        done = deploy(store, f"lab-{number:02}", "win11-lab", share=0.99)
        store.tasks.move(done.id, TaskState.VERIFYING, now=NOON - timedelta(minutes=6))
        store.tasks.move(done.id, TaskState.DONE, now=NOON - timedelta(minutes=5))
    fail(store, deploy(store, "lab-17", "win11-lab", share=0.1))
    cast = store.casts.open(
        store.images.resolve("win11-lab"), groups=IPv4Network("239.192.68.0/24"), now=NOON - timedelta(minutes=12)
    )
    for number in range(3, 9):
        deploy(store, f"lab-{number:02}", "win11-lab", share=0.6 + number / 50, cast_id=cast.id)
    _cast_figures(store, cast.id)
    deploy(store, "lab-18", "ubuntu-dev", share=0.28)
    deploy(store, "lab-19", "ubuntu-dev")
    store.hosts.seen("52:54:00:aa:01:13", BootStage.LOADER, ip="10.20.5.19", now=NOON - timedelta(seconds=8))
    store.hosts.seen("52:54:00:ee:00:01", BootStage.MENU, ip="10.20.7.1", now=NOON - timedelta(minutes=2))
    for name in ("cast", "dhcp", "http", "nfs", "scheduler", "tftp"):
        store.services.beat(name, ServiceHealth.OK, pid=100, started=early, now=NOON)


def _cast_figures(store: Store, cast_id: int) -> None:
    import dataclasses

    cast = dataclasses.replace(store.casts.get(cast_id), present=6, rate_bytes_s=112e6, sent_bytes=31_200_000_000)
    members = [
        dataclasses.replace(member, status="by multicast", written=27_000 + 500 * index, total=41_961)
        for index, member in enumerate(store.casts.members(cast_id))
    ]
    store.casts.record([(cast, members)])
