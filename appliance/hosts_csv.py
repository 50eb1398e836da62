"""Lists of hosts as CSV: read from ours or from FOG's export, written as ours. Bytes in, rows out; nothing else.

Ours has a first row of column names (`COLUMNS`), any of them in any order; a column that is not there is left alone.
FOG 1.6 exports a first row too, FOG 1.5 none: then columns count by their place (https://docs.fogproject.org, "CSV
Import / Export"; the `Host::databaseFields` of 1.5 without its id, behind the MACs). Only those of `_FOG` are taken:
the others belong to FOG's own images and services, or are secrets. Spreadsheets write what they like: semicolons, tabs,
UTF-8 with a mark, UTF-16, Windows-1252. A row that makes no sense keeps its place with the reason; only a file that is
no list of hosts at all is refused.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import Any

from appliance.errors import BadData, UsageError
from appliance.events import LocalBoot, UefiLoader
from appliance.host_fields import check_room, parse_address, parse_macs, parse_uuid
from appliance.model import Host, check_name

MAX_BYTES = 8_000_000
MAX_ROWS = 20_000
_MAX_TEXT = 2000

# In the order in which they are written.
COLUMNS = ("name", "macs", "uuid", "room", "address", "disk", "local_boot", "uefi_loader", "sealed", "notes")
_ALIASES = {"mac": "macs", "host": "name", "hostname": "name"}
_DELIMITERS = (",", ";", "\t")

# FOG's column -> ours. Its `ip` is where a host was last seen, no reservation.
_FOG = {"primac": "macs", "name": "name", "description": "notes", "kerneldevice": "disk"}
# Places of a row without column names: 1.5 ends with `enforce` (28), 1.6 with `associations` (31).
_FOG_PLACES = {0: "primac", 1: "name", 2: "description", 19: "kerneldevice", 21: "pending", 31: "associations"}
_FOG_FEWEST = 3  # columns of such a row
# Which of a host's associations in FOG is its room, the first that names exactly one.
_FOG_ROOMS = ("location", "groups")

_YES = frozenset({"yes", "y", "true", "1", "x", "oui", "o", "vrai"})
_NO = frozenset({"no", "n", "false", "0", "non", "faux"})


class Kind(StrEnum):
    """Whose list it is."""

    OWN = "diecast"
    FOG = "fog"


@dataclass(frozen=True, slots=True)
class Row:
    """One host of a list. `values` has the fields of a host that the list speaks of, and `address`."""

    line: int  # in the file, from 1
    name: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""  # why it cannot be used, one sentence


@dataclass(frozen=True, slots=True)
class Sheet:
    """A list as it was read."""

    kind: Kind
    rows: tuple[Row, ...]
    ignored: tuple[str, ...] = ()  # columns that mean nothing to us


# -- reading ----------------------------------------------------------------------------------------------------------


def read(data: bytes) -> Sheet:
    """Read a list. Raises `BadData` for what is none, and nothing else whatever the bytes."""
    if len(data) > MAX_BYTES:
        raise BadData(f"The file has more than {MAX_BYTES // 1_000_000} MB.", hint="A list of hosts is much smaller.")
    text = _decode(data)
    if "\0" in text:
        raise BadData("The file is no text.", hint="Save the list as CSV.")
    named = re.match(r"sep=([,;\t|])\r?\n", text)  # Excel's own first line
    skipped = named.end() if named else 0
    for delimiter in (named[1],) if named else _DELIMITERS:
        table = _Table(text[skipped:], delimiter, 1 if named else 0)
        if (make := _recognise(table.first())) is not None:
            return make(table)
    raise BadData(
        "The file is empty." if not text.strip() else "This is no list of hosts.",
        hint="Its first row must name columns (name, macs ...; FOG: primac, name ...), or be a host of FOG's export. "
        "See: diecast host export",
    )


def _decode(data: bytes) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


class _Table:
    """The rows of a text, each with the number of the line that it begins on; empty ones are left out."""

    def __init__(self, text: str, delimiter: str, skipped_lines: int) -> None:
        self._text = text
        self._delimiter = delimiter
        self._skipped = skipped_lines

    def first(self) -> list[str]:
        """The first row; empty when there is none that can be read."""
        try:
            return next(iter(self.rows()))[1]
        except (StopIteration, BadData):
            return []

    def rows(self) -> Iterable[tuple[int, list[str]]]:
        """Raises `BadData`."""
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter)
        count, line = 0, 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise BadData(f"Line {line + self._skipped} cannot be read: {error}.", hint="Save it again.") from None
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                count += 1
                if count > MAX_ROWS:
                    raise BadData(f"The file has more than {MAX_ROWS} rows.", hint="Split it.")
                yield line + self._skipped, [cell.strip() for cell in cells]
            line = reader.line_num + 1


def _recognise(first: Sequence[str]) -> Callable[[_Table], Sheet] | None:
    """How to read a table that begins with these cells; None when it is no list of hosts."""
    names = [cell.casefold() for cell in first]
    own = [_ALIASES.get(name, name) for name in names]
    if "primac" in names and "name" in names:
        return lambda table: _with_header(table, names, Kind.FOG)
    if "name" in own and len(set(own) & set(COLUMNS)) > 1:
        return lambda table: _with_header(table, own, Kind.OWN)
    if len(first) >= _FOG_FEWEST and _is_macs(first[0]):
        return _by_place
    return None


def _is_macs(text: str) -> bool:
    try:
        return bool(parse_macs(text))
    except UsageError:
        return False


def _with_header(table: _Table, names: Sequence[str], kind: Kind) -> Sheet:
    places = {place: name for place, name in enumerate(names) if name not in names[:place]}
    known = COLUMNS if kind is Kind.OWN else (*_FOG, "pending", "associations")
    rows = [
        _row(line, cells, places, kind) if not any(cells[len(names) :]) else Row(line, "", problem=_TOO_LONG)
        for line, cells in table.rows()
    ]
    ignored = () if kind is Kind.FOG else tuple(name for name in places.values() if name and name not in known)
    return Sheet(kind, tuple(rows[1:]), ignored)


_TOO_LONG = "It has more columns than the first row."


def _by_place(table: _Table) -> Sheet:
    return Sheet(Kind.FOG, tuple(_row(line, cells, _FOG_PLACES, Kind.FOG) for line, cells in table.rows()))


def _row(line: int, cells: Sequence[str], places: Mapping[int, str], kind: Kind) -> Row:
    """One row; what is wrong with it becomes its problem."""
    found = {name: cells[place] for place, name in places.items() if place < len(cells)}
    name = found.get("name", "")
    try:
        if not name:
            raise UsageError("It names no host.")
        check_name(name, "a host")
        return Row(line, name, _own_values(found) if kind is Kind.OWN else _fog_values(found))
    except UsageError as error:
        return Row(line, name, problem=str(error))


def _own_values(found: Mapping[str, str]) -> dict[str, Any]:
    """An empty cell empties its field; one of a choice leaves it as it is. Raises `UsageError`."""
    values = {}
    for column, text in found.items():
        if column in _PARSERS and (text or column not in _CHOSEN):
            values[column] = _PARSERS[column](text)
    return values


def _fog_values(found: Mapping[str, str]) -> dict[str, Any]:
    """An empty cell says nothing. Raises `UsageError`."""
    if found.get("pending") in {"1", "true"}:
        raise UsageError("It still waits to be approved in FOG.", hint="Approve it there, or put 0 for pending.")
    values = {
        ours: _PARSERS[ours](text) for column, ours in _FOG.items() if ours in _PARSERS and (text := found.get(column))
    }
    if not values.get("macs"):
        raise UsageError("It has no MAC address.")
    room = _fog_room(found.get("associations", ""))
    return values | ({"room": _room(room)} if room else {})


def _fog_room(text: str) -> str:
    """The room in `groups:Lab A|Lab B;location:B204`; a backslash goes before a sign that is part of a name."""
    labelled = {}
    for part in _split(text, ";"):
        label, *rest = _split(part, ":") or [""]
        labelled[label.strip().casefold()] = _split(":".join(rest), "|")
    for label in _FOG_ROOMS:
        names = [re.sub(r"\\(.)", r"\1", name).strip() for name in labelled.get(label, [])]
        if len(names) == 1 and names[0]:
            return names[0]
    return ""


def _split(text: str, sign: str) -> list[str]:
    return re.findall(rf"(?:\\.|[^\\{sign}])+", text)


# -- single values ----------------------------------------------------------------------------------------------------


def _room(text: str) -> str:
    name = one_line(text)
    return check_room(name) if name else ""


def _sealed(text: str) -> bool:
    if text.casefold() not in _YES | _NO:
        raise UsageError(f"sealed is '{text}', but must be yes or no.")
    return text.casefold() in _YES


def _text(text: str) -> str:
    line = one_line(text)
    if len(line) > _MAX_TEXT:
        raise UsageError(f"A text of {len(line)} characters is too long; {_MAX_TEXT} are allowed.")
    return line


def _choice(kind: type[StrEnum], what: str) -> Callable[[str], StrEnum]:
    def parse(text: str) -> StrEnum:
        try:
            return kind(text.casefold())
        except ValueError:
            raise UsageError(f"{what} is '{text}', but must be one of {', '.join(kind)}.") from None

    return parse


_PARSERS: dict[str, Callable[[str], Any]] = {
    "macs": parse_macs,
    "uuid": parse_uuid,
    "room": _room,
    "address": parse_address,
    "disk": _text,
    "local_boot": _choice(LocalBoot, "local_boot"),
    "uefi_loader": _choice(UefiLoader, "uefi_loader"),
    "sealed": _sealed,
    "notes": _text,
}
_CHOSEN = frozenset({"local_boot", "uefi_loader", "sealed"})


def one_line(text: str) -> str:
    """`text` with every run of blanks and control characters as one blank."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


# -- writing ----------------------------------------------------------------------------------------------------------


def write(hosts: Iterable[Host], addresses: Mapping[str, IPv4Address], *, excel: bool = False) -> bytes:
    """Our list. `addresses` are reserved ones by MAC. With `excel` as a European spreadsheet opens it by itself."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";" if excel else ",", lineterminator="\r\n" if excel else "\n")
    writer.writerow(COLUMNS)
    for host in hosts:
        reserved = next((str(addresses[mac]) for mac in host.macs if mac in addresses), "")
        cells = {
            "name": host.name,
            "macs": "|".join(host.macs),
            "uuid": str(host.uuid or ""),
            "room": host.room,
            "address": reserved,
            "disk": one_line(host.disk),
            "local_boot": str(host.local_boot),
            "uefi_loader": str(host.uefi_loader),
            "sealed": "yes" if host.sealed else "no",
            "notes": one_line(host.notes),
        }
        writer.writerow([cells[column] for column in COLUMNS])
    return out.getvalue().encode("utf-8-sig" if excel else "utf-8", "replace")
