"""No bytes, however wrong, make a parser raise anything but `BadData`, and what it accepts is safe to use."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.engine.chunk import MAX_FRAME_BYTES, chunk_id, compress, decompress, open_frame
from appliance.engine.errors import BadImage, ChunkInvalid
from appliance.engine.index import Index, Window
from appliance.engine.manifest import (
    DiskShape,
    File,
    FileSystem,
    Manifest,
    Region,
    TableShape,
    is_file_name,
    version_id,
)

WINDOW = 1 << 16
ZERO_HASH = "0" * 64


def windows_of(draw: st.DrawFn) -> list[Window]:
    numbers = draw(st.sets(st.integers(0, 40), min_size=1, max_size=10))
    result = []
    for number in numbers:
        cuts = sorted(draw(st.sets(st.integers(0, WINDOW), min_size=2, max_size=8)))
        pairs = [(a, b - a) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
        result.append(Window(number, draw(st.binary(min_size=32, max_size=32)), tuple(pairs)))
    return result


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    return Index.build(windows_of(draw), window_bytes=WINDOW, region_bytes=41 * WINDOW)


@given(indexes())
@settings(max_examples=50, deadline=None)
def test_an_index_survives_writing_and_reading(index: Index) -> None:
    again = Index.parse(index.data)
    assert list(again) == list(index)
    assert Index.build(reversed(list(index)), window_bytes=WINDOW, region_bytes=41 * WINDOW) == index
    assert [window.id for window in index] == list(index.ids())


@given(indexes(), st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_index_is_refused_or_still_inside_its_region(index: Index, data: st.DataObject) -> None:
    damaged = bytearray(index.data)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    try:
        again = Index.parse(bytes(damaged))
    except BadImage:
        return
    for window in again:
        end = window.number * again.window_bytes + max(offset + length for offset, length in window.extents)
        assert 0 < end <= again.region_bytes


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_noise_is_no_index_no_manifest_and_no_frame(data: bytes) -> None:
    for prefix in (b"", b"DCINDEX1", b"\x28\xb5\x2f\xfd"):
        with pytest.raises(BadImage):
            Index.parse(prefix + data)
        with pytest.raises(BadImage):
            Manifest.parse(prefix + data)
        with pytest.raises(ChunkInvalid):
            decompress(prefix + data)


def sample() -> Manifest:
    """A manifest with a table, a gap and two partitions."""
    index = Index.build([Window(0, bytes(32), ((0, 512),))], window_bytes=WINDOW, region_bytes=1 << 20)
    regions = tuple(
        Region(
            f"p{number}",
            "partition",
            number << 20,
            1 << 20,
            FileSystem("ext4", "uuid", "läbel"),
            File(f"p{number}.idx", index.hash, len(index.data)),
            512,
            number,
        )
        for number in (1, 2)
    )
    table = TableShape("mbr", "cafe1234", File("table.bin", ZERO_HASH, 512), ((0, 512),))
    return Manifest(WINDOW, 1024, 1, 3 << 20, DiskShape(4 << 20, 512, 4096), table, regions, (), {"partclone": "1"})


def test_a_manifest_survives_writing_and_reading() -> None:
    data = sample().to_bytes()
    assert Manifest.parse(data) == sample()
    assert len(version_id(data)) == 64
    assert Manifest.parse(json.dumps(json.loads(data) | {"from_the_future": 1}).encode()) == sample()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, item in inner for place in places(item, (*way, key)))]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_manifest_with_anything_put_in_its_place_is_refused_or_sound(data: st.DataObject) -> None:
    root = json.loads(sample().to_bytes())
    way = data.draw(st.sampled_from(places(root)[1:]))
    holder = root
    for key in way[:-1]:
        holder = holder[key]
    holder[way[-1]] = data.draw(JSON)
    try:
        manifest = Manifest.parse(json.dumps(root).encode())
    except BadImage:
        return
    for region in manifest.regions:
        assert region.offset + region.length <= manifest.minimum_disk_bytes <= manifest.disk.size_bytes
    assert all(is_file_name(file.name) for file in manifest.files())
    Manifest.parse(manifest.to_bytes())


@pytest.mark.parametrize(
    "change",
    [
        {"format_version": 2},
        {"format": "other"},
        {"window_bytes": 1000},
        {"minimum_disk_bytes": 0},
        {"used_bytes": 5},
        {"disk": {"size_bytes": 4 << 20, "logical_sector": 500, "physical_sector": 512}},
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadImage):
        Manifest.parse(json.dumps(json.loads(sample().to_bytes()) | change).encode())


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "manifest.json", "a..b", "A", "x" * 65, "p1.idx\n"])
def test_no_file_name_leads_out_of_the_version_folder(name: str) -> None:
    assert not is_file_name(name)


def test_a_frame_is_opened_only_by_its_own_id() -> None:
    frame = compress(b"plain")
    assert open_frame(frame, chunk_id(b"plain")) == b"plain"
    with pytest.raises(ChunkInvalid, match="hashes to"):
        open_frame(frame, bytes(32))


def test_a_frame_that_unpacks_to_more_than_a_window_is_refused_before_it_is_unpacked() -> None:
    bomb = compress(bytes(64 << 20))
    assert len(bomb) < 10_000
    with pytest.raises(ChunkInvalid, match="content size 67108864"):
        decompress(bomb)


def test_a_frame_with_a_tail_without_checksum_or_too_long_is_refused() -> None:
    import zstandard

    with pytest.raises(ChunkInvalid):
        decompress(compress(b"x") + b"tail")
    with pytest.raises(ChunkInvalid):
        decompress(compress(b"x") + compress(b"y"))
    with pytest.raises(ChunkInvalid, match="no checksum"):
        decompress(zstandard.ZstdCompressor(write_checksum=False).compress(b"x" * 100))
    with pytest.raises(ChunkInvalid, match="content size unknown"):
        decompress(zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(b"x" * 100))
    with pytest.raises(ChunkInvalid, match="bytes, over"):
        decompress(bytes(MAX_FRAME_BYTES + 1))


@given(st.binary(min_size=1, max_size=4000), st.data())
@settings(max_examples=100, deadline=None)
def test_a_flipped_bit_in_a_frame_never_gives_other_content(plain: bytes, data: st.DataObject) -> None:
    frame = bytearray(compress(plain))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(ChunkInvalid):
        assert open_frame(bytes(frame), chunk_id(plain)) == plain
