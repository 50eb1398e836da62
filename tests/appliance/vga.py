"""What a screen in VGA text mode shows, read from its memory: 80x25 cells of a shape's number and a colour.

Linux scrolls by moving the first cell shown through 32 KiB of memory; registers 0C and 0D of the card say where it is.
With a font of 512 shapes bit 3 of the colour is the ninth bit of the number (Linux, vgacon: `vc_hi_font_mask`).
Shapes stand for several characters; the one that our console or ASCII would mean is read.
"""

from __future__ import annotations

from collections.abc import Mapping

from appliance.tui.widgets.glyphs import GLYPHS

ADDRESS, COLUMNS, LINES = 0xB8000, 80, 25
SIZE_BYTES = COLUMNS * LINES * 2
MEMORY_BYTES = 0x8000
REGISTER_INDEX, REGISTER_DATA = 0x3D4, 0x3D5
START_HIGH, START_LOW = 0x0C, 0x0D
_NINTH_BIT = 0x08
_BLANK = " "


def shapes_of(font: Mapping[str, int]) -> dict[int, str]:
    """For each shape of a font the character to read it as: ASCII first, then what the console draws."""

    def rank(char: str) -> tuple[int, str]:
        return (0 if char.isascii() else 1 if char in GLYPHS else 2), char

    found: dict[int, str] = {}
    for char, shape in font.items():
        if shape not in found or rank(char) < rank(found[shape]):
            found[shape] = char
    return found


def shown_of(memory: bytes, start: int) -> bytes:
    """The part of the card's memory that is shown, whose first cell is number `start`."""
    first = start * 2 % MEMORY_BYTES
    return (memory[first:] + memory[:first])[:SIZE_BYTES]


def lines_of(memory: bytes, shapes: Mapping[int, str]) -> list[str]:
    """The lines of a screen, without the blanks at their ends. Unknown shapes are `?`."""
    wide = any(shape > 0xFF for shape in shapes)
    cells = []
    for at in range(0, SIZE_BYTES, 2):
        shape, colour = memory[at], memory[at + 1]
        if wide and colour & _NINTH_BIT:
            shape |= 0x100
        cells.append(_BLANK if shape == 0 else shapes.get(shape, "?"))
    return ["".join(cells[row * COLUMNS : (row + 1) * COLUMNS]).rstrip() for row in range(LINES)]
