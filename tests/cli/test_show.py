"""Tables, sizes, times and progress as the operator reads them."""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import IPv4Address
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cli import show
from appliance.events import BootStage
from appliance.model import Sighting


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (18_300_000_000, "18.3 GB"),
        (99_940_000, "99.9 MB"),
        (99_960_000, "100 MB"),
        (999_600_000, "1.0 GB"),
        (512_110_190_592, "512 GB"),
        (5e18, "5000 PB"),
    ],
)
def test_sizes_have_three_digits_and_the_units_of_disks(count: float, text: str) -> None:
    assert show.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (31.2, "0:31"), (725, "12:05"), (3723, "1:02:03"), (-5, "0:00")]
)
def test_durations_read_like_a_clock(seconds: float, text: str) -> None:
    assert show.duration(seconds) == text


def test_a_table_is_aligned_and_has_no_trailing_space() -> None:
    text = show.table(("NAME", ">SIZE", "NOTE"), [("a", "1 B", ""), ("longer", "100 GB", "x")], width=None)
    assert text.splitlines() == ["NAME      SIZE  NOTE", "a          1 B", "longer  100 GB  x"]


@given(st.lists(st.lists(st.text(max_size=60), min_size=4, max_size=4), max_size=6), st.integers(44, 200))
def test_a_table_fits_its_terminal_and_cannot_move_its_cursor(rows: list[list[str]], width: int) -> None:
    lines = show.table(("A", ">B", "C", "D"), rows, width=width).split("\n")
    assert len(lines) == 1 + len(rows)
    assert all(len(line) <= width and line.isprintable() for line in lines)


def test_a_cell_that_is_cut_says_so() -> None:
    assert show.table(("A",), [("x" * 30,)], width=10).splitlines()[1] == "x" * 9 + "~"


def test_json_holds_times_in_utc_and_everything_else_as_text() -> None:
    sighting = Sighting("m", BootStage.MENU, datetime(2026, 11, 23, 12, tzinfo=UTC), uuid=UUID(int=1))
    assert show.plain([sighting, {IPv4Address("10.0.0.1"): (1, None, True, 2.5)}]) == [
        {
            "mac": "m",
            "stage": "menu",
            "at": "2026-11-23T12:00:00+00:00",
            "uuid": "00000000-0000-0000-0000-000000000001",
            "arch": None,
            "ip": "",
            "host_name": "",
            "detail": "",
            "steps": [],
        },
        {"10.0.0.1": [1, None, True, 2.5]},
    ]
