"""The page fits its screen and shows only what the screen can show, whatever is put on it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.agent import page
from appliance.agent.page import COLUMNS, ROWS, Meter, View

_NASTY = st.text(max_size=300) | st.sampled_from(["\x1b[2J", "a\nb", "\x9b31m", "日本語", "x" * 400])
_METERS = st.none() | st.builds(
    Meter,
    phase=_NASTY,
    done_bytes=st.integers(0, 1 << 62),
    total_bytes=st.integers(0, 1 << 62),
    rate_bytes_s=st.floats(0, 1e15),
    elapsed_s=st.floats(0, 1e9),
)
_VIEWS = st.builds(
    View,
    host=_NASTY,
    model=_NASTY,
    task=_NASTY,
    disk=_NASTY,
    meter=_METERS,
    waiting=_NASTY,
    facts=st.lists(_NASTY, max_size=40).map(tuple),
    question=_NASTY,
    typed=_NASTY,
    error=_NASTY,
    remedy=_NASTY,
    good=_NASTY,
    lines=st.lists(_NASTY, max_size=40).map(tuple),
)


@settings(max_examples=150)
@given(_VIEWS)
def test_the_page_always_fits_and_never_carries_a_control_character(view: View) -> None:
    rows = page.render(view)
    assert len(rows) == ROWS
    for _, text in rows:
        assert len(text) <= COLUMNS
        assert text.isprintable()
        text.encode("cp437")  # the font of the kernel


@settings(max_examples=50)
@given(_VIEWS)
def test_painting_never_scrolls(view: View) -> None:
    painted = page.paint(page.render(view)).decode()
    assert "\n" not in painted
    assert [int(row) for row in re.findall(r"\x1b\[(\d+);1H", painted)] == list(range(1, ROWS + 1))


def test_progress_is_a_bar_with_amount_rate_and_time_left() -> None:
    meter = Meter("capturing", 18_400_000_000, 44_000_000_000, 112_000_000, 62)
    text = "\n".join(text for _, text in page.render(View(host="lab-01", meter=meter)))
    assert "█" * 20 + "░" in text
    assert " 41 %" in text
    assert "18.4 GB of 44.0 GB    112 MB/s    3:49 left    1:02 so far" in text


def test_an_error_stands_instead_of_the_bar_with_what_to_do() -> None:
    view = View(meter=Meter("x", 1, 2), error="The disk is too small.", remedy="Use a larger one.")
    rows = page.render(view)
    assert (page.Style.BAD, " The disk is too small. ") in rows
    assert (page.Style.BOLD, " Use a larger one.") in rows
    assert not any("█" in text for _, text in rows)


def test_the_latest_lines_are_kept() -> None:
    view = View()
    for number in range(50):
        view = view.with_line(f"line {number}")
    text = "\n".join(text for _, text in page.render(view))
    assert "line 49" in text
    assert "line 30" not in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (31.4, "0:31"), (59.9, "1:00"), (3661, "1:01:01"), (1e12, "99:59:59")]
)
def test_time_reads_as_a_clock(seconds: float, text: str) -> None:
    assert page.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (44e9, "44.0 GB"), (512e9, "512 GB"), (2e12, "2.00 TB")]
)
def test_sizes_are_in_powers_of_ten(count: float, text: str) -> None:
    assert page.size(count) == text


def test_nothing_is_100_percent_before_all_is_done() -> None:
    assert Meter("", 999_999, 1_000_000).percent == 99
    assert Meter("", 0, 0).percent == 0
    assert Meter("", 5, 0).left_s is None
