"""What an answer says, option by option."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from appliance.boot.firmware import BootServer
from appliance.boot.offer import Boot, Terms, boot_server_ack, grant, inform_ack, proxy_offer, refusal
from appliance.config import Subnet
from appliance.wire.dhcp4 import ANY, BROADCAST_FLAG, Packet
from appliance.wire.dhcp_options import MessageType, Opt
from appliance.wire.pxe import Arch, PxeClient

ME = IPv4Address("10.0.0.1")
ADDRESS = IPv4Address("10.0.0.50")
SUBNET = Subnet(
    IPv4Network("10.0.0.0/24"),
    IPv4Address("10.0.0.10"),
    IPv4Address("10.0.0.99"),
    router=IPv4Address("10.0.0.254"),
    dns=(IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")),
    ntp=(IPv4Address("10.0.0.4"),),
    domain="lab.example",
)
TERMS = Terms(SUBNET, 3600, "pc-01")
GUID = bytes(17)


def request(options: dict[int, bytes] | None = None, giaddr: IPv4Address = ANY) -> Packet:
    return Packet(op=1, xid=1, chaddr=bytes(6), options={53: b"\x01", **(options or {})}, giaddr=giaddr)


def boot(arch: int, *, is_ipxe: bool = False, is_http: bool = False, file: str = "shimx64.efi") -> Boot:
    return Boot(PxeClient(arch, None, is_ipxe, is_http), BootServer(ME), file)


def test_a_lease_comes_with_everything_the_subnet_has() -> None:
    offer = grant(request(), MessageType.OFFER, ADDRESS, TERMS, ME, None)
    assert offer.yiaddr == ADDRESS
    assert dict(offer.options) == {
        Opt.MESSAGE_TYPE: b"\x02",
        Opt.SERVER_ID: ME.packed,
        Opt.LEASE_TIME: (3600).to_bytes(4, "big"),
        Opt.T1: (1800).to_bytes(4, "big"),
        Opt.T2: (3150).to_bytes(4, "big"),
        Opt.SUBNET_MASK: b"\xff\xff\xff\x00",
        Opt.BROADCAST: IPv4Address("10.0.0.255").packed,
        Opt.ROUTER: IPv4Address("10.0.0.254").packed,
        Opt.DNS: b"\x0a\x00\x00\x02\x0a\x00\x00\x03",
        Opt.DOMAIN: b"lab.example",
        Opt.NTP: b"\x0a\x00\x00\x04",
        Opt.HOST_NAME: b"pc-01",
    }


def test_only_what_was_asked_for_is_sent_but_never_a_lease_without_its_times() -> None:
    offer = grant(request({55: bytes((Opt.ROUTER,))}), MessageType.OFFER, ADDRESS, TERMS, ME, None)
    assert set(offer.options) == {
        Opt.MESSAGE_TYPE,
        Opt.SERVER_ID,
        Opt.LEASE_TIME,
        Opt.T1,
        Opt.T2,
        Opt.SUBNET_MASK,
        Opt.ROUTER,
    }


def test_client_id_and_relay_information_come_back_unchanged_and_the_latter_last() -> None:
    asked = request({82: b"\x01\x04port", 61: b"\xff\x00\x01\x02", 200: b"?"})
    offer = grant(asked, MessageType.OFFER, ADDRESS, TERMS, ME, boot(Arch.EFI_X64))
    assert list(offer.options)[-2:] == [Opt.CLIENT_ID, Opt.RELAY_AGENT]
    assert offer.options[82] == b"\x01\x04port"
    assert offer.options[61] == b"\xff\x00\x01\x02"
    assert 200 not in offer.options


def test_a_pxe_firmware_finds_its_loader_in_the_header_and_in_options() -> None:
    offer = grant(request({97: GUID}), MessageType.OFFER, ADDRESS, TERMS, ME, boot(Arch.EFI_X64))
    assert (offer.siaddr, offer.file) == (ME, b"shimx64.efi")
    assert (offer.options[66], offer.options[67]) == (b"10.0.0.1", b"shimx64.efi")
    assert offer.options[97] == GUID
    assert Opt.VENDOR_CLASS not in offer.options
    assert Opt.VENDOR_SPECIFIC not in offer.options


def test_http_boot_finds_its_class_and_its_url() -> None:
    url = "http://10.0.0.1/shimx64.efi"
    offer = grant(request(), MessageType.OFFER, ADDRESS, TERMS, ME, boot(Arch.HTTP_X64, is_http=True, file=url))
    assert (offer.options[60], offer.options[67]) == (b"HTTPClient", url.encode())


def test_ipxe_is_spared_the_wait_for_a_proxy() -> None:
    offer = grant(request(), MessageType.OFFER, ADDRESS, TERMS, ME, boot(Arch.BIOS, is_ipxe=True))
    assert offer.options[175] == b"\xb0\x01\x01"


def test_a_long_url_is_an_option_only() -> None:
    url = "http://10.0.0.1/" + "x" * 150
    offer = grant(request(), MessageType.OFFER, ADDRESS, TERMS, ME, boot(Arch.HTTP_X64, is_http=True, file=url))
    assert (offer.file, offer.options[67]) == (b"", url.encode())


def test_an_ack_to_inform_has_no_address_and_no_lease() -> None:
    ack = inform_ack(request(), TERMS, ME, None)
    assert ack.yiaddr == ANY
    assert ack.message_type is MessageType.ACK
    assert not {Opt.LEASE_TIME, Opt.T1, Opt.T2} & set(ack.options)
    assert Opt.ROUTER in ack.options


@pytest.mark.parametrize(("giaddr", "flags"), [(ANY, 0), (IPv4Address("10.9.0.1"), BROADCAST_FLAG)])
def test_a_refusal_through_a_relay_is_to_be_broadcast_there(giaddr: IPv4Address, flags: int) -> None:
    nak = refusal(request({61: b"\x01x", 82: b"\x01\x01a"}, giaddr), ME, "go away")
    assert (nak.flags, nak.giaddr, nak.yiaddr) == (flags, giaddr, ANY)
    assert dict(nak.options) == {53: b"\x06", 54: ME.packed, 56: b"go away", 61: b"\x01x", 82: b"\x01\x01a"}


def test_a_proxy_offer_has_a_loader_and_no_address() -> None:
    offer = proxy_offer(request({97: GUID}), ME, boot(Arch.BIOS, file="undionly.kpxe"))
    assert (offer.yiaddr, offer.siaddr, offer.file) == (ANY, ME, b"undionly.kpxe")
    assert offer.options[60] == b"PXEClient"
    assert offer.options[97] == GUID
    assert offer.options[43] == b"\x06\x01\x08\xff"
    assert not {Opt.SUBNET_MASK, Opt.LEASE_TIME, Opt.ROUTER} & set(offer.options)


def test_a_proxy_offer_sends_uefi_to_port_4011_by_leaving_option_43_out() -> None:
    offer = proxy_offer(request(), ME, boot(Arch.EFI_X64))
    assert offer.options[60] == b"PXEClient"
    assert Opt.VENDOR_SPECIFIC not in offer.options


def test_a_proxy_offer_to_http_boot_is_no_pxe_offer() -> None:
    offer = proxy_offer(request(), ME, boot(Arch.HTTP_X64, is_http=True, file="http://10.0.0.1/shimx64.efi"))
    assert offer.options[60] == b"HTTPClient"
    assert Opt.VENDOR_SPECIFIC not in offer.options


def test_the_boot_server_acknowledges_with_the_loader() -> None:
    ack = boot_server_ack(request({97: GUID, 61: b"\x01x"}), ME, boot(Arch.EFI_X64))
    assert ack.message_type is MessageType.ACK
    assert (ack.yiaddr, ack.siaddr, ack.file) == (ANY, ME, b"shimx64.efi")
    assert (ack.options[60], ack.options[97], ack.options[61]) == (b"PXEClient", GUID, b"\x01x")
