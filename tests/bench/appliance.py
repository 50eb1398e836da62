"""The appliance: seconds from its button to services ready, and the size of its image.

The box is set up by keys first, then switched off and on with nothing beside it. Ready means that HTTP answers and
loaders come by TFTP.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.appliance import story
from tests.appliance.inside import image_mb
from tests.appliance.machine import Machine, image, new_key
from tests.lab.accel import kvm_works
from tests.lab.network import LabNetwork


def run(workdir: Path) -> list[dict[str, Any]]:
    """Start the box. Raises `LabError` or `AssertionError` when there is no image, or it does not start."""
    folder = workdir / "appliance"
    folder.mkdir(parents=True, exist_ok=True)
    key = new_key(folder)
    with LabNetwork(box_address=story.STATION) as lab:
        machine = Machine(lab, folder, root_key=key)
        told = story.Story(lab, machine, folder, key, print)
        try:
            told.first_start()
            told.restart_alone()
        finally:
            told.appliance.hang_up()
            told.root.close()
            machine.destroy()
    how = f"{machine.hardware.cpus} processors under {'KVM' if kvm_works() else 'software emulation'}"
    return [
        _entry("appliance_ready_s", round(told.report.ready_s, 1), "s", f"button to services ready, BIOS, {how}"),
        _entry("appliance_image_mb", image_mb(image()), "MB", "blocks of the image that hold something"),
    ]


def _entry(name: str, ours: float, unit: str, detail: str) -> dict[str, Any]:
    return {"name": name, "ours": ours, "peer": None, "ratio": None, "unit": unit, "detail": detail}
