"""The menu's two other purposes: give this PC a name, and show what is in it."""

from __future__ import annotations

import time

from appliance.agent import hardware, page
from appliance.agent.client import Box, Refused
from appliance.agent.display import Display
from appliance.agent.machine import Limits
from appliance.errors import Unavailable, UsageError
from appliance.model import check_name
from appliance.wire.agentapi import CheckInAnswer, Inventory, NicInfo

_POLL_S = 0.5


def facts(found: Inventory) -> tuple[str, ...]:
    """The inventory in lines for the page and the serial console."""
    lines = [
        f"{found.vendor} {found.model}  serial {found.serial or 'unknown'}",
        f"{found.cpu or 'CPU unknown'}, {found.cpu_threads} threads, {page.size(found.memory_bytes)} memory",
        f"{hardware.Firmware(found.firmware, found.secure_boot)}, firmware version {found.bios_version or 'unknown'}",
    ]
    lines += [
        f"disk {disk.path}  {page.size(disk.size_bytes)}  {disk.bus}  {disk.model}  {disk.serial}".rstrip()
        for disk in found.disks
    ] or ["no disk"]
    lines += [f"card {nic.name}  {nic.mac}  {nic.driver}  {_link(nic)}" for nic in found.nics]
    return tuple(lines)


def _link(nic: NicInfo) -> str:
    if not nic.link:
        return "no link"
    return f"{nic.speed_mbit} Mbit/s" if nic.speed_mbit else "link"  # virtual cards name no speed


def show(display: Display, found: Inventory) -> None:
    """Put the inventory on every console."""
    lines = facts(found)
    for line in lines:
        display.consoles.line("diecast: " + page.clean(line))
    display.show(facts=lines)


def register(box: Box, display: Display, answer: CheckInAnswer, limits: Limits) -> str:
    """Ask for a name on every console and register this PC; return its name. `Unavailable` when nobody types."""
    suggested = answer.suggested_name
    question = "Name of this PC" + (f" (Enter: {suggested})" if suggested else "")
    deadline = time.monotonic() + limits.question_s
    note = ""
    while True:
        name = ask(display, note + question, deadline) or suggested
        try:
            return box.register("" if name == suggested else check_name(name, "a PC"))
        except UsageError as error:
            note = f"{error} "
        except Refused as refusal:
            # An answer that was lost leaves the PC registered, and the second call refused: who are we now?
            known = box.check_in().host_name
            if known:
                return known
            note = f"{refusal} "


def ask(display: Display, question: str, deadline: float) -> str:
    """One answer, from whichever console. Raises `Unavailable` when nobody has typed anything by `deadline`."""
    display.consoles.discard_typed()
    display.show(question=question, typed="")
    display.consoles.prompt(f"diecast: {page.clean(question)}: ")
    while time.monotonic() < deadline:
        line, typed = display.consoles.typed_line(_POLL_S)
        if line is not None:
            display.show(question="", typed="")
            return line.strip()
        if typed != display.view.typed:
            display.show(typed=typed)
    display.show(question="", typed="")
    raise Unavailable(
        "Nobody answered at this PC's keyboard.", hint="Start it from the network again when you are there."
    )
