"""How the box's disks are, by their own account (SMART), as smartmontools reads it.

References: smartctl(8), RETURN VALUES: bits 0 and 1 of the exit status say that it could not look, bit 3 that the disk
expects to fail; the JSON of `smartctl --json` (smart_status, ata_smart_attributes, nvme_smart_health_information_log).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.cli import show
from appliance.cli.checks.finding import Finding, Level
from appliance.cli.context import Context

_TIMEOUT_S = 20.0  # a disk that sleeps or is dying takes its time
_HOT_C = 65
_WORN_PERCENT = 90
_SYS = Path("/sys/block")
# ATA attributes that count sectors in trouble: number -> what they are.
_BAD_SECTORS = {5: "reallocated", 197: "unreadable", 198: "uncorrectable"}
_BACKUP = "Make a backup now (diecast backup run), then replace the disk."


@dataclass(frozen=True, slots=True)
class Disk:
    """One fixed disk."""

    device: str  # /dev/sda
    model: str = ""


def check_disks(context: Context) -> Iterator[Finding]:
    """SMART of every fixed disk."""
    found = disks()
    if not found:
        yield Finding(Level.OK, "disks", "This machine has no disk of its own whose health could be read.")
        return
    if shutil.which("smartctl") is None:
        yield Finding(
            Level.WARNING,
            "disks",
            "The health of the disks is not known: smartctl is not installed.",
            "Install the package smartmontools.",
        )
        return
    if os.geteuid() != 0:
        yield Finding(
            Level.WARNING, "disks", "The health of the disks is not known: only root may ask them.", "Run it as root."
        )
        return
    for disk in found:
        yield _health(disk)


def disks(sys_block: Path | None = None) -> list[Disk]:
    """Fixed disks: no loop, RAM, mapped or optical ones, and no virtio disks, which know no SMART."""
    found = []
    for entry in sorted((sys_block or _SYS).glob("*")):
        removable = _text(entry / "removable") == "1"
        if entry.name.startswith(("sd", "nvme", "hd", "mmcblk")) and (entry / "device").exists() and not removable:
            found.append(Disk(f"/dev/{entry.name}", _text(entry / "device" / "model")))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _health(disk: Disk) -> Finding:
    what = f"{disk.device} ({show.clean(disk.model)})" if disk.model else disk.device
    command = ["smartctl", "--json", "--health", "--attributes", disk.device]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        data = json.loads(done.stdout)
        if not isinstance(data, dict):
            raise ValueError("no object")
    except subprocess.TimeoutExpired:
        return Finding(Level.WARNING, "disks", f"Disk {what} did not answer within {_TIMEOUT_S:.0f} s.", "Look: dmesg")
    except (OSError, ValueError) as error:
        return Finding(
            Level.WARNING,
            "disks",
            f"The health of disk {what} cannot be read: {error}.",
            f"See: smartctl -a {disk.device}",
        )
    return _judge(what, disk, done.returncode, data)


def _judge(what: str, disk: Disk, status: int, data: dict[str, Any]) -> Finding:
    passed = _at(data, "smart_status", "passed")
    if passed is False or status & 8:
        return Finding(Level.PROBLEM, "disks", f"Disk {what} says that it will fail soon.", _BACKUP)
    if not isinstance(passed, bool):
        said = _messages(data) or "it has no SMART"
        return Finding(
            Level.WARNING if status & 2 else Level.OK,
            "disks",
            f"The health of disk {what} is not known: {said}.",
            f"See: smartctl -a {disk.device}" if status & 2 else "",
        )
    if problems := _signs(data):
        return Finding(Level.WARNING, "disks", f"Disk {what} is getting worse: {', '.join(problems)}.", _BACKUP)
    temperature = _at(data, "temperature", "current")
    if isinstance(temperature, int) and temperature >= _HOT_C:
        return Finding(
            Level.WARNING,
            "disks",
            f"Disk {what} has {temperature} degrees Celsius.",
            "Look after the box's fans and air.",
        )
    return Finding(Level.OK, "disks", f"Disk {what} is healthy by its own account.")


def _signs(data: dict[str, Any]) -> list[str]:
    """What tells of an end to come, although the disk still passes."""
    found = []
    for item in _at(data, "ata_smart_attributes", "table") or ():
        if not isinstance(item, dict):
            continue
        name, count = _BAD_SECTORS.get(item.get("id", 0)), _at(item, "raw", "value")
        if name and isinstance(count, int) and count > 0:
            found.append(f"{show.count(count, 'sector')} {name}")
    nvme = data.get("nvme_smart_health_information_log")
    if isinstance(nvme, dict):
        if nvme.get("critical_warning"):
            found.append("it gives a critical warning")
        if isinstance(errors := nvme.get("media_errors"), int) and errors > 0:
            found.append(f"{show.count(errors, 'error')} of its memory")
        if isinstance(used := nvme.get("percentage_used"), int) and used >= _WORN_PERCENT:
            found.append(f"{used} % worn")
    return found


def _messages(data: dict[str, Any]) -> str:
    said = _at(data, "smartctl", "messages")
    texts = [str(one.get("string", "")) for one in said if isinstance(one, dict)] if isinstance(said, list) else []
    return show.clean(texts[0]).rstrip(".") if texts else ""


def _at(data: Any, *names: str) -> Any:
    for name in names:
        data = data.get(name) if isinstance(data, dict) else None
    return data
