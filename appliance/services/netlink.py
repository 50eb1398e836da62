"""Interfaces and neighbour entries, through rtnetlink (pyroute2).

References: rtnetlink(7), RFC 2131 section 4.1 (a unicast reply reaches a client without an address only when the
server knows its MAC without asking: hence the neighbour entry), linux/neighbour.h.
"""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface

from pyroute2 import AsyncIPRoute
from pyroute2.netlink import NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl import RTM_NEWNEIGH
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from appliance.errors import Unavailable

_REACHABLE = 0x02  # NUD_REACHABLE: used at once, forgotten by the kernel when it is not confirmed
_FRESH_S = 15.0  # half of the shortest time for which the kernel calls an entry reachable
_LOST_ERRNOS = {errno.ENOBUFS, errno.EAGAIN}


@dataclass(frozen=True, slots=True)
class Interface:
    """One Ethernet interface as the kernel has it now."""

    name: str
    index: int
    mac: str
    is_up: bool
    addresses: tuple[IPv4Interface, ...]


async def interfaces() -> dict[str, Interface]:
    """All interfaces by name. Raises `Unavailable` when the kernel does not answer."""
    try:
        async with AsyncIPRoute() as route:
            links = [link async for link in await route.get_links()]
            addresses = [item async for item in await route.get_addr(family=socket.AF_INET)]
    except (NetlinkError, OSError) as error:
        raise Unavailable(f"The network interfaces cannot be listed: {error}.") from error
    by_index: dict[int, list[IPv4Interface]] = {}
    for item in addresses:
        local = item.get("local") or item.get("address")
        by_index.setdefault(item["index"], []).append(IPv4Interface(f"{local}/{item['prefixlen']}"))
    return {
        link.get("ifname"): Interface(
            name=link.get("ifname"),
            index=link["index"],
            mac=link.get("address") or "",
            is_up=bool(link["flags"] & 1),
            addresses=tuple(by_index.get(link["index"], ())),
        )
        for link in links
    }


class Neighbours:
    """Tells the kernel which MAC an address is about to have.

    pyroute2 writes the message; it is sent without waiting for the kernel's word, because two of these belong to every
    DHCP exchange and the answer could only be that the entry is there.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.setblocking(False)

    def set(self, index: int, address: IPv4Address, mac: str) -> None:
        """Make `address` on interface `index` resolve to `mac`. Raises OSError when the kernel takes no message."""
        message = ndmsg()
        message["family"] = socket.AF_INET
        message["ifindex"] = index
        message["state"] = _REACHABLE
        message["attrs"] = [("NDA_DST", str(address)), ("NDA_LLADDR", mac)]
        message["header"]["type"] = RTM_NEWNEIGH
        message["header"]["flags"] = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE
        message.encode()
        self._socket.send(message.data)
        self._drain()

    def _drain(self) -> None:
        """Throw the kernel's complaints away, or its receive queue would fill up."""
        try:
            while self._socket.recv(4096):
                pass
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno not in _LOST_ERRNOS:
                raise

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Introductions:
    """Decides which clients the kernel is told about, and how many: its table of neighbours is small.

    Linux keeps 1 024 entries (net.ipv4.neigh.default.gc_thresh3) and drops none that is younger than 5 s. Beyond
    `limit` fresh ones a reply is better broadcast, as RFC 2131 section 4.1 allows.
    """

    def __init__(
        self, tell: Callable[[int, IPv4Address, str], None], clock: Callable[[], float], *, limit: int = 400
    ) -> None:
        self._tell, self._clock, self._limit = tell, clock, limit
        self._fresh: OrderedDict[tuple[int, IPv4Address, str], float] = OrderedDict()

    def introduce(self, index: int, address: IPv4Address, mac: str) -> bool:
        """Make a unicast to `address` possible; False when there are too many. Raises OSError."""
        key, now = (index, address, mac), self._clock()
        while self._fresh and next(iter(self._fresh.values())) < now - _FRESH_S:
            self._fresh.popitem(last=False)
        if key in self._fresh:
            return True
        if len(self._fresh) >= self._limit:
            return False
        self._tell(index, address, mac)
        self._fresh[key] = now
        return True
