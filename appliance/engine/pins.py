"""Pins: which chunks an open capture was told exist, so that no collection takes them away before it commits.

Rules: an id is pinned, durably and under the store's lock, before anything is answered about it. Releasing only renames
the file; the collection that was running then still honours it. See docs/image-format.md section 6.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from appliance.engine.chunk import ID_BYTES
from appliance.engine.files import locked, sync_folder

_RELEASED = ".released"


class Pins:
    """The pins of every open capture, one file a task."""

    def __init__(self, folder: Path, lock: Path) -> None:
        self.folder, self.lock = folder, lock

    def add(self, task_id: int, ids: Iterable[bytes]) -> None:
        """Pin `ids`, durably. The caller holds the lock."""
        path = self.folder / str(task_id)
        is_new = not path.exists()
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            # A crash in the middle of an earlier append leaves a torn id: write over it.
            os.lseek(handle, os.fstat(handle).st_size // ID_BYTES * ID_BYTES, os.SEEK_SET)
            view = memoryview(b"".join(ids))
            while view:
                view = view[os.write(handle, view) :]
            os.fdatasync(handle)
        finally:
            os.close(handle)
        if is_new:
            sync_folder(self.folder)

    def of(self, task_id: int) -> set[bytes]:
        """What is pinned for `task_id`."""
        return set(_ids(self.folder / str(task_id)))

    def release(self, task_id: int) -> None:
        """The task is over; nothing happens when it has no pins."""
        with locked(self.lock):
            path = self.folder / str(task_id)
            # A number that is used again must not lose pins that were released a moment ago.
            target = self.folder / f"{task_id}.{time.time_ns()}{_RELEASED}"
            if path.exists():
                os.rename(path, target)
                sync_folder(self.folder)

    def all(self) -> set[bytes]:
        """Everything pinned now, released or not. The caller holds the lock."""
        found: set[bytes] = set()
        for path in self.folder.iterdir():
            found.update(_ids(path))
        return found

    def stamp(self) -> tuple[tuple[str, int], ...]:
        """Changes whenever a pin is added or released. The caller holds the lock."""
        return tuple(sorted((entry.name, entry.stat().st_size) for entry in os.scandir(self.folder)))

    def ended(self, open_tasks: set[int], older_than: float) -> list[Path]:
        """Pin files that a collection which starts now may remove when it has ended.

        Those are the released ones, and those of tasks that are not open any more and have not been touched since
        `older_than` (seconds since the epoch): a task that opened after the caller asked the database is younger.
        """
        found = []
        for path in self.folder.iterdir():
            name = path.name.removesuffix(_RELEASED)
            is_open = name.isdigit() and int(name) in open_tasks
            if path.name.endswith(_RELEASED) or (not is_open and path.stat().st_mtime < older_than):
                found.append(path)
        return found


def _ids(path: Path) -> Iterator[bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    for at in range(0, len(data) - ID_BYTES + 1, ID_BYTES):
        yield data[at : at + ID_BYTES]
