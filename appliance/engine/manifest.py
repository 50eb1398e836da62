"""The manifest of an image version: readable JSON that names everything else by hash.

Layout: docs/image-format.md section 3. `parse` checks every number against the others, so that whoever holds a
`Manifest` need not. The version id is the BLAKE3 of the manifest's bytes as stored, never of a re-encoded one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from blake3 import blake3

from appliance.engine.errors import BadImage
from appliance.engine.index import is_window_size

FORMAT = "diecast-image"
FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 4 << 20
MAX_REGIONS = 1024
MAX_FILE_BYTES = 4 << 30
SECTOR_SIZES = (512, 1024, 2048, 4096)
TABLE_FILE = "table.bin"

_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_HASH = re.compile(r"[0-9a-f]{64}")
_MAX_NUMBER = 1 << 63


@dataclass(frozen=True, slots=True)
class File:
    """A file of a version: index or table."""

    name: str
    blake3: str  # hex
    bytes: int


@dataclass(frozen=True, slots=True)
class DiskShape:
    """Size and sectors of the master's disk."""

    size_bytes: int
    logical_sector: int
    physical_sector: int


@dataclass(frozen=True, slots=True)
class TableShape:
    """The partition table; `pieces` say where the bytes of `file` lie on the master's disk."""

    kind: str  # gpt | mbr | none
    id: str = ""
    file: File | None = None
    pieces: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class FileSystem:
    """What a region holds, in words for people and for later resizing."""

    kind: str
    uuid: str = ""
    label: str = ""
    block_bytes: int = 0
    size_bytes: int = 0
    used_by: str = ""  # how the used bytes were found: partclone, ext-bitmaps, fat, swap-header, whole
    note: str = ""


@dataclass(frozen=True, slots=True)
class Region:
    """A range of the disk and its index."""

    name: str
    kind: str  # gap | partition | disk
    offset: int
    length: int
    filesystem: FileSystem
    index: File
    used_bytes: int
    number: int = 0
    type: str = ""
    id: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """An operating system that was recognised."""

    region: str
    name: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a version but its bytes."""

    window_bytes: int
    used_bytes: int
    chunks: int
    minimum_disk_bytes: int
    disk: DiskShape
    table: TableShape
    regions: tuple[Region, ...]
    os: tuple[System, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read and check a manifest. Raises `BadImage`."""
        if len(data) > MAX_MANIFEST_BYTES:
            raise BadImage(f"The manifest has {len(data)} bytes, over {MAX_MANIFEST_BYTES}.")
        try:
            root = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BadImage(f"The manifest is not JSON ({type(error).__name__}).") from None
        top = _Object(root, "manifest")
        if top.text("format") != FORMAT or top.number("format_version") != FORMAT_VERSION:
            raise BadImage(
                f"The manifest is of format {root.get('format')!r} {root.get('format_version')!r};"
                f" this program reads {FORMAT!r} {FORMAT_VERSION}."
            )
        manifest = _manifest(top)
        _check(manifest)
        return manifest

    def to_bytes(self) -> bytes:
        """The manifest as it is stored: equal manifests give equal bytes."""
        data = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n"

    def files(self) -> list[File]:
        """Every file of the version beside the manifest."""
        table = [self.table.file] if self.table.file else []
        return table + [region.index for region in self.regions]

    def region(self, name: str) -> Region:
        """The region of that name. Raises `BadImage`."""
        for region in self.regions:
            if region.name == name:
                return region
        raise BadImage(f"The manifest has no region '{name}'.")


def file_of(name: str, data: bytes) -> File:
    """`data` as a file of a version."""
    return File(name, blake3(data).hexdigest(), len(data))


def version_id(manifest: bytes) -> str:
    """The name of the version that `manifest` (as stored) describes: 64 hex digits."""
    return blake3(manifest).hexdigest()


def is_version_id(text: str) -> bool:
    """Whether `text` can be a version id (or a chunk id in hex)."""
    return _HASH.fullmatch(text) is not None


def is_file_name(text: str) -> bool:
    """Whether `text` can name a file of a version; such a name is safe as a name in a folder."""
    return _FILE_NAME.fullmatch(text) is not None and not text.endswith(".json") and ".." not in text


class _Object:
    """One JSON object with typed access; every complaint is a `BadImage` that names the member."""

    def __init__(self, data: Any, where: str) -> None:
        if not isinstance(data, dict):
            raise BadImage(f"{where} must be an object, not {type(data).__name__}.")
        self.data, self.where = data, where

    def number(self, name: str, default: int | None = None) -> int:
        value = self.data.get(name, default)
        if type(value) is not int or not 0 <= value < _MAX_NUMBER:
            raise BadImage(f"{self.where}.{name} must be a whole number from 0 to 2^63-1, not {value!r:.60}.")
        return value

    def text(self, name: str, default: str | None = None) -> str:
        value = self.data.get(name, default)
        if not isinstance(value, str) or len(value) > 4096:
            raise BadImage(f"{self.where}.{name} must be a text of at most 4096 characters.")
        if any(0xD800 <= ord(char) < 0xE000 for char in value):
            raise BadImage(f"{self.where}.{name} holds half a surrogate pair, which is no text.")
        return value

    def items(self, name: str, limit: int) -> list[Any]:
        value = self.data.get(name, [])
        if not isinstance(value, list) or len(value) > limit:
            raise BadImage(f"{self.where}.{name} must be a list of at most {limit}.")
        return value

    def object(self, name: str) -> _Object:
        return _Object(self.data.get(name), f"{self.where}.{name}")

    def objects(self, name: str, limit: int) -> list[_Object]:
        return [_Object(item, f"{self.where}.{name}[{i}]") for i, item in enumerate(self.items(name, limit))]


def _manifest(top: _Object) -> Manifest:
    disk = top.object("disk")
    tools = top.object("tools") if "tools" in top.data else _Object({}, "tools")
    return Manifest(
        window_bytes=top.number("window_bytes"),
        used_bytes=top.number("used_bytes"),
        chunks=top.number("chunks"),
        minimum_disk_bytes=top.number("minimum_disk_bytes"),
        disk=DiskShape(disk.number("size_bytes"), disk.number("logical_sector"), disk.number("physical_sector")),
        table=_table(top.object("table")),
        regions=tuple(_region(item) for item in top.objects("regions", MAX_REGIONS)),
        os=tuple(System(item.text("region"), item.text("name")) for item in top.objects("os", MAX_REGIONS)),
        tools={name: tools.text(name) for name in tools.data},
    )


def _table(item: _Object) -> TableShape:
    file = _file(item.object("file")) if item.data.get("file") is not None else None
    pieces = []
    for piece in item.items("pieces", 4 + MAX_REGIONS):
        if not isinstance(piece, list) or len(piece) != 2:
            raise BadImage(f"{item.where}.pieces must hold pairs.")
        pair = _Object({"offset": piece[0], "length": piece[1]}, f"{item.where}.pieces[]")
        pieces.append((pair.number("offset"), pair.number("length")))
    return TableShape(item.text("kind"), item.text("id", ""), file, tuple(pieces))


def _region(item: _Object) -> Region:
    return Region(
        name=item.text("name"),
        kind=item.text("kind"),
        offset=item.number("offset"),
        length=item.number("length"),
        filesystem=_filesystem(item.object("filesystem")),
        index=_file(item.object("index")),
        used_bytes=item.number("used_bytes"),
        number=item.number("number", 0),
        type=item.text("type", ""),
        id=item.text("id", ""),
        label=item.text("label", ""),
    )


def _filesystem(item: _Object) -> FileSystem:
    text: Callable[[str], str] = lambda name: item.text(name, "")  # noqa: E731
    number: Callable[[str], int] = lambda name: item.number(name, 0)  # noqa: E731
    return FileSystem(
        item.text("kind"),
        text("uuid"),
        text("label"),
        number("block_bytes"),
        number("size_bytes"),
        text("used_by"),
        text("note"),
    )


def _file(item: _Object) -> File:
    file = File(item.text("name"), item.text("blake3"), item.number("bytes"))
    if not is_file_name(file.name) or not is_version_id(file.blake3) or file.bytes > MAX_FILE_BYTES:
        raise BadImage(f"{item.where} must name a file, its BLAKE3 and its size; it says {file.name!r:.80}.")
    return file


def _check(manifest: Manifest) -> None:
    disk, sector = manifest.disk, manifest.disk.logical_sector
    if not is_window_size(manifest.window_bytes):
        raise BadImage(f"manifest.window_bytes is {manifest.window_bytes}, which is no allowed size.")
    if sector not in SECTOR_SIZES or disk.size_bytes % sector or not disk.size_bytes:
        raise BadImage(f"manifest.disk: {disk.size_bytes} bytes in sectors of {sector} is no disk.")
    names = [file.name for file in manifest.files()]
    if len(set(names)) != len(names) or len({region.name for region in manifest.regions}) != len(manifest.regions):
        raise BadImage("The manifest names a file or a region twice.")
    _check_table(manifest)
    end = 0
    for region in manifest.regions:
        if region.offset < end or not region.length or (region.offset | region.length) % sector:
            raise BadImage(f"Region {region.name} at {region.offset}+{region.length} overlaps or is not whole sectors.")
        end = region.offset + region.length
        if region.kind not in ("gap", "partition", "disk") or region.used_bytes > region.length:
            raise BadImage(f"Region {region.name} is a {region.kind!r:.40} with {region.used_bytes} bytes in use.")
    needed = max([end, *(at + length for at, length in manifest.table.pieces[: _leading_pieces(manifest)])])
    if not needed <= manifest.minimum_disk_bytes <= disk.size_bytes:
        raise BadImage(
            f"manifest.minimum_disk_bytes is {manifest.minimum_disk_bytes}, but regions and table end at {needed}"
            f" and the disk at {disk.size_bytes}."
        )
    if manifest.used_bytes != sum(region.used_bytes for region in manifest.regions):
        raise BadImage(f"manifest.used_bytes is {manifest.used_bytes}, which is not the sum of its regions.")


def _leading_pieces(manifest: Manifest) -> int:
    """How many pieces stay where they are on any disk: a GPT's last two move with its end."""
    count = len(manifest.table.pieces)
    return count - 2 if manifest.table.kind == "gpt" else count


def _check_table(manifest: Manifest) -> None:
    table, disk = manifest.table, manifest.disk
    if table.kind not in ("gpt", "mbr", "none"):
        raise BadImage(f"manifest.table.kind is {table.kind!r:.40}; gpt, mbr and none are known.")
    if (table.kind == "none") != (table.file is None) or (table.kind == "none") != (not table.pieces):
        raise BadImage(f"A table of kind {table.kind} has {'a' if table.file else 'no'} file.")
    if table.kind == "gpt" and len(table.pieces) != 5:
        raise BadImage(f"A GPT has 5 pieces, not {len(table.pieces)}.")
    if table.pieces and table.pieces[0] != (0, disk.logical_sector):
        raise BadImage("The first piece of the table must be sector 0.")
    for offset, length in table.pieces:
        if not length or (offset | length) % disk.logical_sector or offset + length > disk.size_bytes:
            raise BadImage(f"The piece of the table at {offset}+{length} does not lie in the disk.")
    if table.file and sum(length for _, length in table.pieces) != table.file.bytes:
        raise BadImage(f"{table.file.name} has {table.file.bytes} bytes, but its pieces add up to something else.")
