"""Three themes of sixteen colours, and what each role of a text looks like in them.

Widgets never name a colour. They give each piece of text a role of `ROLES`; a word or a shape says the same thing, so
that the monochrome theme loses nothing. Colours are the terminal's own sixteen: the Linux console has no others, and
elsewhere the operator's choice of colours stays.
"""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style
from textual.theme import Theme

from appliance.tui.i18n import N_

NORMAL, MONO, CONTRAST = "normal", "monochrome", "high-contrast"
THEMES: dict[str, str] = {NORMAL: N_("Sixteen colours"), MONO: N_("Monochrome"), CONTRAST: N_("High contrast")}

# role: (normal, monochrome, high contrast), as Rich writes styles
ROLES: dict[str, tuple[str, str, str]] = {
    "": ("none", "none", "bright_white"),
    "dim": ("dim", "dim", "white"),
    "strong": ("bold", "bold", "bold bright_white"),
    "title": ("bold cyan", "bold", "bold bright_cyan"),
    "head": ("cyan", "underline", "underline bright_white"),
    "key": ("bold cyan", "bold", "bold bright_cyan"),
    "rule": ("dim", "dim", "bright_white"),
    "ok": ("green", "none", "bright_green"),
    "busy": ("cyan", "none", "bright_cyan"),
    "warn": ("yellow", "bold", "bold bright_yellow"),
    "bad": ("bold red", "bold", "bold bright_red"),
    "bar": ("cyan", "none", "bright_white"),
    "bar-back": ("dim", "dim", "white"),
    "mark": ("bold yellow", "bold", "bold bright_yellow"),
    "old": ("dim", "dim", "white"),
    "cursor": ("reverse", "reverse", "bold black on bright_white"),
    "cursor-away": ("underline", "underline", "underline"),
    "tab": ("reverse", "reverse", "bold black on bright_white"),
    "notice": ("reverse", "reverse", "black on bright_white"),
    "alarm": ("bold reverse red", "bold reverse", "bold bright_white on red"),
}

_theme = NORMAL


def _textual_theme(name: str, colour: str) -> Theme:
    """Textual's own side: borders and the text field are all that it draws for us."""
    return Theme(
        name=name,
        ansi=True,
        primary=colour,
        secondary=colour,
        warning=colour,
        error=colour,
        success=colour,
        accent=colour,
        foreground="ansi_default",
        background="ansi_default",
        surface="ansi_default",
        panel="ansi_default",
        boost="ansi_default",
        variables={
            "ansi-background": "ansi_black",
            "ansi-foreground": "ansi_white",
            "block-cursor-foreground": "ansi_black",
            "block-cursor-background": "ansi_white",
            "screen-selection-background": "ansi_white",
            "screen-selection-foreground": "ansi_black",
            "border": colour,
            "border-blurred": colour,
            "input-cursor-background": "ansi_white",
            "input-cursor-foreground": "ansi_black",
            "input-selection-background": "ansi_white",
            "input-selection-foreground": "ansi_black",
        },
    )


def textual_themes() -> list[Theme]:
    """The themes as Textual registers them."""
    colours = {NORMAL: "ansi_cyan", MONO: "ansi_default", CONTRAST: "ansi_bright_white"}
    return [_textual_theme(name, colours[name]) for name in THEMES]


def use(name: str) -> None:
    """Draw in theme `name` from now on; an unknown name is the normal one."""
    global _theme
    _theme = name if name in THEMES else NORMAL
    style.cache_clear()


def current() -> str:
    """The theme in use."""
    return _theme


def following(name: str) -> str:
    """The theme after `name`, for the key that goes round them."""
    names = list(THEMES)
    return names[(names.index(name) + 1) % len(names)]


@lru_cache(256)
def style(role: str, over: str = "") -> Style:
    """How `role` looks; `over` is a second role laid on it, such as `cursor`."""
    index = list(THEMES).index(_theme)
    found = Style.parse(ROLES[role][index])
    if not over:
        return found
    laid = Style.parse(ROLES[over][index])
    if laid.bgcolor is not None:  # colours of the cursor win, else text could vanish in it
        return found + laid
    return Style(bold=found.bold) + laid if laid.reverse else found + laid
