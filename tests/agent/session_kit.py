"""What the tests of a whole start share: one PC, one box, image files for disks, folders for NFS mounts."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.agent import network
from appliance.agent.machine import Machine
from appliance.agent.session import Exit, run
from appliance.engine.chunkstore import ChunkStore
from appliance.wire import agentapi as api
from tests.agent.conftest import MAC, QUICK, FakeTools, Heard, write
from tests.agent.test_hardware import card
from tests.fakes.agent_box import FixedBox

MIB = 1 << 20
_EXPORT = api.NfsExport("127.0.0.1", "/chunks")
_STAGING = api.NfsExport("127.0.0.1", "/staging/1")


def content(windows: int, seed: int = 1) -> bytes:
    """A disk without a table: random windows, some of them equal, some zero."""
    chance = random.Random(seed)
    kinds = [chance.randbytes(MIB) for _ in range(max(1, windows // 2))] + [bytes(MIB)]
    return b"".join(chance.choice(kinds) for _ in range(windows))


class Lab:
    """One PC, one box, and what goes between them."""

    def __init__(self, machine: Machine, tools: FakeTools, heard: Heard, folder: Path) -> None:
        self.machine, self.tools, self.heard = machine, tools, heard
        self.store = ChunkStore(folder / "images")
        self.limits = QUICK
        self.staging = self.store.open_staging(1, os.getuid())
        tools.exports = {"/chunks": folder / "images/chunks", "/staging/1": self.staging}
        self.version = ""

    def disk(self, name: str, data: bytes, *, removable: bool = False, size: int | None = None) -> Path:
        """Put a disk into the PC."""
        size = size if size is not None else len(data)
        write(
            self.machine.sys,
            {
                f"block/{name}/size": str(size // 512),
                f"block/{name}/device/model": "Testdisk",
                f"block/{name}/removable": "1" if removable else "0",
            },
        )
        path = self.machine.dev / name
        path.write_bytes(data)
        os.truncate(path, size)
        return path

    def order(self, kind: str, **more: object) -> api.TaskOrder:
        """A task for this PC."""
        order = api.TaskOrder(1, kind, "win11-lab", "lab-01", _EXPORT, after="poweroff")
        order = replace(order, staging=_STAGING) if kind == "capture" else replace(order, version_id=self.version)
        return replace(order, **more)  # type: ignore[arg-type]

    def start(self, box: FixedBox, *, purpose: str = "task") -> Exit:
        """Boot the PC."""
        line = f"diecast.server=http://127.0.0.1:{box.port} diecast.mac={MAC} diecast.purpose={purpose}"
        write(self.machine.proc, {"cmdline": line})
        return run(self.machine, self.limits, self.heard.consoles)

    def captured(self, data: bytes) -> str:
        """Have a version of `data` in the store, made by a PC that is gone again."""
        with FixedBox(self.store) as box:
            box.order = self.order("capture")
            self.disk("sda", data)
            assert self.start(box) is Exit.POWER_OFF, self.heard.lines
            self.version = box.version_id
        for path in (self.machine.sys / "block/sda/device/model", self.machine.sys / "block/sda/size"):
            path.unlink()
        self.heard.serial.write_text("")
        return self.version


@pytest.fixture
def lab(machine: Machine, tools: FakeTools, heard: Heard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A PC with its card and its address."""
    card(machine, "eth0", MAC)
    address = network.Address("eth0", MAC, IPv4Address("10.20.5.1"), 22)
    monkeypatch.setattr(network, "bring_up", lambda *_: address)
    return Lab(machine, tools, heard, tmp_path)


def when(condition: Callable[[], object], act: Callable[[], object], timeout_s: float = 20) -> threading.Thread:
    """Do something as soon as a condition holds, beside the agent."""

    def watch() -> None:
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if condition():
                act()
                return
            time.sleep(0.01)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread
