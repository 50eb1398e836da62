"""Which boot file a firmware is given: one table, with the reason for each line.

References: IANA "Processor Architecture Types" (option 93), field experience noted beside each line.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address

from appliance.events import UefiLoader
from appliance.model import Host
from appliance.wire.pxe import Arch as Arch
from appliance.wire.pxe import PxeClient


class LoaderFile(StrEnum):
    """Loader names below the TFTP root, and below / by HTTP."""

    UNDIONLY = "undionly.kpxe"  # iPXE on the card's own UNDI driver: keeps whatever the firmware got working
    SHIM = "shimx64.efi"  # Debian's, signed by Microsoft: starts grubx64.efi from the same folder
    SNPONLY = "snponly.efi"  # iPXE on the firmware's SNP driver: faster, refused by Secure Boot


@dataclass(frozen=True, slots=True)
class Firmware:
    """What is known about one architecture number."""

    label: str
    kind: str  # bios | uefi
    has_agent: bool  # whether kernel and initrd run on it
    by_http: bool = False


FIRMWARE: dict[int, Firmware] = {
    Arch.BIOS: Firmware("x86 BIOS", "bios", has_agent=True),
    # 32-bit UEFI in front of a 64-bit processor needs a 32-bit shim, which Debian does not have signed.
    Arch.EFI_IA32: Firmware("32-bit x86 UEFI", "uefi", has_agent=False),
    Arch.EFI_X64: Firmware("x64 UEFI", "uefi", has_agent=True),
    # "EFI byte code" in RFC 4578's table, x64 in its erratum and in practice.
    Arch.EFI_BC: Firmware("x64 UEFI", "uefi", has_agent=True),
    Arch.EFI_ARM32: Firmware("32-bit ARM UEFI", "uefi", has_agent=False),
    Arch.EFI_ARM64: Firmware("64-bit ARM UEFI", "uefi", has_agent=False),
    Arch.HTTP_IA32: Firmware("32-bit x86 UEFI HTTP Boot", "uefi", has_agent=False, by_http=True),
    Arch.HTTP_X64: Firmware("x64 UEFI HTTP Boot", "uefi", has_agent=True, by_http=True),
    Arch.HTTP_ARM32: Firmware("32-bit ARM UEFI HTTP Boot", "uefi", has_agent=False, by_http=True),
    Arch.HTTP_ARM64: Firmware("64-bit ARM UEFI HTTP Boot", "uefi", has_agent=False, by_http=True),
}


@dataclass(frozen=True, slots=True)
class BootServer:
    """Where loaders and scripts are fetched from, as the client shall be told."""

    address: IPv4Address
    http_port: int = 80

    @property
    def url(self) -> str:
        """`http://ADDRESS[:PORT]`, the port only when it is not 80."""
        return f"http://{self.address}" + (f":{self.http_port}" if self.http_port != 80 else "")


def firmware_of(arch: int) -> Firmware:
    """The table's line, or one that says no agent is known for this number."""
    return FIRMWARE.get(arch) or Firmware(f"architecture {arch}", "uefi", has_agent=False)


def loader_for(client: PxeClient, host: Host | None) -> LoaderFile | None:
    """The loader of this firmware; None where there is no agent to load. A host's `uefi_loader` is obeyed."""
    firmware = firmware_of(client.arch)
    if not firmware.has_agent:
        return None
    if firmware.kind == "bios":
        return LoaderFile.UNDIONLY
    return LoaderFile.SNPONLY if host is not None and host.uefi_loader is UefiLoader.IPXE else LoaderFile.SHIM


def script_url(server: BootServer, mac: str) -> str:
    """Where iPXE gets the script of the PC with this MAC."""
    return f"{server.url}/boot/ipxe/{mac.replace(':', '-')}"


def boot_file(client: PxeClient, host: Host | None, server: BootServer, mac: str) -> str | None:
    """What the answer names: a TFTP name, a URL for HTTP Boot, the script's URL for iPXE; None without an agent."""
    loader = loader_for(client, host)
    if loader is None:
        return None
    if client.is_ipxe:
        return script_url(server, mac)
    return f"{server.url}/{loader}" if client.is_http else str(loader)
