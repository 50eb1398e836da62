"""PXE options of a DHCP request: who is asking, and how it can boot; and the PXE options of an answer.

References: RFC 4578 (options 93, 94, 97), RFC 3004 (77), PXE 2.1 section 2.2 and table 2-1 (43, 60),
IANA "Processor Architecture Types" (93), UEFI 2.10 section 24.7 (HTTP Boot), ipxe.org/howto/dhcpd (175).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from appliance.wire.dhcp_options import MalformedOption, Opt, encode_suboptions

PXE_CLASS = b"PXEClient"
HTTP_CLASS = b"HTTPClient"

# PXE 2.1 table 2-1, sub-option 6 of option 43, bit 3: take the file named in this packet, ask no boot server.
_DISCOVERY_CONTROL = 6
_USE_BOOT_FILE = 8
# iPXE sub-option of 175: the address server says everything itself, so do not wait for a proxyDHCP answer.
_NO_PXEDHCP = 176

_ARCH_IN_CLASS = re.compile(rb":Arch:(\d{5})")


class Arch(IntEnum):
    """Option 93, as registered with IANA. Firmware before the registry's erratum says 9 where it means x64."""

    BIOS = 0
    NEC_PC98 = 1
    EFI_ITANIUM = 2
    EFI_IA32 = 6
    EFI_X64 = 7
    EFI_XSCALE = 8
    EFI_BC = 9
    EFI_ARM32 = 10
    EFI_ARM64 = 11
    HTTP_IA32 = 15
    HTTP_X64 = 16
    HTTP_BC = 17
    HTTP_ARM32 = 18
    HTTP_ARM64 = 19
    BIOS_HTTP = 20


@dataclass(frozen=True, slots=True)
class PxeClient:
    """What a firmware or boot loader says about itself in one request."""

    arch: int  # option 93, first entry; a number that `Arch` may not know
    machine_id: UUID | None  # option 97, as SMBIOS writes it; absent on some firmware
    is_ipxe: bool  # option 77 `iPXE`, or 175 present
    is_http: bool  # option 60 `HTTPClient`

    @classmethod
    def from_options(cls, options: Mapping[int, bytes]) -> PxeClient | None:
        """Return None when the request is no network boot at all. Raise `MalformedOption` for a broken 93 or 97."""
        vendor_class = options.get(Opt.VENDOR_CLASS, b"")
        is_http = vendor_class.startswith(HTTP_CLASS)
        if not is_http and not vendor_class.startswith(PXE_CLASS):
            return None
        return cls(
            arch=_arch(options.get(Opt.CLIENT_ARCH), vendor_class),
            machine_id=_machine_id(options.get(Opt.CLIENT_MACHINE_ID)),
            is_ipxe=Opt.IPXE in options or _says_ipxe(options.get(Opt.USER_CLASS, b"")),
            is_http=is_http,
        )


def _arch(value: bytes | None, vendor_class: bytes) -> int:
    if value is not None:
        if len(value) < 2 or len(value) % 2:
            raise MalformedOption(f"option 93 (architecture) has {len(value)} bytes, but must have 2 for each entry")
        return int.from_bytes(value[:2], "big")
    # PXE 2.1 lets a client name it in the class only, `PXEClient:Arch:00007:UNDI:003016`.
    named = _ARCH_IN_CLASS.search(vendor_class)
    return int(named[1]) if named else Arch.BIOS


def _machine_id(value: bytes | None) -> UUID | None:
    if not value:
        return None
    if len(value) != 17:
        raise MalformedOption(f"option 97 (machine id) has {len(value)} bytes, but must have 17")
    if value[0] != 0:
        return None  # RFC 4578 section 2.3 knows no other type
    # The bytes are SMBIOS's, whose first three fields are little-endian; so Linux and Windows print them as well.
    return UUID(bytes_le=value[1:])


def _says_ipxe(user_class: bytes) -> bool:
    # iPXE sends the bare word; RFC 3004 wants each class behind its length.
    return user_class == b"iPXE" or b"\x04iPXE" in user_class


def boot_file_is_final() -> bytes:
    """Option 43 for a client that shall take the file of this very packet and look for no boot server."""
    return encode_suboptions({_DISCOVERY_CONTROL: bytes((_USE_BOOT_FILE,))})


def ipxe_needs_no_proxy() -> bytes:
    """Option 175 for iPXE: saves its wait for proxyDHCP answers."""
    return bytes((_NO_PXEDHCP, 1, 1))
