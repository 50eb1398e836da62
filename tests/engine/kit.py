"""A store with a capture sink and a chunk source in front of it, as agent and box would be, without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.engine.capture import CaptureOptions, CaptureResult, EngineProgress, capture
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.restore import restore
from appliance.engine.target import RestoreOptions, RestoreReport
from appliance.engine.version import Version

TASK = 7
LIMIT = 1 << 40


def never() -> bool:
    """Nobody cancels."""
    return False


def quiet(progress: EngineProgress) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class StagingSink:
    """Writes staged chunks as the agent does."""

    store: ChunkStore
    task_id: int = TASK
    asked: list[bytes] = field(default_factory=list)
    put_ids: list[bytes] = field(default_factory=list)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def missing(self, ids: list[bytes]) -> list[bytes]:
        with self.mutex:
            self.asked += ids
        return self.store.missing(self.task_id, ids)

    def put(self, id: bytes, frame: bytes) -> None:
        folder = self.store.open_staging(self.task_id, 0)
        part = folder / f"{id.hex()}.part"
        part.write_bytes(frame)
        part.rename(folder / id.hex())
        with self.mutex:
            self.put_ids.append(id)


@dataclass(slots=True)
class StoreSource:
    """Reads chunks from the store; `before` may do harm first."""

    store: ChunkStore
    before: Callable[[bytes], None] = lambda id: None
    fetched: list[bytes] = field(default_factory=list)

    def fetch(self, id: bytes) -> bytes:
        self.before(id)
        self.fetched.append(id)
        return self.store.get_frame(id)


def captured(store: ChunkStore, disk: Path, *, window: int = 1 << 18) -> tuple[str, CaptureResult]:
    """Capture `disk` into `store` the whole way: ask, stage, ingest, write the version."""
    options = CaptureOptions(window_bytes=window, threads=2, batch_bytes=1 << 20, memory_bytes=8 << 20)
    store.open_staging(TASK, 0)
    result = capture(disk, StagingSink(store), options, quiet, never)
    store.ingest(TASK, limit_bytes=LIMIT)
    version = store.write_version(result.manifest, result.indexes)
    store.drop_staging(TASK)
    store.unpin(TASK)
    return version, result


def loaded(store: ChunkStore, version: str) -> Version:
    """A version of `store`, checked."""
    return Version.load(store.read_manifest(version), lambda name: store.read_index(version, name))


def restored(
    store: ChunkStore,
    version: str,
    target: Path,
    *,
    source: StoreSource | None = None,
    cancelled: Callable[[], bool] = never,
    threads: int = 2,
) -> RestoreReport:
    """Restore a version of `store` to `target`."""
    return restore(
        loaded(store, version),
        target,
        source or StoreSource(store),
        RestoreOptions(threads=threads, flush_bytes=1 << 20),
        quiet,
        cancelled,
    )
