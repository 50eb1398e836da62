"""Checks of the clock and of versions: do box, agent and boot folder belong together?

References: timedatectl(1) (`show`), chronyc(1) (`-c tracking`: third field the stratum, last the leap status).
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.cli.checks.finding import Finding, Level
from appliance.cli.context import Context
from appliance.system.clock import serves_time

_TIMEOUT_S = 5.0
_YEARS = 20  # a clock that is so far ahead of the program's files is wrong
_NO_SYNC = "Name a time server the box can reach (chrony), or set the clock: timedatectl set-time 'YYYY-MM-DD HH:MM'"


def check_clock(context: Context) -> Iterator[Finding]:
    """The date is plausible, and something keeps the clock right."""
    now, built = datetime.now(UTC), built_at()
    if now < built or now.year > built.year + _YEARS:
        yield Finding(
            Level.PROBLEM,
            "clock",
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, but this Diecast is of {built:%Y-%m-%d}.",
            "Set it: timedatectl set-time 'YYYY-MM-DD HH:MM'; is the machine's battery empty?",
        )
        return
    kept = synchronised()
    if kept is None:
        yield Finding(
            Level.OK, "clock", f"The clock says {now:%Y-%m-%d %H:%M} UTC; nothing here tells whether NTP keeps it."
        )
    elif kept:
        yield Finding(Level.OK, "clock", f"The clock says {now:%Y-%m-%d %H:%M} UTC and is kept by NTP.")
    else:
        yield Finding(
            Level.WARNING,
            "clock",
            f"The clock says {now:%Y-%m-%d %H:%M} UTC, but no time server keeps it.",
            _NO_SYNC,
        )


def check_time(context: Context) -> Iterator[Finding]:
    """PCs can ask somebody for the time, also while the internet is away."""
    dhcp = context.settings.dhcp
    if dhcp.mode != "full" or not dhcp.subnet:
        return
    if all(subnet.ntp for subnet in dhcp.subnet):
        yield Finding(Level.OK, "clock", "PCs get the time servers that the settings name (dhcp.subnet, ntp).")
    elif dhcp.ntp == "off":
        yield Finding(Level.OK, "clock", "PCs get no time server from this box: dhcp.ntp is off.")
    elif serves_time():
        yield Finding(Level.OK, "clock", "This box gives PCs the time (NTP), and tells them so by DHCP.")
    else:
        yield Finding(
            Level.WARNING,
            "clock",
            "PCs get no time server from this box: nothing here serves NTP.",
            "Install chrony as the manual says (section 8), or switch this off: diecast setting set dhcp.ntp off",
        )


def built_at() -> datetime:
    """When this program was made, as its newest file says: packages keep the date of their build."""
    import appliance

    newest = max(path.stat().st_mtime for path in Path(appliance.__file__).parent.glob("*.py"))
    return datetime.fromtimestamp(newest, UTC)


def synchronised() -> bool | None:
    """Whether NTP keeps the clock: chrony where it answers, else what the kernel says; None: nobody to ask."""
    tracking = _said("chronyc", "-c", "tracking")
    fields = tracking.strip().split(",")
    if len(fields) >= 13:
        return fields[-1] != "Not synchronised" and fields[2] != "0"
    answer = _said("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    return {"yes": True, "no": False}.get(answer)


def _said(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def check_versions(context: Context) -> Iterator[Finding]:
    """The agent in the boot folder is of this version; all loaders are named with theirs."""
    try:
        catalog = json.loads((context.settings.paths.boot / "catalog.json").read_text(encoding="utf-8"))
        entry = catalog["initrd.img"]
        agent, kernel = str(entry.get("diecast", "")), str(entry.get("version", ""))
        packages = _packages(catalog.values())
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return  # `check_boot_files` says so
    remedy = "Install boot files of the same version, or build them again: make agent"
    if agent and agent != __version__:
        yield Finding(
            Level.PROBLEM,
            "versions",
            f"Diecast is {__version__}, but the agent of the boot folder is {agent}: tasks may fail.",
            remedy,
        )
    elif not agent:
        yield Finding(
            Level.WARNING,
            "versions",
            f"Diecast is {__version__}; the catalogue of the boot folder does not say which version its agent is.",
            remedy,
        )
    else:
        yield Finding(Level.OK, "versions", f"Diecast and its agent are {__version__}; the PCs' kernel is {kernel}.")
    yield Finding(Level.OK, "versions", f"Loaders: {', '.join(packages) or 'of no package'}.")


def _packages(entries: Sequence[Any] | Any) -> list[str]:
    """Debian packages of the boot files with their versions."""
    found = {(str(one["package"]), str(one.get("version", ""))) for one in entries if one.get("package")}
    return sorted(f"{name} {version}".strip() for name, version in found if name != "diecast")
