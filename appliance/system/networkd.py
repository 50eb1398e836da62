"""Interfaces that systemd-networkd manages: whether one is ours to change, and the file that says its address.

Reading only; `address_apply` writes. networkd tells of each link in a file below `/run/systemd/netif/links`, which
needs no bus and no right (sd-network.h reads the same).

References: systemd.network(5), systemd-networkd.service(8), interfaces(5), NetworkManager(8).
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from appliance.errors import Conflict, Unavailable
from appliance.system import units

SERVICE = "systemd-networkd.service"
_LINKS = Path("/run/systemd/netif/links")
_NET = Path("/sys/class/net")
_IFUPDOWN = (Path("/etc/network/interfaces"), Path("/etc/network/interfaces.d"))
_NM_DEVICES = Path("/run/NetworkManager/devices")
# What a .network file may say about a link that carries others: an address in its place would take them down.
_CARRIES = re.compile(r"^\s*(Bridge|Bond|VRF|BatmanAdvanced|VLAN|VXLAN|MACVLAN|MACVTAP|IPVLAN|Tunnel)\s*=", re.M)
_ELSEWHERE = "Set it where the machine's address is set, or give the interface to systemd-networkd."


@dataclass(frozen=True, slots=True)
class Managed:
    """What networkd says about one link."""

    setup: str = ""  # ADMIN_STATE: configured, configuring, unmanaged, pending, failed
    file: str = ""  # the .network file that counts


def index_of(interface: str) -> int:
    """The kernel's number of an interface; 0 when there is none of that name."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0


def managed(interface: str, folder: Path | None = None) -> Managed:
    """What networkd says about it; empty when it says nothing."""
    try:
        text = ((folder or _LINKS) / str(index_of(interface))).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return Managed()
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return Managed(values.get("ADMIN_STATE", ""), values.get("NETWORK_FILE", ""))


def refuse_unless_ours(interface: str) -> None:
    """Raise `Unavailable` or `Conflict` where something else than systemd-networkd gives the interface its address."""
    if not units.systemd_runs():
        raise Unavailable(
            "systemd does not run this machine, so its address is not set here.",
            hint="Set it where the machine's address is set.",
        )
    place = _in_ifupdown(interface)
    if place is not None:
        raise Conflict(f"{interface} is managed by ifupdown, in {place}.", hint=_ELSEWHERE)
    if _in_network_manager(interface):
        raise Conflict(f"{interface} is managed by NetworkManager.", hint=_ELSEWHERE)
    master = _NET / interface / "master"
    if master.exists():
        raise Conflict(
            f"{interface} is a part of {master.resolve().name}, which has the address.",
            hint="Set the address of that one.",
        )
    if not units.is_active(SERVICE):
        raise Unavailable("systemd-networkd does not run, so nothing here sets addresses.", hint=_ELSEWHERE)
    file = managed(interface).file
    if file and _carries_others(Path(file)):
        raise Conflict(f"{interface} carries other interfaces, by {file}.", hint="Change the address in that file.")


def _in_ifupdown(interface: str) -> Path | None:
    """The file of ifupdown that names it."""
    files = [path for place in _IFUPDOWN for path in (sorted(place.iterdir()) if place.is_dir() else [place])]
    named = re.compile(rf"^\s*(?:iface|auto|allow-\S+)\s+(?:.*\s)?{re.escape(interface)}(?:\s|$)", re.M)
    for path in files:
        try:
            if named.search(path.read_text(encoding="utf-8", errors="replace")):
                return path
        except OSError:
            continue
    return None


def _in_network_manager(interface: str) -> bool:
    try:
        text = (_NM_DEVICES / str(index_of(interface))).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^managed=(?:true|full|1)\s*$", text, re.M) is not None and units.is_active(
        "NetworkManager.service"
    )


def _carries_others(path: Path) -> bool:
    try:
        return _CARRIES.search(path.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


def render(
    interface: str, address: IPv4Interface | None, gateway: IPv4Address | None, dns: tuple[IPv4Address, ...]
) -> str:
    """The .network file. Without an `address` one comes from a DHCP server.

    A fixed address is there without a cable, so that services start and the wait for the network ends.
    """
    lines = [
        "# Written by `diecast box address set`, and replaced by it. See systemd.network(5).",
        "[Match]",
        f"Name={interface}",
        "",
    ]
    if address is None:
        return "\n".join([*lines, "[Network]", "DHCP=ipv4", ""])
    return "\n".join(
        [
            *lines,
            "[Link]",
            "RequiredForOnline=no-carrier",
            "",
            "[Network]",
            "DHCP=no",
            "ConfigureWithoutCarrier=yes",
            f"Address={address}",
            *([f"Gateway={gateway}"] if gateway else []),
            *(f"DNS={server}" for server in dns),
            "",
        ]
    )
