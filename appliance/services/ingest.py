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


@dataclass(frozen=True, slots=True)
class Taken:
    """How far the taking over of one capture's chunks is; kept in the store between ticks and processes."""

    waiting_bytes: int = 0  # still in the staging folder
    new_bytes: int = 0  # compressed bytes that this capture has added to the store

    @classmethod
    def load(cls, store: Store, task_id: int) -> Taken:
        """What was last saved for the task."""
        words = store.settings.get(f"{_KEY}{task_id}").split()
        return cls(*map(int, words)) if len(words) == 2 else cls()

    def save(self, store: Store, task_id: int) -> None:
        """Keep it."""
        store.settings.set(f"{_KEY}{task_id}", f"{self.waiting_bytes} {self.new_bytes}")

    @staticmethod
    def forget(store: Store, task_id: int) -> None:
        """The task is over."""
        store.settings.set(f"{_KEY}{task_id}", "")


@dataclass(frozen=True, slots=True)
class Ingest:
    """Works on one capture at a time; every method may be repeated after a crash, and blocks."""

    settings: Settings
    store: Store
    chunks: ChunkStore
    uploads: Uploads

    def take_staged(self, task: Task) -> Taken:
        """Take over what lies complete in the staging folder.

        Raises `ChunkInvalid` naming a bad chunk, `NoSpace` when the folder or the disk is full. No folder yet is no
        error: the NFS service makes it.
        """
        before = Taken.load(self.store, task.id)
        try:
            report = self.chunks.ingest(
                task.id,
                limit_bytes=self.settings.nfs.staging_limit_mb * 10**6,
                reserve_bytes=self.settings.tasks.free_reserve_mb * 10**6,
            )
        except NotFound:
            return before
        after = Taken(report.waiting_bytes, before.new_bytes + report.bytes)
        if after != before:
            after.save(self.store, task.id)
        return after

    def commit(self, task: Task) -> Task:
        """Check and commit a verifying capture.

        Raises `BadImage` for a manifest or index that does not fit, `MissingChunks`, `NotFound` for a missing upload,
        and what `take_staged` raises.
        """
        taken = self.take_staged(task)
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
            new_bytes=taken.new_bytes,
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
        Taken.forget(self.store, task_id)


def _sizes(version: ImageVersion) -> tuple[int, int]:
    return version.chunks, version.new_bytes
