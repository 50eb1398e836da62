"""The rate finds the link, ignores loss that is not its fault, and casts share evenly."""

from collections.abc import Callable

import pytest

from appliance.cast.rate import RISE, Link, Rate, Report

CEILING = 100e6


def report(loss: float = 0.0, room: float = 1.0, taken: float = 0.0, dropped: float = 0.0) -> Report:
    heard = int(10_000 * (1 - loss))
    return Report(heard, 10_000 - heard, int(heard * dropped), int(taken), 1.0, room)


def settle(rate: Rate, world: Callable[[float], Report], steps: int = 200) -> list[float]:
    """Rates of the last quarter of `steps` steps, when the world answers each rate with a report."""
    seen = []
    for _ in range(steps):
        rate.step([world(rate.rate)])
        seen.append(rate.rate)
    return seen[-steps // 4 :]


def test_a_link_slower_than_the_ceiling_is_found_and_used() -> None:
    link = 40e6
    rates = settle(Rate(CEILING), lambda rate: report(loss=max(0.0, 1 - link / rate)))
    assert max(rates) < 1.2 * link
    assert sum(rates) / len(rates) > 0.8 * link


@pytest.mark.parametrize("lag", [0.0, 0.5])
@pytest.mark.parametrize("link", [2e6, 10e6, 20e6])
def test_receivers_that_take_a_small_part_of_the_ceiling_are_found_within_seconds(link: float, lag: float) -> None:
    """`lag`: how much of each report is still about the second before it."""
    rate, before = Rate(CEILING), CEILING
    for _ in range(10):
        now = rate.rate
        rate.step([report(loss=max(0.0, 1 - link / (lag * before + (1 - lag) * now)))])
        before = now
    assert rate.rate < 2 * max(link, RISE * CEILING)


def test_a_receiver_that_hears_next_to_nothing_is_not_taken_for_one_with_a_bad_cable() -> None:
    rate = Rate(CEILING)
    for loss in (1.0, 1.0, 1.0, 1.0, 0.97, 0.97):
        rate.step([report(loss=loss)])
    assert rate.rate < 0.05 * CEILING


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.10, 0.30])
def test_loss_that_is_there_at_every_rate_slows_nothing(loss: float) -> None:
    rates = settle(Rate(CEILING), lambda _: report(loss=loss), steps=20)
    assert sum(rates) / len(rates) > 0.97 * CEILING


def test_congestion_on_top_of_usual_loss_is_still_noticed() -> None:
    rates = settle(Rate(CEILING), lambda rate: report(loss=0.05 + max(0.0, 1 - 40e6 / rate) * 0.95))
    assert max(rates) < 1.6 * 40e6


def test_the_median_decides_so_one_lossy_or_slow_receiver_slows_nobody() -> None:
    rate = Rate(CEILING)
    for _ in range(20):
        rate.step([report(), report(), report(loss=0.5, room=0.0, taken=1e6)])
    assert rate.rate == CEILING


def test_a_room_of_slow_disks_sets_the_pace() -> None:
    fill, room = 0.0, 64e6
    rate, rates = Rate(CEILING), []
    for _ in range(120):
        taken = min(20e6, fill + rate.rate)
        accepted = min(rate.rate, room - fill + taken)
        fill = min(max(fill + rate.rate - taken, 0.0), room)
        rate.step([report(room=1 - fill / room, taken=taken, dropped=1 - accepted / rate.rate)])
        rates.append(rate.rate)
    assert 18e6 < sum(rates[-40:]) / 40 < 24e6


def test_a_lower_ceiling_holds_at_once() -> None:
    rate = Rate(CEILING)
    rate.set_ceiling(10e6)
    assert rate.rate == 10e6


def test_a_raised_ceiling_lifts_only_a_rate_that_stood_at_the_old_one() -> None:
    rate = Rate(10e6)
    rate.set_ceiling(CEILING)
    assert rate.rate == CEILING
    rate.step([report(loss=0.2)])
    slower = rate.rate
    assert slower < CEILING
    rate.set_ceiling(2 * CEILING)
    assert rate.rate == slower


def run_link(link: Link, casts: dict[int, float], seconds: float, sizes: dict[int, int]) -> dict[int, int]:
    sent = dict.fromkeys(casts, 0)
    now = 0.0
    while now < seconds:
        chosen, again = link.next(casts, now)
        if chosen is None:
            now = again
            continue
        link.sent(chosen, sizes[chosen], casts[chosen], now)
        sent[chosen] += sizes[chosen]
    return sent


def test_two_casts_get_equal_bytes_whatever_their_chunks_size() -> None:
    sent = run_link(Link(CEILING), {1: CEILING, 2: CEILING}, 5.0, {1: 100_000, 2: 4_000_000})
    assert sent[1] == pytest.approx(sent[2], rel=0.05)
    assert sum(sent.values()) == pytest.approx(5 * CEILING, rel=0.03)


def test_what_one_cast_cannot_use_goes_to_the_others() -> None:
    sent = run_link(Link(CEILING), {1: 10e6, 2: CEILING}, 5.0, {1: 400_000, 2: 400_000})
    assert sent[1] == pytest.approx(50e6, rel=0.05)
    assert sent[2] == pytest.approx(450e6, rel=0.05)


def test_a_cast_that_was_idle_gets_no_credit_for_it() -> None:
    link = Link(CEILING)
    run_link(link, {1: CEILING}, 2.0, {1: 400_000})
    now, sent = 2.1, {1: 0, 2: 0}
    while now < 3.1:
        chosen, again = link.next({1: CEILING, 2: CEILING}, now)
        if chosen is None:
            now = again
            continue
        link.sent(chosen, 400_000, CEILING, now)
        sent[chosen] += 1
    assert abs(sent[1] - sent[2]) <= 2
