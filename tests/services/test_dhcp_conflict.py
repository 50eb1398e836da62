"""Frames of the conflict probe, answers to the server probe, introductions to the kernel, and lines in the log."""

import contextlib
import logging
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.services.dhcp_conflict import arp_probe, arp_sender, icmp_echo, icmp_reply
from appliance.services.dhcp_log import Complaints
from appliance.services.dhcp_probe import OtherServer, discover, other_server
from appliance.services.netlink import Introductions
from appliance.wire.dhcp4 import Packet
from appliance.wire.dhcp_options import MalformedOption, MessageType
from tests.fakes.dhcp import LINK, MAC, Clock

FOREIGN = IPv4Address("10.0.0.2")


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_an_arp_probe_asks_without_claiming_an_address() -> None:
    frame = arp_probe(bytes.fromhex("020000000001"), IPv4Address("10.0.0.9").packed)
    assert frame[:14].hex() == "ffffffffffff0200000000010806"
    assert frame[14:].hex() == "0001080006040001020000000001000000000000000000000a000009"


def test_whoever_answers_arp_is_named_by_mac_and_address() -> None:
    answer = bytes.fromhex("020000000001525400000066080600010800060400025254000000660a000009")
    answer += bytes.fromhex("02000000000100000000") + bytes(18)  # padded to Ethernet's minimum
    assert arp_sender(answer) == (bytes.fromhex("525400000066"), IPv4Address("10.0.0.9").packed)


@given(st.binary(max_size=100))
def test_random_frames_are_no_arp_or_name_somebody(frame: bytes) -> None:
    sender = arp_sender(frame)
    assert sender is None or (len(sender[0]), len(sender[1])) == (6, 4)


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_an_echo_has_a_right_checksum(identifier: int, sequence: int) -> None:
    assert checksum(icmp_echo(identifier, sequence)) == 0xFFFF


@given(st.binary(max_size=60), st.integers(0, 65535))
def test_random_packets_are_hardly_ever_our_echo(packet: bytes, identifier: int) -> None:
    if icmp_reply(packet, identifier):
        header = (packet[0] & 15) * 4
        assert packet[header] == 0
        assert packet[header + 4 : header + 6] == identifier.to_bytes(2, "big")


def test_only_the_answer_with_our_identifier_counts() -> None:
    answer = bytes([0x45]) + bytes(19) + b"\0\0\0\0" + struct.pack("!HH", 77, 1)
    assert icmp_reply(answer, 77)
    assert not icmp_reply(answer, 78)
    assert not icmp_reply(bytes([0x45]) + bytes(19) + icmp_echo(77, 1), 77)  # a request, even ours


# The probe for other servers


def offer(yiaddr: str, server: str = "10.0.0.2", kind: int = 2, **fields: bytes) -> Packet:
    options = {53: bytes((kind,)), 54: IPv4Address(server).packed}
    return Packet(2, 5, bytes(6), options, yiaddr=IPv4Address(yiaddr), file=fields.get("file", b""))


def test_our_question_asks_for_a_broadcast_answer() -> None:
    asked = discover(5, MAC, pxe=False)
    assert asked.wants_broadcast
    assert asked.message_type is MessageType.DISCOVER
    assert 60 not in asked.options
    assert discover(5, MAC, pxe=True).options[60].startswith(b"PXEClient")


def test_a_server_that_lends_and_one_that_only_names_loaders_are_told_apart() -> None:
    assert other_server(offer("10.0.0.50"), FOREIGN, LINK) == OtherServer(FOREIGN, "eth0", True, "offers 10.0.0.50")
    found = other_server(offer("0.0.0.0", file=b"pxelinux.0"), FOREIGN, LINK)
    assert found == OtherServer(FOREIGN, "eth0", False, "proxyDHCP, boot file pxelinux.0")


def test_we_are_no_other_server_and_a_request_is_no_offer() -> None:
    assert other_server(offer("10.0.0.50", server="10.0.0.1"), LINK.server_id, LINK) is None
    assert other_server(offer("10.0.0.50", kind=1), FOREIGN, LINK) is None
    assert other_server(discover(5, MAC, pxe=True), FOREIGN, LINK) is None


@given(st.binary(max_size=60))
def test_a_broken_offer_raises_nothing_else(tail: bytes) -> None:
    with contextlib.suppress(MalformedOption):
        other_server(Packet.parse(offer("10.0.0.50").encode()[:240] + tail), FOREIGN, LINK)


# Introductions to the kernel


def test_a_client_is_introduced_once_and_again_when_the_kernel_may_have_forgotten_it() -> None:
    clock, told = Clock(), []
    people = Introductions(lambda *who: told.append(who), clock)
    assert all(people.introduce(2, FOREIGN, MAC) for _ in range(5))
    assert told == [(2, FOREIGN, MAC)]
    clock.now += 16
    assert people.introduce(2, FOREIGN, MAC)
    assert len(told) == 2


def test_beyond_the_limit_replies_are_broadcast_until_there_is_room_again() -> None:
    clock = Clock()
    people = Introductions(lambda *_: None, clock, limit=3)
    answers = [people.introduce(2, IPv4Address(number), MAC) for number in range(5)]
    assert answers == [True, True, True, False, False]
    clock.now += 16
    assert people.introduce(2, IPv4Address(9), MAC)


# Lines in the log


def test_the_same_sentence_is_held_back_for_a_minute_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    complaints = Complaints(logging.getLogger("dhcp"), clock)
    for _ in range(10):
        complaints.say("key", logging.WARNING, "It is %s.", "broken")
    clock.now += 61
    complaints.say("key", logging.WARNING, "It is %s.", "broken")
    assert [record.message for record in caplog.records] == ["It is broken.", "It is broken. (and 9 times more since)"]


def test_a_thousand_invented_clients_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    complaints = Complaints(logging.getLogger("dhcp"), clock)
    for number in range(1000):
        complaints.say(str(number), logging.WARNING, "%s", number)
    assert len(caplog.records) == 61
    assert "others are left out" in caplog.records[-1].message
    clock.now += 61
    complaints.say("new", logging.WARNING, "new")
    assert [record.message for record in caplog.records[61:]] == ["940 lines about DHCP clients were left out.", "new"]
