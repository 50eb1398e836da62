"""What a capture's agent has uploaded before its version is written: manifest and files, one folder a task.

Layout: `<root>/<task id>/<file name>` and `manifest.json`. A name from the network is used only when it matches the
image format's rule for file names, which has no room for a path. A file is there whole or not at all: temporary name,
fsync, rename, fsync of the folder. The folder is private scratch: nothing in it counts before the scheduler has checked
it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from appliance.engine.files import FULL, sync_folder
from appliance.engine.manifest import MAX_MANIFEST_BYTES, is_file_name
from appliance.errors import BadData, Conflict, NoSpace, NotFound

MANIFEST = "manifest.json"
MAX_INDEX_BYTES = 1 << 30  # 16 TiB in 1 MiB windows, each with two extents
MAX_FILES = 1100  # a manifest names at most 1024 regions and a table


class Uploads:
    """The upload folders of all captures. Thread-safe: every call is about one file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, task_id: int) -> Path:
        """The folder of one task; it need not exist."""
        return self.root / str(task_id)

    def begin(self, task_id: int, name: str) -> Upload:
        """Start to receive a file. Raises `NotFound` for a name no file can have, `Conflict` for too many files,
        `NoSpace`."""
        if not is_file_name(name):
            raise NotFound(f"'{name[:80]}' is no name of an image file.")
        return self._begin(task_id, name, MAX_INDEX_BYTES)

    def begin_manifest(self, task_id: int) -> Upload:
        """Start to receive the manifest. Raises `Conflict` for too many files, `NoSpace`."""
        return self._begin(task_id, MANIFEST, MAX_MANIFEST_BYTES)

    def _begin(self, task_id: int, name: str, limit_bytes: int) -> Upload:
        folder = self.folder(task_id)
        with _full_disk_in_words(self.root):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if len(os.listdir(folder)) > MAX_FILES:
                raise Conflict(f"Task {task_id} has uploaded {MAX_FILES} files already.")
            return Upload(folder / name, limit_bytes)

    def has_manifest(self, task_id: int) -> bool:
        """Whether the manifest, which comes last, is there."""
        return (self.folder(task_id) / MANIFEST).is_file()

    def manifest(self, task_id: int) -> bytes:
        """The manifest. Raises `NotFound`."""
        return self.file(task_id, MANIFEST)

    def file(self, task_id: int, name: str) -> bytes:
        """A file's content. Raises `NotFound` when it was not uploaded."""
        try:
            return (self.folder(task_id) / name).read_bytes()
        except FileNotFoundError:
            what = "its manifest" if name == MANIFEST else f"the file {name}"
            raise NotFound(f"The capture has not uploaded {what}.", hint="Start the capture again.") from None

    def drop(self, task_id: int) -> None:
        """Remove the folder, if it is there."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder(task_id))

    def task_ids(self) -> set[int]:
        """The tasks that have a folder."""
        with suppress(FileNotFoundError):
            return {int(name) for name in os.listdir(self.root) if name.isdecimal()}
        return set()


class Upload:
    """One file on its way in. `write` pieces, then `keep`; leaving the `with` block without `keep` forgets it."""

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self.path = path
        self.limit_bytes = limit_bytes
        self.size = 0
        # The random part lets a repeated call write beside one whose connection died without our noticing yet.
        self._temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
        self._file: BinaryIO = self._temporary.open("xb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        with suppress(OSError):  # what was kept is on the disk; what was not is forgotten
            self._file.close()
        self._temporary.unlink(missing_ok=True)

    def write(self, piece: bytes) -> None:
        """Add a piece. Raises `BadData` beyond the limit, `NoSpace`."""
        self.size += len(piece)
        if self.size > self.limit_bytes:
            raise BadData(f"{self.path.name} is over {self.limit_bytes} bytes long.")
        with _full_disk_in_words(self.path.parent):
            self._file.write(piece)

    def keep(self) -> None:
        """Give the file its name; it survives a crash from here on. Raises `Conflict` when the folder is gone,
        `NoSpace`."""
        with _full_disk_in_words(self.path.parent):
            self._file.flush()
            os.fsync(self._file.fileno())
        try:
            os.rename(self._temporary, self.path)
            sync_folder(self.path.parent)
        except FileNotFoundError:
            raise Conflict(f"{self.path.name} came too late: its task has ended.") from None


@contextmanager
def _full_disk_in_words(folder: Path) -> Iterator[None]:
    """The disk's own error as `NoSpace`: the agent ends its capture with these words rather than to ask again."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoSpace(
            f"The box has no room for the capture's indexes: the disk of {folder} is full.",
            hint="Free space on the disk of paths.state.",
        ) from error
