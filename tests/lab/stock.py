"""An image in the box's store without a guest: for tests whose subject comes after the capture."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from appliance.engine.chunkstore import ChunkStore
from appliance.engine.manifest import Manifest
from appliance.events import TaskState
from appliance.model import ImageVersion
from tests.engine.kit import captured
from tests.lab.box import Box
from tests.lab.pc import mac_for


def put_image(box: Box, disk: Path, name: str) -> ImageVersion:
    """Capture an image file into the box's store, as the first version of `name`. The box need not run."""
    chunks = ChunkStore(box.settings.paths.images)
    version_id, result = captured(chunks, disk, window=box.options.window_kib << 10)
    shape = Manifest.parse(result.manifest)
    stored = chunks.size_of(version_id).stored_bytes
    made = ImageVersion(
        version_id, name, 0, datetime.now(UTC), shape.disk.size_bytes, shape.used_bytes, stored, stored, shape.chunks
    )
    store = box.store()
    try:
        host = store.hosts.add(f"master-of-{name}", [mac_for(f"master of {name}")])
        task = store.tasks.capture(host, name)
        store.tasks.checked_in(task.id, "127.0.0.1", host.macs[0])
        store.tasks.move(task.id, TaskState.VERIFYING)
        store.images.commit(task.id, made)
        return store.images.resolve(name)
    finally:
        store.close()
