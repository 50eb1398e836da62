"""`backup.json`: what a backup says of itself. Codec only."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.errors import BadData

FORMAT, FORMAT_VERSION = "diecast-backup", 1
STORE_FILE, SETTINGS_FILE, RECORD_FILE = "store.sqlite", "diecast.toml", "backup.json"
MAX_BYTES = 16 << 20

_NAME = re.compile(r"\d{8}T\d{6}Z")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the backup."""

    bytes: int
    blake3: str  # hex


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup. `name` is the UTC time at which it began."""

    name: str
    box: str  # host name
    program: str  # version of Diecast
    schema: int
    store: Kept
    settings: Kept | None
    images: bool  # whether images were asked for
    versions: tuple[str, ...] = ()  # ids of image versions that are in the pool
    lacking: dict[str, str] = field(default_factory=dict)  # id of a version that is not -> why

    @property
    def at(self) -> datetime:
        """When it was made."""
        return datetime.strptime(self.name, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)

    def to_bytes(self) -> bytes:
        """As it is written."""
        data = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "box": self.box,
            "program": self.program,
            "schema": self.schema,
            "store": _plain(self.store),
            "settings": _plain(self.settings),
            "images": self.images,
            "versions": sorted(self.versions),
            "lacking": self.lacking,
        }
        return json.dumps(data, indent=1, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def parse(cls, name: str, data: bytes) -> Backup:
        """Read and check. Raises `BadData` that names the backup."""
        try:
            root = json.loads(data)
            if (root["format"], root["format_version"]) != (FORMAT, FORMAT_VERSION):
                raise ValueError(f"it is of format {root['format']!r} {root['format_version']!r}")
            versions = [_hash(id) for id in root["versions"]]
            lacking = {_hash(id): str(why) for id, why in root["lacking"].items()}
            return cls(
                name,
                str(root["box"]),
                str(root["program"]),
                int(root["schema"]),
                _kept(root["store"]),
                None if root["settings"] is None else _kept(root["settings"]),
                bool(root["images"]),
                tuple(versions),
                lacking,
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadData(
                f"The file {RECORD_FILE} of backup {name} cannot be used: {error}.",
                hint="Choose another backup: diecast backup list",
            ) from None


def name_of(when: datetime) -> str:
    """The name of a backup that begins at `when`."""
    return when.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def is_name(text: str) -> bool:
    """Whether `text` can name a backup."""
    return _NAME.fullmatch(text) is not None


def _plain(kept: Kept | None) -> dict[str, Any] | None:
    return None if kept is None else {"bytes": kept.bytes, "blake3": kept.blake3}


def _kept(data: Any) -> Kept:
    return Kept(int(data["bytes"]), _hash(data["blake3"]))


def _hash(text: Any) -> str:
    if not isinstance(text, str) or not _HASH.fullmatch(text):
        raise ValueError(f"{text!r:.40} is no hash")
    return text
