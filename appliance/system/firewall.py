"""The packet filter of the box: from the lab's side only what the mode of operation needs is open.

A pure function of the settings; `apply` gives its text to nft. Rules: one table of our own, replaced as a whole, so
that others' rules stay; interfaces that are not the lab's are not ours to judge; nothing that leaves is looked at; the
box's own connections get their answers (a TFTP transfer's port is one of these: the box speaks first from it).

References: nft(8); RFC 2131 (67, 68), PXE 2.1 section 2.2.1 (4011), RFC 1350 (69), RFC 7530 (2049: NFSv4 needs no
other port), RFC 5905 (123), RFC 2236 and 3376 (IGMP). docs/operating.md has the table for people.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

from appliance.config import Settings
from appliance.errors import ConfigError, Unavailable

SSH_PORT = 22
NTP_PORT = 123
_PROBE_PORT = 68  # a socket is there only while other DHCP servers are looked for
_TIMEOUT_S = 15.0
_INTERFACE = re.compile(r"[A-Za-z0-9_.:@-]{1,15}")  # of what the kernel allows, what nft takes between quotes


@dataclass(frozen=True, slots=True)
class Opening:
    """Something that the lab may begin to say to the box, in nft's words."""

    match: str
    why: str


def openings(settings: Settings, *, ssh_port: int = SSH_PORT) -> tuple[Opening, ...]:
    """What the lab may begin to say to the box, by mode (`dhcp.mode`)."""
    server, mode = settings.dhcp.port, settings.dhcp.mode
    by_mode = {
        "full": (Opening(f"udp dport {server}", "DHCP"),),
        "proxy": (
            Opening(f"udp dport {server}", "proxyDHCP"),
            Opening(f"udp dport {settings.dhcp.proxy_port}", "PXE boot server"),
        ),
        "off": (),
    }
    return (
        *by_mode[mode],
        Opening(f"udp sport 67 udp dport {_PROBE_PORT}", "other DHCP servers' answers to the probe"),
        Opening(f"udp dport {settings.tftp.port}", "TFTP"),
        Opening(f"tcp dport {settings.http.port}", "HTTP"),
        Opening(f"tcp dport {settings.nfs.port}", "NFSv4"),
        Opening(f"udp dport {settings.cast.feedback_port}", "what PCs answer to a cast"),
        Opening(f"ip daddr {settings.cast.groups} meta l4proto udp", "the box's own casts, which come back to it"),
        Opening(f"udp dport {NTP_PORT}", "time"),
        Opening(f"tcp dport {ssh_port}", "the console over SSH"),
    )


def render(settings: Settings, *, ssh_port: int = SSH_PORT) -> str:
    """The rules as a file for `nft -f`. Without interfaces nothing is filtered. Raises `ConfigError` for a bad name."""
    found = openings(settings, ssh_port=ssh_port)
    rules = [f'        meta nfproto ipv4 {opening.match} accept comment "{opening.why}"' for opening in found]
    names = _interfaces(settings)
    jump = [f"        iifname {{ {', '.join(names)} }} jump lab"] if names else []
    return "\n".join(
        [
            f"# Written by Diecast for dhcp.mode = {settings.dhcp.mode}; replaced when settings change.",
            "table inet diecast",  # so that there is one to delete
            "delete table inet diecast",
            "table inet diecast {",
            "    chain lab {",
            "        ct state established,related accept",
            "        icmp type { echo-request, destination-unreachable, time-exceeded } accept",
            "        ip protocol igmp accept",
            "        icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept",
            *rules,
            "        counter drop",
            "    }",
            "    chain input {",
            "        type filter hook input priority filter; policy accept;",
            *jump,
            "    }",
            "}",
            "",
        ]
    )


def _interfaces(settings: Settings) -> list[str]:
    for name in settings.network.interfaces:
        if not _INTERFACE.fullmatch(name):
            raise ConfigError(
                f"network.interfaces names '{name}', which the packet filter cannot.", hint="Rename the interface."
            )
    return [f'"{name}"' for name in settings.network.interfaces]


def apply(text: str) -> None:
    """Have the kernel filter by `text`, all of it or nothing. Raises `Unavailable` in nft's words."""
    try:
        done = subprocess.run(
            ["nft", "-f", "-"], input=text, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"nft cannot be run: {error}.", hint="Install the package nftables.") from error
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        words = said[0] if said else f"it ended with status {done.returncode}"
        raise Unavailable(f"The packet filter was not changed: {words}.", hint="Run it as root.")
