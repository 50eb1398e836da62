"""The format document and the code say the same: the worked example, and a reader written from the document alone."""

from __future__ import annotations

import json
import re
import struct
import subprocess
from pathlib import Path

import pytest
from blake3 import blake3

from appliance.engine.capture import CaptureResult
from appliance.engine.chunk import chunk_id
from appliance.engine.chunkstore import ChunkStore
from appliance.engine.index import Index, Window
from tests.disk.makedisk import Made, noise
from tests.engine.kit import restored

DOCUMENT = Path(__file__).parents[2] / "docs/image-format.md"


def example() -> bytes:
    """The bytes of the document's hexdump."""
    block = re.search(r"```hexdump\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert block
    return b"".join(bytes.fromhex(line[10:58]) for line in block[1].splitlines())


def test_the_worked_example_is_what_the_code_writes() -> None:
    first = b"Diecast\n".ljust(65536, b"\0")
    windows = [
        Window(2, chunk_id(bytes(8192)), ((0, 8192),)),
        Window(0, chunk_id(first), ((0, 4096), (32768, 8192))),
    ]
    index = Index.build(windows, window_bytes=65536, region_bytes=139264)
    assert index.data == example()
    assert index.hash in DOCUMENT.read_text(encoding="utf-8")


def test_the_worked_example_is_read_as_the_document_says() -> None:
    index = Index.parse(example())
    assert [(window.number, window.extents) for window in index] == [
        (0, ((0, 4096), (32768, 8192))),
        (2, ((0, 8192),)),
    ]
    assert index.used_bytes == 20480


class DocumentReader:
    """Restores a version with nothing but json, struct, zstd(1) and the document. It imports nothing of ours."""

    def __init__(self, store: Path, version: str) -> None:
        self.chunks, self.folder = store / "chunks", store / "versions" / version
        raw = (self.folder / "manifest.json").read_bytes()
        assert blake3(raw).hexdigest() == version
        self.manifest = json.loads(raw)

    def file(self, about: dict[str, str]) -> bytes:
        data = (self.folder / about["name"]).read_bytes()
        assert blake3(data).hexdigest() == about["blake3"]
        return data

    def write_to(self, target: Path) -> None:
        with target.open("r+b") as disk:
            for region in self.manifest["regions"]:
                data = self.file(region["index"])
                _, window, records, extents, _ = struct.unpack_from("<8sIIQQ", data)
                table = 32 + 48 * records
                assert len(data) == table + 8 * extents
                for at in range(32, table, 48):
                    id, number, first, count = struct.unpack_from("<32sQII", data, at)
                    name = id.hex()
                    frame = (self.chunks / name[:2] / name).read_bytes()
                    plain = subprocess.run(["zstd", "-dcq"], input=frame, capture_output=True, check=True).stdout
                    assert blake3(plain).digest() == id
                    for i in range(first, first + count):
                        offset, length = struct.unpack_from("<II", data, table + 8 * i)
                        disk.seek(region["offset"] + number * window + offset)
                        disk.write(plain[offset : offset + length])
            data = self.file(self.manifest["table"]["file"])
            for offset, length in self.manifest["table"]["pieces"]:
                disk.seek(offset)
                disk.write(data[:length])
                data = data[length:]


@pytest.mark.lengthy
def test_a_reader_written_from_the_document_restores_the_same_disk(
    gpt_disk: Made, gpt_version: tuple[ChunkStore, str, CaptureResult], tmp_path: Path
) -> None:
    store, version, _ = gpt_version
    dirt = noise(1 << 20, 70) * (gpt_disk.path.stat().st_size >> 20)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_bytes(dirt)
    theirs.write_bytes(dirt)
    restored(store, version, ours)
    DocumentReader(store.root, version).write_to(theirs)
    assert ours.read_bytes() == theirs.read_bytes()
