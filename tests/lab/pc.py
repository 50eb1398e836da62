"""A PC of the lab: a QEMU guest with a chosen firmware, disk and network card.

Firmware: SeaBIOS with the card's iPXE ROM; OVMF; OVMF with Microsoft's keys enrolled and Secure Boot on. The UEFI PCs
have no option ROM, so that OVMF's own PXE client speaks, as a real PC's does. Every console is saved as NAME.serial.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.accel import accel_options
from tests.lab.command import LabError, run
from tests.lab.console import Console
from tests.lab.network import LabNetwork
from tests.lab.qmp import Qmp

FIRMWARES = ("bios", "uefi", "uefi-sb")
BUSES = ("virtio", "sata", "nvme", "scsi")
_OVMF = Path("/usr/share/OVMF")
_VGA_TEXT = 0xB8000  # 80x25 cells of character and colour
_MAC_PREFIX = "52:54:00"


def mac_for(name: str) -> str:
    """A MAC of QEMU's range that always belongs to the same name."""
    digest = hashlib.sha256(name.encode()).digest()
    return ":".join([_MAC_PREFIX, *(f"{byte:02x}" for byte in digest[:3])])


@dataclass(slots=True)
class Hardware:
    """What a PC is made of."""

    firmware: str = "bios"
    bus: str = "virtio"
    disk_mib: int = 2048
    sector: int = 512
    memory_mib: int = 1280
    # One where a cast is heard: under emulation each CPU is a thread, and a kernel that patches its own code under
    # traffic (the first socket with UDP_GRO comes, the last goes) has run into its own breakpoint on the other one.
    cpus: int = 2
    mac: str = ""
    uuid: str = ""
    extra: list[str] = field(default_factory=list)  # more words for QEMU


class Pc:
    """One PC. It exists powered off; `power_on` starts it, `power_off` pulls its plug."""

    def __init__(
        self, lab: LabNetwork, name: str, folder: Path, hardware: Hardware, *, disk: Path | None = None
    ) -> None:
        if hardware.firmware not in FIRMWARES or hardware.bus not in BUSES:
            raise LabError(f"{name}: no such firmware or bus: {hardware.firmware}, {hardware.bus}.")
        self.lab = lab
        self.name = name
        self.folder = folder
        self.hardware = hardware
        self.mac = hardware.mac or mac_for(name)
        self.uuid = hardware.uuid or str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.lab"))
        self.disk = disk or folder / f"{name}.img"
        self.console = Console(name, folder / f"{name}.serial")
        self.qmp: Qmp | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets = Path(tempfile.mkdtemp(prefix="diecast-pc-"))
        self._tap = "t" + hashlib.sha256(name.encode()).hexdigest()[:9]
        folder.mkdir(parents=True, exist_ok=True)
        if not self.disk.exists():
            self.blank_disk()

    def __repr__(self) -> str:
        hw = self.hardware
        return f"<{self.name} {hw.firmware} {hw.bus} {hw.disk_mib} MiB {self.mac}>"

    @property
    def is_on(self) -> bool:
        """Whether the guest runs."""
        return self._process is not None and self._process.poll() is None

    def blank_disk(self) -> None:
        """Replace the disk by an empty one. The PC must be off."""
        self.disk.unlink(missing_ok=True)
        with self.disk.open("wb") as stream:
            stream.truncate(self.hardware.disk_mib << 20)

    def power_on(self, *, first: str = "network", stop_at_reboot: bool = False) -> None:
        """Press the button. `first`: network | http | disk, what the firmware tries first.

        With `stop_at_reboot` the PC stays off where it would restart by itself.
        """
        if self.is_on:
            raise LabError(f"{self.name} is on already.")
        with contextlib.suppress(LabError):
            self.lab.remove_tap(self._tap)
        self.lab.add_tap(self._tap)
        self.console.mark()
        words = [*self.lab.wire, "qemu-system-x86_64", *self._words(first)]
        if stop_at_reboot:
            words += ["-no-reboot"]
        errors = (self.folder / f"{self.name}.qemu.log").open("wb")
        with errors:
            self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        try:
            self.qmp = Qmp(self._sockets / "qmp")
        except LabError as error:
            said = (self.folder / f"{self.name}.qemu.log").read_text(errors="replace").strip()
            self.power_off()
            raise LabError(f"{self.name} does not start: {said or error}") from error

    def power_off(self) -> None:
        """Pull the plug: no shutdown, what the guest had not written is lost."""
        if self.qmp:
            self.qmp.close()
            self.qmp = None
        if self._process:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None
        with contextlib.suppress(LabError):
            self.lab.remove_tap(self._tap)

    def destroy(self) -> None:
        """Power off and remove what is not worth keeping; disk and serial log stay."""
        self.power_off()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def waits_for(self, pattern: str, timeout_s: float, *, never: str = "") -> None:
        """Wait until the PC prints `pattern` on its serial line. Raises `NeverPrinted`."""
        self.console.waits_for(pattern, timeout_s, never=never, alive=lambda: self.is_on)

    def waits_until_off(self, timeout_s: float) -> None:
        """Wait until the PC has switched itself off (or stopped at a restart)."""
        deadline = time.monotonic() + timeout_s
        while self.is_on:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.name} is still on after {timeout_s:g} s. Its last lines:\n{self.console.last_lines()}\n"
                    f"    All of it: {self.console.path}"
                )
            time.sleep(0.2)
        self.power_off()

    def pull_cable(self) -> None:
        """Take the network cable out: the card loses its link."""
        self.monitor().command("set_link", name="nic", up=False)

    def plug_cable(self) -> None:
        """Put the network cable back."""
        self.monitor().command("set_link", name="nic", up=True)

    def slow_down(self, mbit_s: int) -> None:
        """Let no more than `mbit_s` megabits a second reach this PC from now on."""
        words = ["tc", "qdisc", "replace", "dev", self._tap, "root", "tbf"]
        run([*self.lab.wire, *words, "rate", f"{mbit_s}mbit", "burst", "256kb", "latency", "300ms"])

    def lose_multicast(self) -> None:
        """From now on no multicast reaches this PC; broadcast and unicast do. It may be off."""
        self.lab.drop_multicast_to(self._tap)

    def types(self, text: str) -> None:
        """Type on the serial line."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.connect(str(self._sockets / "serial"))
            line.sendall(text.encode())
            time.sleep(0.3)

    def presses(self, *keys: str) -> None:
        """Press keys on the keyboard, by QEMU's names: ret, down, a ..."""
        for key in keys:
            self.monitor().command("send-key", keys=[{"type": "qcode", "data": key}])
            time.sleep(0.15)

    def screendump(self) -> Path:
        """Save what the screen shows as NAME.ppm."""
        path = self.folder / f"{self.name}.ppm"
        self.monitor().command("screendump", filename=str(path))
        return path

    def screen_text(self) -> str:
        """What a BIOS PC shows in VGA text mode."""
        path = self._sockets / "vga"
        self.monitor().command("pmemsave", val=_VGA_TEXT, size=80 * 25 * 2, filename=str(path))
        cells = path.read_bytes()[::2].decode("cp437")
        return "\n".join(cells[row * 80 : row * 80 + 80].rstrip() for row in range(25))

    def monitor(self) -> Qmp:
        """QEMU's monitor. Raises `LabError` when the PC is off."""
        if self.qmp is None:
            raise LabError(f"{self.name} is off.")
        return self.qmp

    def _words(self, first: str) -> list[str]:
        hw = self.hardware
        log = self.console.path
        words = [*accel_options(), "-m", str(hw.memory_mib), "-smp", str(hw.cpus), "-uuid", self.uuid]
        words += ["-nodefaults", "-display", "none", "-vga", "std", "-name", self.name, "-rtc", "base=utc"]
        words += ["-smbios", f"type=1,manufacturer=Diecast,product=Lab PC,serial={self.name}"]
        words += ["-chardev", f"socket,id=qmp,path={self._sockets}/qmp,server=on,wait=off", "-mon", "qmp,mode=control"]
        words += [
            "-chardev",
            f"socket,id=ser,path={self._sockets}/serial,server=on,wait=off,logfile={log},logappend=on",
        ]
        words += ["-serial", "chardev:ser", "-device", "virtio-rng-pci"]
        return words + self._firmware_words(first) + self._nic_words(first) + self._disk_words(first) + hw.extra

    def _firmware_words(self, first: str) -> list[str]:
        firmware = self.hardware.firmware
        if firmware == "bios":
            return ["-machine", "q35"]
        secure = firmware == "uefi-sb"
        suffix = "4M.ms.fd" if secure else "4M.fd"
        own = self.folder / f"{self.name}.vars"
        if not own.exists():
            shutil.copyfile(_OVMF / f"OVMF_VARS_{suffix}", own)
        words = ["-machine", f"q35,smm={'on' if secure else 'off'}"]
        if secure:
            words += ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        words += ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={_OVMF}/OVMF_CODE_{suffix}"]
        words += ["-drive", f"if=pflash,unit=1,format=raw,file={own}"]
        words += ["-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"]
        if first == "http":
            words += ["-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n"]
        return words

    def _nic_words(self, first: str) -> list[str]:
        rom = "" if self.hardware.firmware == "bios" else ",romfile="
        order = 1 if first == "disk" else 0
        return [
            "-netdev",
            f"tap,id=net,ifname={self._tap},script=no,downscript=no",
            "-device",
            f"virtio-net-pci,id=nic,netdev=net,mac={self.mac},bootindex={order}{rom}",
        ]

    def _disk_words(self, first: str) -> list[str]:
        order = 0 if first == "disk" else 1
        words = ["-drive", f"if=none,id=disk,file={self.disk},format=raw,discard=unmap,cache=unsafe"]
        size = f"logical_block_size={self.hardware.sector},physical_block_size={self.hardware.sector}"
        common = f"drive=disk,bootindex={order}"
        serial = f"serial=disk-{self.name}"
        devices = {
            "virtio": [f"virtio-blk-pci,{common},{serial},{size}"],
            "sata": [f"ide-hd,bus=ide.0,{common},{serial}"],
            "nvme": [f"nvme,{common},{serial},{size}"],
            "scsi": ["virtio-scsi-pci,id=scsi", f"scsi-hd,bus=scsi.0,{common},{serial},{size}"],
        }
        for device in devices[self.hardware.bus]:
            words += ["-device", device]
        return words


def sha256_of(path: Path) -> str:
    """Hash of a whole disk image, read by a foreign tool."""
    return run(["sha256sum", "--binary", path]).split()[0].lstrip("\\")
