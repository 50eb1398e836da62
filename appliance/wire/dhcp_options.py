"""DHCP options: numbers, and the type-length-value code between bytes and a plain dictionary.

References: RFC 2132 (options), RFC 3396 (values longer than 255 bytes, and values spread over option 52's areas),
RFC 3046 (82), RFC 3004 (77), RFC 4578 (93, 94, 97), RFC 6842 (61 is echoed), PXE 2.1 (43, 60).

A dictionary keeps the order in which options are to be sent; its values are the raw bytes, so that an option nobody
here knows survives an echo. The `*_of` functions read one typed value and raise `MalformedOption` for a wrong length.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from ipaddress import IPv4Address

from appliance.errors import BadData

PAD = 0
END = 255
MAX_PART = 255  # bytes of one option's value before RFC 3396 splits it


class MalformedOption(BadData):
    """An option is cut short or has the wrong length for its number."""


class Opt(IntEnum):
    """The options this box reads or sends, by their number."""

    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN = 15
    BROADCAST = 28
    NTP = 42
    VENDOR_SPECIFIC = 43
    REQUESTED_ADDRESS = 50
    LEASE_TIME = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETER_LIST = 55
    MESSAGE = 56
    MAX_SIZE = 57
    T1 = 58
    T2 = 59
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    RELAY_AGENT = 82
    CLIENT_ARCH = 93
    CLIENT_NDI = 94
    CLIENT_MACHINE_ID = 97
    IPXE = 175


class MessageType(IntEnum):
    """Option 53 (RFC 2132 section 9.6)."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


Options = dict[int, bytes]


def parse_options(*areas: bytes) -> Options:
    """Read the options of one or more areas; an option that is repeated is one long value (RFC 3396 section 7).

    A missing end mark is forgiven, as other servers do; raises `MalformedOption` when a length runs past its area.
    """
    options: Options = {}
    for area in areas:
        at, size = 0, len(area)
        while at < size:
            code = area[at]
            at += 1
            if code == PAD:
                continue
            if code == END:
                break
            if at >= size:
                raise MalformedOption(f"option {code} ends before its length")
            end = at + 1 + area[at]
            if end > size:
                raise MalformedOption(f"option {code} says {area[at]} bytes, but only {size - at - 1} follow")
            value = area[at + 1 : end]
            options[code] = options[code] + value if code in options else value
            at = end
    return options


def parse_overloaded(options_area: bytes, file: bytes, sname: bytes) -> tuple[Options, int]:
    """Read all areas that option 52 names, in RFC 3396's order; return options and which areas were used (0 to 3).

    Option 52 counts in the options area only, so that areas cannot refer to each other in a circle.
    """
    first = parse_options(options_area)
    if Opt.OVERLOAD not in first:
        return first, 0
    overload = u8_of(first, Opt.OVERLOAD) or 0
    if overload not in (1, 2, 3):
        raise MalformedOption(f"option 52 (overload) is {overload}, but must be 1, 2 or 3")
    areas = [options_area]
    if overload & 1:
        areas.append(file)
    if overload & 2:
        areas.append(sname)
    options = parse_options(*areas)
    options.pop(Opt.OVERLOAD, None)
    return options, overload


def _parts(options: Mapping[int, bytes]) -> Iterator[bytes]:
    for code, value in options.items():
        if len(value) <= MAX_PART:
            yield bytes((code, len(value))) + value
            continue
        for at in range(0, len(value), MAX_PART):
            part = value[at : at + MAX_PART]
            yield bytes((code, len(part))) + part


def encode_options(options: Mapping[int, bytes]) -> bytes:
    """Write `options` in their order, long ones in parts (RFC 3396), and the end mark."""
    return b"".join(_parts(options)) + b"\xff"


def encode_overloaded(options: Mapping[int, bytes], sizes: tuple[int, int, int]) -> tuple[bytes, bytes, bytes]:
    """Write `options` into the options area, `file` and `sname`, whose sizes in bytes are given; 0 means taken.

    Message type and overload come first (RFC 2131 section 4.1). Raises `MalformedOption` when they do not fit.
    """
    room, file_room, sname_room = sizes
    areas = [bytearray(), bytearray(), bytearray()]
    limits = (room - 3 - 1, file_room - 1, sname_room - 1)  # 3: option 52 itself; 1: the end mark
    current = 0
    for part in _parts(options):
        # Areas are filled in RFC 3396's order: parts of one value must keep theirs.
        while current < 3 and len(areas[current]) + len(part) > limits[current]:
            current += 1
        if current == 3:
            raise MalformedOption(f"the options need more than {room} bytes and no header field is free for them")
        areas[current] += part
    used = (1 if areas[1] else 0) | (2 if areas[2] else 0)
    if used:
        head = 3 if areas[0][:2] == b"\x35\x01" else 0
        areas[0][head:head] = bytes((Opt.OVERLOAD, 1, used))
    return bytes(areas[0]) + b"\xff", _ended(areas[1]), _ended(areas[2])


def _ended(area: bytearray) -> bytes:
    return bytes(area) + b"\xff" if area else b""


def _sized(options: Mapping[int, bytes], code: int, size: int) -> bytes | None:
    value = options.get(code)
    if value is not None and len(value) != size:
        raise MalformedOption(f"option {int(code)} has {len(value)} bytes, but must have {size}")
    return value


def u8_of(options: Mapping[int, bytes], code: int) -> int | None:
    """One byte, or None when absent."""
    value = _sized(options, code, 1)
    return None if value is None else value[0]


def u16_of(options: Mapping[int, bytes], code: int) -> int | None:
    """Two bytes in network order, or None when absent."""
    value = _sized(options, code, 2)
    return None if value is None else int.from_bytes(value, "big")


def address_of(options: Mapping[int, bytes], code: int) -> IPv4Address | None:
    """One IPv4 address, or None when absent."""
    value = _sized(options, code, 4)
    return None if value is None else IPv4Address(int.from_bytes(value, "big"))


def text_of(options: Mapping[int, bytes], code: int) -> str:
    """Printable text without trailing NUL; what is not printable ASCII becomes '?', so that it can go into a log."""
    raw = options.get(code, b"").rstrip(b"\0")
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw)


def suboptions_of(options: Mapping[int, bytes], code: int) -> Options:
    """The encapsulated options of 43, 82 or 175; empty when absent. Raises `MalformedOption`."""
    return parse_options(options.get(code, b""))


def u32(value: int) -> bytes:
    """Four bytes in network order; more than fits becomes 0xffffffff (RFC 2131: infinity)."""
    return min(value, 0xFFFFFFFF).to_bytes(4, "big")


def packed(addresses: Iterable[IPv4Address]) -> bytes:
    """IPv4 addresses one after another."""
    return b"".join(address.packed for address in addresses)


def encode_suboptions(options: Mapping[int, bytes]) -> bytes:
    """The content of 43 or 175: options and the end mark, which PXE 2.1 asks for inside 43."""
    return encode_options(options)
