"""The machine's network interfaces as `doctor` sees them; the only user of `netifaces`.

netifaces has no types, raises ValueError for a name that is gone, and gives addresses as text in nested dicts: none of
that leaves this module. Services ask the kernel through `services.netlink`, which also tells them of changes.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import netifaces


def names() -> list[str]:
    """All interfaces."""
    return sorted(netifaces.interfaces())


def addresses(name: str) -> list[IPv4Interface] | None:
    """The IPv4 addresses of one; None when there is no such interface."""
    try:
        entries = netifaces.ifaddresses(name).get(netifaces.AF_INET, [])
    except ValueError:
        return None
    found = []
    for entry in entries:
        mask = entry.get("netmask") or entry.get("mask") or "255.255.255.255"
        found.append(IPv4Interface(f"{entry['addr']}/{str(mask).rpartition('/')[2]}"))
    return found


def default_router() -> IPv4Address | None:
    """The IPv4 default gateway."""
    entry = netifaces.gateways().get("default", {}).get(netifaces.AF_INET)
    return IPv4Address(entry[0]) if entry else None
