"""Which NFS exports the running tasks need: a pure function of the tasks, and the words both back ends are given.

Rules: an export names its client addresses one by one; the chunks are read-only for all of them; a staging folder is
writable for the one PC whose capture it is; everybody is squashed to the uid that owns nothing but staging folders.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from appliance.events import TaskKind
from appliance.model import Task

CHUNKS_ID = 1  # export id of the chunks; those of staging folders follow
_STAGING_IDS = 65000  # an export id has 16 bits and stands in every file handle, so it must be the same after a restart


@dataclass(frozen=True, slots=True)
class Export:
    """One folder, for some addresses."""

    id: int
    path: Path
    pseudo: str  # where clients find it: `/chunks`, `/staging/7`
    clients: tuple[IPv4Address, ...]
    writable: bool
    uid: int  # what every client is squashed to


def address_of(task: Task) -> IPv4Address | None:
    """The address of a task's agent, if it has checked in from one."""
    try:
        return IPv4Address(task.ip)
    except AddressValueError:
        return None


def wanted_exports(tasks: Iterable[Task], images: Path, uid: int) -> tuple[Export, ...]:
    """What must be exported from the image store `images` while `tasks` run, and nothing else. No tasks: nothing."""
    present = [(task, address) for task in tasks if (address := address_of(task))]
    if not present:
        return ()
    everybody = tuple(sorted({address for _, address in present}))
    exports = [Export(CHUNKS_ID, images / "chunks", "/chunks", everybody, writable=False, uid=uid)]
    for task, address in present:
        if task.kind is TaskKind.CAPTURE:
            number = CHUNKS_ID + 1 + task.id % _STAGING_IDS
            folder = images / "staging" / str(task.id)
            exports.append(Export(number, folder, f"/staging/{task.id}", (address,), writable=True, uid=uid))
    return tuple(exports)
