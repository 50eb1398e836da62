"""The characters that the console may draw.

The fonts of the Linux console (Debian's Lat15 and Uni sets) hold 256 or 512 characters: Latin-1 and these few. They
lack half and eighth blocks, braille, heavy lines and everything above; on other terminals we draw the same, so that one
screenshot shows what every operator sees.
"""

from __future__ import annotations

import os

GLYPHS = "█░▒■●▲▸━│─┌┐└┘"
FULL, EMPTY, HALF = "█", "░", "▒"
LINE = "─"
_LATIN = frozenset(map(chr, (*range(0x20, 0x7F), *range(0xA0, 0x100)))) - {"\N{SOFT HYPHEN}"}
_PLAINER = str.maketrans({"…": "...", "’": "'", "–": "-", "\N{NARROW NO-BREAK SPACE}": " ", "œ": "oe", "\t": " "})
_DRAWN = _LATIN | frozenset(GLYPHS)


def on_linux_console() -> bool:
    """Whether the terminal has no more than the console's own font."""
    return os.environ.get("TERM") == "linux"


def drawable(char: str) -> bool:
    """Whether every console can draw `char`, in one cell."""
    return char in _DRAWN


def clean(text: str) -> str:
    """Text from elsewhere without what would move the cursor, take two cells, or have no shape: `?` in its place."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if char in _DRAWN else "?" for char in text.translate(_PLAINER))


def fit(text: str, width: int, *, right: bool = False) -> str:
    """`text` in exactly `width` cells, cut with a `~` where it is longer."""
    if len(text) > width:
        return text[: max(0, width - 1)] + "~" if width > 0 else ""
    return text.rjust(width) if right else text.ljust(width)
