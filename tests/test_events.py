"""The table of task states."""

import itertools

import pytest

from appliance.events import TRANSITIONS, TaskState, may_move


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(TaskState)


@pytest.mark.parametrize("state", [s for s in TaskState if not s.is_final])
def test_every_unfinished_state_can_fail_and_be_cancelled(state: TaskState) -> None:
    assert may_move(state, TaskState.FAILED)
    assert may_move(state, TaskState.CANCELLED)


def test_nothing_follows_an_end() -> None:
    ends = [s for s in TaskState if s.is_final]
    assert ends == [TaskState.DONE, TaskState.FAILED, TaskState.CANCELLED]
    assert not any(may_move(a, b) for a, b in itertools.product(ends, TaskState))


def test_done_is_reached_only_through_verifying() -> None:
    assert [s for s in TaskState if may_move(s, TaskState.DONE)] == [TaskState.VERIFYING]


def test_every_state_is_reachable_from_scheduled() -> None:
    reached = {TaskState.SCHEDULED}
    while more := {b for a in reached for b in TRANSITIONS[a]} - reached:
        reached |= more
    assert reached == set(TaskState)
