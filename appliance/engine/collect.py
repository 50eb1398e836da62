"""Collection: removing versions without a row and chunks that nobody needs.

Kept are the chunks of every live version, of every version folder younger than `min_age_s` (its row may be written just
now), all pins (those released while we run too), and every chunk file younger than `min_age_s`. Sweeping holds the
store's lock for one folder at a time, so that a capture's question waits for milliseconds, not for the collection.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from appliance.engine.errors import BadImage
from appliance.engine.files import locked
from appliance.engine.index import Index
from appliance.engine.manifest import Manifest, is_version_id
from appliance.engine.pins import Pins
from appliance.errors import Conflict


@dataclass(frozen=True, slots=True)
class CollectReport:
    """What a collection removed and kept."""

    removed_versions: int
    removed_chunks: int
    removed_bytes: int
    kept_chunks: int


def collect(root: Path, pins: Pins, live: set[str], open_tasks: set[int], min_age_s: float) -> CollectReport:
    """Sweep the store at `root`. Raises `Conflict` when a live version cannot be read: then nothing is removed."""
    young = time.time() - min_age_s
    with locked(root / "collect.lock"):
        with locked(pins.lock):
            ended = pins.ended(open_tasks, young)
            pinned = pins.all()
            stamp = pins.stamp()
            removed_versions = _remove_versions(root / "versions", live, young)
            marked = pinned | _mark(root / "versions", live)
        removed = freed = kept = 0
        for folder in sorted((root / "chunks").iterdir()):
            with locked(pins.lock):
                if pins.stamp() != stamp:
                    stamp = pins.stamp()
                    marked |= pins.all()
                counts = _sweep(folder, marked, young)
            removed, freed, kept = removed + counts[0], freed + counts[1], kept + counts[2]
        for path in ended:
            path.unlink(missing_ok=True)
    return CollectReport(removed_versions, removed, freed, kept)


@dataclass(frozen=True, slots=True)
class Share:
    """What some chunks take: all of them, each once, and those of them that nothing else needs."""

    stored_bytes: int
    own_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """What versions take, together and each; so too groups of versions."""

    chunks: int
    stored_bytes: int
    versions: dict[str, Share]
    groups: dict[str, Share]


def usage(root: Path, groups: Mapping[str, set[str]]) -> Usage:
    """How versions, and groups of versions, share chunks. Raises `Conflict` when one cannot be read."""
    names = set[str]().union(*groups.values())
    chunks = {name: chunks_of(root / "versions" / name) for name in names}
    unions = {group: set[bytes]().union(*(chunks[name] for name in held)) for group, held in groups.items()}
    sizes = {id: size_of(root, id) for id in set[bytes]().union(*unions.values())}
    return Usage(len(sizes), sum(sizes.values()), _shares(chunks, sizes), _shares(unions, sizes))


def _shares(held: Mapping[str, set[bytes]], sizes: Mapping[bytes, int]) -> dict[str, Share]:
    needed = Counter(id for ids in held.values() for id in ids)
    return {
        name: Share(sum(sizes[id] for id in ids), sum(sizes[id] for id in ids if needed[id] == 1))
        for name, ids in held.items()
    }


def frees(root: Path, pins: Pins, doomed: set[str], live: set[str], open_tasks: set[int]) -> tuple[int, int]:
    """How many chunks and bytes nobody needs once `doomed` are gone from `live`. Raises `Conflict`."""
    gone = set[bytes]().union(*(chunks_of(root / "versions" / name) for name in doomed))
    for task_id in open_tasks:
        gone -= pins.of(task_id)
    for name in live - doomed:
        gone -= chunks_of(root / "versions" / name)
    return len(gone), sum(size_of(root, id) for id in gone)


def size_of(root: Path, id: bytes) -> int:
    """Bytes of a chunk file; 0 when it is not there."""
    name = id.hex()
    try:
        return (root / "chunks" / name[:2] / name).stat().st_size
    except FileNotFoundError:
        return 0


def chunks_of(version: Path) -> set[bytes]:
    """Every chunk id of a version folder. Raises `Conflict` when it cannot be read whole."""
    try:
        manifest = Manifest.parse((version / "manifest.json").read_bytes())
        ids: set[bytes] = set()
        for region in manifest.regions:
            ids.update(Index.parse((version / region.index.name).read_bytes(), region.index.name).ids())
        return ids
    except (OSError, BadImage) as error:
        raise Conflict(
            f"Version {version.name[:12]}… cannot be read, so its chunks are unknown: {error}",
            hint="Nothing was collected. Restore the version's folder from a copy, or remove its image.",
        ) from error


def _mark(versions: Path, live: set[str]) -> set[bytes]:
    marked: set[bytes] = set()
    for name in live | {path.name for path in versions.iterdir() if is_version_id(path.name)}:
        marked |= chunks_of(versions / name)
    return marked


def _remove_versions(versions: Path, live: set[str], young: float) -> int:
    removed = 0
    for path in versions.iterdir():
        if path.name in live or path.stat().st_mtime >= young:
            continue
        # Renamed first, so that a version is there whole or not at all.
        trash = path if path.name.startswith(".") else versions / f".{path.name}.old"
        if trash != path:
            os.rename(path, trash)
        shutil.rmtree(trash, ignore_errors=True)
        removed += is_version_id(path.name)
    return removed


def _sweep(folder: Path, marked: set[bytes], young: float) -> tuple[int, int, int]:
    removed = freed = kept = 0
    for entry in os.scandir(folder):
        try:
            info = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # a chunk on its way in has got its name meanwhile
        is_chunk = is_version_id(entry.name)
        if info.st_mtime >= young or (is_chunk and bytes.fromhex(entry.name) in marked):
            kept += is_chunk
            continue
        os.unlink(entry.path)
        removed += is_chunk
        freed += info.st_size
    return removed, freed, kept
