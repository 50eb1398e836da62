"""Text as the keys of an American keyboard, by QEMU's names (QKeyCode of QEMU's machine protocol)."""

from __future__ import annotations

_PLAIN = {
    " ": "spc",
    "\n": "ret",
    "\t": "tab",
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    ";": "semicolon",
    "'": "apostrophe",
    "`": "grave_accent",
    "\\": "backslash",
    ",": "comma",
    ".": "dot",
    "/": "slash",
}
_SHIFTED = dict(zip('~!@#$%^&*()_+{}|:"<>?', "`1234567890-=[]\\;',./", strict=True))
# The names that tests use, as tmux has them.
NAMED = {
    "Enter": "ret",
    "Escape": "esc",
    "Up": "up",
    "Down": "down",
    "Left": "left",
    "Right": "right",
    "Home": "home",
    "End": "end",
    "Tab": "tab",
    "Space": "spc",
    "BSpace": "backspace",
    **{f"F{number}": f"f{number}" for number in range(1, 13)},
}
_MODIFIERS = {"C": "ctrl", "M": "alt", "S": "shift"}


def stroke(char: str) -> list[str]:
    """The keys to press at once for one character. Raises `KeyError` for one that the keyboard does not have."""
    if char in _SHIFTED:
        return ["shift", *stroke(_SHIFTED[char])]
    if char.isascii() and char.isalnum():
        return ["shift", char.lower()] if char.isupper() else [char]
    return [_PLAIN[char]]


def chord(key: str) -> list[str]:
    """The keys of a chord as tmux writes it: `C-q`, `M-F2`, `Down`, `a`."""
    *modifiers, last = key.split("-") if len(key) > 1 else [key]
    held = [_MODIFIERS[each] for each in modifiers]
    return [*held, *([NAMED[last]] if last in NAMED else stroke(last))]
