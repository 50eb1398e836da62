"""The main job, from a prepared master to PCs that start from the disk they were given.

A master is captured through PXE, its image cast onto other PCs, one of which comes late, their disks compared with the
master's by foreign tools, and the PCs then started with the network card first and no task. The demo and the guest
tests run this one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.events import BootStage, TaskState
from appliance.model import ImageVersion, Task
from tests.lab import compare
from tests.lab.boxview import BoxView
from tests.lab.command import LabError
from tests.lab.network import LabNetwork
from tests.lab.pc import Hardware, Pc, sha256_of
from tests.lab.progress import Watcher

BOOT_S = 240  # from the button to the agent, with both processors busy
WORK_S = 420  # a capture or a deployment
LOGIN_S = 300  # from the button to the login prompt of the PC's own system

SECURE_BOOT_LINE = r"^\[[^\]]*\] (?:secureboot: )?Secure boot enabled"


@dataclass(slots=True)
class Target:
    """A PC to deploy to, and what became of it. `seconds`: from the button to the end of the deployment."""

    name: str
    firmware: str  # bios | uefi
    secure_boot: bool = False  # its own system's kernel said so
    deployed: bool = False
    content_equal: bool = False
    booted: bool = False
    seconds: float = 0.0
    late_s: int = 0  # its button was pressed so long after the others'
    by_cast_bytes: int = 0  # of chunk files, compressed
    by_nfs_bytes: int = 0


@dataclass(slots=True)
class Report:
    """What the main job showed; `to_dict` is the report file."""

    master_unchanged: bool = False
    seconds: float = 0.0
    image: dict[str, int] = field(default_factory=lambda: {"used_bytes": 0, "stored_bytes": 0, "chunks": 0})
    cast: dict[str, int] = field(default_factory=lambda: {"pcs": 0, "sent_bytes": 0, "repair_bytes": 0})
    targets: list[Target] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # in words, for the terminal

    def to_dict(self) -> dict[str, Any]:
        """The report without the words."""
        return {
            "master_unchanged": self.master_unchanged,
            "seconds": round(self.seconds, 1),
            "image": self.image,
            "cast": self.cast,
            "targets": [asdict(target) | {"seconds": round(target.seconds, 1)} for target in self.targets],
        }


class MainJob:
    """One run in one lab. Each step is a method; a step that failed says so in `report.faults`."""

    def __init__(
        self,
        lab: LabNetwork,
        box: BoxView,
        folder: Path,
        *,
        say: Callable[[str], None],
        left_out: Sequence[str] = (),
    ) -> None:
        self.lab = lab
        self.box = box
        self.folder = folder
        self.report = Report()
        self.pcs: dict[str, Pc] = {}
        self._say = say
        self._left_out = left_out

    def add_pc(self, name: str, hardware: Hardware, *, disk: Path | None = None) -> Pc:
        """Make a PC and register it with the box, as the operator would."""
        pc = Pc(self.lab, name, self.folder, hardware, disk=disk)
        self.pcs[name] = pc
        self.register(pc)
        return pc

    def register(self, pc: Pc) -> None:
        """Tell the box of a PC."""
        self.diecast("host", "add", pc.name, "--mac", pc.mac)

    def order_capture(self, name: str, image: str, *options: str) -> None:
        """Order a capture."""
        self.diecast("capture", name, "--image", image, *options)

    def order_cast(self, image: str, names: Sequence[str]) -> None:
        """Order a cast onto several PCs."""
        self.diecast("deploy", image, *names, "--cast", "--yes")

    def diecast(self, *words: str) -> str:
        """Run a command of the operator's, and show it."""
        self._say(f"$ diecast {' '.join(words)}")
        return self.box.cli(*words)

    def watcher(self) -> Watcher:
        """A view of the box that says what the PCs do."""
        return Watcher(self.box, {pc.mac: pc.name for pc in self.pcs.values()}, self._say)

    def unfinished(self, name: str) -> Task:
        """The unfinished task of a host."""
        for task in self.box.tasks():
            if task.host_name == name and not task.state.is_final:
                return task
        raise LabError(f"{name} has no unfinished task. See {self.box.log}")

    def capture(self, name: str, image: str, *options: str) -> ImageVersion | None:
        """Capture a PC; note whether its disk is bit for bit what it was."""
        pc = self.pcs[name]
        before = sha256_of(pc.disk)
        self.order_capture(name, image, *options)
        task = self.unfinished(name)
        pc.power_on(stop_at_reboot=True)
        done = self._follow({task.id: pc}, self.watcher())[task.id]
        pc.power_off()
        self.report.master_unchanged = sha256_of(pc.disk) == before
        if not self.report.master_unchanged:
            self.fault(f"{name}: its disk was changed by the capture")
        if done.state is not TaskState.DONE:
            return None
        store = self.box.store()
        try:
            version = store.images.resolve(image)
        finally:
            store.close()
        self.report.image = {
            "used_bytes": version.used_bytes,
            "stored_bytes": version.stored_bytes,
            "chunks": version.chunks,
        }
        return version

    def deploy(self, image: str, names: Sequence[str], late: str, late_s: int) -> None:
        """Cast an image onto several PCs; the button of one of them is pressed `late_s` after the others'."""
        self.order_cast(image, names)
        tasks = {self.unfinished(name).id: self.pcs[name] for name in names}
        watcher, started = self.watcher(), dict.fromkeys(names, time.time())
        for name in names:
            self.report.targets.append(Target(name, self.pcs[name].hardware.firmware.split("-")[0]))
            if name != late:
                self.pcs[name].power_on(stop_at_reboot=True)
        watcher.until(lambda: False, late_s)
        self._say(f"{late:12} is switched on now, {late_s} s after the others")
        self.target(late).late_s, started[late] = late_s, time.time()
        self.pcs[late].power_on(stop_at_reboot=True)
        self.during_cast(watcher, tasks)
        for task in self._follow(tasks, watcher).values():
            target = self.target(task.host_name)
            target.deployed = task.state is TaskState.DONE
            target.seconds = (task.finished.timestamp() if task.finished else time.time()) - started[target.name]
            self._note_ways(target, task)
        for name in names:
            self.pcs[name].power_off()

    def during_cast(self, watcher: Watcher, tasks: dict[int, Pc]) -> None:
        """Show the cast as the operator sees it, when all PCs are there or the first one is done."""

        def worth_it() -> bool:
            casts = self.box.casts().values()
            return any(cast.present == len(tasks) for cast, _, _ in casts) or any(
                self.box.task(number).state.is_final for number in tasks
            )

        watcher.until(worth_it, BOOT_S + WORK_S)
        for line in self.diecast("cast", "show", str(max(self.box.casts()))).splitlines():
            self._say(f"    {line}")

    def _note_ways(self, target: Target, task: Task) -> None:
        """How much came by cast and by NFS, as the agent told, and what the cast sent."""
        found = re.search(r"fetched (\d+)(?:, of it (\d+) by multicast)?", self.box.events(task.id))
        if found:
            target.by_cast_bytes = int(found[2] or 0)
            target.by_nfs_bytes = int(found[1]) - target.by_cast_bytes
        if task.cast_id:
            cast, pcs, _ = self.box.casts()[task.cast_id]
            self.report.cast = {"pcs": pcs, "sent_bytes": cast.sent_bytes, "repair_bytes": cast.parity_bytes}

    def target(self, name: str) -> Target:
        """The row of one target."""
        return next(target for target in self.report.targets if target.name == name)

    def compare(self, master: str, names: Sequence[str]) -> None:
        """Compare the targets' disks with the master's by foreign tools; before their first own start."""
        ours = self.pcs[master].disk
        with ThreadPoolExecutor(2) as pool:
            disks = [self.pcs[name].disk for name in names]
            found = pool.map(lambda disk: compare.compare_disks(ours, disk, left_out=self._left_out), disks)
            for name, comparison in zip(names, found, strict=True):
                self.target(name).content_equal = comparison.equal
                self._say(f"{name:12} {comparison}")
                if not comparison.equal:
                    self.fault(f"{name}: its disk differs from the master's: {comparison}")

    def start_own_disks(self, names: Sequence[str], prompt: str) -> None:
        """Start PCs with the network card first and no task: we hand them to their own disks, to `prompt`."""
        watcher = self.watcher()
        started = datetime.now(UTC)
        for name in names:
            self.pcs[name].power_on()
        waiting = set(names)
        handed: set[str] = set()  # names of PCs that the box handed to their own disk

        def all_there() -> bool:
            seen = self.box.sightings()
            for name in names:
                sighting = seen.get(self.pcs[name].mac)
                if sighting and sighting.at >= started and sighting.stage is BootStage.LOCAL:
                    handed.add(name)
            for name in sorted(waiting):
                if self.pcs[name].console.says(prompt):
                    waiting.discard(name)
                    self._say(f"{name:12} shows its login prompt")
                elif not self.pcs[name].is_on:
                    return True
            return not waiting

        watcher.until(all_there, LOGIN_S)
        for name in names:
            pc, target = self.pcs[name], self.target(name)
            target.booted = name not in waiting and name in handed
            target.secure_boot = pc.console.says(SECURE_BOOT_LINE) is not None
            if not target.booted:
                said = pc.console.last_lines()
                self.fault(
                    f"{name}: no login prompt from its own disk. Its last lines:\n{said}\n    See {pc.console.path}"
                )
            if pc.hardware.firmware == "uefi-sb" and not target.secure_boot:
                self.fault(f"{name}: its kernel did not say that Secure Boot is on. See {pc.console.path}")

    def fault(self, words: str) -> None:
        """Note what did not hold."""
        self.report.faults.append(words)
        self._say(f"NOT AS IT SHOULD BE: {words}")

    def power_off_all(self) -> None:
        """Pull every plug."""
        for pc in self.pcs.values():
            with suppress(LabError):
                pc.power_off()

    def _follow(self, tasks: dict[int, Pc], watcher: Watcher) -> dict[int, Task]:
        """Show the progress of tasks until all are over and their PCs off; note those that failed."""

        def state(task_id: int) -> Task:
            return self.box.task(task_id)

        def over() -> bool:
            return all(state(n).state.is_final or not pc.is_on for n, pc in tasks.items())

        watcher.until(over, BOOT_S + WORK_S)
        # A PC that is off may still have its task verified by the box.
        watcher.until(lambda: all(state(n).state.is_final for n in tasks), 60)
        watcher.until(lambda: not any(pc.is_on for pc in tasks.values()), 30)
        for task_id, pc in tasks.items():
            task = state(task_id)
            if task.state is not TaskState.DONE:
                why = f"{task.error} {task.remedy}".strip() or f"it is {task.state}"
                self.fault(
                    f"{pc.name}: its {task.kind} did not succeed: {why} Its last lines:\n{pc.console.last_lines()}\n"
                    f"    See {pc.console.path} and {self.box.log}"
                )
            elif pc.is_on:
                self.fault(f"{pc.name}: it stayed on after its {task.kind}. See {pc.console.path}")
        return {task_id: state(task_id) for task_id in tasks}
