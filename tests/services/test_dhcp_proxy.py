"""proxyDHCP on 67 and 4011: a loader beside another server, and never an address."""

import logging
from ipaddress import IPv4Address

import pytest

from appliance.events import LocalBoot
from appliance.model import Host
from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_proxy import ProxyServer
from appliance.wire.dhcp4 import ANY, Packet, Via
from appliance.wire.dhcp_options import MessageType, Opt
from tests.fakes.dhcp import LINK, MAC, ME, NOBODY, PXE, Lab, message

FIRMWARE = ("10.0.0.77", 4011)
HTTP = {60: b"HTTPClient:Arch:00016:UNDI:003016", 93: b"\x00\x10"}


class Proxy:
    """A proxy server with fakes around it."""

    def __init__(self) -> None:
        self.lab = Lab()
        self.server = ProxyServer(
            self.lab.directory(), self.lab.effects, Complaints(logging.getLogger("dhcp"), self.lab.clock), http_port=80
        )

    def on_67(self, packet: Packet) -> list[Packet]:
        self.server.handle(packet, LINK, NOBODY)
        return [reply for reply, _ in self.lab.effects.sent]

    def on_4011(self, packet: Packet) -> list[Packet]:
        self.server.handle_boot_server(packet, LINK, FIRMWARE)
        return [reply for reply, _ in self.lab.effects.sent]


def test_a_firmware_is_offered_a_loader_by_broadcast() -> None:
    proxy = Proxy()
    (offer,) = proxy.on_67(message(MessageType.DISCOVER, options=PXE))
    assert (offer.yiaddr, offer.file, offer.options[54]) == (ANY, b"shimx64.efi", ME.packed)
    assert proxy.lab.effects.sent[0][1].via is Via.BROADCAST
    assert proxy.lab.effects.sightings[0].mac == MAC


def test_an_operating_system_hears_nothing() -> None:
    assert Proxy().on_67(message(MessageType.DISCOVER, options={60: b"MSFT 5.0"})) == []


@pytest.mark.parametrize("kind", [MessageType.REQUEST, MessageType.RELEASE, MessageType.DECLINE, MessageType.INFORM])
def test_everything_but_discover_on_67_is_the_other_servers(kind: MessageType) -> None:
    assert Proxy().on_67(message(kind, options=PXE)) == []


def test_no_lease_is_ever_stored() -> None:
    proxy = Proxy()
    proxy.on_67(message(MessageType.DISCOVER, options=PXE))
    proxy.on_4011(message(MessageType.REQUEST, options=PXE, ciaddr=IPv4Address(FIRMWARE[0])))
    assert proxy.lab.effects.stored == {}
    assert all(reply.yiaddr == ANY for reply, _ in proxy.lab.effects.sent)


@pytest.mark.parametrize("kind", [MessageType.REQUEST, MessageType.INFORM])
def test_on_4011_the_answer_goes_from_4011_to_the_source_of_the_request(kind: MessageType) -> None:
    proxy = Proxy()
    (ack,) = proxy.on_4011(message(kind, options=PXE, ciaddr=IPv4Address("10.0.0.66")))
    to = proxy.lab.effects.sent[0][1]
    assert (to.address, to.port) == (IPv4Address("10.0.0.77"), 4011)
    assert proxy.lab.effects.from_4011 == [True]
    assert (ack.message_type, ack.file) == (MessageType.ACK, b"shimx64.efi")
    assert ack.options[97] == PXE[97]


def test_on_4011_a_request_for_another_boot_server_is_left_alone() -> None:
    asked = {**PXE, 54: IPv4Address("10.0.0.3").packed}
    assert Proxy().on_4011(message(MessageType.REQUEST, options=asked)) == []


def test_http_boot_gets_its_url_from_the_proxy() -> None:
    (offer,) = Proxy().on_67(message(MessageType.DISCOVER, options=HTTP))
    assert (offer.options[60], offer.options[67]) == (b"HTTPClient", b"http://10.0.0.1/shimx64.efi")


def test_a_host_that_wants_no_answer_gets_none_on_either_port() -> None:
    proxy = Proxy()
    proxy.lab.books.hosts = [Host(1, "pc-01", (MAC,), local_boot=LocalBoot.NO_ANSWER)]
    assert proxy.on_67(message(MessageType.DISCOVER, options=PXE)) == []
    assert proxy.on_4011(message(MessageType.REQUEST, options=PXE)) == []


def test_an_architecture_without_an_agent_is_named_and_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    proxy = Proxy()
    assert proxy.on_67(message(MessageType.DISCOVER, options={**PXE, 93: b"\x00\x06"})) == []
    assert "32-bit x86 UEFI (option 93 = 6): there is no agent for it" in caplog.text
    assert "no agent" in proxy.lab.effects.sightings[0].detail


def test_a_relayed_firmware_is_answered_through_its_relay() -> None:
    proxy = Proxy()
    proxy.on_67(message(MessageType.DISCOVER, options={**PXE, 82: b"\x01\x01a"}, giaddr=IPv4Address("10.9.0.1")))
    reply, to = proxy.lab.effects.sent[0]
    assert (to.via, to.address) == (Via.RELAY, IPv4Address("10.9.0.1"))
    assert reply.options[Opt.RELAY_AGENT] == b"\x01\x01a"
