"""Which MAC address an IPv4 address of the lab network has, by the kernel's neighbour table and our leases.

References: proc(5), /proc/net/arp.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.store import Store

_ARP = Path("/proc/net/arp")
_COMPLETE = 0x2  # ATF_COM: the entry has been answered


def parse_arp(text: str) -> dict[str, str]:
    """The addresses of /proc/net/arp that have a MAC: dotted quad -> MAC in lower case."""
    found = {}
    for line in text.splitlines()[1:]:
        columns = line.split()
        if len(columns) == 6 and int(columns[2], 16) & _COMPLETE and columns[3] != "00:00:00:00:00:00":
            found[columns[0]] = columns[3].lower()
    return found


def neighbour(address: str) -> str | None:
    """The MAC that answers for `address` on our own segment; None behind a relay. Blocks for one short read."""
    try:
        return parse_arp(_ARP.read_text(encoding="ascii")).get(address)
    except (OSError, ValueError):
        return None


def mac_of(address: str, store: Store) -> str | None:
    """The MAC of `address`. The neighbour table comes first: it is fresh, and is all there is under proxyDHCP.

    Behind a relay there is no neighbour, so that leases answer. Blocks for one short read; call it from a thread.
    """
    if found := neighbour(address):
        return found
    wanted = IPv4Address(address)
    return next((lease.mac for lease in store.leases.all() if lease.address == wanted and lease.mac), None)
