"""Verify: read a whole version again and compare every byte with its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from blake3 import blake3

from appliance.engine.chunk import ID_BYTES
from appliance.engine.errors import BadImage, ChunkInvalid, ChunkMissing
from appliance.engine.index import Index
from appliance.engine.manifest import Manifest
from appliance.engine.pipeline import for_each
from appliance.errors import NotFound

if TYPE_CHECKING:
    from appliance.engine.chunkstore import ChunkStore, VerifyReport


def verify_version(
    store: ChunkStore, version_id: str, progress: Callable[[int, int], None], cancelled: Callable[[], bool]
) -> VerifyReport:
    """Read and hash every file and chunk. Raises `NotFound`, `BadImage` (no readable manifest) and `Cancelled`."""
    from appliance.engine.chunkstore import VerifyReport

    manifest = Manifest.parse(store.read_manifest(version_id))
    problems, sizes = _files(store, version_id, manifest)
    bad: list[bytes] = []
    plain_bytes = done = 0

    def check(id: bytes) -> tuple[bytes, int, str]:
        try:
            size = len(store.get(id))
        except (ChunkInvalid, ChunkMissing) as error:
            return id, 0, str(error)
        except OSError as error:
            return id, 0, f"Chunk {id.hex()[:12]}… cannot be read: {error}."
        expected = sizes[id]
        return id, size, "" if size == expected else f"Chunk {id.hex()[:12]}… has {size} bytes, its window {expected}."

    def note(result: tuple[bytes, int, str]) -> None:
        nonlocal plain_bytes, done
        done += 1
        plain_bytes += result[1]
        if result[2]:
            bad.append(result[0])
            problems.append(result[2])
        progress(done, len(sizes))

    for_each(list(sizes), check, note, threads=2, cancelled=cancelled)
    if problems and not bad:
        bad.append(bytes(ID_BYTES))  # a broken index: no chunk to name, but the version is not whole
    return VerifyReport(version_id, done, plain_bytes, tuple(sorted(bad)), tuple(problems))


def _files(store: ChunkStore, version_id: str, manifest: Manifest) -> tuple[list[str], dict[bytes, int]]:
    """What is wrong with the version's files, and every chunk with its plain size."""
    problems: list[str] = []
    sizes: dict[bytes, int] = {}
    indexes = {region.index.name for region in manifest.regions}
    for file in manifest.files():
        try:
            data = store.read_index(version_id, file.name)
            if len(data) != file.bytes or blake3(data).hexdigest() != file.blake3:
                raise BadImage(f"{file.name} of version {version_id[:12]}… is not what its manifest says.")
            if file.name in indexes:
                index = Index.parse(data, file.name)
                sizes.update((window.id, index.length_of(window.number)) for window in index)
        except (BadImage, NotFound) as error:
            problems.append(str(error))
    return problems, sizes
