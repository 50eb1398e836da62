"""The agent's own client and engine against the real HTTP service and scheduler: a whole capture and a whole deploy.

The chunks go through folders instead of NFS; everything else is what PC and box run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from appliance.agent.client import Box as AgentBox
from appliance.agent.client import Refused
from appliance.agent.cmdline import BootLine
from appliance.agent.machine import Limits
from appliance.agent.stop import Stop
from appliance.config import Tasks
from appliance.engine.capture import CaptureOptions, capture
from appliance.engine.manifest import Manifest
from appliance.engine.restore import restore
from appliance.engine.target import RestoreOptions
from appliance.engine.version import Version
from appliance.events import TaskState
from appliance.services.http_box import Box
from appliance.services.scheduler import Scheduler
from appliance.wire import agentapi as api
from tests.services.http_support import MAC, OTHER_MAC, Site, running, settings_in

WINDOW = 1 << 20
PATIENCE = Limits(away_s=20, retry_first_s=0.05, retry_most_s=0.2)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running(settings_in(tmp_path, tasks=Tasks(window_kib=1024))) as found:
        yield found


def agent_of(site: Site, mac: str) -> AgentBox:
    who = api.CheckIn(macs=[mac], boot_mac=mac, firmware="uefi", agent_version="test")
    return AgentBox(BootLine("127.0.0.1", site.port, mac), who, PATIENCE, Stop())


class FolderSink:
    """The agent's side of a capture, with a folder where it has an NFS mount."""

    def __init__(self, box: AgentBox, folder: Path) -> None:
        self.box, self.folder = box, folder

    def missing(self, ids: list[bytes]) -> list[bytes]:
        return self.box.missing(ids)

    def put(self, id: bytes, frame: bytes) -> None:
        part = self.folder / f"{id.hex()}.part"
        part.write_bytes(frame)
        part.rename(self.folder / id.hex())


class FolderSource:
    """The chunks export, read as a folder."""

    def __init__(self, box: Box) -> None:
        self.box = box

    def fetch(self, id: bytes) -> bytes:
        return self.box.chunks.path(id).read_bytes()


def a_disk(path: Path, windows: int = 8) -> Path:
    with path.open("wb") as disk:
        for number in range(windows):
            disk.write(bytes([number % 5]) * WINDOW)
    return path


def send_capture(site: Site, disk: Path) -> None:
    """What the agent does with its order, in its own thread."""
    with contextlib.closing(agent_of(site, MAC)) as box:
        _send_capture(site, disk, box)


def _send_capture(site: Site, disk: Path, box: AgentBox) -> None:
    assert box.check_in().has_task
    order = box.task()
    assert order is not None
    assert order.staging is not None
    sink = FolderSink(box, site.box.chunks.staging / str(order.task_id))
    options = CaptureOptions(window_bytes=order.window_bytes, zstd_level=order.zstd_level)
    taken = capture(disk, sink, options, lambda progress: None, lambda: False)
    for name, data in taken.indexes.items():
        box.put_index(name, data)
    box.put_manifest(taken.manifest)
    box.progress(api.Progress("uploaded", 1, 1))
    box.result(api.Result(ok=True))
    assert box.status().state in ("verifying", "done")


def receive_deploy(site: Site, target: Path) -> None:
    """As `send_capture`, for the other direction."""
    with contextlib.closing(agent_of(site, OTHER_MAC)) as box:
        _receive_deploy(site, target, box)


def _receive_deploy(site: Site, target: Path, box: AgentBox) -> None:
    assert box.check_in().has_task
    order = box.task()
    assert order is not None
    manifest = Manifest.parse(box.manifest())
    restore(
        Version.load(manifest, box.index),
        target,
        FolderSource(site.box),
        RestoreOptions(),
        lambda progress: None,
        lambda: False,
    )
    box.result(api.Result(ok=True, written_bytes=target.stat().st_size))


async def ticking(site: Site, work: asyncio.Future[None]) -> None:
    """Let the scheduler and an NFS service that grants everything work until `work` is done."""
    scheduler = Scheduler(site.box.settings, site.store, site.box.chunks, site.box.uploads)
    while not work.done():
        for task in site.store.tasks.exports_needed():
            site.export(task.id)
        await asyncio.to_thread(scheduler.tick)
        await asyncio.sleep(0.05)
    await work
    await asyncio.to_thread(scheduler.tick)


async def test_a_disk_goes_through_capture_and_deploy_unchanged(site: Site, tmp_path: Path) -> None:
    disk, target = a_disk(tmp_path / "master.img"), tmp_path / "target.img"
    task = site.store.tasks.capture(site.host(), "win11")
    await ticking(site, asyncio.ensure_future(asyncio.to_thread(send_capture, site, disk)))
    assert site.store.tasks.get(task.id).state is TaskState.DONE
    version = site.store.images.resolve("win11")
    assert site.box.chunks.verify(version.id).ok

    with target.open("wb") as file:
        file.truncate(disk.stat().st_size)
    deploy = site.store.tasks.deploy(site.host("LAB1-02", OTHER_MAC), version)
    await ticking(site, asyncio.ensure_future(asyncio.to_thread(receive_deploy, site, target)))
    assert site.store.tasks.get(deploy.id).state is TaskState.DONE
    assert target.read_bytes() == disk.read_bytes()


async def test_the_agent_is_told_why_it_may_not_go_on(site: Site) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await asyncio.to_thread(_told_why, site, task.id)


def _told_why(site: Site, task_id: int) -> None:
    """In one thread, since the agent keeps a connection for each of its own."""
    with contextlib.closing(agent_of(site, MAC)) as box:
        box.check_in()
        site.store.tasks.move(task_id, TaskState.FAILED, error="The disk of the box is full.", remedy="Add a disk.")
        with pytest.raises(Refused, match="The disk of the box is full"):
            box.missing([b"\0" * 32])
        assert box.progress(api.Progress("x")).cancelled
        status = box.status()
    assert (status.state, status.error, status.remedy) == ("failed", "The disk of the box is full.", "Add a disk.")
