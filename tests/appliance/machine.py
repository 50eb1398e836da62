"""The appliance as a guest: the image as an operator writes it to a disk, its screen read and its keys pressed.

It starts from an overlay of the image, enlarged to a disk of ordinary size, so that the image itself stays as built.
Root is reached by a key that QEMU hands to systemd as a credential in an SMBIOS string of type 11
(systemd.system-credentials(7)): a way in for who owns the machine, as its disk is, and nothing in the image.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path

from tests.appliance.tty import Tty
from tests.lab.command import BUILD, LabError, run
from tests.lab.network import LabNetwork
from tests.lab.pc import Hardware, Pc

FOLDER = BUILD / "appliance"
DISK_GIB = 20
MEMORY_MIB = 2048


def image() -> Path:
    """The newest appliance image that was built. Raises `LabError` when there is none."""
    found = sorted(FOLDER.glob("diecast-*.img"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise LabError(f"There is no {FOLDER}/diecast-*.img: run 'make appliance' first.")
    return found[-1]


def new_key(folder: Path) -> Path:
    """A key pair for SSH without a passphrase; the private half's path."""
    key = folder / "root.key"
    for path in (key, key.with_suffix(".key.pub")):
        path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", key])
    return key


class Machine(Pc):
    """The appliance's machine. `tty` is its screen and keyboard."""

    def __init__(
        self, lab: LabNetwork, folder: Path, *, firmware: str = "bios", root_key: Path | None = None, disk: str = "box"
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{disk}.qcow2"
        if not path.exists():
            words: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", image().resolve(), "-F", "raw"]
            run([*words, path, f"{DISK_GIB}G"])
        extra: list[str] = []
        if root_key:
            public = base64.b64encode(root_key.with_suffix(".key.pub").read_bytes()).decode()
            extra = ["-smbios", f"type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root={public}"]
        hardware = Hardware(firmware=firmware, memory_mib=MEMORY_MIB, extra=extra)
        super().__init__(lab, f"box-{firmware}", folder, hardware, disk=path)
        self._root_key = root_key
        self.tty = Tty(self)
        self.on_since = 0.0

    def power_on(self, *, first: str = "disk", stop_at_reboot: bool = False) -> None:
        """Press the button; `on_since` is then the time of it (`time.monotonic`)."""
        self.on_since = time.monotonic()
        super().power_on(first=first, stop_at_reboot=stop_at_reboot)

    def twin(self, firmware: str) -> Machine:
        """Another machine with this one's disk and network card; never switch both on."""
        other = Machine(self.lab, self.folder, firmware=firmware, root_key=self._root_key, disk=self.disk.stem)
        other.mac = self.mac
        return other

    def cut_power(self) -> None:
        """Press the reset button: memory is lost, and what was not on its way to the disk."""
        self.monitor().command("system_reset")
        self.on_since = time.monotonic()

    def picture(self, path: Path) -> Path:
        """Save what the screen shows as a PNG file."""
        self.monitor().command("screendump", filename=str(path), format="png")
        deadline = time.monotonic() + 10
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        return path

    def _disk_words(self, first: str) -> list[str]:
        order = 0 if first == "disk" else 1
        drive = f"if=none,id=disk,file={self.disk},format=qcow2,discard=unmap,cache=unsafe"
        return ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk,bootindex={order},serial=system"]
