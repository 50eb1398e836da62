"""The hands and eyes of the appliance's tests: screens of VGA text mode, an American keyboard, what nmap writes."""

from __future__ import annotations

import pytest

from tests.appliance import scan
from tests.appliance.keyboard import chord, stroke
from tests.appliance.vga import COLUMNS, LINES, MEMORY_BYTES, SIZE_BYTES, lines_of, shapes_of, shown_of
from tests.tui import psf


def memory(cells: list[tuple[int, int]]) -> bytes:
    """A screen's memory that begins with some cells of shape and colour."""
    return b"".join(bytes(cell) for cell in cells).ljust(SIZE_BYTES, b"\0")


@pytest.mark.parametrize("name", ["Lat15-Fixed16", "Uni2-Fixed16"])
def test_a_screen_is_read_through_the_fonts_own_table(name: str) -> None:
    font = psf.held(name)
    text = "▸ 3 Où vont les images ? ● [é] 'x' └█┘"
    cells = [(font[char] & 0xFF, 0x07 | (0x08 if font[char] > 0xFF else 0)) for char in text]
    lines = lines_of(memory(cells), shapes_of(font))
    assert lines[0] == text
    assert lines[1:] == [""] * (LINES - 1)


def test_a_bright_colour_is_no_ninth_bit_in_a_font_of_256_shapes() -> None:
    font = psf.held("Lat15-Fixed16")
    assert max(font.values()) < 256
    assert lines_of(memory([(font["A"], 0x0F)]), shapes_of(font))[0] == "A"


def test_lines_are_as_wide_as_the_screen_and_lose_blanks_only_at_their_ends() -> None:
    cells = [(0x20, 7)] * (COLUMNS - 1) + [(0x41, 7)] + [(0x20, 7), (0x42, 7), (0x20, 7)]
    assert lines_of(memory(cells), {0x20: " ", 0x41: "A", 0x42: "B"})[:2] == [" " * (COLUMNS - 1) + "A", " B"]


def test_a_screen_that_was_scrolled_is_read_from_where_it_begins_and_round_the_end_of_memory() -> None:
    numbers = b"".join(number.to_bytes(2, "little") for number in range(MEMORY_BYTES // 2))
    for start in (0, 80, MEMORY_BYTES // 2 - 40):
        shown = shown_of(numbers, start)
        assert len(shown) == SIZE_BYTES
        assert [int.from_bytes(shown[at : at + 2], "little") for at in (0, 2 * 79)] == [
            start,
            (start + 79) % (MEMORY_BYTES // 2),
        ]


def test_of_characters_that_share_a_shape_ascii_is_read_then_what_the_console_draws() -> None:
    assert shapes_of({"Α": 65, "A": 65, "Å": 143, "◆": 4, "●": 4}) == {65: "A", 143: "Å", 4: "●"}


@pytest.mark.parametrize(
    ("char", "keys"),
    [
        ("a", ["a"]),
        ("Z", ["shift", "z"]),
        ("7", ["7"]),
        ("/", ["slash"]),
        ("@", ["shift", "2"]),
        ("_", ["shift", "minus"]),
    ],
)
def test_characters_are_typed_with_the_keys_that_have_them(char: str, keys: list[str]) -> None:
    assert stroke(char) == keys


def test_every_printable_character_of_ascii_can_be_typed_and_no_other() -> None:
    typed = [tuple(stroke(chr(code))) for code in range(0x20, 0x7F)]
    assert len(set(typed)) == len(typed)
    with pytest.raises(KeyError):
        stroke("é")


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("C-q", ["ctrl", "q"]),
        ("M-F2", ["alt", "f2"]),
        ("Enter", ["ret"]),
        ("-", ["minus"]),
        ("C-M-Down", ["ctrl", "alt", "down"]),
    ],
)
def test_chords_are_written_as_tmux_writes_them(key: str, keys: list[str]) -> None:
    assert chord(key) == keys


NMAP = """<?xml version="1.0"?><nmaprun><host><status state="up"/><ports>
<extraports state="filtered" count="65531"/><extraports state="closed" count="1"/>
<port protocol="tcp" portid="22"><state state="open" reason="syn-ack"/></port>
<port protocol="tcp" portid="80"><state state="open" reason="syn-ack"/></port>
<port protocol="tcp" portid="111"><state state="closed" reason="reset"/></port>
<port protocol="udp" portid="4021"><state state="open|filtered" reason="no-response"/></port>
</ports></host></nmaprun>"""


def test_only_ports_that_answered_count_as_open() -> None:
    found = scan.parse(NMAP)
    assert found.open == [22, 80]
    assert found.ports[4021] == "open|filtered"
    assert found.others == {"filtered": 65531, "closed": 1}
