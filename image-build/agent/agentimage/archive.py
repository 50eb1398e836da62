"""A tree of files in memory, and its cpio archive as the kernel unpacks it.

The archive is the same for the same content: sorted names, one fixed time, owner root, numbers in order.
References: Documentation/driver-api/early-userspace/buffer-format.rst ("newc"), cpio(5).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

MTIME_S = 0  # since 1970; nothing in the image looks at it
TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in the tree. Exactly one of `source` and `content` is a regular file's content or a link's target."""

    mode: int  # type and permissions, as in st_mode
    content: bytes = b""
    source: Path | None = None
    device: tuple[int, int] = (0, 0)

    def read(self) -> bytes:
        """The content."""
        return self.content if self.source is None else self.source.read_bytes()


@dataclass(slots=True)
class Tree:
    """Names relative to the root, without a leading slash. Folders above an entry appear by themselves."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def add(self, name: str, entry: Entry) -> None:
        """Put `entry` at `name`, over what was there."""
        for parent in Path(name).parents:
            if str(parent) != ".":
                self.entries.setdefault(str(parent), Entry(stat.S_IFDIR | 0o755))
        self.entries[name] = entry

    def file(self, name: str, source: Path, mode: int | None = None) -> None:
        """A copy of the file `source`; permissions are 755 or 644 unless given."""
        given = 0o755 if source.stat().st_mode & 0o100 else 0o644
        self.add(name, Entry(stat.S_IFREG | (mode or given), source=source))

    def text(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """A file with this content."""
        self.add(name, Entry(stat.S_IFREG | mode, content))

    def link(self, name: str, target: str) -> None:
        """A symbolic link."""
        self.add(name, Entry(stat.S_IFLNK | 0o777, target.encode()))

    def folder(self, name: str, mode: int = 0o755) -> None:
        """An empty folder."""
        self.add(name, Entry(stat.S_IFDIR | mode))

    def character_device(self, name: str, major: int, minor: int) -> None:
        """A device file; needs no privilege, since only the archive has it."""
        self.add(name, Entry(stat.S_IFCHR | 0o600, device=(major, minor)))

    def write_cpio(self, out: BinaryIO) -> None:
        """Write the archive, padded to a whole number of 512-byte blocks."""
        size = 0
        for record in self._records():
            out.write(record)
            size += len(record)
        out.write(bytes(-size % 512))

    def _records(self) -> Iterator[bytes]:
        # A parent sorts before what is in it, which the kernel needs.
        for number, name in enumerate(sorted(self.entries), start=1):
            entry = self.entries[name]
            yield _record(name, number, entry.mode, entry.read(), entry.device)
        yield _record(TRAILER, 0, 0, b"", (0, 0))


def _record(name: str, number: int, mode: int, content: bytes, device: tuple[int, int]) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = (number, mode, 0, 0, links, MTIME_S, len(content), 0, 0, *device, len(encoded), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
    return head + bytes(-len(head) % 4) + content + bytes(-len(content) % 4)
