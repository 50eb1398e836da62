"""A DHCP message and where the answer goes: RFC 2131 section 4.1 as a table."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.wire.dhcp4 import (
    ANY,
    BROADCAST_FLAG,
    MalformedPacket,
    Packet,
    Via,
    max_reply_bytes,
    reply_destination,
    reply_to,
)
from appliance.wire.dhcp_options import MalformedOption, MessageType, Opt

MAC = bytes.fromhex("525400aa0102")
CLIENT, OFFERED, RELAY = IPv4Address("10.0.0.9"), IPv4Address("10.0.0.50"), IPv4Address("10.9.0.1")
IP = st.integers(0, 2**32 - 1).map(IPv4Address)
PACKETS = st.builds(
    Packet,
    op=st.sampled_from([1, 2]),
    xid=st.integers(0, 2**32 - 1),
    chaddr=st.binary(max_size=16),
    options=st.dictionaries(
        st.integers(1, 254).filter(lambda n: n != Opt.OVERLOAD), st.binary(max_size=40), max_size=6
    ),
    htype=st.integers(0, 255),
    hops=st.integers(0, 255),
    secs=st.integers(0, 65535),
    flags=st.sampled_from([0, BROADCAST_FLAG]),
    ciaddr=IP,
    yiaddr=IP,
    siaddr=IP,
    giaddr=IP,
    sname=st.binary(max_size=64).map(lambda raw: raw.replace(b"\0", b"")),
    file=st.binary(max_size=128).map(lambda raw: raw.replace(b"\0", b"")),
)


@given(PACKETS)
@settings(max_examples=200)
def test_what_is_written_is_read_again(packet: Packet) -> None:
    data = packet.encode()
    assert len(data) >= 300
    assert Packet.parse(data) == packet


@given(st.binary(max_size=700))
@settings(max_examples=300)
def test_random_bytes_are_no_dhcp(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        Packet.parse(data)


@given(PACKETS, st.data())
@settings(max_examples=300)
def test_a_damaged_message_is_read_or_refused_with_one_kind_of_error(packet: Packet, data: st.DataObject) -> None:
    raw = bytearray(packet.encode())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    try:
        read = Packet.parse(cut)
        assert len(read.chaddr) <= 16
        _ = read.message_type
    except MalformedOption:
        pass


def request(**fields: object) -> Packet:
    options = {Opt.MESSAGE_TYPE: b"\x01"}
    return Packet(**{"op": 1, "xid": 7, "chaddr": MAC, "options": options, **fields})  # type: ignore[arg-type]


def reply(to: Packet, kind: MessageType, yiaddr: IPv4Address = ANY) -> Packet:
    return reply_to(to, {Opt.MESSAGE_TYPE: bytes((kind,))}, yiaddr=yiaddr)


OFFER, ACK, NAK = MessageType.OFFER, MessageType.ACK, MessageType.NAK


@pytest.mark.parametrize(
    ("asked", "kind", "yiaddr", "via", "address", "port"),
    [
        # a relay comes before everything else, a NAK included
        ({"giaddr": RELAY}, OFFER, OFFERED, Via.RELAY, RELAY, 67),
        ({"giaddr": RELAY, "ciaddr": CLIENT}, ACK, CLIENT, Via.RELAY, RELAY, 67),
        ({"giaddr": RELAY, "flags": BROADCAST_FLAG}, OFFER, OFFERED, Via.RELAY, RELAY, 67),
        ({"giaddr": RELAY}, NAK, ANY, Via.RELAY, RELAY, 67),
        # a NAK is broadcast, whatever address the client believes it has
        ({}, NAK, ANY, Via.BROADCAST, IPv4Address("255.255.255.255"), 68),
        ({"ciaddr": CLIENT}, NAK, ANY, Via.BROADCAST, IPv4Address("255.255.255.255"), 68),
        # a client with an address gets a unicast, even when it sets the broadcast flag
        ({"ciaddr": CLIENT}, ACK, CLIENT, Via.ROUTED, CLIENT, 68),
        ({"ciaddr": CLIENT, "flags": BROADCAST_FLAG}, ACK, CLIENT, Via.ROUTED, CLIENT, 68),
        # one without an address says by the flag what it can hear
        ({"flags": BROADCAST_FLAG}, OFFER, OFFERED, Via.BROADCAST, IPv4Address("255.255.255.255"), 68),
        ({}, OFFER, OFFERED, Via.LINK, OFFERED, 68),
        ({}, ACK, OFFERED, Via.LINK, OFFERED, 68),
        # a proxyDHCP offer has no address to send to
        ({}, OFFER, ANY, Via.BROADCAST, IPv4Address("255.255.255.255"), 68),
    ],
)
def test_a_reply_goes_where_rfc_2131_says(
    asked: dict[str, object], kind: MessageType, yiaddr: IPv4Address, via: Via, address: IPv4Address, port: int
) -> None:
    question = request(**asked)
    to = reply_destination(question, reply(question, kind, yiaddr))
    assert (to.via, to.address, to.port) == (via, address, port)


def test_a_reply_repeats_what_ties_it_to_its_request() -> None:
    answer = reply(request(giaddr=RELAY, flags=BROADCAST_FLAG, hops=3, secs=9), OFFER)
    assert (answer.op, answer.xid, answer.chaddr, answer.giaddr) == (2, 7, MAC, RELAY)
    assert answer.wants_broadcast
    assert (answer.hops, answer.secs) == (0, 0)


@pytest.mark.parametrize(("asked", "allowed"), [(None, 576), (300, 576), (1260, 1260), (65535, 1500)])
def test_a_reply_is_as_large_as_the_client_says_and_ethernet_allows(asked: int | None, allowed: int) -> None:
    options = {} if asked is None else {Opt.MAX_SIZE: asked.to_bytes(2, "big")}
    assert max_reply_bytes(request(options=options)) == allowed


def test_a_reply_that_is_too_large_uses_the_free_header_fields() -> None:
    options = {Opt.MESSAGE_TYPE: b"\x02", **{code: bytes(60) for code in range(200, 206)}}
    packet = Packet(op=2, xid=1, chaddr=MAC, options=options)
    data = packet.encode(max_bytes=576)
    assert len(data) + 28 <= 576
    assert Packet.parse(data).options == options


def test_a_boot_file_is_never_overwritten_by_options() -> None:
    options = {Opt.MESSAGE_TYPE: b"\x02", **{code: bytes(60) for code in range(200, 205)}}
    packet = Packet(op=2, xid=1, chaddr=MAC, options=options, file=b"shimx64.efi")
    read = Packet.parse(packet.encode(max_bytes=576))
    assert read.file == b"shimx64.efi"
    assert read.options == options


def test_a_message_type_that_no_rfc_knows_is_named() -> None:
    with pytest.raises(MalformedOption, match="message type"):
        _ = request(options={Opt.MESSAGE_TYPE: b"\x63"}).message_type


def test_bootp_has_no_message_type() -> None:
    assert request(options={}).message_type is None
