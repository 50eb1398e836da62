"""Which ports of a machine answer, as nmap finds them from the lab's side: a program that knows nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from tests.lab.command import run

# UDP ports that are looked at one by one: those that a mode opens, and those that must never be.
UDP = {
    53: "DNS",
    67: "DHCP",
    68: "DHCP's clients, while other servers are looked for",
    69: "TFTP",
    111: "rpcbind",
    123: "NTP",
    323: "chrony's own commands",
    546: "DHCPv6's clients",
    2049: "NFS",
    4011: "PXE boot server, in proxy mode",
    4021: "what PCs answer to a cast",
    5353: "mDNS",
    5355: "LLMNR",
    20048: "NFSv3's mountd",
}
_SCRIPTS = "dhcp-discover,ntp-info"


@dataclass(frozen=True, slots=True)
class Found:
    """States of ports as nmap names them, and for those not listed one by one, how many had which state."""

    ports: dict[int, str]
    others: dict[str, int]

    @property
    def open(self) -> list[int]:
        """The ports that are open for certain."""
        return sorted(port for port, state in self.ports.items() if state == "open")


def parse(xml: str) -> Found:
    """Read what `nmap -oX` wrote about one machine."""
    ports: dict[int, str] = {}
    others: dict[str, int] = {}
    for host in ElementTree.fromstring(xml).iter("host"):
        for port in host.iter("port"):
            state = port.find("state")
            if state is not None:
                ports[int(port.attrib["portid"])] = state.attrib["state"]
        for rest in host.iter("extraports"):
            others[rest.attrib["state"]] = others.get(rest.attrib["state"], 0) + int(rest.attrib["count"])
    return Found(ports, others)


def tcp(station: Sequence[str], address: str) -> Found:
    """All TCP ports."""
    words = ["nmap", "-n", "-Pn", "-sS", "-p", "1-65535", "-T4", "--min-rate", "5000", "--max-retries", "2"]
    return parse(run([*station, *words, "-oX", "-", address], timeout_s=300))


def udp(station: Sequence[str], address: str) -> Found:
    """The UDP ports of the table; those with a protocol that nmap speaks are asked in it."""
    ports = ",".join(map(str, UDP))
    words = ["nmap", "-n", "-Pn", "-sU", "-p", ports, "-T4", "--max-retries", "2", "--script", _SCRIPTS]
    return parse(run([*station, *words, "-oX", "-", address], timeout_s=300))


def udp_from_67(station: Sequence[str], address: str) -> str:
    """The state of port 68 for packets of a DHCP server: `closed` when they are let in and nobody listens."""
    words = ["nmap", "-n", "-Pn", "-sU", "-g", "67", "-p", "68", "--max-retries", "2", "-oX", "-", address]
    return parse(run([*station, *words])).ports.get(68, "unknown")
