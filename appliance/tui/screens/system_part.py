"""What the parts of the system screen have in common: lines below the list on what is at the cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from appliance.tui.screens.parts import Part
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import Line, wrap

if TYPE_CHECKING:
    from appliance.tui.screens.system import SystemScreen

_NAME = 12


class SystemPart(Part):
    """A part of the system screen."""

    screen: SystemScreen
    MARKS: ClassVar[bool] = False

    def detail(self, row: Any, width: int) -> list[Line]:
        """What is told of the row at the cursor, below the list."""
        return []

    def instead(self, width: int) -> list[Line]:
        """What is told below the list while it is empty."""
        return []

    def entered(self) -> None:
        """It comes into sight."""

    def left(self) -> None:
        """It goes out of sight."""

    def searched(self, text: str) -> None:
        """Enter in the find line."""

    def renew(self) -> None:
        """Its rows have changed otherwise than by a snapshot."""
        if self.screen.is_there and self.screen.part is self:
            self.screen.show(self.screen.snapshot)


def told(name: str, text: str, width: int, role: str = "") -> list[Line]:
    """`Name        text`, which goes on below; nothing when there is no text."""
    if not text:
        return []
    first, *rest = wrap(clean(text), max(20, width - _NAME - 3))
    head: Line = ((f" {fit(name, _NAME)} ", "dim"), (first, role))
    return [head, *(((" " * (_NAME + 2) + part, role),) for part in rest)]
