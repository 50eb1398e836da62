"""The appliance as a guest: the image as an operator writes it to a disk, its screen read and its keys pressed.

It starts from an overlay of the image, enlarged to a disk of ordinary size, so that the image itself stays as built.
Root is reached by a key that QEMU hands to systemd as a credential (systemd.system-credentials(7),
`ssh.authorized_keys.root` in an SMBIOS type 11 string): a way in for who owns the machine, and nothing in the image.
"""

from __future__ import annotations

import base64
import re
import subprocess
import time
from pathlib import Path

from tests.appliance import keyboard, vga
from tests.lab.command import BUILD, LabError, run
from tests.lab.network import LabNetwork
from tests.lab.pc import Hardware, Pc
from tests.tui import psf

FOLDER = BUILD / "appliance"
FONT = "Lat15-Fixed16"  # what the image's console-setup takes
DISK_GIB = 20
MEMORY_MIB = 2048
_LOOK_S = 0.4
_KEY_S = 0.08  # a kernel of an emulated machine drops keys that come faster


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
    """The appliance's machine. `shows`, `press` and `type` are its screen and keyboard."""

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
        self._shapes = vga.shapes_of(psf.held(FONT))
        self.on_since = 0.0

    def power_on(self, *, first: str = "disk", stop_at_reboot: bool = False) -> None:
        """Press the button; `on_since` is then the time of it (`time.monotonic`)."""
        self.on_since = time.monotonic()
        super().power_on(first=first, stop_at_reboot=stop_at_reboot)

    def cut_power(self) -> None:
        """Press the reset button: memory is lost, and what was not on its way to the disk."""
        self._monitor().command("system_reset")
        self.on_since = time.monotonic()

    def screen(self) -> str:
        """What the screen shows, in VGA text mode."""
        path = self._sockets / "vga"
        # Stopped, so that Linux does not find the card's index register elsewhere than it left it.
        self._monitor().command("stop")
        try:
            self._monitor().command("pmemsave", val=vga.ADDRESS, size=vga.MEMORY_BYTES, filename=str(path))
            index = self._port(vga.REGISTER_INDEX)
            start = self._register(vga.START_HIGH) << 8 | self._register(vga.START_LOW)
            self._port(vga.REGISTER_INDEX, index)
        finally:
            self._monitor().command("cont")
        return "\n".join(vga.lines_of(vga.shown_of(path.read_bytes(), start), self._shapes))

    def shows(self, pattern: str, timeout_s: float = 60) -> re.Match[str]:
        """Wait until the screen shows `pattern`. Raises `AssertionError` with what it shows instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.screen()
            if found := re.search(pattern, text, re.MULTILINE):
                return found
            if not self.is_on:
                raise AssertionError(f"{self.name} is off; /{pattern}/ was waited for. See {self.console.path}")
            if time.monotonic() > deadline:
                raise AssertionError(f"The screen does not show /{pattern}/ within {timeout_s:g} s but:\n{text}")
            time.sleep(_LOOK_S)

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them: Down, Enter, C-p, M-F2, a."""
        for key in keys:
            self._chord(keyboard.chord(key))

    def type(self, text: str) -> None:
        """Type a text."""
        for char in text:
            self._chord(keyboard.stroke(char))

    def _register(self, number: int) -> int:
        self._port(vga.REGISTER_INDEX, number)
        return self._port(vga.REGISTER_DATA)

    def _port(self, port: int, value: int | None = None) -> int:
        """Write to a port of the machine, or read it."""
        line = f"i /b 0x{port:x}" if value is None else f"o /b 0x{port:x} 0x{value:x}"
        said = self._monitor().command("human-monitor-command", **{"command-line": line})
        return int(said.rpartition("=")[2], 16) if value is None else value

    def _chord(self, names: list[str]) -> None:
        keys = [{"type": "qcode", "data": name} for name in names]
        self._monitor().command("send-key", keys=keys, **{"hold-time": 30})
        time.sleep(_KEY_S)

    def picture(self, path: Path) -> Path:
        """Save what the screen shows as a PNG file."""
        self._monitor().command("screendump", filename=str(path), format="png")
        deadline = time.monotonic() + 10
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        return path

    def _disk_words(self, first: str) -> list[str]:
        order = 0 if first == "disk" else 1
        drive = f"if=none,id=disk,file={self.disk},format=qcow2,discard=unmap,cache=unsafe"
        return ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk,bootindex={order},serial=system"]


def is_sound(disk: Path) -> bool:
    """Whether a qcow2 file is consistent, as qemu-img says."""
    done = subprocess.run(["qemu-img", "check", "-q", str(disk)], check=False)
    return done.returncode == 0
