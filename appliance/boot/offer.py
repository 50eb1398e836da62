"""What a DHCP, proxyDHCP or boot server answer says. Pure: a request and what was decided about it, to a reply.

References: RFC 2131 section 4.3 and table 3 (which fields and options each reply has), RFC 2132, RFC 3046 section 2.2
(82 echoed, last), RFC 6842 (61 echoed), PXE 2.1 section 2.2, RFC 4578, UEFI 2.10 section 24.7.

| client       | full server                       | proxyDHCP                                                      |
|--------------|-----------------------------------|----------------------------------------------------------------|
| BIOS PXE     | siaddr, file, 66, 67              | the same, 60, 97, and 43 sub-option 6: take this file          |
| UEFI PXE     | the same                          | the same, 60, 97, *no 43*: it asks again on 4011 (see below)   |
| HTTP Boot    | 67 = URL, 60 = HTTPClient         | the same                                                       |
| iPXE         | 67 = script URL, 175 no-pxedhcp   | as BIOS, 67 = script URL                                       |

A full answer to PXE carries no option 60: with it EDK2 takes the offer for a BINL one and asks port 4011 first.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address

from appliance.boot.firmware import BootServer
from appliance.config import Subnet
from appliance.wire.dhcp4 import ANY, BROADCAST_FLAG, Packet, reply_to
from appliance.wire.dhcp_options import MessageType, Opt, Options, packed, u32
from appliance.wire.pxe import HTTP_CLASS, PXE_CLASS, Arch, PxeClient, boot_file_is_final, ipxe_needs_no_proxy

_FILE_FIELD_BYTES = 127  # of 128, one for the NUL that old firmware needs
# Sent whether asked for or not: without them a lease means nothing (RFC 2131 table 3).
_ALWAYS = frozenset({Opt.SUBNET_MASK, Opt.LEASE_TIME, Opt.T1, Opt.T2})


@dataclass(frozen=True, slots=True)
class Boot:
    """How the asking firmware is to go on."""

    client: PxeClient
    server: BootServer
    file: str  # TFTP name or URL


@dataclass(frozen=True, slots=True)
class Terms:
    """What comes with an address."""

    subnet: Subnet
    lease_s: int
    host_name: str = ""
    time_server: IPv4Address | None = None  # where the subnet names none


def grant(
    request: Packet, kind: MessageType, address: IPv4Address, terms: Terms, server_id: IPv4Address, boot: Boot | None
) -> Packet:
    """An OFFER or ACK of `address`."""
    wanted = request.options.get(Opt.PARAMETER_LIST)
    options = _head(kind, server_id)
    offered = _terms_options(terms.subnet, terms.lease_s)
    if terms.time_server is not None and not terms.subnet.ntp:
        offered = {**offered, Opt.NTP: terms.time_server.packed}
    for code, value in offered.items():
        if wanted is None or code in wanted or code in _ALWAYS:
            options[code] = value
    if terms.host_name and (wanted is None or Opt.HOST_NAME in wanted):
        options[Opt.HOST_NAME] = terms.host_name.encode("ascii", "replace")
    fields: dict[str, IPv4Address | bytes] = {"yiaddr": address}
    # RFC 2131 table 3: ACK repeats ciaddr, OFFER has none.
    fields["ciaddr"] = request.ciaddr if kind is MessageType.ACK else ANY
    if boot is not None:
        _add_boot(options, fields, boot, request)
        if boot.client.is_ipxe:
            options[Opt.IPXE] = ipxe_needs_no_proxy()
    return reply_to(request, _tail(options, request), **fields)


def inform_ack(request: Packet, terms: Terms, server_id: IPv4Address, boot: Boot | None) -> Packet:
    """The answer to INFORM: settings without an address and without lease times (RFC 2131 section 4.3.5)."""
    reply = grant(request, MessageType.ACK, ANY, terms, server_id, boot)
    options = {code: value for code, value in reply.options.items() if code not in (Opt.LEASE_TIME, Opt.T1, Opt.T2)}
    return reply_to(request, options, ciaddr=request.ciaddr, siaddr=reply.siaddr, file=reply.file)


def refusal(request: Packet, server_id: IPv4Address, why: str) -> Packet:
    """A NAK. Through a relay the broadcast flag is set, so that it reaches a client with a wrong address."""
    options = _head(MessageType.NAK, server_id)
    options[Opt.MESSAGE] = why.encode("ascii", "replace")[:255]
    reply = reply_to(request, _tail(options, request))
    if request.giaddr == ANY:
        return reply
    return Packet(
        op=reply.op,
        xid=reply.xid,
        chaddr=reply.chaddr,
        options=reply.options,
        htype=reply.htype,
        flags=reply.flags | BROADCAST_FLAG,
        giaddr=reply.giaddr,
    )


def proxy_offer(request: Packet, server_id: IPv4Address, boot: Boot) -> Packet:
    """A proxyDHCP OFFER: a boot file and no address."""
    options = _head(MessageType.OFFER, server_id)
    fields: dict[str, IPv4Address | bytes] = {}
    _add_boot(options, fields, boot, request)
    if not boot.client.is_http:
        options[Opt.VENDOR_CLASS] = PXE_CLASS
        # Some UEFI firmware ignores proxy answers that try to bypass boot server discovery; all of it asks port 4011
        # when there is no option 43 (EDK2 calls that a BINL offer).
        if boot.client.arch == Arch.BIOS or boot.client.is_ipxe:
            options[Opt.VENDOR_SPECIFIC] = boot_file_is_final()
    return reply_to(request, _tail(options, request), **fields)


def boot_server_ack(request: Packet, server_id: IPv4Address, boot: Boot) -> Packet:
    """The answer on port 4011: the boot file, for a client that has its address from another server."""
    options = _head(MessageType.ACK, server_id)
    fields: dict[str, IPv4Address | bytes] = {"ciaddr": request.ciaddr}
    _add_boot(options, fields, boot, request)
    options[Opt.VENDOR_CLASS] = HTTP_CLASS if boot.client.is_http else PXE_CLASS
    return reply_to(request, _tail(options, request), **fields)


def _head(kind: MessageType, server_id: IPv4Address) -> Options:
    return {Opt.MESSAGE_TYPE: bytes((kind,)), Opt.SERVER_ID: server_id.packed}


def _tail(options: Options, request: Packet) -> Options:
    for code in (Opt.CLIENT_ID, Opt.RELAY_AGENT):  # 82 last: RFC 3046 section 2.2
        if code in request.options:
            options[code] = request.options[code]
    return options


def _add_boot(options: Options, fields: dict[str, IPv4Address | bytes], boot: Boot, request: Packet) -> None:
    name = boot.file.encode("ascii")
    fields["siaddr"] = boot.server.address
    if len(name) <= _FILE_FIELD_BYTES:
        fields["file"] = name
    options[Opt.TFTP_SERVER] = str(boot.server.address).encode("ascii")
    options[Opt.BOOT_FILE] = name
    if Opt.CLIENT_MACHINE_ID in request.options:
        # PXE 2.1 table 2-1: an answer repeats it.
        options[Opt.CLIENT_MACHINE_ID] = request.options[Opt.CLIENT_MACHINE_ID]
    if boot.client.is_http:
        # UEFI 2.10 section 24.7.3: an answer without it is no HTTP Boot offer.
        options[Opt.VENDOR_CLASS] = HTTP_CLASS


@lru_cache(maxsize=64)
def _terms_options(subnet: Subnet, lease_s: int) -> Options:
    """The options of a subnet; T1 and T2 as in RFC 2131 section 4.4.5. Callers must not change the result."""
    options: Options = {
        Opt.LEASE_TIME: u32(lease_s),
        Opt.T1: u32(lease_s // 2),
        Opt.T2: u32(lease_s * 7 // 8),
        Opt.SUBNET_MASK: subnet.network.netmask.packed,
        Opt.BROADCAST: subnet.network.broadcast_address.packed,
    }
    if subnet.router is not None:
        options[Opt.ROUTER] = subnet.router.packed
    if subnet.dns:
        options[Opt.DNS] = packed(subnet.dns)
    if subnet.domain:
        options[Opt.DOMAIN] = subnet.domain.encode("ascii", "replace")
    if subnet.ntp:
        options[Opt.NTP] = packed(subnet.ntp)
    return options
