"""Labs for guest tests: one a module, everything of it saved under build/lab/e2e/MODULE."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.events import TaskState
from appliance.model import Host, Task
from tests.lab import demo
from tests.lab.box import Box, BoxOptions
from tests.lab.command import BUILD
from tests.lab.disks import master
from tests.lab.gptdisk import copy_disk
from tests.lab.mainjob import MainJob
from tests.lab.network import LabNetwork
from tests.lab.pc import Hardware, Pc

FOLDER = BUILD / "lab" / "e2e"

AGENT_READY = r"^diecast: agent ready"
AGENT_FAILED = r"^diecast: failed: .*"
BOOT_S = 180  # from the button to the agent
WORK_S = 240  # a capture or a deployment of the small image


class Lab:
    """A network, its box and its PCs. A test's PCs are switched off after it."""

    def __init__(self, folder: Path, options: BoxOptions | None = None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        self.network = LabNetwork()
        self.box = Box(self.network, folder, options)
        self.pcs: list[Pc] = []

    def pc(self, name: str, *, disk_of: str = "", known: bool = True, **hardware: object) -> Pc:
        """A new PC with an empty disk, or with a copy of a master disk; registered with the box if `known`."""
        disk = None
        if disk_of:
            disk = self.folder / f"{name}.img"
            copy_disk(master(disk_of), disk)
            disk.chmod(0o644)
        pc = Pc(self.network, name, self.folder, replace(Hardware(), **hardware), disk=disk)  # type: ignore[arg-type]
        self.pcs.append(pc)
        if known:
            self.box.cli("host", "add", name, "--mac", pc.mac)
        return pc

    def host(self, name: str) -> Host | None:
        """A host as the store has it."""
        store = self.box.store()
        try:
            return store.hosts.get(name)
        except ApplianceError:
            return None
        finally:
            store.close()

    def open_task(self, host_name: str = "") -> Task:
        """The newest unfinished task, of one host or of any."""
        tasks = [task for task in self.box.tasks() if not task.state.is_final]
        return max((t for t in tasks if host_name in ("", t.host_name)), key=lambda task: task.id)

    def waits_until_done(self, task_id: int, timeout_s: float = WORK_S) -> Task:
        """Wait for a task's end, which must be a good one."""
        task = self.box.waits_for_task(task_id, timeout_s)
        assert task.state is TaskState.DONE, f"{task.error} {task.remedy} See {self.box.log} and {self.folder}"
        return task

    def switch_off(self) -> None:
        """Pull every plug and cancel what is not finished, so that the next test finds a quiet room."""
        for pc in self.pcs:
            pc.power_off()
        if self.box.is_running:
            for task in self.box.tasks():
                if not task.state.is_final:
                    self.box.cli("task", "cancel", str(task.id))

    def close(self) -> None:
        """Remove the lab; logs and disks stay."""
        for pc in self.pcs:
            pc.destroy()
        self.box.destroy()
        self.network.close()


@pytest.fixture(scope="module")
def module_lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """The lab of a test module, its box running."""
    lab = Lab(FOLDER / Path(request.path).stem)
    try:
        lab.box.start()
        yield lab
    finally:
        lab.close()


@pytest.fixture
def lab(module_lab: Lab) -> Iterator[Lab]:
    """The module's lab; whatever a test left on is switched off after it."""
    yield module_lab
    module_lab.switch_off()


@pytest.fixture(scope="session")
def main_job() -> MainJob:
    """The demo's main job, run once; its PCs are off, their disks stay until the session's end and beyond."""
    return demo.run(FOLDER / "main_job")
