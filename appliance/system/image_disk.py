"""Another disk for images: which disks there are, which can be taken, asking root to take one, and how that stands.

Root's `diecast-image-disk.service` (`image_disk_apply`) looks at everything here again. A disk is named by what it says
of itself (model, serial, WWN, size), and by what was on it when somebody agreed to lose that.

References: lsblk(8), systemd.mount(5), mkfs.xfs(8) (a label has twelve characters at most).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import BadData, Conflict, NotFound, Unavailable, UsageError
from appliance.events import TaskState
from appliance.model import Task
from appliance.system import mailbox, units

NAME = "image-disk"  # of wish and report
UNIT = "diecast-image-disk.service"
LABEL = "diecast-img"
LEAST_BYTES = 10_000_000_000
_COLUMNS = "NAME,TYPE,SIZE,RO,MODEL,SERIAL,WWN,FSTYPE,LABEL,UUID,PTTYPE,MOUNTPOINTS"
_TIMEOUT_S = 20.0
_SILENT_S = 600.0  # a report that is older was left by a root that was killed; stopping services takes minutes
_NO_DISKS = ("zram", "ram", "fd", "nbd")
_BACKUPS = "diecast-backup"
# What blkid calls a disk that others are made of, whether these run now or not.
_MEMBERS = {
    "LVM2_member": "LVM",
    "linux_raid_member": "RAID",
    "isw_raid_member": "RAID",
    "ddf_raid_member": "RAID",
    "zfs_member": "ZFS",
    "bcache": "bcache",
    "mpath_member": "multipath",
    "drbd": "DRBD",
}
_SYSTEM = frozenset({"/", "/boot", "/boot/efi", "/usr", "/var", "/var/lib", "/var/lib/diecast", "[SWAP]"})

CHECKING, FORMATTING, COPYING, SWITCHING = "checking", "formatting", "copying", "switching"
DONE, FAILED = "done", "failed"
STAGES = (CHECKING, FORMATTING, COPYING, SWITCHING)


@dataclass(frozen=True, slots=True)
class Disk:
    """One disk of the machine."""

    name: str  # sdb
    size_bytes: int
    model: str = ""
    serial: str = ""
    wwn: str = ""
    contents: tuple[str, ...] = ()  # what is on it: `sdb1: ntfs Data`
    obstacle: str = ""  # why it cannot be taken, a sentence

    @property
    def path(self) -> Path:
        """Its device."""
        return Path("/dev") / self.name

    @property
    def identity(self) -> str:
        """What it says of itself; its name only where it says nothing."""
        own = (self.model, self.serial, self.wwn)
        return "|".join((*(own if any(own[1:]) else (*own, self.name)), str(self.size_bytes)))


def disks(images: Path) -> list[Disk]:
    """All disks. `images` is where images lie now. Raises `Unavailable`."""
    return list(judged(listed(), images))


def listed() -> dict[str, Any]:
    """What lsblk says. Raises `Unavailable`."""
    try:
        done = subprocess.run(
            ["lsblk", "--json", "--bytes", "--output", _COLUMNS],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
        )
        plain = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise Unavailable(f"lsblk cannot list the disks: {error}.", hint="Install the package util-linux.") from error
    if not isinstance(plain, dict):
        raise Unavailable("lsblk lists no disks.", hint="Install the package util-linux.")
    return plain


def judged(plain: dict[str, Any], images: Path) -> Iterator[Disk]:
    """The disks of lsblk's list, each with what stands against taking it."""
    for node in plain.get("blockdevices") or ():
        name, size = str(node.get("name")), int(node.get("size") or 0)
        if node.get("type") != "disk" or name.startswith(_NO_DISKS) or not size:
            continue
        parts = list(_nodes(node))
        contents = tuple(text for each in parts if (text := _content(each)))
        words = [" ".join(str(node.get(key) or "").split()) for key in ("model", "serial", "wwn")]
        yield Disk(name, size, words[0], words[1], words[2], contents, _obstacle(name, node, parts, images))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """It and all that is made of it."""
    yield node
    for child in node.get("children") or ():
        yield from _nodes(child)


def _content(node: dict[str, Any]) -> str:
    """What one of them holds; empty for nothing."""
    name = node.get("name")
    if node.get("fstype"):
        return " ".join(filter(None, (f"{name}: {node['fstype']}", node.get("label") or node.get("uuid"))))
    if node.get("type") == "part":
        return f"{name}: {int(node.get('size') or 0)} bytes of unknown content"
    return f"{name}: partition table {node['pttype']}" if node.get("pttype") else ""


def _obstacle(name: str, node: dict[str, Any], parts: list[dict[str, Any]], images: Path) -> str:
    """Why it cannot be taken, the weightiest reason first; empty when it can."""
    places = [place for each in parts for place in each.get("mountpoints") or () if place]
    member = next((each for each in parts if each.get("fstype") in _MEMBERS), None)
    made = next((each for each in parts[1:] if each.get("type") != "part"), None)
    text = ""
    if any(place in _SYSTEM for place in places):
        text = f"{name} holds the system."
    elif str(images) in places:
        text = f"{name} holds the images already."
    elif places:
        text = f"{name} is in use: {places[0]} is on it."
    elif member is not None:
        text = f"{name} is a part of {_MEMBERS[member['fstype']]}: {member.get('name')}."
    elif made is not None:
        text = f"{name} is in use by {made.get('name')}."
    elif any(each.get("label") == _BACKUPS for each in parts):
        text = f"{name} holds backups."
    elif node.get("ro"):
        text = f"{name} is read-only."
    elif int(node.get("size") or 0) < LEAST_BYTES:
        text = f"{name} is smaller than {LEAST_BYTES // 10**9} GB."
    return text


def named(found: list[Disk], name: str) -> Disk:
    """The disk of that name (sdb, /dev/sdb) or serial. Raises `NotFound`, or `Conflict` when it cannot be taken."""
    wanted = name.removeprefix("/dev/")
    disk = next((each for each in found if wanted and wanted in (each.name, each.serial, each.wwn)), None)
    if disk is None:
        raise NotFound(f"There is no disk '{name}'.", hint="See: diecast box disk list")
    if disk.obstacle:
        raise Conflict(disk.obstacle, hint="Take another disk: diecast box disk list")
    return disk


# -- asking

_AT_WORK = frozenset({TaskState.BOOTING, TaskState.RUNNING, TaskState.VERIFYING})


def refuse_while_at_work(tasks: Iterable[Task]) -> None:
    """Raise `Conflict` while a PC is captured or written: the images are not to be had for a moment."""
    task = next((each for each in tasks if each.state in _AT_WORK), None)
    if task is not None:
        raise Conflict(f"Task {task.id} is at work.", hint=f"Wait for it, or run: diecast task cancel {task.id}")


@dataclass(frozen=True, slots=True)
class Wish:
    """A disk, and what is given up with it."""

    id: str
    disk: str  # its name, for words
    identity: str
    contents: tuple[str, ...]


def parse(plain: dict[str, Any]) -> Wish:
    """A wish out of a file that anybody may have written. Raises `BadData`."""
    try:
        number, disk, identity, contents = (plain[key] for key in ("id", "disk", "identity", "contents"))
    except KeyError:
        number = None
    texts = [number, disk, identity, *contents] if number is not None and isinstance(contents, list) else [None]
    if not all(isinstance(text, str) and text.isprintable() for text in texts):
        raise BadData("What was asked for is no disk for images.", hint="Ask for it again.")
    return Wish(number, disk, identity, tuple(contents))


def ask(run: Path, disk: Disk, *, erase: bool) -> str:
    """Have root take it; the number of the wish. `erase` says that somebody agreed to lose what is on it.

    Raises `ApplianceError` when it cannot be taken, or a change is under way.
    """
    if disk.obstacle:
        raise Conflict(disk.obstacle, hint="Take another disk: diecast box disk list")
    if disk.contents and not erase:
        raise UsageError(f"{disk.name} is not empty: {', '.join(disk.contents)}.", hint="Add --erase to lose that.")
    before = state(run)
    if before is not None and before.under_way:
        raise Conflict(f"{before.disk} is being made the image disk already.", hint="Wait until that has ended.")
    number = mailbox.new_id()
    plain = {"id": number, "disk": disk.name, "identity": disk.identity, "contents": list(disk.contents)}
    mailbox.wish(run, NAME, plain)
    units.begin(UNIT)
    return number


@dataclass(frozen=True, slots=True)
class State:
    """What root last said."""

    id: str
    disk: str
    stage: str
    text: str = ""
    hint: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    at_s: float = 0.0

    @property
    def under_way(self) -> bool:
        """Whether root is at it."""
        return self.stage in STAGES and mailbox.now_s() < self.at_s + _SILENT_S


def state(run: Path) -> State | None:
    """How the last wish stands; None when there was none since the machine started."""
    plain = mailbox.reported(run, NAME)
    try:
        if plain is None:
            return None
        texts = [str(plain[key]) for key in ("id", "disk", "stage", "text", "hint")]
        numbers = int(plain["done_bytes"]), int(plain["total_bytes"]), float(plain["at_s"])
        return State(texts[0], texts[1], texts[2], texts[3], texts[4], *numbers)
    except (KeyError, TypeError, ValueError):
        return None
