"""What tests ask of a box, wherever it runs: its command line, and what its store says.

The lab's own box is a process beside the test (`tests.lab.box`); the appliance is a guest (`tests.appliance.box`).
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from appliance.events import BootStage
from appliance.model import Cast, Image, Sighting, Task
from appliance.store import Store


class CliFailed(AssertionError):
    """A `diecast` command ended with another status than 0."""

    def __init__(self, words: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"diecast {' '.join(words)} ended with status {status}: {said.strip()}")
        self.status = status
        self.said = said


class BoxView(ABC):
    """A box as its operator and its store show it."""

    log: Path  # what to read when something fails

    @abstractmethod
    def cli(self, *words: str, stdin: str = "", timeout_s: float = 60) -> str:
        """Run one `diecast` command and return what it printed. Raises `CliFailed`."""

    @abstractmethod
    def store(self) -> Store:
        """The box's store as it is now; close it after use."""

    def json(self, *words: str) -> Any:
        """Run one `diecast` command with --json and return what it printed."""
        return json.loads(self.cli(*words, "--json"))

    def tasks(self) -> list[Task]:
        """All tasks, as the store has them."""
        store = self.store()
        try:
            return store.tasks.list()
        finally:
            store.close()

    def task(self, task_id: int) -> Task:
        """One task, as the store has it now."""
        store = self.store()
        try:
            return store.tasks.get(task_id)
        finally:
            store.close()

    def images(self) -> list[Image]:
        """All images."""
        store = self.store()
        try:
            return store.images.list()
        finally:
            store.close()

    def casts(self) -> dict[int, tuple[Cast, int, int]]:
        """Each cast with how many PCs it has and the compressed bytes of its version."""
        store = self.store()
        try:
            return {
                cast.id: (cast, len(store.casts.members(cast.id)), store.images.version(cast.version_id).stored_bytes)
                for cast in store.casts.list()
            }
        finally:
            store.close()

    def events(self, task_id: int) -> str:
        """What the events of a task say, in one line."""
        store = self.store()
        try:
            return "; ".join(event.text for event in store.tasks.events(task_id))
        finally:
            store.close()

    def sightings(self) -> dict[str, Sighting]:
        """The last sighting of each MAC."""
        store = self.store()
        try:
            return {sighting.mac: sighting for sighting in store.hosts.sightings()}
        finally:
            store.close()

    def sees(self, mac: str, stage: BootStage, timeout_s: float = 60) -> Sighting:
        """Wait until the box has recorded that a PC reached `stage`. Raises `AssertionError` with what it recorded."""
        found: list[Sighting | None] = [None]

        def reached() -> bool:
            found[0] = self.sightings().get(mac)
            return found[0] is not None and found[0].stage is stage

        self.wait_until(reached, timeout_s, lambda: f"{mac} never reached {stage}; last seen: {found[0]}")
        assert found[0] is not None
        return found[0]

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, describe: Callable[[], str]) -> None:
        """Wait for a condition. Raises `AssertionError` with `describe()` and the log's path."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError(f"{describe()} (after {timeout_s:g} s). See {self.log}")
            time.sleep(0.25)

    def waits_for_task(self, task_id: int, timeout_s: float) -> Task:
        """Wait until a task is over and return it, whatever its end."""
        self.wait_until(lambda: self.task(task_id).state.is_final, timeout_s, lambda: f"not over: {self.task(task_id)}")
        return self.task(task_id)
