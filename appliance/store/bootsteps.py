"""When a booting PC reached what: the steps of its last boot, kept with its sighting.

A boot begins with DHCP, or with the loader where another server lent the address. Firmware asks for an address several
times, and a loader asks once more: the first time of each stage counts, until the boot is plainly another one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from appliance.events import BootStage

Steps = tuple[tuple[BootStage, datetime], ...]

# Firmware that gets no further asks again for about a minute before it gives up (PXE 2.1, section 2.4.1: 4+8+16+32 s).
SAME_BOOT = timedelta(minutes=2)
_EARLY = (BootStage.DHCP, BootStage.LOADER)


def reached(steps: Steps, stage: BootStage, at: datetime) -> Steps:
    """`steps` after the PC reached `stage`; only those of the new boot where one begins with it."""
    if not steps or _begins_another(steps, stage, at):
        return ((stage, at),)
    return steps if any(known is stage for known, _ in steps) else (*steps, (stage, at))


def _begins_another(steps: Steps, stage: BootStage, at: datetime) -> bool:
    furthest, last = steps[-1]
    if stage not in _EARLY:
        return False
    return furthest not in _EARLY or (stage is BootStage.DHCP and at - last > SAME_BOOT)
