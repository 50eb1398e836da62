"""What somebody types or a list says for a host: MACs, UUID, address, room, and names from a pattern."""

from __future__ import annotations

import itertools
import re
from collections.abc import Set
from ipaddress import IPv4Address
from uuid import UUID

from appliance.errors import UsageError
from appliance.model import check_name, normalise_mac

MAX_ROOM = 40  # characters of a room's name
_NUMBER = re.compile(r"\{(n+)\}")


def parse_macs(text: str) -> tuple[str, ...]:
    """MAC addresses with blanks, commas, semicolons or bars between them, each once. Raises `UsageError`."""
    return tuple(dict.fromkeys(normalise_mac(part) for part in re.split(r"[|,;\s]+", text) if part))


def parse_uuid(text: str) -> UUID | None:
    """A UUID, None for an empty text. Raises `UsageError`."""
    try:
        return UUID(text) if text else None
    except ValueError:
        raise UsageError(f"'{text}' is no UUID.") from None


def parse_address(text: str) -> IPv4Address | None:
    """An IPv4 address, None for an empty text. Raises `UsageError`."""
    try:
        return IPv4Address(text) if text else None
    except ValueError:
        raise UsageError(f"'{text}' is no IPv4 address.") from None


def check_room(text: str) -> str:
    """`text` without blanks around it, when it can name a room. Raises `UsageError`."""
    name = text.strip()
    if not 0 < len(name) <= MAX_ROOM or not name.isprintable():
        raise UsageError(f"'{name}' cannot name a room.", hint=f"Use 1 to {MAX_ROOM} printable characters.")
    return name


def name_from_pattern(pattern: str, taken: Set[str]) -> str:
    """The first name of `pattern` that is not in `taken` (lower case). Raises `UsageError`."""
    found = _NUMBER.findall(pattern)
    if len(found) != 1:
        raise UsageError(
            f"The name pattern '{pattern}' needs exactly one number such as {{nn}}.", hint="For example: LAB1-{nn}"
        )
    names = (_NUMBER.sub(str(number).zfill(len(found[0])), pattern) for number in itertools.count(1))
    return check_name(next(name for name in names if name.lower() not in taken), "a host")
