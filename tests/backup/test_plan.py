"""When a backup is due, and what its settings may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from appliance.backup import plan
from appliance.backup.plan import Last, Plan
from appliance.backup.record import Backup
from appliance.errors import BadData
from tests.backup.conftest import Home

NIGHT = datetime(2026, 11, 23, 2, 10, tzinfo=UTC)
PLAN = Plan(target="/media/usb", hour=2)


def good(at: datetime) -> Last:
    return Last(at, True, "/media/usb", "", at, "/media/usb")


@pytest.mark.parametrize(
    ("wanted", "before", "now", "due"),
    [
        (PLAN, None, NIGHT, True),
        (PLAN, good(NIGHT - timedelta(days=1)), NIGHT, True),
        (PLAN, good(NIGHT - timedelta(minutes=5)), NIGHT, False),
        (PLAN, good(NIGHT - timedelta(minutes=15)), NIGHT, True),
        (PLAN, good(NIGHT - timedelta(days=1)), NIGHT - timedelta(hours=1), False),
        (PLAN, good(NIGHT - timedelta(days=2)), NIGHT - timedelta(hours=1), True),
        (PLAN, Last(NIGHT, False, "/media/usb", "no disk"), NIGHT + timedelta(hours=1), True),
        (Plan(target="/media/usb"), None, NIGHT, False),
        (Plan(hour=2), None, NIGHT, False),
    ],
)
def test_a_backup_is_due_when_none_went_well_since_the_hour_struck(
    wanted: Plan, before: Last | None, now: datetime, due: bool
) -> None:
    assert plan.is_due(wanted, before, now) is due


def test_a_failure_does_not_forget_the_last_good_one(box: Home) -> None:
    plan.note(box.store, "/media/usb", NIGHT, ok=True, words="x")
    plan.note(box.store, "/media/other", NIGHT + timedelta(days=1), ok=False, words="no disk")
    last = plan.last(box.store)
    assert last == Last(NIGHT + timedelta(days=1), False, "/media/other", "no disk", NIGHT, "/media/usb")


def test_a_value_that_went_bad_counts_as_its_default(box: Home) -> None:
    box.store.settings.set("backup.keep", "many")
    box.store.settings.set("backup.hour", "3")
    box.store.settings.set(plan.LAST, "[1]")
    assert plan.read(box.store) == Plan(hour=3)
    assert plan.last(box.store) is None


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"format": "diecast-backup", "format_version": 2}', b"\xff", b"[" * 100_000]
)
def test_a_record_that_is_none_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(BadData, match=r"The file backup.json of backup x cannot be used"):
        Backup.parse("x", data)
