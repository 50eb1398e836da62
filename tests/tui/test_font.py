"""The fonts of the Linux console hold every sign that the console draws.

Debian's own fonts are read (package console-setup-linux), as setfont reads them.
"""

from __future__ import annotations

import struct

import pytest

from appliance.tui.widgets.glyphs import GLYPHS, drawable
from tests.tui import catalogue
from tests.tui.psf import PSF1_MAGIC, PSF1_TABLE, PSF2_MAGIC, PSF2_TABLE, NoFont, characters, held

# What console-setup takes for CODESET Lat15 and Uni2, in the shapes and sizes that fit 80x25 and more.
NAMES = ("Lat15-Fixed16", "Lat15-VGA16", "Lat15-Terminus16", "Uni2-Fixed16", "Uni2-VGA16", "Uni2-Terminus16")


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
    old = PSF1_MAGIC + bytes([PSF1_TABLE, 2]) + bytes(512) + table.encode("utf-16-le")
    assert characters(old) == {"A": 0, "Α": 0, "é": 1}
    new = PSF2_MAGIC + struct.pack("<7I", 0, 32, PSF2_TABLE, 2, 3, 3, 8) + bytes(6)
    new += "AΑ".encode() + b"\xff" + "é".encode() + b"\xfe" + "e\u0301".encode() + b"\xff"
    assert characters(new) == {"A": 0, "Α": 0, "é": 1}


def test_what_is_no_font_with_a_whole_table_is_refused() -> None:
    for broken in (b"PK\x03\x04", PSF1_MAGIC + bytes([0, 2]) + bytes(512), PSF1_MAGIC + bytes([2, 2]) + bytes(512)):
        with pytest.raises(NoFont):
            characters(broken)
