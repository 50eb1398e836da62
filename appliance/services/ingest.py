"""The box's half of a capture: take staged chunks over, and turn a finished upload into a committed version.

Order, and what a crash after each step leaves (docs/image-format.md section 6 has the chunk store's own):

| step                                  | killed right after it                                                     |
|---------------------------------------|---------------------------------------------------------------------------|
| 1. the agent's result: task VERIFYING | the next tick begins with step 2                                          |
| 2. last chunks taken from staging     | they are stored and pinned; none is taken twice                           |
| 3. version folder written             | a folder without a row: written again (the same), or collected in an hour |
| 4. row committed, task DONE           | the version exists; the next tick removes what is left of the task        |
| 5. staging, uploads and pins removed  | nothing is left                                                           |

Every step can be done again. Nothing here touches a version that has a row.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from appliance.config import Settings
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.manifest import Manifest
from appliance.errors import NotFound
from appliance.model import ImageVersion, Task
from appliance.services.uploads import Uploads
from appliance.store import Store

log = logging.getLogger(__name__)

_KEY = "capture.ingest."


class Taken:
    """How many compressed bytes each open capture has added to the image store, kept between ticks and processes."""

    def __init__(self, store: Store) -> None:
        self._settings = store.settings

    def of(self, task_id: int) -> int:
        """What was last saved for the task."""
        return int(self._settings.get(f"{_KEY}{task_id}") or 0)

    def save(self, task_id: int, new_bytes: int) -> None:
        """Keep it."""
        self._settings.set(f"{_KEY}{task_id}", str(new_bytes))

    def forget(self, task_id: int) -> None:
        """The task is over."""
        self._settings.set(f"{_KEY}{task_id}", "")

    def task_ids(self) -> set[int]:
        """The tasks that something is kept for."""
        return {int(key.removeprefix(_KEY)) for key in self._settings.all(_KEY)}


@dataclass(frozen=True, slots=True)
class Ingest:
    """Works on one capture at a time; every method may be repeated after a crash, and blocks."""

    settings: Settings
    store: Store
    chunks: ChunkStore
    uploads: Uploads

    def take_staged(self, task: Task) -> int:
        """Take over what lies complete in the staging folder; return the compressed bytes that this capture has added.

        Raises `ChunkInvalid` naming a bad chunk, `NoSpace` when the folder or the disk is full. No folder yet is no
        error: the NFS service makes it.
        """
        taken = Taken(self.store)
        before = taken.of(task.id)
        try:
            report = self.chunks.ingest(
                task.id,
                limit_bytes=self.settings.nfs.staging_limit_mb * 10**6,
                reserve_bytes=self.settings.tasks.free_reserve_mb * 10**6,
            )
        except NotFound:
            return before
        if report.bytes:
            taken.save(task.id, before + report.bytes)
        return before + report.bytes

    def commit(self, task: Task) -> Task:
        """Check and commit a verifying capture.

        Raises `BadImage` for a manifest or index that does not fit, `MissingChunks`, `NotFound` for a missing upload,
        and what `take_staged` raises.
        """
        new_bytes = self.take_staged(task)
        manifest = self.uploads.manifest(task.id)
        parsed = Manifest.parse(manifest)
        files = {file.name: self.uploads.file(task.id, file.name) for file in parsed.files()}
        version_id = self.chunks.write_version(manifest, files)
        version = ImageVersion(
            id=version_id,
            image_name=task.image_name,
            number=0,  # the store gives the next one
            created=datetime.now(UTC),
            disk_bytes=parsed.disk.size_bytes,
            used_bytes=parsed.used_bytes,
            stored_bytes=self.chunks.size_of(version_id).stored_bytes,
            new_bytes=new_bytes,
            chunks=parsed.chunks,
            master_name=task.host_name,
            task_id=task.id,
            sealed=task.sealed,
        )
        done = self.store.images.commit(task.id, version)
        log.info("task %d: %s committed, %d chunks, %d new bytes", task.id, task.image_name, *_sizes(version))
        return done

    def clear(self, task_id: int) -> None:
        """Remove what a finished capture left: staging folder, uploads, pins. Nothing of a committed version."""
        with suppress(FileNotFoundError):  # the NFS service may remove it at the same moment
            self.chunks.drop_staging(task_id)
        self.uploads.drop(task_id)
        self.chunks.unpin(task_id)
        Taken(self.store).forget(task_id)

    def left_over(self) -> set[int]:
        """Tasks of which something lies there that `clear` removes."""
        return self.chunks.open_task_ids() | self.uploads.task_ids() | Taken(self.store).task_ids()


def _sizes(version: ImageVersion) -> tuple[int, int]:
    return version.chunks, version.new_bytes
