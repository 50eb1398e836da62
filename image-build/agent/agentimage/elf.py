"""Which shared libraries an ELF file needs and what its sections hold, read from the file: nothing foreign is run.

References: elf(5), System V ABI chapter 5 (dynamic linking).
"""

from __future__ import annotations

import struct
from pathlib import Path

MAGIC_64_LITTLE = b"\x7fELF\x02\x01"
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NULL, DT_NEEDED, DT_STRTAB = 0, 1, 5


def needed(path: Path) -> list[str]:
    """Names of the libraries that `path` needs; empty when it is no 64-bit ELF file or needs none."""
    with path.open("rb") as file:
        if file.read(6) != MAGIC_64_LITTLE:
            return []
    image = path.read_bytes()
    segments = _segments(image)
    dynamic = next((segment for segment in segments if segment[0] == PT_DYNAMIC), None)
    if dynamic is None:
        return []
    names, strings = [], 0
    for position in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        tag, value = struct.unpack_from("<qQ", image, position)
        if tag == DT_NULL:
            break
        if tag == DT_NEEDED:
            names.append(value)
        elif tag == DT_STRTAB:
            strings = _file_offset(segments, value)
    return [image[strings + name : image.index(b"\0", strings + name)].decode() for name in names]


def _segments(image: bytes) -> list[tuple[int, int, int, int, int, int, int, int]]:
    start = struct.unpack_from("<Q", image, 32)[0]
    size, count = struct.unpack_from("<HH", image, 54)
    # type, flags, offset, vaddr, paddr, filesz, memsz, align
    return [struct.unpack_from("<IIQQQQQQ", image, start + size * index) for index in range(count)]


def _file_offset(segments: list[tuple[int, int, int, int, int, int, int, int]], address: int) -> int:
    for kind, _, offset, start, _, size, _, _ in segments:
        if kind == PT_LOAD and start <= address < start + size:
            return offset + address - start
    raise ValueError(f"address {address:#x} is in no segment")


def section(image: bytes, name: bytes) -> bytes:
    """The content of the section `name` of a 64-bit ELF file; empty when it has none."""
    start = struct.unpack_from("<Q", image, 40)[0]
    size, count, names_index = struct.unpack_from("<HHH", image, 58)
    # name, type, flags, addr, offset, size, link, info, addralign, entsize
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, start + size * index) for index in range(count)]
    names = headers[names_index][4]
    for header in headers:
        if image.startswith(name + b"\0", names + header[0]):
            return image[header[4] : header[4] + header[5]]
    return b""
