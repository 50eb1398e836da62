"""Our systemd units: how they are, and starting, stopping and restarting them through systemctl.

A box without systemd (a container, the lab) has no units: whoever started `diecast serve` there ends it too.
References: systemctl(1), sd_booted(3), org.freedesktop.systemd1(5) for the properties.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.errors import Unavailable, UsageError

# In the order in which they are started; the units are diecast-<name>.service.
SERVICES = ("dhcp", "tftp", "http", "nfs", "scheduler", "cast")

_BOOTED = Path("/run/systemd/system")  # sd_booted(3): there exactly when systemd runs the machine
_ACT_TIMEOUT_S = 150.0  # the units' TimeoutStartSec is 120
_ASK_TIMEOUT_S = 15.0
_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "Result")


class Verb(StrEnum):
    """What can be done to a unit."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit as systemd sees it."""

    service: str
    installed: bool
    active: str  # ActiveState: active, inactive, failed, activating, deactivating
    sub: str = ""  # SubState: running, dead, auto-restart ...
    enabled: bool = False  # started when the machine starts
    pid: int = 0
    result: str = ""  # why it ended: success, exit-code, timeout, watchdog ...

    @property
    def words(self) -> str:
        """For a table: `active`, `failed (exit-code)`, `activating (auto-restart)`."""
        if not self.installed:
            return "not installed"
        more = self.result if self.active == "failed" else self.sub if self.active == "activating" else ""
        return f"{self.active} ({more})" if more else self.active


def unit_of(service: str) -> str:
    """The unit's name."""
    return f"diecast-{service}.service"


def check(names: Iterable[str]) -> tuple[str, ...]:
    """The named services, each once in starting order; none named: all. Raises `UsageError` for an unknown one."""
    wanted = set(names)
    unknown = sorted(wanted - set(SERVICES))
    if unknown:
        raise UsageError(f"There is no service '{unknown[0]}'.", hint=f"Services are: {', '.join(SERVICES)}.")
    return tuple(name for name in SERVICES if name in wanted or not wanted)


def systemd_runs() -> bool:
    """Whether systemd runs this machine."""
    return _BOOTED.is_dir() and shutil.which("systemctl") is not None


def list_units() -> list[Unit]:
    """All our units in starting order; none where systemd does not run. Raises `Unavailable`."""
    if not systemd_runs():
        return []
    names = [unit_of(service) for service in SERVICES]
    text = _systemctl(["show", f"--property={','.join(_PROPERTIES)}", *names], _ASK_TIMEOUT_S)
    found = {unit.service: unit for unit in map(_unit, text.strip().split("\n\n")) if unit is not None}
    return [found.get(service, Unit(service, installed=False, active="inactive")) for service in SERVICES]


def _unit(block: str) -> Unit | None:
    """One block of `Name=value` lines."""
    values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
    service = values.get("Id", "").removeprefix("diecast-").removesuffix(".service")
    if service not in SERVICES:
        return None
    pid = values.get("MainPID", "")
    return Unit(
        service,
        installed=values.get("LoadState") == "loaded",
        active=values.get("ActiveState", "") or "unknown",
        sub=values.get("SubState", ""),
        enabled=values.get("UnitFileState") == "enabled",
        pid=int(pid) if pid.isdecimal() else 0,
        result=values.get("Result", ""),
    )


def act(verb: Verb, services: Iterable[str]) -> tuple[str, ...]:
    """Start, stop or restart services (none named: all) and wait until it is done. Returns their names.

    Raises `Unavailable` where systemd does not run, when a unit is not installed, or with systemd's own words.
    """
    chosen = check(services)
    if not systemd_runs():
        raise Unavailable(
            f"systemd does not run this machine, so services cannot be told to {verb}.",
            hint="Run them in a terminal: diecast serve; it ends with Ctrl-C.",
        )
    missing = [unit.service for unit in list_units() if unit.service in chosen and not unit.installed]
    if missing:
        raise Unavailable(
            f"The unit {unit_of(missing[0])} is not installed.",
            hint="Install the units from the folder systemd, then run: systemctl daemon-reload",
        )
    _systemctl([verb.value, *map(unit_of, chosen)], _ACT_TIMEOUT_S)
    return chosen


def is_active(unit: str) -> bool:
    """Whether systemd runs that unit, ours or not. Raises `Unavailable`."""
    return _systemctl(["show", "--property=ActiveState", "--value", unit], _ASK_TIMEOUT_S).strip() == "active"


def begin(unit: str) -> None:
    """Have systemd start one of our units that does something once, and do not wait for it. Raises `Unavailable`."""
    if not systemd_runs():
        raise Unavailable(f"systemd does not run this machine, so {unit} cannot be started.", hint="Run it on the box.")
    _systemctl(["start", "--no-block", unit], _ASK_TIMEOUT_S)


def _systemctl(arguments: Sequence[str], timeout_s: float) -> str:
    """Its standard output. Raises `Unavailable` in systemd's words."""
    command = ["systemctl", "--no-pager", "--no-ask-password", *arguments]
    asked = f"systemctl {arguments[0]}"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{asked} was not done after {timeout_s:.0f} s.", hint="See: diecast service list") from None
    except OSError as error:
        raise Unavailable(f"systemctl cannot be run: {error.strerror}.") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        words = said[0].rstrip(".") if said else f"it ended with status {done.returncode}"
        raise Unavailable(f"{asked}: {words}.", hint="Run it as root; the reason may be in: diecast log")
    return done.stdout
