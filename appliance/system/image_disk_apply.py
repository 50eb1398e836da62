"""Root's part of taking another disk for images: judge it again, format it, copy, verify, switch.

1. The disk is looked for by what it says of itself; it must still hold what somebody agreed to lose, and nobody may use
   it: the kernel itself is asked, by opening it exclusively.
2. XFS on the whole disk, mounted where only this process sees it. Images are copied while services work, and read back
   after it was mounted anew, so that the disk answers and not the memory.
3. Services stop; what has changed meanwhile is copied and read back as well.
4. A mount unit below `/etc` takes the place of fstab's line; the old disk goes, the new one comes, services start. The
   unit is written when the copy is whole: a power cut finds the one disk or the other, never half of one.

The old disk keeps its images. References: systemd.mount(5), systemd-fstab-generator(8): `/etc` counts before its units.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, Conflict, NoSpace, NotFound, Unavailable
from appliance.system import image_disk, mailbox, moving, units
from appliance.system.image_disk import Disk, Wish

_STOPPED = "image-disk-stopped"  # which units are to be started again
_EVERY_S = 1.0
_COMMAND_S = 300.0
_MARGIN = 1.05  # of the bytes to copy: inodes, blocks that are not full
OPTIONS = "prjquota,noatime,nosuid,nodev"
_WHILE_COPYING = "noatime,nosuid,nodev,noexec"  # quotas are counted at the first mount that wants them
# All that may have a file open on the image disk, in the order of their end.
_USERS = (
    "diecast.target",
    *(units.unit_of(name) for name in units.SERVICES),
    "diecast-verify.service",
    "diecast-backup.service",
    "nfs-server.service",
)


class Machine:
    """The machine's programs that the steps need."""

    def __init__(self, images: Path) -> None:
        self.images = images

    @property
    def place(self) -> Path:
        """Where the new disk is mounted for this process alone."""
        return Path("/run/diecast-new-images")

    def listed(self) -> dict[str, Any]:
        """What lsblk says."""
        return image_disk.listed()

    def run(self, *words: str) -> str:
        """What a program prints. Raises `Unavailable` in its words."""
        try:
            done = subprocess.run(
                words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{words[0]} cannot be run: {error}.", hint="Install its package.") from error
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"])[-1]
            raise Unavailable(f"{words[0]}: {said.rstrip('.')}.", hint=f"See: journalctl -u {image_disk.UNIT}")
        return done.stdout

    def hold(self, disk: Disk) -> None:
        """Ask the kernel whether anybody uses it. Raises `Conflict`."""
        try:
            os.close(os.open(disk.path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            raise Conflict(
                f"{disk.name} cannot be had for ourselves: {error.strerror}.", hint="Take another disk."
            ) from error

    def is_blank(self, disk: Disk) -> bool:
        """Whether nothing that blkid knows is on it."""
        done = subprocess.run(["blkid", "-p", str(disk.path)], capture_output=True, timeout=_COMMAND_S, check=False)
        return done.returncode == 2 and not done.stdout

    def format(self, disk: Disk, parts: Sequence[str], number: str) -> None:
        """Take away what is there, and make a file system with that UUID."""
        for part in parts:
            self.run("wipefs", "--all", f"/dev/{part}")
        self.run("wipefs", "--all", str(disk.path))
        self.run("mkfs.xfs", "-q", "-K", "-L", image_disk.LABEL, "-m", f"uuid={number}", str(disk.path))

    @contextlib.contextmanager
    def mounted(self, disk: Disk) -> Iterator[Path]:
        """The new disk at `place`."""
        self.place.mkdir(mode=0o700, exist_ok=True)
        self.run("mount", "-t", "xfs", "-o", _WHILE_COPYING, str(disk.path), str(self.place))
        try:
            yield self.place
        finally:
            self.run("umount", str(self.place))

    def users(self) -> list[str]:
        """Units that use the image disk and run."""
        return [unit for unit in _USERS if units.is_active(unit)]

    def stop(self, names: Sequence[str]) -> None:
        """Stop these."""
        if names:
            self.run("systemctl", "stop", *names)

    def start(self, names: Sequence[str]) -> None:
        """Start these."""
        if names:
            self.run("systemctl", "start", *names)

    @property
    def mount_unit(self) -> Path:
        """The unit that mounts the image disk."""
        name = self.run("systemd-escape", "--path", "--suffix=mount", str(self.images)).strip()
        return Path("/etc/systemd/system") / name

    def switch(self, number: str) -> None:
        """Mount the file system of that UUID where images lie, from now on. Raises `Unavailable`: all is as before."""
        unit = self.mount_unit
        before = unit.read_bytes() if unit.exists() else None
        _write(unit, unit_text(self.images, number).encode())
        try:
            self.run("udevadm", "settle", "--timeout=30")
            self.run("systemctl", "daemon-reload")
            self.run("systemctl", "stop", unit.name)
            self.run("systemctl", "start", unit.name)
        except ApplianceError:
            if before is None:
                unit.unlink(missing_ok=True)
            else:
                _write(unit, before)
            with contextlib.suppress(ApplianceError):
                self.run("systemctl", "daemon-reload")
                self.run("systemctl", "start", unit.name)
            raise


def unit_text(images: Path, number: str) -> str:
    """The mount unit. Without its disk the machine starts all the same, and services say what they lack."""
    return "\n".join(
        [
            "# Written by `diecast box disk take`. Without this file fstab's line counts again, if it has one.",
            "[Unit]",
            "Description=Diecast: the image disk",
            "Documentation=file:///usr/share/doc/diecast/operating.md",
            "",
            "[Mount]",
            f"What=/dev/disk/by-uuid/{number}",
            f"Where={images}",
            "Type=xfs",
            f"Options={OPTIONS}",
            "",
        ]
    )


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    with open(temporary, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(slots=True)
class _Move:
    run: Path
    wish: Wish
    machine: Machine
    stage: str = image_disk.CHECKING
    done_bytes: int = 0
    total_bytes: int = 0
    told_at: float = 0.0

    def tell(self, stage: str, text: str = "", hint: str = "") -> None:
        """Report how it stands."""
        self.stage, self.told_at = stage, time.monotonic()
        numbers = {"done_bytes": self.done_bytes, "total_bytes": self.total_bytes, "at_s": mailbox.now_s()}
        words = {"id": self.wish.id, "disk": self.wish.disk, "stage": stage, "text": text, "hint": hint}
        mailbox.report(self.run, image_disk.NAME, {**words, **numbers})

    def count(self, size: int) -> None:
        """Bytes copied or read back."""
        self.done_bytes += size
        if time.monotonic() - self.told_at > _EVERY_S:
            self.tell(self.stage)

    def found(self) -> Disk:
        """The disk that was meant, as it was shown. Raises `ApplianceError`."""
        disks = image_disk.judged(self.machine.listed(), self.machine.images)
        fits = [disk for disk in disks if disk.identity == self.wish.identity]
        if len(fits) != 1:
            raise NotFound(f"The disk {self.wish.disk} is not there any more.", hint="Look again, and choose anew.")
        disk = fits[0]
        if disk.obstacle:
            raise Conflict(disk.obstacle, hint="Take another disk: diecast box disk list")
        if disk.contents != self.wish.contents or (not disk.contents and not self.machine.is_blank(disk)):
            raise Conflict(f"{disk.name} does not hold what was shown.", hint="Look again, and choose anew.")
        self.machine.hold(disk)
        return disk

    def do(self) -> None:
        """All of it."""
        self.tell(image_disk.CHECKING)
        machine, disk, number = self.machine, self.found(), str(uuid.uuid4())
        size = moving.size_of(machine.images) if machine.images.is_dir() else 0
        if size * _MARGIN > disk.size_bytes:
            raise NoSpace(f"{disk.name} is too small for the images that are there.", hint="Take a larger disk.")
        self.tell(image_disk.FORMATTING)
        parts = sorted({content.partition(":")[0] for content in disk.contents} - {disk.name})
        machine.format(disk, parts, number)
        self.done_bytes, self.total_bytes = 0, 2 * size
        self.tell(image_disk.COPYING)
        self.copy(disk)
        self.tell(image_disk.SWITCHING)
        with self.at_rest():
            self.copy(disk)
            machine.switch(number)
        text = f"Images lie on {disk.name} from now on; those that were there have been moved."
        if not size:
            text = f"Images lie on {disk.name} from now on."
        self.tell(image_disk.DONE, text)

    def copy(self, disk: Disk) -> None:
        """One run, and reading back what it has written."""
        machine = self.machine
        with machine.mounted(disk) as place:
            there = machine.images.is_dir()
            copied = moving.copy(machine.images, place, self.count) if there else moving.Copied()
        with machine.mounted(disk) as place:
            moving.check(place, copied, self.count)

    @contextlib.contextmanager
    def at_rest(self) -> Iterator[None]:
        """While services are stopped."""
        names = self.machine.users()
        mailbox.report(self.run, _STOPPED, {"units": names})
        try:
            self.machine.stop(names)
            yield
        finally:
            self.machine.start(names)
            mailbox.report(self.run, _STOPPED, {"units": []})


def carry_out(run: Path, machine: Machine) -> None:
    """Read the wish and do it to its end. Reports all along; raises `ApplianceError` when it came to nothing."""
    wish = image_disk.parse(mailbox.wished(run, image_disk.NAME))
    before = image_disk.state(run)
    if before is not None and before.id == wish.id:
        return
    move = _Move(run, wish, machine)
    try:
        move.do()
    except ApplianceError as error:
        move.tell(image_disk.FAILED, error.message, error.hint)
        raise
    except OSError as error:
        text = f"The disk could not be taken: {error.strerror}."
        move.tell(image_disk.FAILED, text, f"See: journalctl -u {image_disk.UNIT}")
        raise Unavailable(text) from error


def settle(run: Path, machine: Machine) -> None:
    """After a process of ours that was ended: services start again, and it is said."""
    stopped = mailbox.reported(run, _STOPPED)
    names = [str(name) for name in (stopped or {}).get("units", ()) if name in _USERS]
    if names:
        machine.start(names)
        mailbox.report(run, _STOPPED, {"units": []})
    before = image_disk.state(run)
    if before is not None and before.stage in image_disk.STAGES:
        move = _Move(run, Wish(before.id, before.disk, "", ()), machine)
        text = f"Taking {before.disk} for images was interrupted."
        hint = "See where images lie: diecast box disk list"
        move.tell(image_disk.FAILED, text, hint)


def run_unit(run: Path, images: Path, *, settle_only: bool) -> None:
    """What `diecast-image-disk.service` starts. Nothing asked for: nothing done."""
    machine = Machine(images)
    if settle_only:
        settle(run, machine)
        return
    with contextlib.suppress(NotFound):
        carry_out(run, machine)
