"""What a PC that boots from the network shall do: one pure function, the same for DHCP, iPXE and GRUB.

The rules, first that fits (docs/how-booting-works.md has the reasons):

| host    | task       | otherwise                                | answer                                             |
|---------|------------|------------------------------------------|----------------------------------------------------|
| known   | unfinished | and due                                  | RUN_AGENT                                          |
| known   | scheduled  | held until the operator confirms it      | RUN_AGENT, which waits and says so                 |
| known   | scheduled  | for later                                | as without a task                                  |
| known   | none       | sealed                                   | REFUSE_SEALED, even when `local_boot` is no-answer |
| known   | none       | `local_boot` is no-answer                | NO_ANSWER                                          |
| known   | none       |                                          | LOCAL_DISK                                         |
| unknown |            | a capture waits for the next unknown PC  | MENU without own disk and without default          |
| unknown |            | an order for new PCs is open             | RUN_AGENT, to be named, registered and deployed    |
| unknown |            |                                          | MENU, own disk by default                          |

A sealed host is refused before `no-answer` is looked at: without an answer its firmware would start the very disk that
must not start. While a capture waits, open orders wait too: this unknown PC may be the master, so nothing that would
erase it, and nothing that would start its disk, is offered; a person chooses which PC is captured. A held task's PC is
kept in the agent: it is seen to be there, and begins as soon as it is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from appliance.events import LocalBoot, TaskState
from appliance.model import Host, Task


class BootKind(StrEnum):
    """The five things that a PC can be told."""

    RUN_AGENT = "run-agent"
    LOCAL_DISK = "local-disk"
    REFUSE_SEALED = "refuse-sealed"
    MENU = "menu"
    NO_ANSWER = "no-answer"  # no boot answer at all: the firmware goes on to its next device


class Purpose(StrEnum):
    """Why the agent starts; goes on the kernel line as `diecast.purpose` and into its check-in."""

    TASK = "task"  # the host's task, or the capture that waits for the next unknown PC
    DEPLOY_NEW = "deploy-new"  # take part in an open order for new PCs
    REGISTER = "register"
    INVENTORY = "inventory"


class MenuEntry(StrEnum):
    """The lines of an unknown PC's menu; the value is the entry's id in both scripts."""

    LOCAL = "local"
    CAPTURE = "capture"
    REGISTER = "register"
    INVENTORY = "inventory"


class LocalMethod(StrEnum):
    """How a firmware is handed to its own disk."""

    SANBOOT = "sanboot"  # BIOS: iPXE reads the first sector of drive 0x80 and jumps there
    CHAINLOAD = "chainload"  # UEFI: the disk's own loader is started


# What the agent is started for when an entry is chosen; LOCAL starts none.
ENTRY_PURPOSE: dict[MenuEntry, Purpose] = {
    MenuEntry.CAPTURE: Purpose.TASK,
    MenuEntry.REGISTER: Purpose.REGISTER,
    MenuEntry.INVENTORY: Purpose.INVENTORY,
}


@dataclass(frozen=True, slots=True)
class BootAnswer:
    """What one PC shall do, and why in words for the log."""

    kind: BootKind
    reason: str
    purpose: Purpose = Purpose.TASK  # RUN_AGENT
    method: LocalMethod = LocalMethod.CHAINLOAD  # LOCAL_DISK, and the menu's own disk
    entries: tuple[MenuEntry, ...] = ()  # MENU, in order
    default: MenuEntry | None = None  # MENU: started after the time-out; None: the menu waits for ever


def decide(
    host: Host | None,
    task: Task | None,
    *,
    firmware: str,
    capture_next_waiting: bool = False,
    order_open: bool = False,
) -> BootAnswer:
    """Say what a PC shall do.

    `host` is None for an unknown PC; `task` is the host's unfinished task, if any; `firmware` is `bios` or `uefi` (any
    other word counts as `uefi`). `capture_next_waiting`: a capture waits for the next unknown PC. `order_open`: new PCs
    are wanted for a deployment.
    """
    method = LocalMethod.SANBOOT if firmware == "bios" else LocalMethod.CHAINLOAD
    if host is None:
        return _unknown(method, capture_next_waiting, order_open)
    if task is not None and task.is_held:
        return BootAnswer(BootKind.RUN_AGENT, f"task {task.id} waits until the operator confirms it")
    if task is not None and _starts_the_agent(task.state):
        return BootAnswer(BootKind.RUN_AGENT, f"task {task.id}: {task.kind} {task.image_name}")
    if host.sealed:
        return BootAnswer(BootKind.REFUSE_SEALED, "sealed, and no task")
    if host.local_boot is LocalBoot.NO_ANSWER:
        return BootAnswer(BootKind.NO_ANSWER, "no task, and local-boot is no-answer", method=method)
    return BootAnswer(BootKind.LOCAL_DISK, f"no task: own disk by {method}", method=method)


def _starts_the_agent(state: TaskState) -> bool:
    return not state.is_final and state is not TaskState.SCHEDULED


def _unknown(method: LocalMethod, capture_next_waiting: bool, order_open: bool) -> BootAnswer:
    if capture_next_waiting:
        entries = (MenuEntry.CAPTURE, MenuEntry.REGISTER, MenuEntry.INVENTORY)
        return BootAnswer(BootKind.MENU, "unknown, and a capture waits for an unknown PC", entries=entries)
    if order_open:
        return BootAnswer(BootKind.RUN_AGENT, "unknown, and new PCs are wanted", purpose=Purpose.DEPLOY_NEW)
    entries = (MenuEntry.LOCAL, MenuEntry.REGISTER, MenuEntry.INVENTORY)
    return BootAnswer(BootKind.MENU, "unknown", method=method, entries=entries, default=MenuEntry.LOCAL)
