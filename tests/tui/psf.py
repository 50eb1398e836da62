"""Which characters a font of the Linux console has shapes for.

References: psfgettable(1) of the kbd package. PSF1 (magic 36 04) and PSF2 (magic 72 b5 4a 86) have a table behind their
shapes that says which characters each shape stands for: UCS-2 little-endian up to FFFF, or UTF-8 up to FF; what follows
FFFE or FE are sequences, which a console does not compose.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

FONTS = Path("/usr/share/consolefonts")  # Debian's package console-setup-linux
PSF1_MAGIC, PSF2_MAGIC = b"\x36\x04", b"\x72\xb5\x4a\x86"
_PSF1_512, PSF1_TABLE, _PSF1_SEQUENCES = 1, 2, 4
PSF2_TABLE = 1


class NoFont(ValueError):
    """Not a PSF font with a table."""


def characters(font: bytes) -> dict[str, int]:
    """Every character that a font has a shape for, with the shape's number. Raises `NoFont`."""
    if font.startswith(PSF1_MAGIC):
        return _psf1(font)
    if font.startswith(PSF2_MAGIC):
        return _psf2(font)
    raise NoFont(f"the font begins with {font[:4].hex()}")


def _psf1(font: bytes) -> dict[str, int]:
    mode, height = font[2], font[3]
    if not mode & (PSF1_TABLE | _PSF1_SEQUENCES):
        raise NoFont("the font says of no shape what it stands for")
    shapes = 512 if mode & _PSF1_512 else 256
    found: dict[str, int] = {}
    shape, alone = 0, True
    for (unit,) in struct.iter_unpack("<H", font[4 + shapes * height :]):
        if unit == 0xFFFF:
            shape, alone = shape + 1, True
        elif unit == 0xFFFE:
            alone = False
        elif alone:
            found.setdefault(chr(unit), shape)
    if shape != shapes:
        raise NoFont(f"the font has {shapes} shapes, its table {shape}")
    return found


def _psf2(font: bytes) -> dict[str, int]:
    _version, header, flags, shapes, size, _height, _width = struct.unpack_from("<7I", font, 4)
    if not flags & PSF2_TABLE:
        raise NoFont("the font says of no shape what it stands for")
    entries = font[header + shapes * size :].split(b"\xff")
    if len(entries) != shapes + 1:
        raise NoFont(f"the font has {shapes} shapes, its table {len(entries) - 1}")
    found: dict[str, int] = {}
    for shape, entry in enumerate(entries[:-1]):
        for char in entry.partition(b"\xfe")[0].decode("utf-8"):
            found.setdefault(char, shape)
    return found


def held(name: str) -> dict[str, int]:
    """Every character that one of Debian's fonts has a shape for."""
    return characters(gzip.decompress((FONTS / f"{name}.psf.gz").read_bytes()))
