"""What a check says: one finding in words, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from appliance.cli.context import Context


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"  # works, or may work, but somebody should look
    PROBLEM = "problem"  # something that was asked for cannot work


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer."""

    level: Level
    area: str
    text: str
    remedy: str = ""


Check = Callable[[Context], Iterable[Finding]]
