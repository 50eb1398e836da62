"""Frames of a cast: DATA to the group; FEEDBACK, PROBE and ECHO between receiver and sender.

Format and rules: docs/cast-protocol.md section 2; numbers are in network order. A set of chunks is a Python integer
used as a bit set, bit n for chunk n: union, difference and "next after" of half a million chunks cost microseconds.
Nothing here is trusted: DATA is proved by its chunk's id, the others by their MAC.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from hmac import compare_digest

from blake3 import blake3

from appliance.errors import BadData

MAGIC = 0x4443
VERSION = 1
MAX_FRAME_BYTES = 1472  # 1500 (Ethernet) - 20 (IPv4) - 8 (UDP)
MAX_FEEDBACK_BYTES = 1400
MAC_BYTES = 16
KEY_BYTES = 32
MAX_CHUNKS = 1 << 24  # 16 TB of 1 MiB windows
MAX_CHUNK_BYTES = (4 << 20) + (16 << 10) + 1024  # docs/image-format.md section 2
MAX_ROUNDS = 255
_KEY_CONTEXT = "diecast 2026 cast feedback"
_BITMAP_BYTES = 128  # of one BITS item, at most
_WORD = 0xFFFFFFFF

_HEAD = struct.Struct("!HBBQ")
_DATA = struct.Struct("!HBBQIIIH")
_FEEDBACK = struct.Struct("!HBBQIIIIIIIIBBHII")
_BEAT = struct.Struct("!HBBQIQHH")
_RANGE = struct.Struct("!BII")
_BITS = struct.Struct("!BIB")
_PART = struct.Struct("!BIB")
DATA_HEADER_BYTES = _DATA.size
SEGMENT_BYTES = MAX_FRAME_BYTES - DATA_HEADER_BYTES
_ITEM_RANGE, _ITEM_BITS, _ITEM_PART = 1, 2, 3
PART_LIMIT = 160  # PART items in one FEEDBACK, so that RANGE and BITS keep a third of it


class BadFrame(BadData):
    """Bytes that are no frame of this protocol, or not from whom they say."""


class Kind(IntEnum):
    """The fourth byte of a frame."""

    DATA = 1
    FEEDBACK = 2
    PROBE = 3
    ECHO = 4


class Flag(IntFlag):
    """What a receiver says about itself."""

    NONE = 0
    LEAVING = 1
    COMPLETE = 2
    DEAF = 4  # hears ECHO, but nothing that is sent to the group
    SILENT = 8  # has heard no sequence of this cast yet: `highest` says nothing


class Notice(IntFlag):
    """What the sender says in a PROBE or an ECHO."""

    NONE = 0
    WAITING = 1  # for more PCs, before it begins
    MOVED = 2  # ECHO: this receiver is not served any more and goes on by NFS
    ENDED = 4  # the cast is over


@dataclass(frozen=True, slots=True)
class Data:
    """The header of one DATA frame: one segment of one chunk file, or one parity segment."""

    cast_id: int
    sequence: int
    chunk: int
    length: int  # of the chunk file, bytes
    segment: int  # from `segments` on: parity

    @property
    def segments(self) -> int:
        """How many segments the chunk file has."""
        return segment_count(self.length)


@dataclass(frozen=True, slots=True)
class Part:
    """A chunk that a receiver has in part: so many rounds of parity would complete it."""

    chunk: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Feedback:
    """What one receiver wants, and how it fares. Counts are since its last message."""

    cast_id: int
    receiver: int
    number: int
    highest: int = 0
    heard: int = 0  # DATA frames
    missed: int = 0  # gaps in the sequence
    dropped: int = 0  # DATA frames for which the buffer had no room
    written: int = 0  # chunks on the disk, altogether
    taken: int = 0  # bytes of chunk files that left the buffer
    room: int = 255  # free share of the buffer, in 255ths
    flags: Flag = Flag.NONE
    first: int = 0
    end: int = 0
    wanted: int = 0  # bit set; within first..end
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Beat:
    """A PROBE or an ECHO."""

    kind: Kind
    cast_id: int
    sequence: int  # of the next DATA frame
    stamp: int  # PROBE: the sender's clock, ms; ECHO: number of the FEEDBACK that it answers
    present: int = 0  # receivers that are there
    notice: Notice = Notice.NONE


def segment_count(length: int) -> int:
    """How many segments a chunk file of `length` bytes has."""
    return -(-length // SEGMENT_BYTES)


def after(a: int, b: int) -> bool:
    """Whether sequence `a` comes after `b`, modulo 2^32 (RFC 1982)."""
    return 0 < (a - b) & _WORD < 1 << 31


def feedback_key(token_hash: bytes) -> bytes:
    """The key of a receiver's FEEDBACK and ECHO, from the hash of its task's token, which both sides have."""
    return blake3(token_hash, derive_key_context=_KEY_CONTEXT).digest()


def kind_of(frame: bytes | memoryview) -> tuple[Kind, int]:
    """Kind and cast id of a frame. Raises `BadFrame`."""
    if len(frame) < _HEAD.size:
        raise BadFrame(f"a frame of {len(frame)} bytes")
    magic, version, kind, cast_id = _HEAD.unpack_from(frame)
    if magic != MAGIC or version != VERSION:
        raise BadFrame("not a frame of version 1")
    try:
        return Kind(kind), cast_id
    except ValueError:
        raise BadFrame(f"kind {kind} is unknown") from None


def data_header(data: Data) -> bytes:
    """The bytes before a segment."""
    return _DATA.pack(
        MAGIC, VERSION, Kind.DATA, data.cast_id, data.sequence & _WORD, data.chunk, data.length, data.segment
    )


def data_frames(first: Data, payloads: Iterable[bytes | memoryview]) -> bytes:
    """Consecutive DATA frames, the first with `first` as its header, in one buffer: for one send with `UDP_SEGMENT`
    of `MAX_FRAME_BYTES`. Only the last payload may be short."""
    out: list[bytes | memoryview] = []
    pack, cast_id, chunk, length = _DATA.pack, first.cast_id, first.chunk, first.length
    sequence, segment = first.sequence, first.segment
    for payload in payloads:
        out.append(pack(MAGIC, VERSION, 1, cast_id, sequence & _WORD, chunk, length, segment))
        out.append(payload)
        sequence, segment = sequence + 1, segment + 1
    return b"".join(out)


def parse_data(buffer: bytes | memoryview, at: int, size: int) -> Data:
    """The header of the DATA frame of `size` bytes at `at`. Raises `BadFrame` unless all fits."""
    if not DATA_HEADER_BYTES < size <= MAX_FRAME_BYTES or at + size > len(buffer):
        raise BadFrame(f"DATA of {size} bytes")
    magic, version, kind, cast_id, sequence, chunk, length, segment = _DATA.unpack_from(buffer, at)
    if magic != MAGIC or version != VERSION or kind != 1:
        raise BadFrame("not DATA of version 1")
    if chunk >= MAX_CHUNKS or not 0 < length <= MAX_CHUNK_BYTES:
        raise BadFrame(f"chunk {chunk} of {length} bytes")
    last = segment_count(length) - 1
    expected = SEGMENT_BYTES if segment != last else length - last * SEGMENT_BYTES
    if size - DATA_HEADER_BYTES != expected:
        raise BadFrame(f"segment {segment} has {size - DATA_HEADER_BYTES} bytes, not {expected}")
    return Data(cast_id, sequence, chunk, length, segment)


def pack_beat(beat: Beat, key: bytes) -> bytes:
    """A PROBE or ECHO with its MAC."""
    body = _BEAT.pack(
        MAGIC, VERSION, beat.kind, beat.cast_id, beat.sequence & _WORD, beat.stamp, min(beat.present, 0xFFFF),
        beat.notice,
    )  # fmt: skip
    return body + _mac(body, key)


def parse_beat(frame: bytes | memoryview, key: bytes) -> Beat:
    """A PROBE or ECHO whose MAC is right. Raises `BadFrame`."""
    kind, cast_id = kind_of(frame)
    if kind not in (Kind.PROBE, Kind.ECHO) or len(frame) != _BEAT.size + MAC_BYTES:
        raise BadFrame(f"no PROBE or ECHO: kind {kind}, {len(frame)} bytes")
    _prove(frame, key)
    *_, sequence, stamp, present, notice = _BEAT.unpack_from(frame)
    return Beat(kind, cast_id, sequence, stamp, present, Notice(notice & 7))


def sender_of(frame: bytes | memoryview) -> tuple[int, int]:
    """Cast id and receiver number of a FEEDBACK, to find its key by. Nothing is proved yet. Raises `BadFrame`."""
    kind, cast_id = kind_of(frame)
    if kind is not Kind.FEEDBACK or not _FEEDBACK.size + MAC_BYTES <= len(frame) <= MAX_FEEDBACK_BYTES:
        raise BadFrame(f"no FEEDBACK: kind {kind}, {len(frame)} bytes")
    return cast_id, _FEEDBACK.unpack_from(frame)[4]


def pack_feedback(feedback: Feedback, key: bytes) -> tuple[bytes, int]:
    """FEEDBACK about as many chunks from `first` on as fit, and the chunk that it reaches (its `end`).

    At most `PART_LIMIT` parts go in, the first ones."""
    f = feedback
    parts = b"".join(
        _PART.pack(_ITEM_PART, part.chunk, max(1, min(part.rounds, MAX_ROUNDS))) for part in f.parts[:PART_LIMIT]
    )
    items, end = _wanted_items(f.wanted, f.first, f.end, MAX_FEEDBACK_BYTES - _FEEDBACK.size - MAC_BYTES - len(parts))
    body = _FEEDBACK.pack(
        MAGIC, VERSION, Kind.FEEDBACK, f.cast_id, f.receiver, f.number, f.highest & _WORD, f.heard & _WORD,
        f.missed & _WORD, f.dropped & _WORD, f.written & _WORD, f.taken & _WORD, f.room, f.flags, 0, f.first, end,
    )  # fmt: skip
    body += items + parts
    return body + _mac(body, key), end


def _wanted_items(wanted: int, first: int, end: int, room: int) -> tuple[bytes, int]:
    """RANGE and BITS items for `first`..`end`; returns them and the chunk they reach."""
    out: list[bytes] = []
    at = first
    while at < end:
        rest = (wanted >> at) & ((1 << (end - at)) - 1)
        if not rest:
            break
        at += (rest & -rest).bit_length() - 1
        run = _run_length(wanted >> at, end - at)
        if run >= _BITMAP_BYTES:
            item, step = _RANGE.pack(_ITEM_RANGE, at, run), run
        else:
            step = min(_BITMAP_BYTES * 8, end - at)
            bits = (wanted >> at) & ((1 << step) - 1)
            length = (bits.bit_length() + 7) // 8
            item = _BITS.pack(_ITEM_BITS, at, length) + bits.to_bytes(length, "little")
        if len(item) > room:
            return b"".join(out), at
        out.append(item)
        room -= len(item)
        at += step
    return b"".join(out), end


def _run_length(bits: int, limit: int) -> int:
    """How many of the lowest bits are one, at most `limit`."""
    zeros = ~bits & ((1 << limit) - 1)
    return limit if not zeros else (zeros & -zeros).bit_length() - 1


def parse_feedback(frame: bytes | memoryview, key: bytes) -> Feedback:
    """FEEDBACK whose MAC is right. Raises `BadFrame`."""
    sender_of(frame)
    _prove(frame, key)
    _, _, _, cast_id, receiver, number, *counts, room, flags, _, first, end = _FEEDBACK.unpack_from(frame)
    if not first <= end <= MAX_CHUNKS:
        raise BadFrame(f"chunks {first} to {end}")
    wanted, parts = _parse_items(bytes(frame[_FEEDBACK.size : -MAC_BYTES]), first, end)
    highest, heard, missed, dropped, written, taken = counts
    return Feedback(
        cast_id, receiver, number, highest, heard, missed, dropped, written, taken, room, Flag(flags & 15), first, end,
        wanted, parts,
    )  # fmt: skip


def _parse_items(data: bytes, first: int, end: int) -> tuple[int, tuple[Part, ...]]:
    wanted, parts, at = 0, [], 0
    try:
        while at < len(data):
            if data[at] == _ITEM_RANGE:
                _, chunk, count = _RANGE.unpack_from(data, at)
                at += _RANGE.size
                if not first <= chunk <= chunk + count <= end:
                    raise BadFrame(f"chunks {chunk} and {count} more are outside {first} to {end}")
                bits = (1 << count) - 1
            elif data[at] == _ITEM_BITS:
                _, chunk, length = _BITS.unpack_from(data, at)
                at += _BITS.size + length
                bits = int.from_bytes(data[at - length : at], "little")
                if at > len(data) or not first <= chunk <= chunk + bits.bit_length() <= end:
                    raise BadFrame(f"a bitmap of {length} bytes from chunk {chunk} does not fit {first} to {end}")
            elif data[at] == _ITEM_PART:
                _, chunk, rounds = _PART.unpack_from(data, at)
                at += _PART.size
                parts.append(Part(chunk, rounds))
                continue
            else:
                raise BadFrame(f"item {data[at]} is unknown")
            wanted |= bits << chunk
    except struct.error:
        raise BadFrame("an item is cut short") from None
    return wanted, tuple(parts)


def _mac(body: bytes | memoryview, key: bytes) -> bytes:
    return blake3(body, key=key).digest(MAC_BYTES)


def _prove(frame: bytes | memoryview, key: bytes) -> None:
    if not compare_digest(_mac(frame[:-MAC_BYTES], key), bytes(frame[-MAC_BYTES:])):
        raise BadFrame("the MAC is wrong")
