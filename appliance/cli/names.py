"""Stages, states, disks and versions in the operator's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from appliance.cli import show
from appliance.errors import ApplianceError, NotFound
from appliance.events import BootStage, TaskKind, TaskState
from appliance.model import Host, ImageVersion, NewPcOrder, Task

if TYPE_CHECKING:
    from appliance.cli.context import Context
    from appliance.engine.manifest import Manifest

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
    return task.phase if task.state is TaskState.RUNNING and task.phase else _STATES[task.state]


def firmware_in_words(host: Host) -> str:
    """`bios`, `uefi`, `uefi SB` with Secure Boot; `-` when it never booted."""
    return (host.firmware or "-") + (" SB" if host.secure_boot else "")


def version_name(version: ImageVersion) -> str:
    """`win11@3`."""
    return f"{version.image_name}@{version.number}"


def content_of(context: Context, host: Host) -> str:
    """Which version is on the host's disk, as far as we know."""
    if not host.version_id:
        return "-"
    try:
        return version_name(context.store.images.version(host.version_id))
    except NotFound:
        return "removed version"


def manifest_of(context: Context, version: ImageVersion) -> Manifest | None:
    """The manifest of a version; None, with a warning, when it cannot be read."""
    from appliance.engine.manifest import Manifest

    try:
        return Manifest.parse(context.chunk_store().read_manifest(version.id))
    except ApplianceError as error:
        context.note(f"diecast: {error}")
        return None


def task_target(context: Context, task: Task) -> str:
    """What a task writes or makes: `win11@3`, or the image's name for a capture."""
    if task.version_id:
        try:
            return version_name(context.store.images.version(task.version_id))
        except NotFound:
            pass
    return task.image_name


def subject(task: Task) -> str:
    """Who it is done to."""
    if task.host_name:
        return task.host_name
    return "(next unknown PC)" if task.kind is TaskKind.CAPTURE else "-"


def order_in_words(order: NewPcOrder) -> str:
    """What a standing order still waits for."""
    left = show.count(order.wanted - order.taken, "unknown PC")
    how = f", by cast {order.cast_id}" if order.cast_id else ""
    return f"Order {order.id}: {order.image_name} onto the next {left} as {order.pattern}{how}."


def disks_of(inventory: dict[str, Any]) -> list[str]:
    """The disks of an inventory, each in words: `/dev/nvme0n1 512 GB nvme Samsung 980 S5GX...`."""
    found = []
    for disk in inventory.get("disks") or []:
        words = [disk.get("path"), show.size(disk.get("size_bytes") or 0), disk.get("bus"), disk.get("model")]
        words += [disk.get("serial"), "removable" if disk.get("removable") else ""]
        found.append(" ".join(str(word).strip() for word in words if word))
    return found
