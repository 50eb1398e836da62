"""What the operator would see while PCs work: one line for each stage a PC reaches and for each step of its task."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.model import Task
from tests.lab.box import Box

Say = Callable[[str], None]
_STEP_PERCENT = 10


class Watcher:
    """Reads the box's store and says what is new. `names` gives PCs their names by MAC."""

    def __init__(self, box: Box, names: dict[str, str], say: Say) -> None:
        self._box = box
        self._names = names
        self._say = say
        self._stages: dict[str, str] = {mac: f"{s.stage} {s.at}" for mac, s in box.sightings().items()}
        self._tasks: dict[int, str] = {task.id: _summary(task) for task in box.tasks()}

    def look(self) -> None:
        """Say what changed since the last look."""
        for mac, sighting in self._box.sightings().items():
            now = f"{sighting.stage} {sighting.at}"
            before, self._stages[mac] = self._stages.get(mac, ""), now
            if before.split(" ")[0] != now.split(" ")[0]:
                self._say(f"{self._names.get(mac, mac):12} {sighting.stage:9} {sighting.ip}")
        for task in self._box.tasks():
            now = _summary(task)
            if self._tasks.get(task.id) != now:
                self._tasks[task.id] = now
                self._say(f"{task.host_name:12} {now}")

    def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Look twice a second until `condition` holds; False when it does not within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                return False
            self.look()
            time.sleep(0.5)
        self.look()
        return True


def _summary(task: Task) -> str:
    """A task in a few words that change once in ten percent."""
    if task.state.is_final:
        why = f": {task.error} {task.remedy}".rstrip() if task.error else ""
        return f"task {task.id} {task.kind} {task.state}{why}"
    text = f"task {task.id} {task.kind} {task.state} {task.phase}".rstrip()
    if task.total_bytes:
        percent = 100 * task.done_bytes // task.total_bytes
        text += f" {percent - percent % _STEP_PERCENT:3} % of {task.total_bytes / 1e6:.0f} MB"
    return text
