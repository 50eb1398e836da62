"""A firmware's side of PXE, run in a station: DISCOVER, all offers as JSON lines, then the request to port 4011.

Usage: python -m tests.services.pxe_client MAC ARCH SECONDS [4011-SERVER OWN-ADDRESS]
"""

from __future__ import annotations

import json
import socket
import sys
import time

from appliance.wire.dhcp4 import BROADCAST_FLAG, Packet
from appliance.wire.dhcp_options import MessageType


def main() -> None:
    mac, arch, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    kind = b"HTTPClient" if arch in (15, 16, 19) else b"PXEClient"
    options = {
        53: bytes((MessageType.DISCOVER,)),
        55: bytes((1, 3, 6, 43, 54, 60, 66, 67, 97)),
        60: kind + b":Arch:%05d:UNDI:003016" % arch,
        93: arch.to_bytes(2, "big"),
        94: b"\x01\x03\x10",
        97: bytes(17),
    }
    chaddr = bytes.fromhex(mac.replace(":", ""))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        sock.bind(("0.0.0.0", 4011 if len(sys.argv) > 4 else 68))
        if len(sys.argv) > 4:
            from ipaddress import IPv4Address

            options[53] = bytes((MessageType.REQUEST,))
            packet = Packet(op=1, xid=6, chaddr=chaddr, options=options, ciaddr=IPv4Address(sys.argv[5]))
            sock.sendto(packet.encode(), (sys.argv[4], 4011))
        else:
            packet = Packet(op=1, xid=5, chaddr=chaddr, options=options, flags=BROADCAST_FLAG)
            sock.sendto(packet.encode(), ("255.255.255.255", 67))
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                data, source = sock.recvfrom(4096)
            except TimeoutError:
                break
            show(Packet.parse(data), source)


def show(reply: Packet, source: tuple[str, int]) -> None:
    texts = {str(code): value.hex() for code, value in reply.options.items()}
    print(
        json.dumps(
            {
                "from": list(source),
                "type": int(reply.message_type or 0),
                "yiaddr": str(reply.yiaddr),
                "siaddr": str(reply.siaddr),
                "file": reply.file.decode("ascii", "replace"),
                "options": texts,
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    main()
