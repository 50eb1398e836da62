"""Options between bytes and dictionary: RFC 2132, RFC 3396, option 52, and everything that is not an option at all."""

from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.wire import dhcp_options as codec
from appliance.wire.dhcp_options import MalformedOption, MessageType, Opt

OPTIONS = st.dictionaries(st.integers(1, 254).filter(lambda n: n != Opt.OVERLOAD), st.binary(max_size=600), max_size=8)


@given(OPTIONS)
@settings(max_examples=200)
def test_what_is_written_is_read_again_however_long_the_values_are(options: dict[int, bytes]) -> None:
    assert codec.parse_options(codec.encode_options(options)) == options


@given(st.binary(max_size=1500), st.binary(max_size=128), st.binary(max_size=64))
@settings(max_examples=400)
def test_random_bytes_give_options_or_one_kind_of_error(area: bytes, file: bytes, sname: bytes) -> None:
    try:
        options, overload = codec.parse_overloaded(area, file, sname)
    except MalformedOption:
        return
    assert overload in (0, 1, 2, 3)
    assert all(0 < code < 255 for code in options)


@given(OPTIONS.filter(bool), st.data())
@settings(max_examples=200)
def test_a_truncated_area_never_invents_bytes(options: dict[int, bytes], data: st.DataObject) -> None:
    whole = codec.encode_options(options)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        found = codec.parse_options(cut)
    except MalformedOption:
        return
    assert all(options[code].startswith(value) for code, value in found.items())


def test_a_length_that_runs_past_the_area_is_named_with_both_numbers() -> None:
    with pytest.raises(MalformedOption, match="option 12 says 9 bytes, but only 2 follow"):
        codec.parse_options(b"\x0c\x09ab")


def test_an_option_without_its_length_is_refused() -> None:
    with pytest.raises(MalformedOption, match="option 53 ends before its length"):
        codec.parse_options(b"\x00\x00\x35")


def test_a_missing_end_mark_is_forgiven() -> None:
    assert codec.parse_options(b"\x35\x01\x01") == {53: b"\x01"}


def test_a_repeated_option_is_one_long_value() -> None:
    assert codec.parse_options(b"\x43\x02ab\x35\x01\x01\x43\x02cd\xff") == {67: b"abcd", 53: b"\x01"}


def test_what_stands_after_the_end_mark_is_no_option() -> None:
    assert codec.parse_options(b"\x35\x01\x01\xff\x0c\x01x") == {53: b"\x01"}


@pytest.mark.parametrize(
    ("overload", "expected"),
    [
        (1, {53: b"\x01", 12: b"file"}),
        (2, {53: b"\x01", 12: b"sname"}),
        (3, {53: b"\x01", 12: b"filesname"}),
    ],
)
def test_overload_names_the_fields_that_hold_more_options(overload: int, expected: dict[int, bytes]) -> None:
    area = b"\x35\x01\x01\x34\x01" + bytes((overload,)) + b"\xff"
    assert codec.parse_overloaded(area, b"\x0c\x04file\xff", b"\x0c\x05sname\xff") == (expected, overload)


def test_overload_inside_an_overloaded_field_leads_nowhere() -> None:
    """The file field says that sname holds options as well; only the options area may say so."""
    options, overload = codec.parse_overloaded(b"\x34\x01\x01\xff", b"\x34\x01\x03\xff", b"\x0c\x05sname\xff")
    assert (options, overload) == ({}, 1)


def test_an_overload_that_no_rfc_knows_is_refused() -> None:
    with pytest.raises(MalformedOption, match="overload"):
        codec.parse_overloaded(b"\x34\x01\x09\xff", b"", b"")


@given(OPTIONS, st.integers(60, 400))
@settings(max_examples=200)
def test_what_is_spread_over_the_header_fields_is_read_again(options: dict[int, bytes], room: int) -> None:
    options = {Opt.MESSAGE_TYPE: b"\x02", **{code: value for code, value in options.items() if code != 53}}
    try:
        areas = codec.encode_overloaded(options, (room, 128, 64))
    except MalformedOption:
        return
    assert len(areas[0]) <= room
    assert len(areas[1]) <= 128
    assert len(areas[2]) <= 64
    assert areas[0][:3] == b"\x35\x01\x02"
    assert codec.parse_overloaded(areas[0], areas[1].ljust(128, b"\0"), areas[2].ljust(64, b"\0"))[0] == options


def test_options_that_fit_nowhere_are_an_error_and_not_a_truncation() -> None:
    with pytest.raises(MalformedOption, match="no header field is free"):
        codec.encode_overloaded({12: b"x" * 255}, (100, 0, 0))


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x01\x02\x03", b"\x01\x02\x03\x04\x05"])
def test_an_address_of_another_length_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedOption, match="option 50"):
        codec.address_of({50: value}, Opt.REQUESTED_ADDRESS)


def test_typed_values_are_read_in_network_order() -> None:
    options = {57: b"\x05\xc0", 53: b"\x03", 50: bytes(range(4))}
    assert codec.u16_of(options, Opt.MAX_SIZE) == 1472
    assert codec.u8_of(options, Opt.MESSAGE_TYPE) == MessageType.REQUEST
    assert codec.address_of(options, Opt.REQUESTED_ADDRESS) == IPv4Address("0.1.2.3")
    assert (codec.u8_of({}, 53), codec.u16_of({}, 57)) == (None, None)
    assert codec.address_of({}, 50) is None


def test_names_from_the_network_cannot_break_a_log_line() -> None:
    assert codec.text_of({12: b"pc\n1\x1b[2J\xff\0"}, Opt.HOST_NAME) == "pc?1?[2J?"


def test_a_lease_longer_than_the_field_is_for_ever() -> None:
    assert codec.u32(2**40) == b"\xff\xff\xff\xff"
