"""Stages, states, disks and versions in the operator's words."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from appliance.cli import show
from appliance.errors import ApplianceError
from appliance.events import BootStage, TaskKind, TaskState
from appliance.model import Host, ImageVersion, NewPcOrder, Task

if TYPE_CHECKING:
    from appliance.cli.context import Context
    from appliance.engine.manifest import Manifest

MANY = 10_000  # tasks that can be open at once

_STAGES: dict[BootStage, str] = {
    BootStage.DHCP: "asked for address",
    BootStage.LOADER: "loader",
    BootStage.SCRIPT: "boot script",
    BootStage.KERNEL: "kernel",
    BootStage.INITRD: "initrd",
    BootStage.AGENT: "agent",
    BootStage.LOCAL: "own disk",
    BootStage.REFUSED: "refused: sealed",
    BootStage.MENU: "menu",
}

_STATES: dict[TaskState, str] = {
    TaskState.SCHEDULED: "waits for its start time",
    TaskState.WAITING: "waits for the PC to boot from the network",
    TaskState.BOOTING: "the PC is booting",
    TaskState.RUNNING: "running",
    TaskState.VERIFYING: "the box is verifying",
    TaskState.DONE: "done",
    TaskState.FAILED: "failed",
    TaskState.CANCELLED: "cancelled",
}


def stage_in_words(stage: BootStage | None) -> str:
    """How far a PC came."""
    return "-" if stage is None else _STAGES[stage]


def state_in_words(task: Task) -> str:
    """What a task is doing: the agent's phase while it runs."""
    if task.state is TaskState.WAITING and task.host_id is None:
        return "waits for the next unknown PC"
    if task.state is TaskState.SCHEDULED and task.held:
        return "waits until it is confirmed"
    if task.state is TaskState.SCHEDULED and task.start_at:
        return f"starts {show.moment(task.start_at)}"
    return task.phase if task.state is TaskState.RUNNING and task.phase else _STATES[task.state]


def what_next(task: Task, whom: str) -> str:
    """What the operator, or the box, does next for a task that was just ordered."""
    if task.state is TaskState.SCHEDULED and task.start_at:
        when = show.moment(task.start_at)
        return f"The box wakes {whom} at {when}." if task.wake else f"Boot {whom} from the network after {when}."
    return f"The box wakes {whom}." if task.wake else f"Boot {whom} from the network."


def firmware_in_words(host: Host) -> str:
    """`bios`, `uefi`, `uefi SB` with Secure Boot; `-` when it never booted."""
    return (host.firmware or "-") + (" SB" if host.secure_boot else "")


def version_name(version: ImageVersion) -> str:
    """`win11@3`."""
    return f"{version.image_name}@{version.number}"


class Known:
    """What rows of hosts and tasks name beside themselves: read when it is first needed, once for all rows."""

    def __init__(self, context: Context) -> None:
        self._store = context.store

    @cached_property
    def _versions(self) -> dict[str, str]:
        return {version.id: version_name(version) for version in self._store.images.versions()}

    @cached_property
    def _tasks(self) -> dict[int, Task]:
        open_tasks = self._store.tasks.list(active_only=True, limit=MANY)
        return {task.host_id: task for task in open_tasks if task.host_id is not None}

    def content(self, host: Host) -> str:
        """Which version is on the host's disk, as far as we know."""
        return self._versions.get(host.version_id, "removed version") if host.version_id else "-"

    def doing(self, host: Host) -> str:
        """What the host is doing: its task, or how far it last came."""
        task = self._tasks.get(host.id)
        if task is not None:
            return f"{task.kind} {task.state}"
        return "sealed" if host.sealed else stage_in_words(host.stage)

    def target(self, task: Task) -> str:
        """What a task writes or makes: `win11@3`, or the image's name for a capture."""
        return self._versions.get(task.version_id or "", task.image_name)


def manifest_of(context: Context, version: ImageVersion) -> Manifest | None:
    """The manifest of a version; None, with a warning, when it cannot be read."""
    from appliance.engine.manifest import Manifest

    try:
        return Manifest.parse(context.chunk_store().read_manifest(version.id))
    except ApplianceError as error:
        context.note(f"diecast: {error}")
        return None


def subject(task: Task) -> str:
    """Who it is done to."""
    if task.host_name:
        return task.host_name
    return "(next unknown PC)" if task.kind is TaskKind.CAPTURE else "-"


def order_in_words(order: NewPcOrder) -> str:
    """What a standing order still waits for."""
    left = show.count(order.wanted - order.taken, "unknown PC")
    how = f", by cast {order.cast_id}" if order.cast_id else ""
    where = f" into room {order.room}" if order.room else ""
    until = f", until {show.moment(order.until)}" if order.until else ""
    return f"Order {order.id}: {order.image_name} onto the next {left} as {order.pattern}{where}{how}{until}."


def held_in_words(order_id: int, held: int) -> str:
    """What new PCs wait for."""
    wait = "waits" if held == 1 else "wait"
    return (
        f"Order {order_id}: {show.count(held, 'new PC')} {wait} to be confirmed (diecast task release {order_id}) "
        f"or sent away (diecast task dismiss {order_id})."
    )


def disks_of(inventory: dict[str, Any]) -> list[str]:
    """The disks of an inventory, each in words: `/dev/nvme0n1 512 GB nvme Samsung 980 S5GX...`."""
    found = []
    for disk in inventory.get("disks") or []:
        words = [disk.get("path"), show.size(disk.get("size_bytes") or 0), disk.get("bus"), disk.get("model")]
        words += [disk.get("serial"), "removable" if disk.get("removable") else ""]
        found.append(" ".join(str(word).strip() for word in words if word))
    return found
