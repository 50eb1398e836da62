"""Settings of the console itself and of backups, for this box: kept in the store by their names, and in force at once.

An operator's own language and colours come before them.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.backup import plan
from appliance.tui import i18n, theme
from appliance.tui.i18n import N_

MOST_MINUTES = 24 * 60
_MINUTES = N_("a whole number of minutes")


@dataclass(frozen=True, slots=True)
class BoxSetting:
    """One of them. `choices` are values and message ids; none: what `expects` says, a whole number of minutes."""

    name: str
    default: str
    doc: str  # message id
    choices: tuple[tuple[str, str], ...] = ()
    expects: str = _MINUTES  # message id

    def allows(self, text: str) -> bool:
        """Whether it can have that value."""
        if self.choices:
            return any(text == value for value, _words in self.choices)
        if self.name in plan.DEFAULTS:
            return plan.allows(self.name, text)
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
    BoxSetting(
        plan.TARGET,
        plan.DEFAULTS[plan.TARGET],
        N_("Where backups go: a folder, a mounted disk's too, or a folder of another host by SSH."),
        expects=N_("/folder or user@host:/folder"),
    ),
    BoxSetting(
        plan.IMAGES,
        plan.DEFAULTS[plan.IMAGES],
        N_("Whether backups hold the images too."),
        ((plan.YES, N_("yes")), (plan.NO, N_("no"))),
    ),
    BoxSetting(
        plan.KEEP,
        plan.DEFAULTS[plan.KEEP],
        N_("How many backups are kept; older ones are removed after each run."),
        expects=N_("a whole number from 1 to 1000"),
    ),
    BoxSetting(
        plan.HOUR,
        plan.DEFAULTS[plan.HOUR],
        N_("Hour of the day, local time, at which a backup is made; off: only when asked."),
        ((plan.OFF, N_("off")), *((hour, hour) for hour in plan.HOURS if hour != plan.OFF)),
    ),
)


def named(name: str) -> BoxSetting | None:
    """The setting of that name."""
    return next((one for one in ALL if one.name == name), None)
