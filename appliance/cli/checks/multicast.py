"""Does the box hear a multicast packet that it sends itself? If not, nobody hears its casts either.

The packet goes to the last group of `cast.groups`, which casts take last, at a port of its own, with TTL 0: it never
leaves the machine, so that the check may run beside a cast. What the switch does it cannot say.
References: ip(7) (IP_MULTICAST_IF, IP_MULTICAST_LOOP, IP_ADD_MEMBERSHIP), RFC 1112 section 6.1.
"""

from __future__ import annotations

import errno
import secrets
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

from appliance.cli.checks.finding import Finding, Level
from appliance.cli.context import Context

_WAIT_S = 1.0


def check_multicast(context: Context) -> Iterator[Finding]:
    """A packet to a group comes back on each chosen interface."""
    from appliance.cli import interfaces

    group = context.settings.cast.groups[-1]
    for name in context.settings.network.interfaces:
        if addresses := interfaces.addresses(name):  # else `check_interfaces` has said so
            yield _finding(name, addresses[0].ip, group)


def _finding(name: str, address: IPv4Address, group: IPv4Address) -> Finding:
    try:
        heard = hears_itself(name, address, group)
    except OSError as error:
        if error.errno in (errno.ENETUNREACH, errno.EPERM, errno.EACCES):
            remedy = "Let the packet filter pass UDP to multicast groups (239.192.0.0/14): nft list ruleset"
        elif error.errno == errno.ENODEV:
            remedy = f"Switch multicast on: ip link set dev {name} multicast on"
        else:
            remedy = f"See how the interface is: ip -s link show dev {name}"
        text = f"Interface {name} takes no multicast: {error.strerror or error}."
        return Finding(Level.PROBLEM, "cast", text, remedy)
    if heard:
        return Finding(Level.OK, "cast", f"The box hears its own multicast on {name} (group {group}).")
    return Finding(
        Level.PROBLEM,
        "cast",
        f"The box does not hear its own multicast on {name} (group {group}).",
        "Let the packet filter pass UDP to multicast groups (239.192.0.0/14): nft list ruleset",
    )


def hears_itself(name: str, address: IPv4Address, group: IPv4Address, *, wait_s: float = _WAIT_S) -> bool:
    """Send one packet to `group` out of the interface and wait for it there. Raises `OSError`."""
    where = struct.pack("4s4si", group.packed, address.packed, socket.if_nametoindex(name))
    with _socket() as ears, _socket() as mouth:
        ears.bind((str(group), 0))
        ears.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, where)
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, where)
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 0)
        mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        mouth.bind((str(address), 0))
        word = b"diecast " + secrets.token_bytes(8)
        ears.settimeout(wait_s)
        mouth.sendto(word, (str(group), ears.getsockname()[1]))
        try:
            return ears.recv(64) == word
        except TimeoutError:
            return False


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
