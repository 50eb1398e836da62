"""Wake-on-LAN: the magic packet, and the only sockets that send it.

Six bytes 0xff and sixteen times the card's MAC (AMD, Magic Packet Technology, publication 20213), anywhere in a frame:
here in UDP to port 9 (discard) of the limited broadcast address, which every card of the segment takes whatever its PC
was called last. One goes out of each interface of the settings, and of no other; it passes no router.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

PORT = 9
_EVERYBODY = "255.255.255.255"


def magic_packet(mac: str) -> bytes:
    """The packet that wakes the card with `mac` (as `normalise_mac` writes it)."""
    return b"\xff" * 6 + bytes.fromhex(mac.replace(":", "")) * 16


def send(interfaces: Iterable[str], macs: Sequence[str], *, port: int = PORT) -> list[str]:
    """Send each MAC its packet out of each interface; returns a sentence for each interface that took none."""
    problems = []
    for name in interfaces:
        try:
            _send(name, macs, port)
        except OSError as error:
            problems.append(f"No magic packet went out of {name}: {error.strerror or error}.")
    return problems


def _send(interface: str, macs: Sequence[str], port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        # Needs no capability on a socket that is bound to nothing yet (Linux 5.7).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        for mac in macs:
            sock.sendto(magic_packet(mac), (_EVERYBODY, port))
