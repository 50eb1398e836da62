"""Whether this machine gives the time to others.

Reference: proc(5), /proc/net/udp: the local address is `ADDRESS:PORT` in hexadecimal.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

NTP_PORT = 123
_LOOPBACK = "0100007F"
_TABLE = Path("/proc/net/udp")


def serves_time(table: Path = _TABLE) -> bool:
    """Whether a program listens for NTP on more than the loopback. chrony does only where `allow` says for whom."""
    with suppress(OSError):
        for line in table.read_text(encoding="ascii", errors="replace").splitlines()[1:]:
            address, _, port = [*line.split(), "", ""][1].partition(":")
            if port.upper() == f"{NTP_PORT:04X}" and address.upper() != _LOOPBACK:
                return True
    return False
