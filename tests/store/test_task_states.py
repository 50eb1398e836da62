"""Random walks over all verbs of a task: whatever is called in whatever order, the rules hold."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from appliance.errors import Conflict, NotFound
from appliance.events import TRANSITIONS, TaskKind, TaskState
from appliance.model import Task
from appliance.store import IllegalMove, Store
from tests.store.conftest import make_version

STATES = st.sampled_from(list(TaskState))
TASKS = st.integers(0, 7)
HOSTS = st.sampled_from([1, 2, 3])


class TaskWalk(RuleBasedStateMachine):
    """Orders, moves, check-ins, commits and cancels in any order, compared with the table."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="diecast-walk-"))
        self.store = Store.open(self.folder / "diecast.sqlite")
        self.states: dict[int, TaskState] = {}
        self.last_token: dict[int, str] = {}

    @initialize()
    def three_hosts(self) -> None:
        for number in (1, 2, 3):
            self.store.hosts.add(f"PC{number}", [f"52:54:00:aa:01:{number:02x}"])

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def pick(self, index: int) -> int | None:
        return sorted(self.states)[index % len(self.states)] if self.states else None

    def expect(self, task_id: int, new: TaskState, act: Callable[[], Task]) -> Task | None:
        """`act` shall succeed exactly when the table allows it."""
        if new in TRANSITIONS[self.states[task_id]]:
            task = act()
            self.states[task_id] = new
            return task
        try:
            act()
        except IllegalMove:
            return None
        raise AssertionError(f"{self.states[task_id]} -> {new} was allowed")

    @rule(host=HOSTS, sealed=st.booleans())
    def order_a_capture(self, host: int, sealed: bool) -> None:
        busy = self.store.tasks.for_host(host)
        try:
            task = self.store.tasks.capture(self.store.hosts.by_id(host), "win11", sealed=sealed)
        except Conflict:
            assert busy is not None
            return
        assert busy is None
        self.states[task.id] = TaskState.WAITING

    @rule(host=HOSTS)
    def order_a_deploy(self, host: int) -> None:
        pc = self.store.hosts.by_id(host)
        busy = self.store.tasks.for_host(host)
        try:
            task = self.store.tasks.deploy(pc, self.store.images.resolve("win11"))
        except NotFound:
            assert self.store.images.live_version_ids() == set()
        except Conflict:
            assert busy is not None or pc.sealed
        else:
            assert busy is None
            self.states[task.id] = TaskState.WAITING

    @rule(index=TASKS, new=STATES)
    def move(self, index: int, new: TaskState) -> None:
        task_id = self.pick(index)
        if task_id is not None and new is not TaskState.DONE:
            self.expect(task_id, new, lambda: self.store.tasks.move(task_id, new))

    @rule(index=TASKS)
    def check_in(self, index: int) -> None:
        task_id = self.pick(index)
        if task_id is None:
            return
        before = self.last_token.get(task_id)

        def act() -> Task:
            task, self.last_token[task_id] = self.store.tasks.checked_in(task_id, "10.0.0.1", "52:54:00:aa:01:01")
            return task

        if self.states[task_id] is TaskState.RUNNING:
            act()
        elif self.expect(task_id, TaskState.RUNNING, act) is None:
            return
        new = self.store.tasks.by_token(self.last_token[task_id])
        assert new is not None
        assert not new.revoked
        if before is not None:
            old = self.store.tasks.by_token(before)
            assert old is not None
            assert old.revoked

    @rule(index=TASKS, digit=st.sampled_from("abc"))
    def commit(self, index: int, digit: str) -> None:
        task_id = self.pick(index)
        if task_id is None:
            return
        task = self.store.tasks.get(task_id)
        if task.kind is TaskKind.CAPTURE and not (task.state is TaskState.DONE and task.version_id == digit * 64):
            self.expect(task_id, TaskState.DONE, lambda: self.store.images.commit(task_id, make_version(digit)))

    @rule(index=TASKS)
    def finish_a_deploy(self, index: int) -> None:
        task_id = self.pick(index)
        if task_id is not None and self.store.tasks.get(task_id).kind is TaskKind.DEPLOY:
            self.expect(task_id, TaskState.DONE, lambda: self.store.tasks.move(task_id, TaskState.DONE))

    @rule(index=TASKS, done=st.integers(0, 2**62))
    def report_progress(self, index: int, done: int) -> None:
        task_id = self.pick(index)
        if task_id is not None:
            task = self.store.tasks.progress(task_id, "reading", done, 2**62, 1.5)
            assert (task.done_bytes == done) or self.states[task_id] is not TaskState.RUNNING

    @invariant()
    def states_are_as_the_table_says(self) -> None:
        found = {task.id: task for task in self.store.tasks.list()}
        assert {task_id: task.state for task_id, task in found.items()} == self.states
        for task in found.values():
            assert (task.finished is not None) == task.state.is_final

    @invariant()
    def a_host_has_at_most_one_unfinished_task(self) -> None:
        busy = [task.host_id for task in self.store.tasks.list(active_only=True)]
        assert len(busy) == len(set(busy))

    @invariant()
    def the_life_of_every_task_is_a_walk_on_the_table(self) -> None:
        for task_id, state in self.states.items():
            steps = [event.state for event in self.store.tasks.events(task_id)]
            for old, new in itertools.pairwise(steps):
                assert new in TRANSITIONS[old] or (old is new is TaskState.RUNNING)
            assert steps[-1] is state


TestTaskWalk = TaskWalk.TestCase
TestTaskWalk.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
