"""The time at which something is to start, as an operator writes it: local time, a day and an hour or only an hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.errors import UsageError

_FARTHEST = timedelta(days=366)
_FORMS = "Write 22:30, or 2026-11-30 22:30; it is this box's local time."


def start_time(text: str, now: datetime | None = None) -> datetime:
    """`22:30` is the next time the clock shows that, `2026-11-30 22:30` that moment; returned in UTC.

    `now` is aware; its zone, or the box's when none is given, is the operator's. Raises `UsageError` for anything else,
    for a time that is over and for one more than a year ahead.
    """
    present = datetime.now().astimezone() if now is None else now
    zone = None if now is None else now.tzinfo  # None: the box's rules, summer time included
    words = text.replace("T", " ").split()
    try:
        if len(words) == 1:
            hour = datetime.strptime(words[0], "%H:%M")
            local = present.replace(hour=hour.hour, minute=hour.minute, second=0, microsecond=0, tzinfo=None)
            moment = _aware(local, zone)
            if moment <= present:
                moment = _aware(local + timedelta(days=1), zone)
        else:
            moment = _aware(datetime.strptime(" ".join(words), "%Y-%m-%d %H:%M"), zone)
    except (ValueError, OverflowError):
        raise UsageError(f"'{text}' is no time.", hint=_FORMS) from None
    if moment <= present:
        raise UsageError(f"{text} is over.", hint=f"It is now {present:%Y-%m-%d %H:%M}.")
    if moment - present > _FARTHEST:
        raise UsageError(f"{text} is more than a year ahead.", hint=_FORMS)
    return moment.astimezone(UTC)


def _aware(local: datetime, zone: object) -> datetime:
    return local.astimezone() if zone is None else local.replace(tzinfo=zone)  # type: ignore[arg-type]
