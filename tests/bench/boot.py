"""Seconds from a PC's button to the agent's first answer from the box, one figure a firmware: `boot_to_agent_s_*`.

The PCs are guests of the virtual lab, one at a time, through the whole chain as shipped; under software emulation the
figures say how two versions compare, not how long a real PC takes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.lab.accel import kvm_works
from tests.lab.box import Box
from tests.lab.network import LabNetwork
from tests.lab.pc import FIRMWARES, Hardware, Pc

_BOOT_S = 240


def run(workdir: Path) -> list[dict[str, Any]]:
    """Boot one PC of each firmware to the agent. Raises `LabError` or `AssertionError` when one does not get there."""
    folder = workdir / "boot"
    folder.mkdir(parents=True, exist_ok=True)
    with LabNetwork() as lab:
        box = Box(lab, folder)
        try:
            box.start()
            return [_measure(lab, box, firmware) for firmware in FIRMWARES]
        finally:
            box.destroy()


def _measure(lab: LabNetwork, box: Box, firmware: str) -> dict[str, Any]:
    pc = Pc(lab, f"bench-{firmware}", box.folder, Hardware(firmware=firmware))
    try:
        box.cli("host", "add", pc.name, "--mac", pc.mac)
        box.cli("capture", pc.name, "--image", "never")
        started = time.monotonic()
        pc.power_on()
        pc.waits_for(r"^diecast: agent ready", _BOOT_S)
        seconds = time.monotonic() - started
    finally:
        pc.destroy()
    how = "KVM" if kvm_works() else "software emulation"
    return {
        "name": f"boot_to_agent_s_{firmware.replace('-', '_')}",
        "ours": round(seconds, 1),
        "peer": None,
        "ratio": None,
        "unit": "s",
        "detail": f"button to 'agent ready', {firmware}, {pc.hardware.cpus} processors under {how}",
    }
