"""What the operator would see while PCs work: a line for each stage a PC reaches, each step of its task or its cast."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.events import CastState
from appliance.model import Cast, Task
from tests.lab.boxview import BoxView

Say = Callable[[str], None]
_STEP_PERCENT = 10
_CAST_STEP = 4  # of the image's size; a cast of n PCs at the same time sends it about once


class Watcher:
    """Reads the box's store and says what is new. `names` gives PCs their names by MAC."""

    def __init__(self, box: BoxView, names: dict[str, str], say: Say) -> None:
        self._box = box
        self._names = names
        self._say = say
        self._stages: dict[str, str] = {mac: f"{s.stage} {s.at}" for mac, s in box.sightings().items()}
        self._tasks: dict[int, str] = {task.id: _summary(task) for task in box.tasks()}
        self._casts: dict[int, tuple[object, ...]] = {id: _step(*found) for id, found in box.casts().items()}

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

        for id, (cast, pcs, image_bytes) in self._box.casts().items():
            step = _step(cast, pcs, image_bytes)
            if self._casts.get(id) != step:
                self._casts[id] = step
                self._say(f"{f'cast {id}':12} {cast_in_words(cast, pcs, image_bytes)}")

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


def _step(cast: Cast, pcs: int, image_bytes: int) -> tuple[object, ...]:
    """What has to change for a cast to be worth a line."""
    return cast.state, cast.waiting, cast.present, pcs, cast.broadcast, cast.sent_bytes * _CAST_STEP // image_bytes


def cast_in_words(cast: Cast, pcs: int, image_bytes: int) -> str:
    """How many PCs are there, and what was sent beside what the image has."""
    there = "ended" if cast.state is CastState.ENDED else f"{cast.present} of {pcs} PCs there"
    where = " to the broadcast address" if cast.broadcast else ""
    repair = f", of it {cast.parity_bytes / 1e6:.0f} MB for repair" if cast.parity_bytes >= 1e6 else ""
    return f"{there}, {cast.sent_bytes / 1e6:.0f} MB sent{where}{repair}; the image has {image_bytes / 1e6:.0f} MB"
