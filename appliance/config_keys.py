"""The settings key by key, for whoever shows or changes one: what it expects, its value as text and as JSON."""

from __future__ import annotations

import dataclasses
import difflib
import json
from dataclasses import dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from appliance.config import CHOICES, FILE_ONLY, KINDS, LIMITS, Settings
from appliance.errors import UsageError

_TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the settings, for whoever shows or changes it."""

    name: str  # e.g. dhcp.mode
    kind: Any  # its type
    default: Any
    doc: str
    choices: tuple[Any, ...] = ()
    limits: tuple[float, float] | None = None

    @property
    def section(self) -> str:
        """The part before the dot."""
        return self.name.partition(".")[0]

    @property
    def changeable(self) -> bool:
        """Whether the store may override it."""
        return self.section not in FILE_ONLY

    @property
    def expects(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return "one of " + ", ".join(map(str, self.choices))
        kinds = get_args(self.kind) or (self.kind,)
        words = next((KINDS[kind] for kind in kinds if kind in KINDS), "").replace(" in quotes", "")
        if self.limits is not None:
            low, high = self.limits
            return f"{words} from {low} to {high}"
        if get_origin(self.kind) is tuple:
            return f"a list, with commas: {words}" if words else "a list of tables, as JSON"
        return words + (", or nothing" if type(None) in kinds else "")


@cache
def all_keys() -> tuple[Key, ...]:
    """Every key in the order of the settings file."""
    found = []
    for section, kind in get_type_hints(Settings).items():
        hints = get_type_hints(kind)
        for item in dataclasses.fields(kind):
            place = (section, item.name)
            doc = item.metadata["doc"]
            found.append(
                Key(".".join(place), hints[item.name], item.default, doc, CHOICES.get(place, ()), LIMITS.get(place))
            )
    return tuple(found)


def key(name: str) -> Key:
    """The key of that name. Raises `UsageError` that names the likeliest one."""
    known = {item.name: item for item in all_keys()}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(f"There is no setting '{name}'.", hint=f"{hint}See: diecast setting list")


def value_of(settings: Settings, name: str) -> Any:
    """The value of one key."""
    section, _, item = key(name).name.partition(".")
    return getattr(getattr(settings, section), item)


def as_plain(value: Any) -> Any:
    """A value in JSON's types, as `with_overrides` takes it."""
    if dataclasses.is_dataclass(value):
        return {item.name: as_plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [as_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return "" if value is None else value
    return str(value)


def as_text(value: Any) -> str:
    """A value as an operator writes it; `from_text` reads it back."""
    plain = as_plain(value)
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, list) and all(isinstance(item, str) for item in plain):
        return ", ".join(plain)
    return json.dumps(plain, ensure_ascii=False) if isinstance(plain, list) else str(plain)


def from_text(name: str, text: str) -> Any:
    """What an operator typed for a key, in JSON's types. Raises `UsageError`; `with_overrides` checks the rest."""
    item, text = key(name), text.strip()
    kinds = get_args(item.kind) or (item.kind,)
    try:
        if get_origin(item.kind) is tuple:
            if text.startswith("[") or dataclasses.is_dataclass(kinds[0]):
                return json.loads(text or "[]")
            return [part.strip() for part in text.split(",") if part.strip()]
        if bool in kinds:
            return _TRUTHS[text.lower()]
        if int in kinds:
            return int(text)
        return float(text) if float in kinds else text
    except (ValueError, KeyError, RecursionError):
        raise UsageError(f"'{text}' is no value for {name}.", hint=f"It must be {item.expects}.") from None
