"""The words that every part shares: what a PC has reached, what a task is doing, and what may follow what.

Rule: every legal move of a task stands in `TRANSITIONS`; nothing else may move one.
"""

from __future__ import annotations

from enum import StrEnum


class BootStage(StrEnum):
    """How far a PC has come since power-on; members are in the order in which they are reached."""

    DHCP = "dhcp"  # a DISCOVER or REQUEST of its firmware was answered
    LOADER = "loader"  # it fetched a loader by TFTP or HTTP
    SCRIPT = "script"  # its loader asked for its boot script
    KERNEL = "kernel"  # its loader fetched the kernel
    INITRD = "initrd"  # its loader fetched the initrd
    AGENT = "agent"  # our agent checked in
    LOCAL = "local"  # it was handed to its own disk
    REFUSED = "refused"  # a sealed PC was told so and powered off
    MENU = "menu"  # an unknown PC was shown the menu


class TaskKind(StrEnum):
    """What a task does to its host."""

    CAPTURE = "capture"
    DEPLOY = "deploy"


class TaskState(StrEnum):
    """Where a task stands. Order is the usual course."""

    SCHEDULED = "scheduled"  # not to be started before its start time
    WAITING = "waiting"  # for the PC to boot from the network
    BOOTING = "booting"  # the PC has asked for its loader or script
    RUNNING = "running"  # the agent has checked in and works
    VERIFYING = "verifying"  # the agent is done, the box checks and commits
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether nothing can follow."""
        return not TRANSITIONS[self]

    @property
    def is_active(self) -> bool:
        """Whether a PC is or may be at work on it."""
        return self in {TaskState.BOOTING, TaskState.RUNNING, TaskState.VERIFYING}


_END = frozenset({TaskState.FAILED, TaskState.CANCELLED})

# RUNNING -> BOOTING and VERIFYING -> BOOTING: the PC was switched off and came back; its task goes on.
TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.SCHEDULED: frozenset({TaskState.WAITING}) | _END,
    TaskState.WAITING: frozenset({TaskState.BOOTING, TaskState.RUNNING}) | _END,
    TaskState.BOOTING: frozenset({TaskState.RUNNING}) | _END,
    TaskState.RUNNING: frozenset({TaskState.BOOTING, TaskState.VERIFYING}) | _END,
    TaskState.VERIFYING: frozenset({TaskState.BOOTING, TaskState.RUNNING, TaskState.DONE}) | _END,
    TaskState.DONE: frozenset(),
    TaskState.FAILED: frozenset(),
    TaskState.CANCELLED: frozenset(),
}


def may_move(old: TaskState, new: TaskState) -> bool:
    """Whether a task may go from `old` to `new`."""
    return new in TRANSITIONS[old]


class CastState(StrEnum):
    """Where a cast stands."""

    OPEN = "open"  # its PCs may join and leave
    ENDED = "ended"  # whoever is not done goes on by NFS


class AfterTask(StrEnum):
    """What the PC does when its task has succeeded."""

    REBOOT = "reboot"
    POWEROFF = "poweroff"
    STAY = "stay"


class LocalBoot(StrEnum):
    """How a host without a task is handed to its own disk."""

    CHAIN = "chain"  # GRUB chainloads the disk's own loader (UEFI), or iPXE `sanboot` (BIOS)
    NO_ANSWER = "no-answer"  # no boot answer at all: for BitLocker, whose PCR 7 a chain would change


class UefiLoader(StrEnum):
    """Which loader a UEFI host is given."""

    SHIM = "shim"  # Debian's signed shim and GRUB: works under Secure Boot
    IPXE = "ipxe"  # snponly.efi: faster, not under Secure Boot


class ServiceHealth(StrEnum):
    """How a service of ours is."""

    STARTING = "starting"
    OK = "ok"
    STOPPING = "stopping"
    STOPPED = "stopped"  # it was told to stop, and did
    FAILED = "failed"  # it said why
    SILENT = "silent"  # it should be running, but gives no sign of life: killed, or it hangs


class Role(StrEnum):
    """What an operator may do; each may do what the one before it may."""

    VIEWER = "viewer"  # look
    OPERATOR = "operator"  # hosts, images, tasks, casts
    ADMIN = "admin"  # settings, services, operators
