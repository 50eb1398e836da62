"""A version as a restore needs it: its manifest with every index and the table, all checked against each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blake3 import blake3

from appliance.engine.errors import BadImage
from appliance.engine.index import Index
from appliance.engine.manifest import Manifest, Region


@dataclass(frozen=True, slots=True)
class Version:
    """Everything about a version but its chunks. Make one with `load`."""

    manifest: Manifest
    indexes: dict[str, Index]  # by the name of their region
    table: bytes  # the content of the table's file; empty without one

    @classmethod
    def load(cls, manifest: bytes | Manifest, index_of: Callable[[str], bytes]) -> Version:
        """Get the files that `manifest` names by `index_of`, and check them. Raises `BadImage`."""
        shape = manifest if isinstance(manifest, Manifest) else Manifest.parse(manifest)
        files = {file.name: _checked_file(file.name, file.blake3, index_of(file.name)) for file in shape.files()}
        indexes = {region.name: _checked_index(shape, region, files[region.index.name]) for region in shape.regions}
        return cls(shape, indexes, files[shape.table.file.name] if shape.table.file else b"")


def _checked_file(name: str, expected: str, data: bytes) -> bytes:
    found = blake3(data).hexdigest()
    if found != expected:
        raise BadImage(f"{name} hashes to {found[:12]}…, the manifest says {expected[:12]}….")
    return data


def _checked_index(manifest: Manifest, region: Region, data: bytes) -> Index:
    index = Index.parse(data, region.index.name)
    if index.window_bytes != manifest.window_bytes or index.region_bytes != region.length:
        raise BadImage(f"{region.index.name} is for another region or window than {region.name} of the manifest.")
    return index
