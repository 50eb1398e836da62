"""Help on a screen: what it is for, and every key that does something there. Made from the same table as the keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.tui import keys
from appliance.tui.i18n import _
from appliance.tui.keys import Key
from appliance.tui.screens.table import SCREENS
from appliance.tui.widgets.dialogs import Reading
from appliance.tui.widgets.glyphs import fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, wrap

if TYPE_CHECKING:
    from appliance.tui.screens.base import ConsoleScreen

_WIDTH = 70
_KEY_WIDTH = 12


def help_on(screen: ConsoleScreen) -> Reading:
    """The help page of `screen`."""
    title = next((entry.title for entry in SCREENS if entry.name == screen.NAME), "")
    return Reading(_("Help: {screen}").format(screen=_(title)) if title else _("Help"), help_lines(screen))


def help_lines(screen: ConsoleScreen) -> list[Line]:
    """What the page says."""
    lines: list[Line] = []
    if screen.ABOUT:
        lines += [((text, ""),) for text in wrap(_(screen.ABOUT), _WIDTH)]
        lines.append(EMPTY_LINE)
    lines += _part(_("On this screen"), screen.own_keys())
    if screen.main_list() is not None:
        lines += _part(_("In lists"), [key for key in keys.LIST if key not in screen.KEYS])
    if screen.TABS:
        numbers = [Key(e.name, e.key, e.key, e.title, e.title) for e in SCREENS]
        lines += _part(_("Screens"), numbers)
        everywhere = [*screen.common_keys()[:-1], *keys.take("help", "language", "theme", "back")]
        lines += _part(_("Everywhere"), everywhere)
    else:
        lines += _part(_("Everywhere"), [*keys.take("back", "help", "language", "theme")])
    return lines[:-1]


def _part(title: str, found: list[Key]) -> list[Line]:
    if not found:
        return []
    lines: list[Line] = [((title, "title"),)]
    for key in found:
        first, *rest = wrap(_(key.words), _WIDTH - _KEY_WIDTH - 2)
        lines.append(((f"  {fit(_(key.shown), _KEY_WIDTH)}", "key"), (first, "")))
        lines += [((" " * (_KEY_WIDTH + 2) + more, ""),) for more in rest]
    return [*lines, EMPTY_LINE]
