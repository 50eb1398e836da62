"""Boot scripts: the same `BootAnswer` as iPXE text and as GRUB text, from the templates in bootfiles/.

A template holds `@NAME@` where a value goes. Values come from the store and from the network, so each must match
`_SAFE`: nothing that either loader would expand, quote or take as an end of line. The loaders' own languages:
https://ipxe.org/cmd (menu, choose, sanboot) and the GRUB 2.12 manual, chapter 16 (search, chainloader, regexp).

GRUB is Debian 13's signed netboot image: it has search, chain, regexp, sleep, halt and http built in, has no `read`,
and loads no further module under Secure Boot. `exit` is never used: it ends in the firmware's set-up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from appliance.boot.decide import ENTRY_PURPOSE, BootAnswer, BootKind, MenuEntry, Purpose
from appliance.errors import BadData

# Loaders that a UEFI disk is searched for, first found wins. Windows comes first: on a disk with both, its own boot
# manager is what the firmware would start. Then the shims of the distributions, then loaders without a shim, and last
# the removable-media path (UEFI 2.10, 3.5.1.1), which also matches installation sticks.
EFI_LOADERS: tuple[str, ...] = (
    "/EFI/Microsoft/Boot/bootmgfw.efi",
    "/EFI/debian/shimx64.efi",
    "/EFI/ubuntu/shimx64.efi",
    "/EFI/fedora/shimx64.efi",
    "/EFI/redhat/shimx64.efi",
    "/EFI/centos/shimx64.efi",
    "/EFI/rocky/shimx64.efi",
    "/EFI/almalinux/shimx64.efi",
    "/EFI/opensuse/shim.efi",
    "/EFI/sles/shim.efi",
    "/EFI/debian/grubx64.efi",
    "/EFI/systemd/systemd-bootx64.efi",
    "/EFI/BOOT/BOOTX64.EFI",
)
# iPXE numbers a UEFI PC's whole disks 0, 1, ... (since March 2024); a card reader may come before the disk.
_EFI_DRIVES = (0, 1)

# The serial line is for racks and labs, tty0 for the person before the PC. A panic ends in a restart, not in a dead PC.
_KERNEL_ARGS = "console=tty0 console=ttyS0,115200 quiet panic=60"

_SAFE = re.compile(r"[A-Za-z0-9 .,:@/\[\]_()=+-]*")
_PLACE = re.compile(r"@([A-Z_]+)@")
_NETLOC = re.compile(r"[A-Za-z0-9.-]{1,255}:[0-9]{1,5}")


class Loader(StrEnum):
    """Who reads the script; the value is the folder of its templates."""

    IPXE = "ipxe"
    GRUB = "grub"


@dataclass(frozen=True, slots=True)
class Subject:
    """The PC a script is for, and what its menu names."""

    mac: str
    netloc: str  # ADDRESS:PORT of the box as this PC reaches it
    host_name: str = ""  # empty: unknown
    capture_image: str = ""  # the image that the waiting capture makes
    menu_timeout_s: int = 5

    @property
    def server(self) -> str:
        """The box as a URL."""
        return f"http://{self.netloc}"


class Templates:
    """The texts of bootfiles/, read once."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    @classmethod
    def load(cls, folder: Path) -> Templates:
        """Read every template below `folder` (`ipxe/`, `grub/`). Raises `BadData` when one is missing."""
        texts = {}
        for name in _NAMES:
            try:
                texts[name] = (folder / name).read_text(encoding="ascii")
            except (OSError, UnicodeDecodeError) as error:
                raise BadData(
                    f"The boot script template {folder / name} cannot be read: {error}.", hint="Install Diecast again."
                ) from error
        return cls(texts)

    def fill(self, name: str, values: dict[str, str]) -> str:
        """The template `name` with its places filled. `values` are trusted text: check what came from outside first."""
        return _PLACE.sub(lambda place: values[place[1]], self._texts[name])


_NAMES = (
    *(f"ipxe/{name}.ipxe" for name in ("agent", "agent-failed", "local", "menu", "no-answer", "sealed")),
    *(f"ipxe/{name}.ipxe" for name in ("start-agent", "start-local")),
    *(f"grub/{name}.cfg" for name in ("agent", "grub", "local", "menu", "no-answer", "sealed")),
    *(f"grub/{name}.cfg" for name in ("start-agent", "start-local")),
)

# Which template says it. NO_ANSWER is asked for only when the answer changed between DHCP and the script.
_TEMPLATE: dict[BootKind, str] = {
    BootKind.RUN_AGENT: "agent",
    BootKind.LOCAL_DISK: "local",
    BootKind.REFUSE_SEALED: "sealed",
    BootKind.NO_ANSWER: "no-answer",
    BootKind.MENU: "menu",
}


def render(templates: Templates, loader: Loader, answer: BootAnswer, subject: Subject) -> str:
    """The script that makes `loader` do what `answer` says. Raises `BadData` for a value not safe in a script."""
    writer = _Ipxe(templates, subject) if loader is Loader.IPXE else _Grub(templates, subject)
    if answer.kind is BootKind.MENU:
        return writer.menu(answer)
    return writer.page(_TEMPLATE[answer.kind], answer)


def grub_entry(templates: Templates, http_port: int) -> str:
    """The first configuration of GRUB (`grub/grub.cfg` by TFTP and HTTP): finds the box, asks for the PC's script."""
    return templates.fill("grub/grub.cfg", {"PORT": str(int(http_port))})


def kernel_args(subject: Subject, purpose: Purpose) -> str:
    """The kernel line of the agent. It is readable by all on the network: never a secret."""
    return f"diecast.server={subject.server} diecast.mac={subject.mac} diecast.purpose={purpose} {_KERNEL_ARGS}"


def path_mac(mac: str) -> str:
    """`mac` as it stands in our paths: dashes, because iPXE and GRUB disagree about colons in paths."""
    return mac.replace(":", "-")


def entry_title(entry: MenuEntry, subject: Subject) -> str:
    """The line of `entry` on the PC's screen."""
    titles = {
        MenuEntry.LOCAL: "Start the disk of this PC",
        MenuEntry.CAPTURE: f"Capture this PC as image {subject.capture_image}",
        MenuEntry.REGISTER: "Register this PC",
        MenuEntry.INVENTORY: "Show what is in this PC",
    }
    return titles[entry]


class _Writer:
    """What both languages share: checked values and the pages without a menu."""

    loader: Loader
    suffix: str

    def __init__(self, templates: Templates, subject: Subject) -> None:
        self.templates = templates
        self.subject = subject
        if not _NETLOC.fullmatch(subject.netloc):
            raise BadData(f"'{subject.netloc}' is no ADDRESS:PORT that a boot script can name.")

    def fill(self, name: str, values: dict[str, str]) -> str:
        return self.templates.fill(f"{self.loader}/{name}{self.suffix}", values).rstrip("\n")

    def values(self, reason: str) -> dict[str, str]:
        subject = self.subject
        outside = {
            "HOST": subject.host_name or f"this PC ({subject.mac})",
            "MAC": subject.mac,
            "PATH_MAC": path_mac(subject.mac),
            "REASON": reason,
            "SERVER": subject.server,
            "NETLOC": subject.netloc,
        }
        for name, value in outside.items():
            _check(name, value)
        return outside

    def page(self, template: str, answer: BootAnswer) -> str:
        values = self.values(answer.reason)
        values["AGENT"] = self.start_agent(answer.purpose)
        values["LOCAL"] = self.start_local()
        return self.fill(template, values) + "\n"

    def title(self, entry: MenuEntry) -> str:
        return _check("title", entry_title(entry, self.subject))

    def start_agent(self, purpose: Purpose) -> str:
        raise NotImplementedError

    def start_local(self) -> str:
        raise NotImplementedError

    def menu(self, answer: BootAnswer) -> str:
        raise NotImplementedError


class _Ipxe(_Writer):
    loader = Loader.IPXE
    suffix = ".ipxe"

    def start_agent(self, purpose: Purpose) -> str:
        return f"{self._load(purpose)}\n{self._failed()}"

    def start_local(self) -> str:
        lines = [
            f"sanboot --no-describe --drive {drive} --filename {name} ||"
            for name in (path.replace("/", "\\") for path in EFI_LOADERS)
            for drive in _EFI_DRIVES
        ]
        return self.fill("start-local", {"EFI_LOADERS": "\n".join(lines)})

    def menu(self, answer: BootAnswer) -> str:
        values = self.values(answer.reason)
        values["ITEMS"] = "\n".join(f"item {entry} {self.title(entry)}" for entry in answer.entries)
        timeout_ms = self.subject.menu_timeout_s * 1000
        values["CHOOSE"] = f"--default {answer.default} --timeout {timeout_ms} " if answer.default else ""
        actions = [f":{entry}\n{self._action(entry)}" for entry in answer.entries]
        values["ACTIONS"] = "\n".join([*actions, self._failed()])
        return self.fill("menu", values) + "\n"

    def _action(self, entry: MenuEntry) -> str:
        return self.start_local() if entry is MenuEntry.LOCAL else self._load(ENTRY_PURPOSE[entry])

    def _load(self, purpose: Purpose) -> str:
        return self.fill("start-agent", self.values("") | {"ARGS": kernel_args(self.subject, purpose)})

    def _failed(self) -> str:
        return self.fill("agent-failed", self.values(""))


class _Grub(_Writer):
    loader = Loader.GRUB
    suffix = ".cfg"

    def start_agent(self, purpose: Purpose) -> str:
        return self.fill("start-agent", self.values("") | {"ARGS": kernel_args(self.subject, purpose)})

    def start_local(self) -> str:
        return self.fill("start-local", {"EFI_LOADERS": " ".join(EFI_LOADERS)})

    def menu(self, answer: BootAnswer) -> str:
        values = self.values(answer.reason)
        # A negative time-out waits for ever; the first line is then only highlighted, never started by itself.
        timeout_s = self.subject.menu_timeout_s if answer.default else -1
        values["DEFAULT"] = f"set default={answer.default or answer.entries[0]}\nset timeout={timeout_s}"
        values["ENTRIES"] = "\n".join(self._entry(entry) for entry in answer.entries)
        return self.fill("menu", values) + "\n"

    def _entry(self, entry: MenuEntry) -> str:
        body = self.start_local() if entry is MenuEntry.LOCAL else self.start_agent(ENTRY_PURPOSE[entry])
        lines = "\n".join(f"  {line}" if line else "" for line in body.splitlines())
        return f'menuentry "{self.title(entry)}" --id {entry} {{\n{lines}\n}}'


def _check(name: str, value: str) -> str:
    if not _SAFE.fullmatch(value):
        raise BadData(f"{value!r} cannot stand in a boot script as {name.lower()}.")
    return value
