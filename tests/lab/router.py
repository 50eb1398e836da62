"""The lab's IPv6 router: it says that there is none, so that nobody waits for one.

Some iPXE wait 15 s for an answer to their router solicitations before they go on with IPv4. An advertisement with
lifetime 0 and without prefixes ends that, and gives nobody an address or a route (RFC 4861, 4.2 and 6.2.3).
Run as `python -m tests.lab.router INTERFACE` in the lab's namespace; it ends with its parent.
"""

from __future__ import annotations

import ctypes
import signal
import socket
import struct
import sys
import time

_ROUTER_SOLICITATION = 133
_ROUTER_ADVERTISEMENT = 134
_PR_SET_PDEATHSIG = 1
_ALL_NODES = "ff02::1"
_ALL_ROUTERS = "ff02::2"
# Type, code, checksum (the kernel's work), hop limit, flags, router lifetime, reachable time, retransmission time.
_ADVERTISEMENT = struct.pack("!BBHBBHII", _ROUTER_ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)


def serve(interface: str) -> None:
    """Answer every router solicitation on `interface`, for ever."""
    index = socket.if_nametoindex(interface)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        group = socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("@I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        while True:
            message, _ = sock.recvfrom(1500)
            if message[:1] != bytes([_ROUTER_SOLICITATION]):
                continue
            try:
                sock.sendto(_ADVERTISEMENT, (_ALL_NODES, 0, 0, index))
            except OSError:  # the interface's own address is not ready yet
                time.sleep(0.2)


if __name__ == "__main__":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    serve(sys.argv[1])
