"""What the boot loader told the agent on the kernel line. It carries no secret: everybody on the PC can read it.

Keys: `diecast.server=http://IP:PORT`, `diecast.mac=52:54:..`, `diecast.purpose=task|register|inventory|deploy-new`, and
PXELINUX's `BOOTIF=01-52-54-..`, which other loaders set too.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from appliance.errors import BadData, UsageError
from appliance.model import normalise_mac

PURPOSES = ("task", "register", "inventory", "deploy-new")


@dataclass(frozen=True, slots=True)
class BootLine:
    """The part of the kernel line that concerns us."""

    host: str  # of the box: address or name
    port: int
    boot_mac: str = ""  # empty: the loader did not say
    purpose: str = "task"

    @property
    def url(self) -> str:
        """The box as an operator would write it."""
        return f"http://{self.host}" + ("" if self.port == 80 else f":{self.port}")

    @classmethod
    def parse(cls, text: str) -> BootLine:
        """Read the content of /proc/cmdline; of a key given twice the last one counts. Raises `BadData`."""
        keys = dict(word.split("=", 1) for word in text.split() if "=" in word)
        host, port = _server(keys.get("diecast.server", ""))
        purpose = keys.get("diecast.purpose", "task")
        if purpose not in PURPOSES:
            raise BadData(
                f"The kernel line asks for the purpose '{purpose[:40]}', which this agent does not know.",
                hint=f"Known are {', '.join(PURPOSES)}: check that box and agent are of one version.",
            )
        return cls(host, port, _boot_mac(keys), purpose)


def _server(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not url.startswith("http://") or not host:
        raise BadData(
            f"The kernel line names no box to talk to (diecast.server is '{url[:80]}').",
            hint="Start this PC through the box's own boot menu.",
        )
    return host, port or 80


def _boot_mac(keys: dict[str, str]) -> str:
    candidates = [keys.get("diecast.mac", "")]
    bootif = keys.get("BOOTIF", "")
    if bootif[:3].lower() == "01-":  # the hardware type Ethernet stands before the address
        candidates.append(bootif[3:])
    for text in candidates:
        try:
            return normalise_mac(text)
        except UsageError:
            continue
    return ""
