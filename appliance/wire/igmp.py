"""IGMP: general queries, membership reports and leaves. Bytes in, frozen dataclass out.

References: RFC 2236 (version 2), RFC 3376 (version 3: section 4.1 query, 4.2 report), RFC 1112 (version 1 report),
RFC 1071 (checksum), RFC 4541 (what snooping switches do with it). These are the bytes after the IPv4 header; a raw
socket of protocol 2 sends them with TTL 1 and the Router Alert option (RFC 2113): queries to 224.0.0.1, leaves to
224.0.0.2, version 3 reports to 224.0.0.22.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from appliance.errors import BadData

ALL_SYSTEMS = IPv4Address("224.0.0.1")
NO_GROUP = IPv4Address(0)
ROUTER_ALERT = b"\x94\x04\x00\x00"  # IPv4 option, RFC 2113
_QUERY, _REPORT_1, _REPORT_2, _LEAVE, _REPORT_3 = 0x11, 0x12, 0x16, 0x17, 0x22
_SHORT = struct.Struct("!BBH4s")  # type, max response time, checksum, group
_QUERY_3 = struct.Struct("!BBH4sBBH")  # the same, flags and QRV, QQIC, number of sources
_REPORT_HEAD = struct.Struct("!BBHHH")  # type, reserved, checksum, reserved, number of records
_RECORD = struct.Struct("!BBH4s")  # type, auxiliary words, number of sources, group


class MalformedIgmp(BadData):
    """Bytes that are no IGMP message, or a type that is not known here."""


class Record(IntEnum):
    """What a version 3 report says of a group (RFC 3376 section 4.2.12)."""

    IS_INCLUDE = 1
    IS_EXCLUDE = 2
    TO_INCLUDE = 3
    TO_EXCLUDE = 4
    ALLOW = 5
    BLOCK = 6


@dataclass(frozen=True, slots=True)
class Query:
    """Who is in which group? With `group` 0.0.0.0: in any."""

    version: int  # 2 or 3; a version 1 query is 2 with a response time of 0
    group: IPv4Address = NO_GROUP
    max_response_s: float = 10.0
    robustness: int = 2  # version 3 only
    interval_s: float = 125.0  # version 3 only
    sources: tuple[IPv4Address, ...] = ()  # version 3 only


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """One group of a report."""

    kind: int  # one of `Record`, or a number to be ignored
    group: IPv4Address
    sources: tuple[IPv4Address, ...] = ()

    @property
    def joined(self) -> bool:
        """Whether the reporter is in the group, from some source at least."""
        if self.kind in (Record.IS_EXCLUDE, Record.TO_EXCLUDE):
            return True
        return bool(self.sources) and self.kind in (Record.IS_INCLUDE, Record.TO_INCLUDE, Record.ALLOW)


@dataclass(frozen=True, slots=True)
class Report:
    """Groups that the reporter is in or leaves. Versions 1 and 2 have one record, made of kind `IS_EXCLUDE`."""

    version: int
    records: tuple[GroupRecord, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """Version 2: the reporter was the last to know of in `group`, and leaves."""

    group: IPv4Address


Message = Query | Report | Leave


def checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071); 0 over a message whose checksum is right."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def encode(message: Message) -> bytes:
    """The message with its checksum. A report of version 1 or 2 has exactly one record."""
    if isinstance(message, Query):
        body = _encode_query(message)
    elif isinstance(message, Leave):
        body = _SHORT.pack(_LEAVE, 0, 0, message.group.packed)
    elif message.version == 3:
        body = _REPORT_HEAD.pack(_REPORT_3, 0, 0, 0, len(message.records)) + b"".join(
            _RECORD.pack(item.kind, 0, len(item.sources), item.group.packed) + _packed(item.sources)
            for item in message.records
        )
    else:
        kind = _REPORT_1 if message.version == 1 else _REPORT_2
        body = _SHORT.pack(kind, 0, 0, message.records[0].group.packed)
    return body[:2] + checksum(body).to_bytes(2, "big") + body[4:]


def _encode_query(query: Query) -> bytes:
    tenths = round(query.max_response_s * 10)
    if query.version < 3:
        return _SHORT.pack(_QUERY, min(tenths, 255), 0, query.group.packed)
    return _QUERY_3.pack(
        _QUERY, _to_code(tenths), 0, query.group.packed, query.robustness & 7, _to_code(round(query.interval_s)),
        len(query.sources),
    ) + _packed(query.sources)  # fmt: skip


def _packed(addresses: tuple[IPv4Address, ...]) -> bytes:
    return b"".join(address.packed for address in addresses)


def _to_code(value: int) -> int:
    """RFC 3376 section 4.1.1: below 128 itself, above 1eeemmmm = (mant | 16) << (exp + 3), rounded down."""
    if value < 128:
        return max(value, 0)
    exponent = min(value.bit_length() - 8, 7)
    return 0x80 | exponent << 4 | (min(value >> (exponent + 3), 31) & 15)


def _from_code(code: int) -> int:
    return code if code < 128 else ((code & 15) | 16) << ((code >> 4 & 7) + 3)


def parse(data: bytes) -> Message:
    """The message in `data` (without the IPv4 header). Raises `MalformedIgmp`, also for types not known here."""
    if len(data) < _SHORT.size:
        raise MalformedIgmp(f"an IGMP message of {len(data)} bytes")
    if checksum(data):
        raise MalformedIgmp(f"the checksum of an IGMP message of {len(data)} bytes is wrong")
    kind, code, _, group_bytes = _SHORT.unpack_from(data)
    group = IPv4Address(group_bytes)
    if kind == _QUERY:
        return _parse_query(data, code, group)
    if kind == _REPORT_3:
        return Report(3, _parse_records(data))
    if kind in (_REPORT_1, _REPORT_2):
        return Report(1 if kind == _REPORT_1 else 2, (GroupRecord(Record.IS_EXCLUDE, group),))
    if kind == _LEAVE:
        return Leave(group)
    raise MalformedIgmp(f"IGMP type 0x{kind:02x} is unknown")


def _parse_query(data: bytes, code: int, group: IPv4Address) -> Query:
    """RFC 3376 section 7.1: 8 bytes are version 1 or 2, 12 and more are version 3."""
    if len(data) == _SHORT.size:
        return Query(2, group, code / 10)
    if len(data) < _QUERY_3.size:
        raise MalformedIgmp(f"a query of {len(data)} bytes")
    *_, flags, interval, count = _QUERY_3.unpack_from(data)
    sources = _parse_sources(data, _QUERY_3.size, count)
    return Query(3, group, _from_code(code) / 10, flags & 7, float(_from_code(interval)), sources)


def _parse_records(data: bytes) -> tuple[GroupRecord, ...]:
    *_, count = _REPORT_HEAD.unpack_from(data)
    records, at = [], _REPORT_HEAD.size
    for _ in range(count):
        if at + _RECORD.size > len(data):
            raise MalformedIgmp(f"a report of {len(data)} bytes says {count} records")
        kind, words, sources, group = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        records.append(GroupRecord(kind, IPv4Address(group), _parse_sources(data, at, sources)))
        at += 4 * (sources + words)
    if at > len(data):
        raise MalformedIgmp("the last record of a report is cut short")
    return tuple(records)


def _parse_sources(data: bytes, at: int, count: int) -> tuple[IPv4Address, ...]:
    if at + 4 * count > len(data):
        raise MalformedIgmp(f"{count} sources do not fit {len(data)} bytes")
    return tuple(IPv4Address(data[at + 4 * n : at + 4 * n + 4]) for n in range(count))
