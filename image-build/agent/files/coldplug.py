"""Load the drivers of every device that is there, and of every one that comes later. Runs beside the agent.

Each device on a bus names its driver by its `modalias`; `modprobe` finds the module. Network cards come first, since
everything waits for the network. Later arrivals (USB, SCSI disks behind a driver just loaded) are told by the kernel
on a netlink socket, which is opened before the first look, so that none is missed; when it overflows, all is looked at
again. When nothing new has come for a second, the file `settled` says so.
References: Documentation/driver-api/driver-model, modprobe(8), netlink(7) NETLINK_KOBJECT_UEVENT.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time

NETLINK_KOBJECT_UEVENT = 15
KERNEL_GROUP = 1
SO_RCVBUFFORCE = 33
RECEIVE_BYTES = 8 << 20
QUIET_S = 1.0  # no event for so long: the machine has settled
GATHER_S = 0.05  # events come in bursts; one modprobe serves a burst
AT_ONCE = 3  # a slow SCSI controller must not hold up the others
MOST_ALIASES = 200  # of one modprobe
NETWORK_BUSES = ("usb", "virtio", "vmbus", "xen")  # their aliases do not tell a network card from others


def present_aliases(sys_root: str) -> set[str]:
    """The modalias of every device on every bus."""
    found = set()
    for bus in _entries(f"{sys_root}/bus"):
        devices = f"{sys_root}/bus/{bus}/devices"
        for device in _entries(devices):
            try:
                with open(f"{devices}/{device}/modalias", encoding="ascii", errors="replace") as file:
                    found.add(file.read().strip())
            except OSError:  # has none, or went away meanwhile
                continue
    found.discard("")
    return found


def _entries(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def alias_of_event(event: bytes) -> str:
    """The MODALIAS of one uevent (`add@/devices/...\\0KEY=VALUE\\0...`) that adds a device; else empty."""
    fields = event.split(b"\0")
    if not fields[0].startswith((b"add@", b"bind@", b"change@")):
        return ""
    for field in fields[1:]:
        if field.startswith(b"MODALIAS="):
            return field[len(b"MODALIAS=") :].decode("ascii", "replace").strip()
    return ""


def is_network(alias: str) -> bool:
    """Whether the alias is, or may be, a network card's: PCI class 02, or a bus that is quick to serve."""
    bus, _, rest = alias.partition(":")
    return "bc02" in rest if bus == "pci" else bus in NETWORK_BUSES


class Loader:
    """Loads modules by alias, each alias once."""

    def __init__(self, modprobe: str) -> None:
        self.modprobe = modprobe
        self.seen: set[str] = set()

    def load(self, aliases: set[str]) -> int:
        """Load what is new: network first, the others several at once. Return how many aliases were new."""
        new = sorted(aliases - self.seen)
        self.seen.update(new)
        self._run([alias for alias in new if is_network(alias)], 1)
        self._run([alias for alias in new if not is_network(alias)], AT_ONCE)
        return len(new)

    def _run(self, aliases: list[str], at_once: int) -> None:
        for start in range(0, len(aliases), MOST_ALIASES * at_once):
            part = aliases[start : start + MOST_ALIASES * at_once]
            running = [
                subprocess.Popen([self.modprobe, "-abq", "--", *part[lane::at_once]])
                for lane in range(min(at_once, len(part)))
            ]
            for process in running:
                process.wait()


def open_events() -> socket.socket:
    """The kernel's own announcements of devices."""
    events = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_KOBJECT_UEVENT)
    events.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES)
    events.bind((0, KERNEL_GROUP))
    events.setblocking(False)
    return events


def gather(events: socket.socket, sys_root: str) -> set[str]:
    """The aliases of all events that are there now."""
    aliases = set()
    while True:
        try:
            aliases.add(alias_of_event(events.recv(16384)))
        except BlockingIOError:
            break
        except OSError:  # ENOBUFS: events were lost
            return present_aliases(sys_root)
    aliases.discard("")
    return aliases


def settle(loader: Loader, sys_root: str, state: str) -> None:
    """Look again until nothing new appears, then leave the file."""
    while loader.load(present_aliases(sys_root)):
        pass
    with open(f"{state}/settled", "w", encoding="ascii") as file:
        file.write(f"{time.monotonic():.2f}\n")


def main(arguments: list[str]) -> int:
    """`coldplug.py [--once] [SYS [MODPROBE [STATE]]]`; the arguments are for tests."""
    once = "--once" in arguments
    given = [argument for argument in arguments if argument != "--once"]
    sys_root, modprobe, state = (given + ["/sys", "modprobe", "/run/diecast"][len(given) :])[:3]
    loader = Loader(modprobe)
    if once:
        settle(loader, sys_root, state)
        return 0
    events = open_events()
    loader.load(present_aliases(sys_root))
    settled = False
    while True:
        if select.select([events], [], [], None if settled else QUIET_S)[0]:
            time.sleep(GATHER_S)
            loader.load(gather(events, sys_root))
        else:
            settle(loader, sys_root, state)
            settled = True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
