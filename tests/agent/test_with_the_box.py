"""The agent beside the box's own http and scheduler services; only NFS is folders."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.agent import network
from appliance.agent.machine import Machine
from appliance.agent.session import Exit, run
from appliance.config import Http, Network, Paths, Settings
from appliance.engine.chunkstore import ChunkStore
from appliance.events import AfterTask, TaskState
from appliance.model import Task
from appliance.services import httpd, scheduler
from appliance.store import Store
from tests.agent.conftest import MAC, QUICK, FakeTools, Heard, write
from tests.agent.session_kit import MIB, content
from tests.agent.test_hardware import card


class Services:
    """http and scheduler in a thread of their own."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings, self._store = settings, store
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Semaphore(0)
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    async def _run(self) -> None:
        await asyncio.gather(
            *(
                service.serve(self._settings, self._store, self._stop, ready=self._ready.release)
                for service in (httpd, scheduler)
            )
        )

    def start(self) -> None:
        """Start both, and wait until they answer."""
        self._thread.start()
        for _ in range(2):
            assert self._ready.acquire(timeout=20)

    def stop(self) -> None:
        """Stop both."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@dataclass
class Room:
    """A box and a PC."""

    settings: Settings
    store: Store
    services: Services
    machine: Machine
    tools: FakeTools
    heard: Heard

    def disk(self, name: str, data: bytes, size: int) -> Path:
        """The PC's only disk."""
        for old in (self.machine.sys / "block").glob("*/size"):
            old.write_text("0")
        write(self.machine.sys, {f"block/{name}/size": str(size // 512), f"block/{name}/device/model": "Testdisk"})
        path = self.machine.dev / name
        path.write_bytes(data)
        os.truncate(path, size)
        return path

    def boot(self, task: Task | None, purpose: str = "task") -> Exit:
        """Start the PC; the NFS service has made what its task needs."""
        if task is not None:
            images = self.settings.paths.images
            ChunkStore(images).open_staging(task.id, os.getuid())
            self.tools.exports = {"/chunks": images / "chunks", f"/staging/{task.id}": images / f"staging/{task.id}"}
            self.store.settings.set(f"nfs.ready.{task.id}", "127.0.0.1")
        line = f"diecast.server=http://127.0.0.1:{self.settings.http.port} diecast.mac={MAC} diecast.purpose={purpose}"
        write(self.machine.proc, {"cmdline": line})
        return run(self.machine, replace(QUICK, report_every_s=0.2), self.heard.consoles)


@pytest.fixture
def room(
    machine: Machine, tools: FakeTools, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Room]:
    """Everything there, nothing planned."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = Paths(tmp_path / "state", tmp_path / "images", tmp_path / "boot", tmp_path / "run-box")
    settings = Settings(paths=paths, network=Network(interfaces=("lo",)), http=Http(port=port))
    card(machine, "eth0", MAC)
    address = network.Address("eth0", MAC, IPv4Address("127.0.0.1"), 8)
    monkeypatch.setattr(network, "bring_up", lambda *_: address)
    store = Store.open(paths.database)
    services = Services(settings, store)
    services.start()
    made = Room(settings, store, services, machine, tools, heard)
    yield made
    made.services.stop()
    store.close()


def test_a_capture_is_committed_and_its_deploy_makes_an_equal_disk(room: Room) -> None:
    data = content(24)
    master = room.store.hosts.add("master", [MAC])
    room.disk("sda", data, len(data))
    task = room.store.tasks.capture(master, "win11-lab", sealed=True, after=AfterTask.POWEROFF)
    assert room.boot(task) is Exit.POWER_OFF, room.heard.lines
    (version,) = room.store.images.versions("win11-lab")
    assert version.used_bytes == len(data)
    assert room.store.tasks.get(task.id).state is TaskState.DONE
    assert "disk" in room.store.tasks.log(task.id)
    assert not room.store.hosts.get("master").sealed

    target = room.disk("sdb", b"", len(data) + 8 * MIB)
    task = room.store.tasks.deploy(room.store.hosts.get("master"), version, after=AfterTask.REBOOT)
    assert room.boot(task) is Exit.REBOOT, room.heard.lines
    assert target.read_bytes()[: len(data)] == data
    assert room.store.tasks.get(task.id).state is TaskState.DONE


def test_a_target_that_is_too_small_fails_with_the_same_sentence_on_both_sides(room: Room) -> None:
    data = content(8)
    master = room.store.hosts.add("master", [MAC])
    room.disk("sda", data, len(data))
    assert room.boot(room.store.tasks.capture(master, "win11-lab")) is Exit.POWER_OFF
    room.disk("sdb", b"", 4 * MIB)
    (version,) = room.store.images.versions("win11-lab")
    task = room.store.tasks.deploy(master, version)
    assert room.boot(task) is Exit.FAILED
    ended = room.store.tasks.get(task.id)
    assert ended.state is TaskState.FAILED
    assert f"{8 * MIB} bytes" in ended.error
    assert f"failed: {ended.error} {ended.remedy}" in room.heard.lines[-1]


def when_running(room: Room, task: Task, act: Callable[[], object]) -> threading.Thread:
    """Do something as soon as the agent has been heard of."""

    def watch() -> None:
        for _ in range(1000):
            if room.store.tasks.get(task.id).phase:
                act()
                return
            threading.Event().wait(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_a_cancel_by_the_operator_powers_the_pc_off(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    data = content(200, seed=4)
    master = room.store.hosts.add("master", [MAC])
    room.disk("sda", data, len(data))
    task = room.store.tasks.capture(master, "win11-lab")
    real = os.rename

    def slow(source: str, target: str) -> None:
        if threading.current_thread().name.startswith("engine"):
            threading.Event().wait(0.1)
        real(source, target)

    monkeypatch.setattr(os, "rename", slow)
    thread = when_running(room, task, lambda: room.store.tasks.cancel(task.id))
    assert room.boot(task) is Exit.POWER_OFF, room.heard.lines
    thread.join()
    assert "cancelled" in room.heard.lines[-1]
    assert room.store.images.list() == []


def test_a_second_start_of_the_same_pc_ends_the_first_ones_token(room: Room) -> None:
    from appliance.agent.client import Box, Refused
    from appliance.agent.cmdline import BootLine
    from appliance.agent.stop import Stop
    from appliance.wire.agentapi import CheckIn

    room.store.tasks.capture(room.store.hosts.add("master", [MAC]), "win11-lab")
    line = BootLine("127.0.0.1", room.settings.http.port, MAC)
    first, second = (Box(line, CheckIn([MAC], MAC), QUICK, Stop()) for _ in range(2))
    first.check_in()
    second.check_in()
    with pytest.raises(Refused, match="replaced by a later check-in"):
        first.status()
    assert second.status().state == "running"
    first.close()
    second.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do; the test's own time limit ends it."""
    while not condition():
        threading.Event().wait(0.01)


@dataclass
class HeldPc:
    """A new PC in a thread of its own, which waits for the operator."""

    room: Room
    order_id: int
    ends: list[Exit] = field(default_factory=list)

    def power_on(self, purpose: str) -> threading.Thread:
        """Boot it, and wait until it says that it waits."""
        thread = threading.Thread(target=lambda: self.ends.append(self.room.boot(None, purpose)))
        thread.start()
        until(lambda: "Nothing is written to its disk before it is confirmed" in self.room.heard.page)
        return thread

    def grant_exports(self) -> None:
        """What the NFS service will have done for its task."""
        (task,) = self.room.store.tasks.held(self.order_id)
        images = self.room.settings.paths.images
        self.room.tools.exports = {"/chunks": images / "chunks"}
        self.room.store.settings.set(f"nfs.ready.{task.id}", "127.0.0.1")


@pytest.fixture
def held_pc(room: Room) -> HeldPc:
    """A captured image, and an order that holds its PCs."""
    data = content(4)
    room.disk("sda", data, len(data))
    master = room.store.hosts.add("master", [MAC])
    assert room.boot(room.store.tasks.capture(master, "win11-lab")) is Exit.POWER_OFF
    room.store.hosts.edit("master", macs=["52:54:00:00:00:99"])
    order = room.store.tasks.order_new_pcs(room.store.images.resolve("win11-lab"), 1, "LAB1-{nn}", hold=True)
    return HeldPc(room, order.id)


def test_a_held_pc_says_who_it_is_writes_nothing_and_begins_when_it_is_confirmed(held_pc: HeldPc) -> None:
    room = held_pc.room
    target = room.disk("sdb", b"", 8 * MIB)
    waiting = held_pc.power_on("deploy-new")
    assert "LAB1-01 waits until the operator confirms it" in room.heard.page
    assert target.read_bytes() == bytes(8 * MIB)
    room.services.stop()
    room.services = Services(room.settings, room.store)
    room.services.start()
    held_pc.grant_exports()
    room.store.tasks.release(held_pc.order_id)
    waiting.join()
    assert held_pc.ends == [Exit.REBOOT], room.heard.lines
    assert target.read_bytes()[: 4 * MIB] == content(4)


def test_a_held_pc_that_is_not_confirmed_powers_off_with_its_disk_untouched(held_pc: HeldPc) -> None:
    target = held_pc.room.disk("sdb", b"", 8 * MIB)
    waiting = held_pc.power_on("deploy-new")
    held_pc.room.store.tasks.dismiss(held_pc.order_id)
    waiting.join()
    assert held_pc.ends == [Exit.POWER_OFF]
    assert "no task" in held_pc.room.heard.lines[-1]
    assert target.read_bytes() == bytes(8 * MIB)


def test_an_unknown_pc_without_a_task_is_told_so(room: Room) -> None:
    assert room.boot(None) is Exit.POWER_OFF
    assert room.heard.lines[-1] == "diecast: no task for this PC, powering off"
