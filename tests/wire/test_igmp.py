"""IGMP: what the RFCs and a Linux host's own packets say, and nothing that breaks the parser."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.wire import igmp
from appliance.wire.igmp import GroupRecord, Leave, MalformedIgmp, Query, Record, Report

GROUP = IPv4Address("239.77.0.1")
addresses = st.integers(0, 2**32 - 1).map(IPv4Address)


def test_a_version_2_general_query_has_the_well_known_bytes() -> None:
    # As tcpdump shows them of every IGMPv2 querier with the default response time of 10 s.
    assert igmp.encode(Query(2)).hex() == "1164ee9b00000000"


def test_a_version_3_general_query_has_the_well_known_bytes() -> None:
    # As the Linux bridge's own querier sends it: QRV 2, QQIC 125.
    assert igmp.encode(Query(3)).hex() == "1164ec1e00000000027d0000"


def test_a_linux_hosts_report_of_joining_a_group_is_understood() -> None:
    # Linux joins 224.0.0.251 (mDNS): one record, change to exclude nothing.
    data = bytes.fromhex("2200f9020000000104000000e00000fb")
    assert igmp.parse(data) == Report(3, (GroupRecord(Record.TO_EXCLUDE, IPv4Address("224.0.0.251")),))


def test_joining_and_leaving_are_told_apart() -> None:
    assert GroupRecord(Record.TO_EXCLUDE, GROUP).joined
    assert GroupRecord(Record.IS_EXCLUDE, GROUP).joined
    assert not GroupRecord(Record.TO_INCLUDE, GROUP).joined
    assert GroupRecord(Record.TO_INCLUDE, GROUP, (IPv4Address("10.0.0.1"),)).joined
    assert not GroupRecord(Record.BLOCK, GROUP, (IPv4Address("10.0.0.1"),)).joined


@pytest.mark.parametrize("seconds", [0.1, 12.7, 12.8, 100.0, 3174.4])
def test_response_times_survive_the_floating_code_of_version_3(seconds: float) -> None:
    parsed = igmp.parse(igmp.encode(Query(3, max_response_s=seconds)))
    assert isinstance(parsed, Query)
    assert seconds * 15 / 16 <= parsed.max_response_s <= seconds


records = st.builds(GroupRecord, st.integers(1, 6), addresses, st.lists(addresses, max_size=4).map(tuple))
messages = st.one_of(
    st.builds(Query, st.just(2), addresses, st.integers(0, 255).map(lambda n: n / 10)),
    st.builds(
        Query, st.just(3), addresses, st.integers(0, 127).map(lambda n: n / 10), st.integers(0, 7),
        st.integers(0, 127).map(float), st.lists(addresses, max_size=4).map(tuple),
    ),
    st.builds(Leave, addresses),
    st.builds(Report, st.just(3), st.lists(records, max_size=4).map(tuple)),
    st.builds(lambda v, g: Report(v, (GroupRecord(Record.IS_EXCLUDE, g),)), st.sampled_from([1, 2]), addresses),
)  # fmt: skip


@given(messages)
def test_every_message_survives_the_wire(message: igmp.Message) -> None:
    data = igmp.encode(message)
    assert igmp.checksum(data) == 0
    assert igmp.parse(data) == message


@given(messages, st.integers(0, 10_000), st.integers(1, 255))
def test_one_wrong_byte_is_seen_by_the_checksum(message: igmp.Message, place: int, change: int) -> None:
    data = bytearray(igmp.encode(message))
    data[place % len(data)] ^= change
    with pytest.raises(MalformedIgmp):
        igmp.parse(bytes(data))


@given(st.sampled_from([0x11, 0x12, 0x16, 0x17, 0x22, 0x99]), st.binary(max_size=64))
def test_any_bytes_with_a_right_checksum_are_a_message_or_refused(kind: int, rest: bytes) -> None:
    body = bytes([kind, 0, 0, 0]) + rest
    data = body[:2] + igmp.checksum(body).to_bytes(2, "big") + body[4:]
    try:
        igmp.parse(data)
    except MalformedIgmp:
        return
    assert len(data) >= 8
