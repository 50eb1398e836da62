"""Things in the operator's words and the language in use: states, stages, sizes, times.

Every function may be called for each visible row at every change: they only look up and format.
"""

from __future__ import annotations

from datetime import UTC, datetime

from appliance.events import (
    AfterTask,
    BootStage,
    CastState,
    LocalBoot,
    Role,
    ServiceHealth,
    TaskKind,
    TaskState,
    UefiLoader,
)
from appliance.model import Host, Task
from appliance.tui import i18n
from appliance.tui.i18n import N_, _, ngettext

STAGES: dict[BootStage, str] = {
    BootStage.DHCP: N_("asked for address"),
    BootStage.LOADER: N_("loader"),
    BootStage.SCRIPT: N_("boot script"),
    BootStage.KERNEL: N_("kernel"),
    BootStage.INITRD: N_("initrd"),
    BootStage.AGENT: N_("agent"),
    BootStage.LOCAL: N_("own disk"),
    BootStage.REFUSED: N_("refused: sealed"),
    BootStage.MENU: N_("menu"),
}
STATES: dict[TaskState, str] = {
    TaskState.SCHEDULED: N_("scheduled"),
    TaskState.WAITING: N_("waiting"),
    TaskState.BOOTING: N_("booting"),
    TaskState.RUNNING: N_("running"),
    TaskState.VERIFYING: N_("verifying"),
    TaskState.DONE: N_("done"),
    TaskState.FAILED: N_("failed"),
    TaskState.CANCELLED: N_("cancelled"),
}
STATE_ROLES: dict[TaskState, str] = {
    TaskState.SCHEDULED: "dim",
    TaskState.WAITING: "",
    TaskState.BOOTING: "busy",
    TaskState.RUNNING: "busy",
    TaskState.VERIFYING: "busy",
    TaskState.DONE: "ok",
    TaskState.FAILED: "bad",
    TaskState.CANCELLED: "dim",
}
# A shape for each state: who sees no colour sees the shape.
STATE_SHAPES: dict[TaskState, str] = {
    TaskState.SCHEDULED: "─",
    TaskState.WAITING: "░",
    TaskState.BOOTING: "▒",
    TaskState.RUNNING: "▸",
    TaskState.VERIFYING: "▸",
    TaskState.DONE: "●",
    TaskState.FAILED: "▲",
    TaskState.CANCELLED: "■",
}
KINDS: dict[TaskKind, str] = {TaskKind.CAPTURE: N_("capture"), TaskKind.DEPLOY: N_("deploy")}
HEALTH: dict[ServiceHealth, str] = {
    ServiceHealth.OK: N_("ok"),
    ServiceHealth.STARTING: N_("starting"),
    ServiceHealth.STOPPING: N_("stopping"),
    ServiceHealth.STOPPED: N_("stopped"),
    ServiceHealth.FAILED: N_("failed"),
    ServiceHealth.SILENT: N_("silent"),
}
HEALTH_ROLES: dict[ServiceHealth, str] = {
    ServiceHealth.OK: "ok",
    ServiceHealth.STARTING: "busy",
    ServiceHealth.STOPPING: "busy",
    ServiceHealth.STOPPED: "warn",
    ServiceHealth.FAILED: "bad",
    ServiceHealth.SILENT: "bad",
}
ROLES: dict[Role, str] = {Role.VIEWER: N_("viewer"), Role.OPERATOR: N_("operator"), Role.ADMIN: N_("admin")}
CASTS: dict[CastState, str] = {CastState.OPEN: N_("open"), CastState.ENDED: N_("ended")}
AFTER: dict[AfterTask, str] = {
    AfterTask.REBOOT: N_("start its disk"),
    AfterTask.POWEROFF: N_("switch off"),
    AfterTask.STAY: N_("stay in the agent"),
}
LOCAL_BOOT: dict[LocalBoot, str] = {
    LocalBoot.CHAIN: N_("by our loader"),
    LocalBoot.NO_ANSWER: N_("by its firmware (BitLocker)"),
}
LOADERS: dict[UefiLoader, str] = {
    UefiLoader.SHIM: N_("shim and GRUB (Secure Boot)"),
    UefiLoader.IPXE: N_("iPXE (faster, no Secure Boot)"),
}
_PREFIXES = ("", "k", "M", "G", "T", "P")


def number(value: float, digits: int = 0) -> str:
    """`1,234.5`, in French `1 234,5`."""
    text = f"{value:,.{digits}f}"
    language = i18n.current()
    if language.decimal == "." and language.group == ",":
        return text
    return text.replace(",", "\0").replace(".", language.decimal).replace("\0", language.group)


def size(count: float) -> str:
    """Bytes in powers of 1000, as disks are sold: `18.3 GB`, `18,3 Go`. Three digits at most."""
    value = float(count)
    for prefix in _PREFIXES:
        if value < 999.5 or prefix == _PREFIXES[-1]:
            digits = 0 if not prefix or value >= 99.95 else 1
            return f"{number(value, digits)} {prefix}{i18n.current().byte}"
        value /= 1000
    raise AssertionError("the last unit always fits")


def rate(bytes_s: float) -> str:
    """`118 MB/s`."""
    return f"{size(bytes_s)}/s"


def mbit(bytes_s: float) -> str:
    """`934 Mbit/s`."""
    return f"{number(bytes_s * 8 / 1e6)} Mbit/s"


def percent(fraction: float) -> str:
    """` 71 %`, always five characters."""
    return f"{min(100, max(0, int(100 * fraction))):3} %"


def duration(seconds: float) -> str:
    """`0:31`, `12:05`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def ago(when: datetime | None, now: datetime) -> str:
    """How long ago, roughly: `8 s`, `5 min`, `3 h`, `12 d`; `-` for never."""
    if when is None:
        return "-"
    seconds = max(0, int((now - when).total_seconds()))
    if seconds < 60:
        return _("{n} s").format(n=seconds)
    if seconds < 3600:
        return _("{n} min").format(n=seconds // 60)
    if seconds < 48 * 3600:
        return _("{n} h").format(n=seconds // 3600)
    return _("{n} d").format(n=number(seconds // 86400))


def day(when: datetime | None) -> str:
    """Local date: `2026-11-23`, `23/11/2026`."""
    return "-" if when is None else when.astimezone().strftime(i18n.current().day)


def moment(when: datetime | None, now: datetime | None = None) -> str:
    """Local time to the minute, with the date unless it is `now`'s: `13:05`, `2026-11-23 13:05`."""
    if when is None:
        return "-"
    local = when.astimezone()
    if now is not None and local.date() == now.astimezone().date():
        return local.strftime("%H:%M")
    return local.strftime(f"{i18n.current().day} %H:%M")


def clock(when: datetime | None) -> str:
    """Local time to the second: `13:05:42`."""
    return "-" if when is None else when.astimezone().strftime("%H:%M:%S")


def utc_now() -> datetime:
    """The time, aware."""
    return datetime.now(UTC)


def stage(value: BootStage | None) -> str:
    """How far a PC came."""
    return "-" if value is None else _(STAGES[value])


def firmware(host: Host) -> str:
    """`bios`, `uefi`, `uefi SB` with Secure Boot; `-` when it never booted."""
    return (host.firmware or "-") + (" SB" if host.secure_boot else "")


def subject(task: Task) -> str:
    """Who a task is done to."""
    if task.host_name:
        return task.host_name
    return _("(next unknown PC)") if task.kind is TaskKind.CAPTURE else "-"


def state(task: Task) -> str:
    """The task's state in one word."""
    return _(STATES[task.state])


def fraction(task: Task) -> float:
    """How much of a task is done, 0 to 1."""
    if task.state is TaskState.DONE:
        return 1.0
    return min(1.0, task.done_bytes / task.total_bytes) if task.total_bytes else 0.0


def seconds_left(task: Task) -> float | None:
    """How long a running task still takes at its rate; None when nobody can say."""
    if task.state is not TaskState.RUNNING or task.rate_bytes_s <= 0 or not task.total_bytes:
        return None
    return max(0.0, task.total_bytes - task.done_bytes) / task.rate_bytes_s


def pcs(count: int) -> str:
    """`1 PC`, `20 PCs`."""
    return ngettext("{n} PC", "{n} PCs", count).format(n=number(count))


def hosts(count: int) -> str:
    """`1 host`, `20 hosts`."""
    return ngettext("{n} host", "{n} hosts", count).format(n=number(count))
