"""The fonts of the Linux console hold every sign that the console draws.

Debian's own fonts are read (package console-setup-linux), as setfont reads them.
References: psfgettable(1) of the kbd package. PSF1 (magic 36 04) and PSF2 (magic 72 b5 4a 86) have a table behind their
shapes that says which characters each shape stands for: UCS-2 little-endian up to FFFF, or UTF-8 up to FF; what follows
FFFE or FE are sequences, which a console does not compose.
"""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import pytest

from appliance.tui.widgets.glyphs import GLYPHS, drawable
from tests.tui import catalogue

FONTS = Path("/usr/share/consolefonts")
# What console-setup takes for CODESET Lat15 and Uni2, in the shapes and sizes that fit 80x25 and more.
NAMES = ("Lat15-Fixed16", "Lat15-VGA16", "Lat15-Terminus16", "Uni2-Fixed16", "Uni2-VGA16", "Uni2-Terminus16")

PSF1_MAGIC, PSF2_MAGIC = b"\x36\x04", b"\x72\xb5\x4a\x86"
_PSF1_512, _PSF1_TABLE, _PSF1_SEQUENCES = 1, 2, 4
_PSF2_TABLE = 1


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
    if not mode & (_PSF1_TABLE | _PSF1_SEQUENCES):
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
    if not flags & _PSF2_TABLE:
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
    return characters(gzip.decompress((FONTS / f"{name}.psf.gz").read_bytes()))


def said() -> set[str]:
    """Every character of the console's English and French."""
    messages, held = catalogue.found(), catalogue.read()
    texts = [
        *messages.own,
        *messages.sentences,
        *messages.plurals,
        *(many for many, _files in messages.plurals.values()),
    ]
    for message in held:
        texts += [message.string] if isinstance(message.string, str) else list(message.string or ())
    return set("".join(texts)) - {"\n"}


@pytest.mark.parametrize("name", NAMES)
def test_the_console_font_holds_every_glyph_that_the_console_draws(name: str) -> None:
    font = held(name)
    assert [f"{char} U+{ord(char):04X}" for char in GLYPHS if char not in font] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_console_font_holds_every_letter_of_both_languages(name: str) -> None:
    font = held(name)
    letters = {char for char in said() if drawable(char)}
    assert len(letters) > 90
    assert {"é", "à", "ç", "É"} <= letters, "the French was read"
    assert sorted(letters - set(font)) == []


@pytest.mark.parametrize("name", NAMES)
def test_whatever_counts_as_drawable_is_in_the_console_font(name: str) -> None:
    font = held(name)
    assert [
        f"{char} U+{ord(char):04X}" for char in map(chr, range(0x10000)) if drawable(char) and char not in font
    ] == []


@pytest.mark.parametrize("name", NAMES)
def test_glyphs_that_mean_different_things_have_different_shapes(name: str) -> None:
    font = held(name)
    shapes = [font[char] for char in "█░▒■●▲▸"]
    assert len(set(shapes)) == len(shapes)


def test_a_font_is_read_in_both_formats_and_sequences_do_not_count() -> None:
    table = "".join(["A\N{GREEK CAPITAL LETTER ALPHA}\uffff", "é\ufffee\u0301\uffff", "\uffff" * 254])
    old = PSF1_MAGIC + bytes([_PSF1_TABLE, 2]) + bytes(512) + table.encode("utf-16-le")
    assert characters(old) == {"A": 0, "Α": 0, "é": 1}
    new = PSF2_MAGIC + struct.pack("<7I", 0, 32, _PSF2_TABLE, 2, 3, 3, 8) + bytes(6)
    new += "AΑ".encode() + b"\xff" + "é".encode() + b"\xfe" + "e\u0301".encode() + b"\xff"
    assert characters(new) == {"A": 0, "Α": 0, "é": 1}


def test_what_is_no_font_with_a_whole_table_is_refused() -> None:
    for broken in (b"PK\x03\x04", PSF1_MAGIC + bytes([0, 2]) + bytes(512), PSF1_MAGIC + bytes([2, 2]) + bytes(512)):
        with pytest.raises(NoFont):
            characters(broken)
