"""The image starts in an emulated PC, finds its hardware, and ends as the agent's exit status says.

A third archive behind the initrd puts a program of the test in the agent's place; all else is what is shipped.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.guest, pytest.mark.timeout(240)]

WAIT_S = 150  # emulated, on a machine that is busy with other guests
AGENT = "usr/lib/diecast/appliance/agent/__main__.py"
BYTE_CODE = "usr/lib/diecast/appliance/agent/__pycache__/__main__.cpython-313.pyc"
LOOK = """
import os, subprocess, sys, time
for _ in range(300):
    disks = [name for name in os.listdir("/sys/block") if not name.startswith("loop")]
    if len(disks) == 5 and os.path.exists("/run/diecast/settled"):
        break
    time.sleep(0.2)
cards = sorted(os.path.basename(os.readlink(f"/sys/class/net/{n}/device/driver")) for n in os.listdir("/sys/class/net")
               if os.path.exists(f"/sys/class/net/{n}/device"))
paths = [os.path.realpath(f"/sys/block/{name}") for name in disks]
for bus in ("virtio", "nvme", "usb", "ata", "mmc"):
    print("disk on", bus, sum(f"/{bus}" in path for path in paths))
print("cards", *cards)
for _ in range(50):
    keyboard = "QEMU USB Keyboard" in open("/proc/bus/input/devices").read()
    if keyboard:
        break
    time.sleep(0.2)
print("keyboard", keyboard)
MADE = {"vfat": "mkfs.fat", "ext4": "mke2fs -q -t ext4 -F", "ntfs": "mkntfs -q -F -p 0 -H 1 -S 1", "xfs": "mkfs.xfs -q",
        "f2fs": "mkfs.f2fs -q"}
for kind, maker in MADE.items():
    source = f"truncate -s 320M /tmp/d && {maker} /tmp/d"
    done = subprocess.run(f"rm -f /tmp/d; {source} && losetup /dev/loop0 /tmp/d && "
                          + ("ntfs-3g /dev/loop0 /mnt" if kind == "ntfs" else f"mount -t {kind} /dev/loop0 /mnt")
                          + " && umount /mnt; status=$?; losetup -d /dev/loop0; exit $status",
                          shell=True, capture_output=True, text=True)
    print("mounted", kind, done.returncode, done.stderr.strip())
done = subprocess.run("modprobe nfsv4 && grep -w nfs4 /proc/filesystems; dmsetup version | tail -1",
                      shell=True, text=True, capture_output=True)
print("nfs4 and dm", *done.stdout.split(), done.stderr)
print("looked", flush=True)
"""
HARDWARE = """
-device e1000e,netdev=a -netdev user,id=a -device virtio-net-pci,netdev=b -netdev user,id=b
-device rtl8139,netdev=c -netdev user,id=c -device vmxnet3,netdev=d -netdev user,id=d
-device virtio-blk-pci,drive=d0 -device nvme,drive=d1,serial=1 -device qemu-xhci
-device usb-storage,drive=d2 -device ide-hd,drive=d3 -device sdhci-pci -device sd-card,drive=d4 -device usb-kbd
"""


@dataclass(slots=True)
class Guest:
    """A PC that started from the image, and its serial line."""

    process: subprocess.Popen[bytes]
    serial: Path

    def text(self) -> str:
        """All it said so far."""
        return self.serial.read_text(errors="replace") if self.serial.exists() else ""

    def waits_for(self, words: str) -> str:
        """Wait for `words` on the serial line; return all of it."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if words in self.text():
                return self.text()
            time.sleep(0.2)
        raise AssertionError(f"no '{words}' within {WAIT_S} s:\n{self.text()[-3000:]}")

    def goes_off(self) -> None:
        """Wait until the machine switched itself off."""
        try:
            self.process.wait(timeout=WAIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still on after {WAIT_S} s:\n{self.text()[-3000:]}") from None


Start = Callable[..., Guest]


@pytest.fixture
def start(boot: Path, tmp_path: Path) -> Iterator[Start]:
    """Start a guest whose agent is this Python program."""
    guests: list[Guest] = []

    def run(program: str, *options: str, kernel_line: str = "") -> Guest:
        initrd = tmp_path / "initrd.img"
        initrd.write_bytes((boot / "initrd.img").read_bytes() + _archive(tmp_path / "archive", program))
        serial = tmp_path / "serial"
        machine = (
            "qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -machine q35 -display none -no-reboot"
        )
        command = [*machine.split(), "-serial", f"file:{serial}", "-monitor", "none", *options]
        command += ["-kernel", str(boot / "vmlinuz"), "-initrd", str(initrd)]
        command += ["-append", f"console=tty0 console=ttyS0,115200 quiet {kernel_line}"]
        if "-netdev" not in options:
            command += ["-nic", "none"]
        guests.append(Guest(subprocess.Popen(command, stdin=subprocess.DEVNULL), serial))
        return guests[-1]

    yield run
    for guest in guests:
        guest.process.kill()
        guest.process.wait()


def _archive(folder: Path, program: str) -> bytes:
    """A cpio archive, by cpio: the program, and empty byte code so that Python reads the program."""
    for name, content in ((AGENT, program), (BYTE_CODE, "")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    names = "".join(f"{name}\n" for name in (AGENT, BYTE_CODE))
    done = subprocess.run(
        ["cpio", "--create", "--format=newc", "--quiet"],
        input=names.encode(),
        cwd=folder,
        capture_output=True,
        check=True,
    )
    return done.stdout


def test_a_pc_finds_cards_disks_and_file_systems_and_switches_itself_off(start: Start, tmp_path: Path) -> None:
    options = HARDWARE.split()
    for number in range(5):
        disk = tmp_path / f"d{number}.img"
        with disk.open("wb") as file:
            file.truncate(64 << 20)
        options += ["-drive", f"file={disk},format=raw,if=none,id=d{number}"]
    guest = start(LOOK, *options)
    said = guest.waits_for("looked").replace("\r", "").splitlines()
    for bus in ("virtio", "nvme", "usb", "ata", "mmc"):
        assert f"disk on {bus} 1" in said, said
    assert "cards 8139cp e1000e virtio_net vmxnet3" in said
    assert "keyboard True" in said
    for kind in ("vfat", "ext4", "ntfs", "xfs", "f2fs"):
        assert any(line.startswith(f"mounted {kind} 0 ") for line in said), said
    assert any(line.startswith("nfs4 and dm nodev nfs4 Driver version:") for line in said), said
    guest.goes_off()
    assert "Power down" in guest.text()


def test_an_agent_that_asks_for_it_restarts_the_pc(start: Start) -> None:
    guest = start("raise SystemExit(10)")
    guest.goes_off()
    # "Resetting" is SysRq's word, which ends a PC whose devices hang in their shutdown.
    assert "Restarting system" in guest.text() or "Resetting" in guest.text()


def test_a_fault_of_the_agent_stays_on_the_consoles_and_is_not_repeated(start: Start) -> None:
    guest = start("print('one start', flush=True)\nraise RuntimeError('the reason')")
    said = guest.waits_for("powering off in 10 minutes")
    assert "RuntimeError: the reason" in said
    time.sleep(3)
    assert guest.process.poll() is None
    assert guest.text().count("one start") == 1
