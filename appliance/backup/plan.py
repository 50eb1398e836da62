"""What the operator wants backed up, where to and when; kept in the store, shared by command line and console."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from appliance.errors import UsageError

if TYPE_CHECKING:
    from appliance.store import Store

TARGET, IMAGES, KEEP, HOUR = "backup.target", "backup.images", "backup.keep", "backup.hour"
LAST = "backup-last"  # how the last one went, as JSON

YES, NO, OFF = "yes", "no", "off"
HOURS = (OFF, *(str(hour) for hour in range(24)))
MOST_KEPT = 1000
DEFAULTS: dict[str, str] = {TARGET: "", IMAGES: YES, KEEP: "7", HOUR: OFF}


@dataclass(frozen=True, slots=True)
class Plan:
    """The settings `backup.*`."""

    target: str = ""
    images: bool = True
    keep: int = 7
    hour: int | None = None  # local time; None: only when asked


@dataclass(frozen=True, slots=True)
class Last:
    """How the last run went."""

    at: datetime
    ok: bool
    target: str
    words: str  # the backup's name, or what went wrong
    good_at: datetime | None = None  # the last one that went well
    good_target: str = ""


def allows(name: str, text: str) -> bool:
    """Whether setting `name` can have the value `text`."""
    if name == IMAGES:
        return text in {YES, NO}
    if name == HOUR:
        return text in HOURS
    if name == KEEP:
        return text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_KEPT
    from appliance.backup.places import parse

    try:
        parse(text)
    except UsageError:
        return False
    return True


def read(store: Store) -> Plan:
    """The plan in force; a value that went bad counts as its default."""
    stored = store.settings.all("backup.")
    values = {
        name: stored[name] if name in stored and allows(name, stored[name]) else default
        for name, default in DEFAULTS.items()
    }
    hour = None if values[HOUR] == OFF else int(values[HOUR])
    return Plan(values[TARGET], values[IMAGES] == YES, int(values[KEEP]), hour)


def last(store: Store) -> Last | None:
    """How the last run went; None when there was none."""
    try:
        data: dict[str, Any] = json.loads(store.settings.get(LAST) or "null") or {}
        good = data.get("good_at")
        return Last(
            datetime.fromisoformat(data["at"]),
            bool(data["ok"]),
            str(data["target"]),
            str(data["words"]),
            datetime.fromisoformat(good) if good else None,
            str(data.get("good_target", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def note(store: Store, target: str, now: datetime, *, ok: bool, words: str) -> None:
    """Keep how a run went."""
    before = last(store)
    good_at = now if ok else before.good_at if before else None
    good_target = target if ok else before.good_target if before else ""
    told = asdict(Last(now, ok, target, words, good_at, good_target))
    store.settings.set(LAST, json.dumps(told, default=lambda value: value.isoformat()))


def is_due(plan: Plan, before: Last | None, now: datetime) -> bool:
    """Whether a run that a timer asks for every hour shall be made `now` (local time with its zone).

    Due when none went well since the hour last struck: a box that was off at that hour catches up, and one whose run
    failed tries again.
    """
    if plan.hour is None or not plan.target:
        return False
    struck = now.replace(hour=plan.hour, minute=0, second=0, microsecond=0)
    if struck > now:
        struck -= timedelta(days=1)
    return before is None or before.good_at is None or before.good_at < struck
