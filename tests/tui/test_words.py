"""Sizes, times and states in the language in use."""

from datetime import UTC, datetime, timedelta

import pytest
from babel.numbers import format_decimal

from appliance.events import BootStage, Role, ServiceHealth, TaskKind, TaskState
from appliance.model import Task
from appliance.tui import i18n, words

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "english", "french"),
    [
        (0, "0 B", "0 o"),
        (999, "999 B", "999 o"),
        (1_500, "1.5 kB", "1,5 ko"),
        (18_300_000_000, "18.3 GB", "18,3 Go"),
        (931_000_000_000, "931 GB", "931 Go"),
        (1_234_500_000_000_000_000, "1,234 PB", "1\N{NO-BREAK SPACE}234 Po"),
    ],
)
def test_sizes_are_in_powers_of_1000_with_the_units_of_the_language(count: int, english: str, french: str) -> None:
    assert words.size(count) == english
    i18n.use("fr")
    assert words.size(count) == french


@pytest.mark.parametrize("value", [0.5, 1234.5, 1_000_000.25, -12.0])
def test_french_numbers_are_babels_but_for_a_space_that_fonts_have(value: float) -> None:
    i18n.use("fr")
    babel = format_decimal(value, format="#,##0.00", locale="fr").replace(
        "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"
    )
    assert words.number(value, 2) == babel


def test_dates_are_written_as_the_language_does() -> None:
    assert words.moment(NOON) == "2026-11-23 12:00"
    assert words.moment(NOON, NOON) == "12:00"
    i18n.use("fr")
    assert words.moment(NOON) == "23/11/2026 12:00"
    assert words.day(NOON) == "23/11/2026"


def test_french_counts_nothing_as_one() -> None:
    assert [words.pcs(n) for n in (0, 1, 2)] == ["0 PCs", "1 PC", "2 PCs"]
    i18n.use("fr")
    assert [words.pcs(n) for n in (0, 1, 2)] == ["0 PC", "1 PC", "2 PC"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(8, "8 s"), (61, "1 min"), (3 * 3600, "3 h"), (12 * 86400, "12 d"), (-5, "0 s")]
)
def test_how_long_ago_is_rough(seconds: int, text: str) -> None:
    assert words.ago(NOON - timedelta(seconds=seconds), NOON) == text


def test_every_word_of_the_store_has_a_word_of_ours() -> None:
    assert set(words.STAGES) == set(BootStage)
    assert set(words.STATES) == set(words.STATE_ROLES) == set(words.STATE_SHAPES) == set(TaskState)
    assert set(words.HEALTH) == set(words.HEALTH_ROLES) == set(ServiceHealth)
    assert set(words.ROLES) == set(Role)


def test_the_time_left_is_known_only_for_a_task_that_moves() -> None:
    running = Task(1, TaskKind.DEPLOY, TaskState.RUNNING, "win11", done_bytes=25, total_bytes=100, rate_bytes_s=5)
    assert words.seconds_left(running) == 15
    stands = Task(1, TaskKind.DEPLOY, TaskState.RUNNING, "win11", done_bytes=25, total_bytes=100)
    assert words.seconds_left(stands) is None
