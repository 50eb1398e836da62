"""What a deploy overwrites, PC by PC, and who cannot take part: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from appliance.model import Host, ImageVersion
from appliance.tui import words
from appliance.tui.i18n import _
from appliance.tui.snapshot import Snapshot

_MARKS = ("path", "serial", "wwn", "model")  # by which a host's disk may be chosen


@dataclass(frozen=True, slots=True)
class Target:
    """One PC of a deploy."""

    host: Host
    disk: str  # which one is written, in words
    holds: str  # what is lost
    seen: str
    warning: str = ""  # it may fail
    excluded: str = ""  # it takes no part, and why

    @property
    def remark(self) -> str:
        """What to know about it."""
        return self.excluded or self.warning


def disk_of(host: Host, inventory: Mapping[str, Any] | None) -> tuple[str, int | None]:
    """Which disk is written, in words, and its size in bytes, as far as the PC's inventory tells."""
    disks = [disk for disk in (inventory or {}).get("disks") or [] if isinstance(disk, dict)]
    if host.disk:
        names = (host.disk, f"/dev/{host.disk}")
        found = [disk for disk in disks if any(disk.get(mark) in names for mark in _MARKS)]
    else:
        found = [disk for disk in disks if not disk.get("removable")]
    if not disks:
        return host.disk or _("not known yet"), None
    if len(found) != 1:
        return host.disk or _("one of {n}: choose it in the host's data").format(n=len(found)), None
    size_bytes = found[0].get("size_bytes") or None
    parts = (found[0].get("path"), words.size(size_bytes) if size_bytes else "", found[0].get("model"))
    return " ".join(str(part) for part in parts if part), size_bytes


def targets(
    snapshot: Snapshot,
    hosts: Iterable[Host],
    inventories: Mapping[int, Mapping[str, Any]],
    needed_bytes: int,
) -> list[Target]:
    """Every chosen PC in the order given: what is on it, and what speaks against it."""
    return [_target(snapshot, host, inventories.get(host.id), needed_bytes) for host in hosts]


def _target(snapshot: Snapshot, host: Host, inventory: Mapping[str, Any] | None, needed_bytes: int) -> Target:
    disk, size_bytes = disk_of(host, inventory)
    task = snapshot.task_of_host.get(host.id)
    excluded = warning = ""
    if host.sealed:
        excluded = _("sealed, not captured yet")
    elif task is not None:
        excluded = _("busy: {kind} {image}, {state}").format(
            kind=_(words.KINDS[task.kind]), image=task.image_name, state=words.state(task)
        )
    elif size_bytes is not None and size_bytes < needed_bytes:
        warning = _("disk too small: {size}, needs {needed}").format(
            size=words.size(size_bytes), needed=words.size(needed_bytes)
        )
    elif host.last_seen is None:
        warning = _("never seen")
    holds = snapshot.version_name(host.version_id) or _("unknown")
    return Target(host, disk, holds, words.ago(host.last_seen, snapshot.at), warning, excluded)


def taking_part(found: Sequence[Target]) -> list[Host]:
    """The PCs that are written."""
    return [target.host for target in found if not target.excluded]


def minimum_bytes(version: ImageVersion | None, told: Mapping[str, Any] | None) -> int:
    """The smallest disk that a version fits on; as large as the master's where nobody has told."""
    smallest = (told or {}).get("minimum_disk_bytes")
    if isinstance(smallest, int):
        return smallest
    return version.disk_bytes if version is not None else 0
