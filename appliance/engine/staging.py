"""Taking chunks that a PC left in its staging folder. Everything there may be hostile, and change while we look.

Rules: a name counts only if it is 64 hex digits; it is opened without following links and without waiting, must be a
regular file with one link and no longer than a frame can be. Its bytes are read *once* into our memory; what is checked
there is what is written to our own inode. A client that still writes to its file spoils nothing but its own file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.engine.chunk import MAX_FRAME_BYTES, open_frame
from appliance.engine.errors import ChunkInvalid
from appliance.errors import Conflict

_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Staged:
    """A frame from the staging folder, proven to be chunk `id`."""

    id: bytes
    frame: bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """What lies in a staging folder."""

    ready: tuple[str, ...]  # complete chunk files, by name
    total_bytes: int  # of everything in it


class Staging:
    """One staging folder, held open so that renaming it away changes nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def list(self) -> Listing:
        """Names of complete files, and the size of everything. Raises `ChunkInvalid` for what has no business there."""
        ready, total = [], 0
        with os.scandir(self._handle) as entries:
            for entry in entries:
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # renamed or removed by the client meanwhile
                if stat.S_ISDIR(info.st_mode):
                    raise ChunkInvalid(f"There is a folder in the staging folder {self.folder}: {entry.name!r:.80}.")
                total += max(info.st_size, info.st_blocks * 512)
                if _NAME.fullmatch(entry.name):
                    ready.append(entry.name)
        return Listing(tuple(sorted(ready)), total)

    def take(self, name: str) -> Staged | None:
        """Read and check one file; None if it is gone. Raises `ChunkInvalid` naming the chunk."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
        try:
            handle = os.open(name, flags, dir_fd=self._handle)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ChunkInvalid(f"Staged chunk {name[:12]}… is no regular file ({error.strerror}).") from None
        try:
            info = os.fstat(handle)
            if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:
                raise ChunkInvalid(f"Staged chunk {name[:12]}… is no regular file with one name.")
            frame = b"".join(_pieces(handle, MAX_FRAME_BYTES + 1))
        finally:
            os.close(handle)
        if len(frame) > MAX_FRAME_BYTES:
            raise ChunkInvalid(f"Staged chunk {name[:12]}… is over {MAX_FRAME_BYTES} bytes long.")
        open_frame(frame, bytes.fromhex(name))
        return Staged(bytes.fromhex(name), frame)

    def remove(self, name: str) -> None:
        """Remove a staged file, if it is there and no folder."""
        try:
            os.unlink(name, dir_fd=self._handle)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError) as error:
            raise Conflict(f"{self.folder / name} cannot be removed: {error.strerror}.") from None


def _pieces(handle: int, limit: int) -> Iterator[bytes]:
    while limit > 0 and (piece := os.read(handle, limit)):
        limit -= len(piece)
        yield piece
