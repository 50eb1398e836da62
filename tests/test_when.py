"""Start times as operators write them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.when import start_time

PARIS = timezone(timedelta(hours=1))
NOON = datetime(2026, 11, 23, 12, 0, 30, tzinfo=PARIS)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("22:30", "2026-11-23 21:30"),
        (" 12:01 ", "2026-11-23 11:01"),
        ("12:00", "2026-11-24 11:00"),
        ("7:05", "2026-11-24 06:05"),
        ("2026-11-30 22:30", "2026-11-30 21:30"),
        ("2026-11-30T22:30", "2026-11-30 21:30"),
        ("2026-11-30   00:00", "2026-11-29 23:00"),
    ],
)
def test_a_time_is_local_and_the_next_one_when_no_day_is_given(text: str, utc: str) -> None:
    assert start_time(text, NOON) == datetime.fromisoformat(utc).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("soon", "'soon' is no time. Write 22:30, or 2026-11-30 22:30"),
        ("25:00", "is no time"),
        ("", "is no time"),
        ("2026-02-30 10:00", "is no time"),
        ("2026-11-23 11:59", "2026-11-23 11:59 is over. It is now 2026-11-23 12:00."),
        ("2028-01-01 00:00", "is more than a year ahead"),
    ],
)
def test_what_is_no_coming_time_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        start_time(text, NOON)
    assert said in str(caught.value)


@pytest.fixture
def paris_rules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("paris_rules")
def test_the_box_own_rules_count_summer_time_included() -> None:
    utc_hours = set()
    for days in range(20, 360, 40):
        day = datetime.now().date() + timedelta(days=days)
        if day.month in (3, 10):  # the change is in these
            continue
        expected = 20 if 4 <= day.month <= 9 else 21
        assert start_time(f"{day} 22:30") == datetime(day.year, day.month, day.day, expected, 30, tzinfo=UTC)
        utc_hours.add(expected)
    assert utc_hours == {20, 21}


@given(st.text())
def test_any_text_is_a_time_or_a_sentence(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert start_time(text, NOON) > NOON
