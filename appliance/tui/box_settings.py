"""Settings of the console itself, for this box: kept in the store by their names, and in force at once.

An operator's own language and colours come before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.tui import i18n, theme
from appliance.tui.i18n import N_

MOST_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class BoxSetting:
    """One of them. `choices` are values and message ids; none: a whole number of minutes."""

    name: str
    default: str
    doc: str  # message id
    choices: tuple[tuple[str, str], ...] = ()

    def allows(self, text: str) -> bool:
        """Whether it can have that value."""
        if self.choices:
            return any(text == value for value, _words in self.choices)
        return text.isascii() and text.isdecimal() and int(text) <= MOST_MINUTES


ALL: tuple[BoxSetting, ...] = (
    BoxSetting(
        "console.language",
        "en",
        N_("Language of the console for who has chosen none."),
        tuple(i18n.LANGUAGES.items()),
    ),
    BoxSetting(
        "console.theme",
        theme.NORMAL,
        N_("Colours of the console for who has chosen none."),
        tuple(theme.THEMES.items()),
    ),
    BoxSetting("console.lock_minutes", "0", N_("Minutes without a key after which a console locks; 0: never.")),
)


def named(name: str) -> BoxSetting | None:
    """The setting of that name."""
    return next((one for one in ALL if one.name == name), None)
