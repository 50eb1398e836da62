"""How things are written for people (tables, sizes, local times) and for programs (JSON)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_GAP = "  "


def size(count: float) -> str:
    """Bytes in powers of 1000, as disks are sold: `18.3 GB`. Three digits at most."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("the last unit always fits")


def rate(bytes_per_s: float) -> str:
    """`118 MB/s`."""
    return f"{size(bytes_per_s)}/s"


def duration(seconds: float) -> str:
    """`0:31`, `12:05`, `1:02:03`."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def moment(when: datetime | None) -> str:
    """Local time to the minute: `2026-11-23 13:05`; `-` for never."""
    return "-" if when is None else when.astimezone().strftime("%Y-%m-%d %H:%M")


def moment_s(when: datetime) -> str:
    """Local time to the second."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, what: str) -> str:
    """`1 chunk`, `2 chunks`."""
    return f"{number} {what}" + ("" if number == 1 else "s")


def clean(text: str) -> str:
    """Text from elsewhere without what would move a terminal's cursor."""
    return "".join(char if char.isprintable() else "?" for char in text)


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; a name that begins with `>` is set to the right."""

    name: str

    @property
    def title(self) -> str:
        return self.name.lstrip(">")

    def fit(self, text: str, width: int) -> str:
        """`text` at exactly `width`, its end cut off with a `~` where it is longer."""
        if len(text) > width:
            text = text[: max(0, width - 1)] + "~"
        return text.rjust(width) if self.name.startswith(">") else text.ljust(width)


def table(names: Sequence[str], rows: Iterable[Sequence[str]], *, width: int | None) -> str:
    """Rows in aligned columns below upper-case titles.

    `width` is the terminal's: the widest columns give way first, each down to eight characters. None: nothing is cut.
    """
    columns = [Column(name) for name in names]
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(len, [column.title, *(row[i] for row in cells)])) for i, column in enumerate(columns)]
    if width is not None:
        _shrink(widths, width - len(_GAP) * (len(columns) - 1))
    lines = [[column.title for column in columns], *cells]
    texts = (_GAP.join(c.fit(cell, w) for c, cell, w in zip(columns, line, widths, strict=True)) for line in lines)
    return "\n".join(text.rstrip() for text in texts)


def _shrink(widths: list[int], room: int) -> None:
    while sum(widths) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """`name: value` lines with the values under one another; pairs without a value are left out."""
    kept = [(name, clean(value)) for name, value in pairs if value]
    margin = max((len(name) for name, _ in kept), default=0) + 1
    return "\n".join(f"{name + ':':{margin}} {value}" for name, value in kept)


def as_json(value: Any) -> str:
    """Dataclasses, lists and dicts as JSON text."""
    return json.dumps(plain(value), indent=2, ensure_ascii=False)


def plain(value: Any) -> Any:
    """`value` in JSON's types: times as ISO 8601 in UTC, everything that is not a number or a flag as text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
