"""The list of chunk numbers that box and PC make each for itself."""

from __future__ import annotations

import pytest

from appliance.engine.capture import CaptureResult
from appliance.engine.castlist import Places, cast_chunks
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.errors import BadImage
from appliance.engine.index import Index
from appliance.engine.manifest import Manifest
from appliance.engine.version import Version

Made = tuple[ChunkStore, str, CaptureResult]


def test_it_holds_each_chunk_once_in_the_order_of_regions_and_records(gpt_version: Made) -> None:
    _, _, result = gpt_version
    listed = cast_chunks(result.manifest, result.indexes.__getitem__)
    every = [
        id
        for region in Manifest.parse(result.manifest).regions
        for id in Index.parse(result.indexes[region.index.name]).ids()
    ]
    assert len(listed) == len(set(listed)) < len(every)
    assert set(listed) == set(every)
    assert sorted(listed, key=every.index) == listed


def test_every_window_has_its_place_under_the_number_of_its_chunk(gpt_version: Made) -> None:
    _, _, result = gpt_version
    version = Version.load(result.manifest, result.indexes.__getitem__)
    places = Places(version)
    seen = []
    for number, id in enumerate(places.ids):
        for ordinal in places.ordinals(number):
            region, index, window = places.window(ordinal)
            assert window.id == id
            seen.append((version.manifest.regions.index(region), window.number))
            assert version.indexes[region.name] is index
    assert len(seen) == len(set(seen)) == places.windows == sum(len(i) for i in version.indexes.values())


def test_an_index_that_is_not_the_manifests_makes_no_list(gpt_version: Made) -> None:
    _, _, result = gpt_version
    with pytest.raises(BadImage, match="the manifest says"):
        cast_chunks(result.manifest, lambda name: result.indexes[name] + b"\0")
