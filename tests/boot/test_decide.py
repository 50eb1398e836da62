"""What a PC is told to do, for every kind of host, task and waiting order."""

from __future__ import annotations

import itertools

import pytest

from appliance.boot.decide import BootKind, LocalMethod, MenuEntry, Purpose, decide
from appliance.events import LocalBoot, TaskKind, TaskState, UefiLoader
from appliance.model import Host, Task

MAC = "52:54:00:aa:01:02"
UNFINISHED = [TaskState.WAITING, TaskState.BOOTING, TaskState.RUNNING, TaskState.VERIFYING]
NOTHING_TO_DO = [None, TaskState.SCHEDULED, TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED]


def host(*, sealed: bool = False, local_boot: LocalBoot = LocalBoot.CHAIN) -> Host:
    return Host(id=1, name="LAB1-01", macs=(MAC,), sealed=sealed, local_boot=local_boot)


def task(state: TaskState | None, kind: TaskKind = TaskKind.DEPLOY) -> Task | None:
    return None if state is None else Task(id=7, kind=kind, state=state, image_name="win11", host_id=1)


@pytest.mark.parametrize("state", UNFINISHED)
@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("local_boot", list(LocalBoot))
def test_a_host_with_an_unfinished_task_runs_the_agent(state: TaskState, sealed: bool, local_boot: LocalBoot) -> None:
    answer = decide(host(sealed=sealed, local_boot=local_boot), task(state), firmware="uefi")
    assert (answer.kind, answer.purpose) == (BootKind.RUN_AGENT, Purpose.TASK)


@pytest.mark.parametrize("state", NOTHING_TO_DO)
@pytest.mark.parametrize(
    ("sealed", "local_boot", "kind"),
    [
        (False, LocalBoot.CHAIN, BootKind.LOCAL_DISK),
        (False, LocalBoot.NO_ANSWER, BootKind.NO_ANSWER),
        (True, LocalBoot.CHAIN, BootKind.REFUSE_SEALED),
        (True, LocalBoot.NO_ANSWER, BootKind.REFUSE_SEALED),
    ],
)
def test_a_host_without_a_task_starts_its_disk_unless_sealed(
    state: TaskState | None, sealed: bool, local_boot: LocalBoot, kind: BootKind
) -> None:
    assert decide(host(sealed=sealed, local_boot=local_boot), task(state), firmware="uefi").kind is kind


@pytest.mark.parametrize("local_boot", list(LocalBoot))
def test_a_held_hosts_agent_is_started_to_wait(local_boot: LocalBoot) -> None:
    held = Task(7, TaskKind.DEPLOY, TaskState.SCHEDULED, "win11", host_id=1, held=True)
    answer = decide(host(local_boot=local_boot), held, firmware="uefi")
    assert (answer.kind, answer.purpose) == (BootKind.RUN_AGENT, Purpose.TASK)
    assert "confirms" in answer.reason


def test_a_held_task_that_was_cancelled_holds_nobody() -> None:
    held = Task(7, TaskKind.DEPLOY, TaskState.CANCELLED, "win11", host_id=1, held=True)
    assert decide(host(), held, firmware="uefi").kind is BootKind.LOCAL_DISK


def test_no_combination_starts_the_disk_of_a_sealed_host() -> None:
    states = [*UNFINISHED, *NOTHING_TO_DO]
    for state, local_boot, firmware in itertools.product(states, LocalBoot, ("bios", "uefi", "")):
        for waiting, order in itertools.product((False, True), repeat=2):
            answer = decide(
                host(sealed=True, local_boot=local_boot),
                task(state),
                firmware=firmware,
                capture_next_waiting=waiting,
                order_open=order,
            )
            assert answer.kind in {BootKind.RUN_AGENT, BootKind.REFUSE_SEALED}


def test_an_unknown_pc_gets_a_menu_with_its_own_disk_as_default() -> None:
    answer = decide(None, None, firmware="uefi")
    assert answer.kind is BootKind.MENU
    assert answer.entries == (MenuEntry.LOCAL, MenuEntry.REGISTER, MenuEntry.INVENTORY)
    assert answer.default is MenuEntry.LOCAL


@pytest.mark.parametrize("order_open", [False, True])
def test_while_a_capture_waits_the_menu_neither_starts_nor_erases_a_disk_and_has_no_default(order_open: bool) -> None:
    answer = decide(None, None, firmware="bios", capture_next_waiting=True, order_open=order_open)
    assert answer.kind is BootKind.MENU
    assert answer.entries == (MenuEntry.CAPTURE, MenuEntry.REGISTER, MenuEntry.INVENTORY)
    assert answer.default is None


def test_an_unknown_pc_is_deployed_while_new_pcs_are_wanted() -> None:
    answer = decide(None, None, firmware="uefi", order_open=True)
    assert (answer.kind, answer.purpose) == (BootKind.RUN_AGENT, Purpose.DEPLOY_NEW)


def test_orders_for_unknown_pcs_do_not_touch_a_known_one() -> None:
    answer = decide(host(), None, firmware="uefi", capture_next_waiting=True, order_open=True)
    assert answer.kind is BootKind.LOCAL_DISK


@pytest.mark.parametrize(("firmware", "method"), [("bios", LocalMethod.SANBOOT), ("uefi", LocalMethod.CHAINLOAD)])
def test_the_own_disk_is_started_by_the_method_of_the_firmware(firmware: str, method: LocalMethod) -> None:
    assert decide(host(), None, firmware=firmware).method is method
    assert decide(None, None, firmware=firmware).method is method


def test_the_loader_of_a_uefi_host_does_not_change_what_it_does() -> None:
    ipxe = Host(id=1, name="LAB1-01", macs=(MAC,), uefi_loader=UefiLoader.IPXE)
    assert decide(ipxe, None, firmware="uefi") == decide(host(), None, firmware="uefi")
