"""What services say of themselves, and what their silence says."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from appliance.events import ServiceHealth
from appliance.model import ServiceState
from appliance.store import Store
from tests.store.conftest import NOON


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def only(store: Store, seconds: float) -> ServiceState:
    (state,) = store.services.list(now=at(seconds))
    return state


def test_a_service_is_as_it_said_last_and_since_when(store: Store) -> None:
    store.services.beat("http", ServiceHealth.STARTING, pid=7, started=NOON, durable=True, now=at(0))
    for seconds in (1, 6, 11):
        store.services.beat("http", ServiceHealth.OK, "all well", pid=7, started=NOON, now=at(seconds))
    expected = ServiceState("http", ServiceHealth.OK, 7, since=at(1), beat=at(11), words="all well", started=NOON)
    assert only(store, 12) == expected


def test_services_are_listed_by_name(store: Store) -> None:
    for name in ("tftp", "cast", "http"):
        store.services.beat(name, ServiceHealth.OK, pid=1, started=NOON)
    assert [state.name for state in store.services.list()] == ["cast", "http", "tftp"]


@pytest.mark.parametrize(
    ("said", "after"),
    [
        (ServiceHealth.STARTING, ServiceHealth.SILENT),
        (ServiceHealth.OK, ServiceHealth.SILENT),
        (ServiceHealth.STOPPING, ServiceHealth.SILENT),
        (ServiceHealth.STOPPED, ServiceHealth.STOPPED),
        (ServiceHealth.FAILED, ServiceHealth.FAILED),
    ],
)
def test_who_should_run_and_misses_three_beats_is_silent(
    store: Store, said: ServiceHealth, after: ServiceHealth
) -> None:
    store.services.beat("nfs", said, pid=7, started=NOON, now=at(0))
    assert only(store, 15).state is said
    assert only(store, 15.1).state is after
    assert only(store, 15.1).since == at(0)


def test_a_silent_service_that_beats_again_was_well_all_the_time(store: Store) -> None:
    for seconds in (0, 60):
        store.services.beat("nfs", ServiceHealth.OK, pid=7, started=NOON, now=at(seconds))
    assert (only(store, 61).state, only(store, 61).since) == (ServiceHealth.OK, at(0))


def test_a_restarted_service_is_a_new_one(store: Store) -> None:
    store.services.beat("nfs", ServiceHealth.OK, pid=7, started=NOON, now=at(0))
    store.services.beat("nfs", ServiceHealth.OK, pid=8, started=at(5), now=at(5))
    state = only(store, 6)
    assert (state.pid, state.since, state.started) == (8, at(5), at(5))


@pytest.mark.parametrize("last", [ServiceHealth.STOPPING, ServiceHealth.STOPPED, ServiceHealth.FAILED])
def test_the_last_words_of_a_predecessor_do_not_count(store: Store, last: ServiceHealth) -> None:
    store.services.beat("nfs", ServiceHealth.STARTING, pid=8, started=at(5), now=at(5))
    store.services.beat("nfs", last, "gone", pid=7, started=NOON, now=at(6))
    assert (only(store, 7).pid, only(store, 7).state) == (8, ServiceHealth.STARTING)
    store.services.beat("nfs", last, "gone", pid=8, started=at(5), now=at(8))
    assert only(store, 9).state is last


def test_a_service_started_after_the_clock_was_set_back_is_believed(store: Store) -> None:
    store.services.beat("nfs", ServiceHealth.OK, pid=7, started=at(1000), now=at(1000))
    store.services.beat("nfs", ServiceHealth.OK, pid=8, started=NOON, now=at(1))
    assert only(store, 2).pid == 8
