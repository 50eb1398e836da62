"""The PCs whose whole boot scripts are kept in tests/testdata/boot; `python -m tests.boot.golden` writes them anew.

Read the difference before committing: each line of it is what a PC does next time it is switched on.
"""

from __future__ import annotations

from pathlib import Path

from appliance.boot.decide import BootAnswer, decide
from appliance.boot.script import Loader, Subject, Templates, grub_entry, render
from appliance.config import bootfiles_dir
from appliance.events import LocalBoot, TaskKind, TaskState
from appliance.model import Host, Task

FOLDER = Path(__file__).parent.parent / "testdata" / "boot"
MAC = "52:54:00:aa:01:02"
KNOWN = Host(id=1, name="LAB1-01", macs=(MAC,))
SEALED = Host(id=2, name="MASTER", macs=(MAC,), sealed=True)
SILENT = Host(id=3, name="LAB1-03", macs=(MAC,), local_boot=LocalBoot.NO_ANSWER)
TASK = Task(id=7, kind=TaskKind.DEPLOY, state=TaskState.WAITING, image_name="win11", host_id=1)


def cases(firmware: str) -> dict[str, tuple[BootAnswer, Host | None]]:
    """File name stem -> the answer and the host it is for."""
    return {
        "agent": (decide(KNOWN, TASK, firmware=firmware), KNOWN),
        "local": (decide(KNOWN, None, firmware=firmware), KNOWN),
        "sealed": (decide(SEALED, None, firmware=firmware), SEALED),
        "no-answer": (decide(SILENT, None, firmware=firmware), SILENT),
        "menu": (decide(None, None, firmware=firmware), None),
        "menu-capture-waits": (decide(None, None, firmware=firmware, capture_next_waiting=True), None),
        "new-pc": (decide(None, None, firmware=firmware, order_open=True), None),
    }


def subject(host: Host | None, mac: str = MAC) -> Subject:
    """A PC on the first lab's network."""
    return Subject(mac, "10.20.4.1:8080", host.name if host else "", capture_image="win11")


def scripts() -> dict[str, str]:
    """Every kept file and what it must hold."""
    templates = Templates.load(bootfiles_dir())
    texts = {"grub.cfg": grub_entry(templates, 8080)}
    for loader, firmware, suffix in ((Loader.IPXE, "bios", "ipxe"), (Loader.GRUB, "uefi", "cfg")):
        for name, (answer, host) in cases(firmware).items():
            texts[f"{name}.{suffix}"] = render(templates, loader, answer, subject(host))
    return texts


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file, text in scripts().items():
        (FOLDER / file).write_text(text, encoding="ascii")
