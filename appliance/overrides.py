"""Settings that operators change while the box runs: kept in the store, laid over the settings file.

`config.<section>.<key>` in the store holds a JSON value; `config-changed.<section>.<key>` says when it was last set or
taken back, so that a service that started earlier can be told to restart. What would make the settings as a whole
invalid is refused when it is set. Services take settings when they start.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from appliance import config, config_keys
from appliance.errors import ConfigError, UsageError
from appliance.events import ServiceHealth

if TYPE_CHECKING:
    from appliance.config import Settings
    from appliance.model import ServiceState
    from appliance.store import Store

PREFIX = "config."
CHANGED = "config-changed."

# Section of the settings -> services that read it when they start.
READERS: dict[str, tuple[str, ...]] = {
    "network": ("dhcp", "tftp", "http", "nfs", "scheduler", "cast"),
    "dhcp": ("dhcp",),
    "tftp": ("tftp",),
    "http": ("dhcp", "tftp", "http"),
    "nfs": ("http", "nfs", "scheduler"),
    "tasks": ("http", "scheduler"),
    "cast": ("http", "cast"),
    "notify": ("scheduler",),
    "log": ("dhcp", "tftp", "http", "nfs", "scheduler", "cast"),
}
_AT_WORK = frozenset({ServiceHealth.OK, ServiceHealth.STARTING, ServiceHealth.SILENT})


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one key."""

    name: str
    old: Any
    new: Any
    restart: tuple[str, ...]  # services that run and have the old value


def read(store: Store) -> dict[str, Any]:
    """Every override by the key's name. Raises `ConfigError` for one that is no JSON."""
    return _parsed(store.settings.all(PREFIX))


def _parsed(stored: Mapping[str, str]) -> dict[str, Any]:
    values = {}
    for key, text in stored.items():
        name = key.removeprefix(PREFIX)
        try:
            values[name] = json.loads(text)
        except ValueError:
            raise ConfigError(
                f"The setting '{name}' in the store is damaged.", hint=f"Take it back: diecast setting unset {name}"
            ) from None
    return values


def in_force(store: Store, base: Settings) -> Settings:
    """What the file says with the overrides laid over it. Raises `ConfigError`."""
    return config.with_overrides(base, read(store))


def change(store: Store, base: Settings, name: str, value: Any, *, now: datetime | None = None) -> Change:
    """Set one key to a value in JSON's types. `base` is what the settings file says.

    Raises `UsageError` when the key does not exist or cannot be changed, or when the settings would not be valid.
    """
    if not config_keys.key(name).changeable:
        raise UsageError(f"'{name}' can be set in the settings file only.", hint="Edit it, then restart all services.")
    text = json.dumps(value, ensure_ascii=False)
    while True:
        before = store.settings.all(PREFIX)
        changed = _checked(base, _parsed(before) | {name: value})
        done = _keep(store, base, name, text, before, changed, now)
        if done is not None:
            return done


def take_back(store: Store, base: Settings, name: str, *, now: datetime | None = None) -> Change:
    """Let the settings file decide about one key again; also about a damaged or unknown one. Raises `UsageError`.

    Refused when valid settings would become invalid by it; when they are not valid anyway, this is the way out.
    """
    while True:
        before = store.settings.all(PREFIX)
        if PREFIX + name not in before:
            config_keys.key(name)
            raise UsageError(f"'{name}' is not set in the store.", hint="See: diecast setting list")
        done = _keep(store, base, name, "", before, _without(base, before, name), now)
        if done is not None:
            return done


def _without(base: Settings, before: Mapping[str, str], name: str) -> Settings:
    """The settings without one override: what the file says when they are not valid with it either."""
    try:
        stored = _parsed(before)
        config.with_overrides(base, stored)
    except ConfigError:
        return base
    del stored[name]
    return _checked(base, stored)


def _checked(base: Settings, values: dict[str, Any]) -> Settings:
    mark = "refused: "
    try:
        return config.with_overrides(base, values, where=mark.rstrip(": "))
    except ConfigError as error:
        sentence = error.message.removeprefix(mark)
        is_key = "." in sentence.partition(" ")[0]
        raise UsageError(sentence if is_key else sentence[:1].upper() + sentence[1:], hint=error.hint) from None


def _keep(
    store: Store,
    base: Settings,
    name: str,
    text: str,
    before: Mapping[str, str],
    changed: Settings,
    now: datetime | None,
) -> Change | None:
    """Write the override (an empty text removes it) and when it was changed, together.

    None when the overrides are not as they were `before`: what was checked is not what they would be.
    """
    old = _value(base, before, name)
    new = config_keys.value_of(changed, name) if _is_key(name) else None
    values = {PREFIX + name: text}
    if old != new:
        values[CHANGED + name] = (now or datetime.now(UTC)).isoformat()
    if not store.settings.set_if(values, PREFIX, before):
        return None
    readers = READERS.get(name.partition(".")[0], ())
    restart = tuple(state.name for state in store.services.list() if state.name in readers and state.state in _AT_WORK)
    return Change(name, old, new, restart if old != new else ())


def _value(base: Settings, stored: Mapping[str, str], name: str) -> Any:
    """The value in force; None when that cannot be said."""
    try:
        return config_keys.value_of(config.with_overrides(base, _parsed(stored)), name)
    except (ConfigError, UsageError):
        return None


def _is_key(name: str) -> bool:
    return any(item.name == name for item in config_keys.all_keys())


def restart_needed(store: Store) -> dict[str, tuple[str, ...]]:
    """Services that run with older settings than are in force, each with the keys changed since it started."""
    return older_than_changes(store.settings.all(CHANGED), store.services.list())


def older_than_changes(stored: Mapping[str, str], services: Iterable[ServiceState]) -> dict[str, tuple[str, ...]]:
    """As `restart_needed`, from values and services that were read already; other values do not matter."""
    changed = {
        name.removeprefix(CHANGED): datetime.fromisoformat(text)
        for name, text in stored.items()
        if name.startswith(CHANGED)
    }
    needed = {}
    for state in services:
        if state.state in _AT_WORK:
            names = [
                name
                for name, at in changed.items()
                if state.name in READERS.get(name.partition(".")[0], ()) and at > state.started
            ]
            if names:
                needed[state.name] = tuple(names)
    return needed
