"""The way from a bare kernel to an address: find the boot NIC, wait for its link, ask DHCP.

References: RFC 2131 (DHCP), IEEE 802.1D (a fresh port forwards after twice 15 s). udhcpc keeps running and renews: a
capture may outlast its lease. It sends no client identifier, so that the box knows the PC by its hardware address and
firmware, loader and agent share one lease.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path

from appliance.agent import hardware
from appliance.agent.machine import Limits, Machine
from appliance.errors import Unavailable
from appliance.wire.agentapi import NicInfo

_SCRIPTS = (Path(__file__).with_name("udhcpc.sh"), Path("/usr/share/diecast/udhcpc.sh"))
_POLL_S = 0.2
Say = Callable[[str], None]


@dataclass(slots=True)
class Address:
    """The address this PC has, and the client that keeps it."""

    interface: str
    mac: str
    ip: IPv4Address
    prefix: int
    server: str = ""  # the DHCP server that lent it
    client: subprocess.Popen[bytes] | None = None

    def close(self) -> None:
        """Stop renewing. The address stays."""
        if self.client is not None and self.client.poll() is None:
            self.client.terminate()
            self.client.wait(5)


def bring_up(machine: Machine, boot_mac: str, limits: Limits, say: Say) -> Address:
    """Get an address on the card this PC booted from. Says what it waits for. Raises `Unavailable` in words."""
    nic = find_nic(machine, boot_mac, limits, say)
    name_this_machine(machine, nic.mac)
    machine.run(["ip", "link", "set", "dev", "lo", "up"], 10)
    outcome = machine.run(["ip", "link", "set", "dev", nic.name, "up"], 20)
    if outcome.status:
        raise Unavailable(
            f"The network card {nic.name} ({nic.mac}, driver {nic.driver or 'unknown'}) cannot be switched on: "
            f"{outcome.last_line}.",
            hint="Its firmware file may be missing from the agent image; see the kernel's lines above.",
        )
    wait_for_link(machine, nic, limits, say)
    return ask_dhcp(machine, nic, limits, say)


def find_nic(machine: Machine, boot_mac: str, limits: Limits, say: Say) -> NicInfo:
    """The card with `boot_mac`; without one, the first with a link, or else the first. Waits for its driver."""
    deadline = time.monotonic() + limits.nic_s
    told = False
    while True:
        cards = hardware.nics(machine)
        matching = [card for card in cards if card.mac == boot_mac]
        if matching:
            return matching[0]
        if cards and not boot_mac:
            return next((card for card in cards if card.link), cards[0])
        if time.monotonic() > deadline:
            break
        if not told:
            say(f"waiting for the driver of the network card {boot_mac}".rstrip())
            told = True
        time.sleep(_POLL_S)
    there = ", ".join(f"{card.name} {card.mac}" for card in cards) or "none at all"
    raise Unavailable(
        f"The network card {boot_mac or 'of this PC'} that this PC booted from has no driver here; there is: {there}.",
        hint="If it is a USB or docking-station card, name its model when you report this.",
    )


def name_this_machine(machine: Machine, mac: str) -> None:
    """Give this PC a host name of its own.

    NFSv4 clients introduce themselves to the server by their host name: two PCs of one name would end each other's
    leases (RFC 8881 section 2.4). Linux takes the name when the first mount is made.
    """
    with contextlib.suppress(OSError):
        (machine.proc / "sys/kernel/hostname").write_text("diecast-" + mac.replace(":", "") + "\n")


def wait_for_link(machine: Machine, nic: NicInfo, limits: Limits, say: Say) -> None:
    """Wait for carrier on `nic`. Raises `Unavailable`."""
    deadline = time.monotonic() + limits.link_s
    carrier = machine.sys / "class/net" / nic.name / "carrier"
    told = False
    while machine.text(carrier) != "1":
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The network card {nic.name} ({nic.mac}) has no link after {limits.link_s:.0f} s.",
                hint="Check the cable and the switch port.",
            )
        if not told:
            say(f"waiting for a link on {nic.name}")
            told = True
        time.sleep(_POLL_S)


def ask_dhcp(machine: Machine, nic: NicInfo, limits: Limits, say: Say) -> Address:
    """Start udhcpc and wait for its first lease. Raises `Unavailable`."""
    machine.state.mkdir(parents=True, exist_ok=True)
    lease = machine.state / f"lease.{nic.name}"
    lease.unlink(missing_ok=True)
    say(f"asking for an address on {nic.name} (a switch may hold its port back for 30 s)")
    with (machine.state / "udhcpc.log").open("wb") as log:
        client = subprocess.Popen(
            _udhcpc(nic.name),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, "DIECAST_LEASE": str(lease)},
        )
    deadline = time.monotonic() + limits.dhcp_s
    while client.poll() is None and time.monotonic() < deadline:
        found = read_lease(machine, lease, nic)
        if found is not None:
            found.client = client
            return found
        time.sleep(_POLL_S)
    ended = client.poll()
    client.kill()
    client.wait()
    said = machine.text(machine.state / "udhcpc.log").splitlines()
    why = f"; udhcpc ended with status {ended}: {said[-1] if said else ''}" if ended is not None else ""
    raise Unavailable(
        f"No DHCP server gave {nic.mac} an address within {limits.dhcp_s:.0f} s{why}.",
        hint="Check that the box's dhcp service runs, that its range has room, and that the switch port forwards.",
    )


def _udhcpc(interface: str) -> list[str]:
    program = ["udhcpc"] if shutil.which("udhcpc") else ["busybox", "udhcpc"]
    script = next((path for path in _SCRIPTS if os.access(path, os.X_OK)), _SCRIPTS[-1])
    # -C: no client identifier. -t/-T/-A: a DISCOVER every 3 s without pauses, since the wait is bounded by us.
    return [
        *program,
        "-f",
        "-C",
        "-i",
        interface,
        "-s",
        str(script),
        "-t",
        "5",
        "-T",
        "3",
        "-A",
        "3",
        "-V",
        "diecast-agent",
    ]


def read_lease(machine: Machine, path: Path, nic: NicInfo) -> Address | None:
    """What the script of udhcpc left; None while there is nothing usable."""
    values = dict(line.split("=", 1) for line in machine.text(path).splitlines() if "=" in line)
    prefix = values.get("prefix", "")
    try:
        ip = IPv4Address(values.get("ip", ""))
    except AddressValueError:
        return None
    return Address(nic.name, nic.mac, ip, int(prefix) if prefix.isdecimal() else 24, values.get("server", ""))
