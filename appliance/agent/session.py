"""One start of the agent, from the kernel line to the exit status. It does one thing, once, and never loops."""

from __future__ import annotations

import contextlib
import time
import traceback
from dataclasses import dataclass, replace
from enum import IntEnum

from appliance import __version__
from appliance.agent import hardware, network, registration
from appliance.agent.client import Box, Refused
from appliance.agent.cmdline import BootLine
from appliance.agent.consoles import Consoles
from appliance.agent.display import Display
from appliance.agent.machine import Limits, Machine
from appliance.agent.page import span
from appliance.agent.stop import Stop
from appliance.agent.work import Job, perform, tell_failure
from appliance.errors import ApplianceError, Cancelled
from appliance.events import AfterTask
from appliance.wire.agentapi import CheckIn, CheckInAnswer, Inventory, TaskOrder


class Exit(IntEnum):
    """How a start ended, and what the init of the initramfs does next."""

    POWER_OFF = 0
    FAILED = 1  # said on every console and left there for `Limits.failed_s`: power off
    REBOOT = 10
    STAY = 11


# How a task that succeeded ends: exit status, and the words for it.
_AFTER: dict[str, tuple[Exit, str]] = {
    AfterTask.REBOOT: (Exit.REBOOT, "done, restarting"),
    AfterTask.POWEROFF: (Exit.POWER_OFF, "done, powering off"),
    AfterTask.STAY: (Exit.STAY, "done, staying on"),
}


@dataclass(frozen=True, slots=True)
class _Start:
    """What is known once the box has been told who we are."""

    machine: Machine
    limits: Limits
    display: Display
    stop: Stop
    box: Box
    line: BootLine
    answer: CheckInAnswer
    interface: str = ""  # the card this PC booted from


def run(machine: Machine, limits: Limits, consoles: Consoles) -> Exit:
    """Do what this PC was booted for. Every failure ends on the screen in words, and as an exit status."""
    display = Display(consoles)
    display.start()
    display.say("agent starting")
    try:
        end = _attempt(machine, limits, display)
        if end is Exit.FAILED:
            _linger(display, limits)
        return end
    finally:
        display.close()


def _attempt(machine: Machine, limits: Limits, display: Display) -> Exit:
    try:
        return _run(machine, limits, display)
    except ApplianceError as error:
        display.failed(error.message, error.hint)
    except Exception as error:
        display.note(traceback.format_exc())
        display.failed(
            f"The agent met an error of its own: {type(error).__name__}: {error}.",
            "Please report this with the task's log.",
        )
    return Exit.FAILED


def _linger(display: Display, limits: Limits) -> None:
    """Leave a failure on the screen until somebody presses Enter or its time is over."""
    deadline = time.monotonic() + limits.failed_s
    display.consoles.discard_typed()
    while (left := deadline - time.monotonic()) > 0:
        display.show(footer=f"This PC powers off in {span(left)}. Enter: power off now.")
        line, _ = display.consoles.typed_line(min(1.0, left))
        if line is not None:
            return


def _run(machine: Machine, limits: Limits, display: Display) -> Exit:
    line = BootLine.parse(machine.text(machine.proc / "cmdline"))
    booted = hardware.firmware(machine)
    display.show(box=line.url, mac=line.boot_mac, firmware=str(booted))
    display.say(f"agent {__version__}, {booted} ({booted.evidence})")
    address = network.bring_up(machine, line.boot_mac, limits, display.doing)
    try:
        display.say(
            f"address {address.ip}/{address.prefix} on {address.interface}", ip=str(address.ip), mac=address.mac
        )
        start = _first_word(machine, limits, display, line, booted, address)
        with contextlib.closing(start.box):
            return _PURPOSES[line.purpose](_check_in(start))
    finally:
        address.close()


def _first_word(
    machine: Machine,
    limits: Limits,
    display: Display,
    line: BootLine,
    booted: hardware.Firmware,
    address: network.Address,
) -> _Start:
    """Make ready to talk to the box."""
    cards = [card.mac for card in hardware.nics(machine)]
    who = CheckIn(
        macs=cards or [address.mac],
        boot_mac=address.mac,
        uuid=hardware.system_uuid(machine),
        firmware=booted.kind,
        secure_boot=booted.secure_boot,
        agent_version=__version__,
        purpose=line.purpose,
    )
    stop = Stop()
    box = Box(line, who, limits, stop, display.waiting)
    return _Start(machine, limits, display, stop, box, line, CheckInAnswer(""), address.interface)


def _check_in(start: _Start) -> _Start:
    """Tell the box who we are."""
    display = start.display
    display.doing(f"calling the box at {start.line.url}")
    answer = start.box.check_in()
    display.say(f"agent ready, {answer.host_name or 'unknown PC'}", host=answer.host_name)
    if answer.message:
        display.say(answer.message)
    return replace(start, answer=answer)


def _task(start: _Start) -> Exit:
    """Take the task, do it, and end as it says."""
    found = hardware.inventory(start.machine)
    start.display.show(model=f"{found.vendor} {found.model}".strip())
    _send_inventory(start, found)
    _until_confirmed(start)
    start.display.doing("asking for the task")
    try:
        order = start.box.task()
    except ApplianceError as error:
        tell_failure(start.machine, start.box, start.display, start.stop, error)
        raise
    if order is None:
        start.display.done("no task for this PC, powering off", "There is no task for this PC. It powers off.")
        time.sleep(start.limits.notice_s)
        return Exit.POWER_OFF
    try:
        perform(Job(start.machine, start.box, start.display, start.limits, start.stop, order, start.interface))
    except ApplianceError as error:
        return _failed(start, order, error)
    status, words = _AFTER.get(order.after, _AFTER[AfterTask.POWEROFF])
    start.display.done(words, f"{order.kind.capitalize()} of {order.image_name}: {words}.")
    time.sleep(min(2.0, start.limits.notice_s))
    return status


def _until_confirmed(start: _Start) -> None:
    """A new PC may have to wait for the operator, for as long as that takes: nothing is written before."""
    answer = start.answer
    while answer.held:
        name = answer.host_name
        start.display.doing(f"{name} waits until the operator confirms it")
        start.display.show(
            host=name, footer=f"New here: {name}. Nothing is written to its disk before it is confirmed."
        )
        while start.box.held():
            start.stop.wait(start.limits.held_poll_s)
        start.display.show(footer="")
        answer = start.box.check_in()
        start.display.say("confirmed, going on" if answer.has_task else answer.message, host=answer.host_name)


def _failed(start: _Start, order: TaskOrder, error: ApplianceError) -> Exit:
    """A failed task never reboots, or a PC whose disk is half written would start from it."""
    start.display.failed(error.message, error.hint)
    if order.after == AfterTask.STAY:
        return Exit.STAY
    if isinstance(error, Cancelled):  # whoever cancelled it knows
        time.sleep(start.limits.notice_s)
        return Exit.POWER_OFF
    return Exit.FAILED


def _register(start: _Start) -> Exit:
    """Ask for a name; a task that waits for the new host is done at once."""
    found = hardware.inventory(start.machine)
    registration.show(start.display, found)
    name = start.answer.host_name or registration.register(start.box, start.display, start.answer, start.limits)
    start.display.show(host=name, facts=())
    if start.box.check_in().has_task:
        return _task(start)
    _send_inventory(start, found)
    start.display.done(f"registered as {name}, powering off", f"This PC is registered as {name}. It powers off.")
    time.sleep(start.limits.notice_s)
    return Exit.POWER_OFF


def _inventory(start: _Start) -> Exit:
    """Show what is in this PC until somebody presses Enter."""
    found = hardware.inventory(start.machine)
    registration.show(start.display, found)
    _send_inventory(start, found)
    with contextlib.suppress(ApplianceError):  # nobody there: power off all the same
        deadline = time.monotonic() + start.limits.question_s
        registration.ask(start.display, "Press Enter to power off", deadline)
    start.display.done("done, powering off", "This PC powers off.")
    return Exit.POWER_OFF


def _send_inventory(start: _Start, found: Inventory) -> None:
    try:
        start.box.inventory(found)
    except Refused as refusal:  # e.g. of a PC without a host: nothing depends on it
        start.display.note(f"the box did not take the inventory: {refusal}")


_PURPOSES = {"task": _task, "deploy-new": _task, "register": _register, "inventory": _inventory}
