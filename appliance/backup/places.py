"""Where backups lie: a folder of this machine (a mounted disk is one), or of another host by SSH.

Both do the same few things with files below their folder `diecast-backup`, named by relative paths with slashes. What
is written appears whole under its name or not at all.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from appliance.engine.files import sync_folder, write_new
from appliance.errors import NoSpace, NotFound, Unavailable, UsageError

ROOT = "diecast-backup"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FLUSHERS = 8
_PIECE = 1 << 20

# A host never begins with a dash, which ssh would take for an option. A folder is absolute: no home is guessed.
_REMOTE = re.compile(r"((?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9_][\w.-]*):(/.*)")
# Folders below which systems mount disks: what lies there on the system's own disk is an empty mount point.
MOUNT_PARENTS = (Path("/media"), Path("/mnt"), Path("/run/media"))

Source = bytes | Path
Take = Callable[[str, BinaryIO], None]


class Place(Protocol):
    """What a backup needs of its target. Every verb raises `Unavailable` or `NoSpace` in words."""

    name: str

    def check(self) -> None:
        """The folder is there and can be written to. Raises `NotFound` or `Unavailable`."""

    def exists(self) -> bool:
        """Whether `diecast-backup` is there."""

    def make(self) -> None:
        """Make `diecast-backup`."""

    def room_bytes(self) -> int:
        """Free space."""

    def entries(self, folder: str) -> list[str]:
        """Names in `folder` ('' for the top), hidden ones too; none when it is not there."""

    def files(self, folder: str) -> set[str]:
        """Every file below `folder`, at any depth."""

    def write(self, files: Sequence[tuple[str, Source]]) -> None:
        """Write files durably."""

    def read(self, names: Sequence[str], take: Take) -> None:
        """Hand every named file to `take`, in any order. Raises `NotFound` for one that is not there."""

    def rename(self, old: str, new: str) -> None:
        """Rename a folder durably."""

    def remove(self, names: Sequence[str]) -> None:
        """Remove files and whole folders; what is not there is no failure."""


def parse(text: str) -> tuple[str, str]:
    """Host (`''`: this machine) and folder of a target. Raises `UsageError`."""
    found = _REMOTE.fullmatch(text)
    if found:
        host, folder = found.groups()
    else:
        host, folder = "", text
    if not folder.startswith("/") or any(ord(char) < 32 for char in folder):
        raise UsageError(
            f"'{text}' is no target for backups.",
            hint="Write a folder, /media/usb, or one of another host, user@host:/folder.",
        )
    return host, folder


def open_place(text: str) -> Place:
    """The place that `text` names. Raises `UsageError`."""
    from appliance.backup.remote import Remote

    host, folder = parse(text)
    return Remote(host, folder) if host else Folder(Path(folder))


def read_bytes(place: Place, name: str, limit_bytes: int) -> bytes:
    """One small file. Raises as `Place.read`."""
    found: list[bytes] = []
    place.read([name], lambda _name, file: found.append(file.read(limit_bytes + 1)))
    return found[0]


class Folder:
    """A folder of this machine."""

    def __init__(self, folder: Path, *, fstab: Path = Path("/etc/fstab")) -> None:
        self.name = str(folder)
        self._folder = folder
        self._top = folder / ROOT
        self._fstab = fstab

    def check(self) -> None:
        """See `Place`. A disk that should be mounted there and is not is named."""
        with self._in_words():
            point = self._unmounted()
            if point is not None:
                raise Unavailable(
                    f"No disk is mounted at {point}, so the backup would go to the system's own disk.",
                    hint=f"Plug the disk in and mount it: mount {point}",
                )
            if not self._folder.is_dir():
                raise NotFound(
                    f"The folder {self._folder} for backups is not there.",
                    hint="Mount its disk, or make the folder.",
                )
            if not os.access(self._folder, os.W_OK | os.X_OK):
                raise Unavailable(
                    f"The folder {self._folder} for backups cannot be written to.",
                    hint="Give it to the user diecast (chown); see whether its disk is write-protected or read-only.",
                )

    def _unmounted(self) -> Path | None:
        """The mount point that the folder lies in or is, when nothing is mounted there."""
        folder = self._folder.resolve()
        above = [folder, *folder.parents]
        for point in _fstab_points(self._fstab):
            if point in above and not os.path.ismount(point):
                return point
        inside = any(parent in folder.parents for parent in MOUNT_PARENTS)
        existing = next(path for path in above if path.exists())
        return folder if inside and existing.stat().st_dev == os.stat("/").st_dev else None

    def exists(self) -> bool:
        with self._in_words():
            return self._top.is_dir()

    def make(self) -> None:
        with self._in_words():
            self._top.mkdir(mode=0o700, exist_ok=True)

    def room_bytes(self) -> int:
        with self._in_words():
            return shutil.disk_usage(self._folder).free

    def entries(self, folder: str) -> list[str]:
        with self._in_words():
            try:
                return sorted(os.listdir(self._top / folder))
            except (FileNotFoundError, NotADirectoryError):
                return []

    def files(self, folder: str) -> set[str]:
        with self._in_words():
            return {
                os.path.relpath(os.path.join(at, name), self._top)
                for at, _folders, names in os.walk(self._top / folder, onerror=_unless_missing)
                for name in names
            }

    def write(self, files: Sequence[tuple[str, Source]]) -> None:
        with self._in_words(), ThreadPoolExecutor(_FLUSHERS) as pool:
            parents = {(self._top / name).parent for name, _ in files}
            for parent in parents:
                parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            list(pool.map(lambda file: _put(self._top / file[0], file[1]), files))
            list(pool.map(sync_folder, {*parents, *(parent.parent for parent in parents)}))

    def read(self, names: Sequence[str], take: Take) -> None:
        with self._in_words():
            for name in names:
                try:
                    file = (self._top / name).open("rb")
                except FileNotFoundError:
                    raise missing(name, self.name) from None
                with file:
                    take(name, file)

    def rename(self, old: str, new: str) -> None:
        with self._in_words():
            os.rename(self._top / old, self._top / new)
            sync_folder((self._top / new).parent)

    def remove(self, names: Sequence[str]) -> None:
        with self._in_words():
            for name in names:
                path = self._top / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in NO_ROOM:
                raise full(self.name) from error
            raise Unavailable(
                f"The backups in {self.name} cannot be read or written: {error.strerror or error}.",
                hint="See whether the disk is still plugged in and mounted, and who may write to it.",
            ) from error


def missing(name: str, where: str) -> NotFound:
    """The error for a file that a backup should have."""
    return NotFound(f"{ROOT}/{name} is not in {where}.", hint="See what is there: diecast backup list")


def full(where: str, needed_bytes: int | None = None, free_bytes: int = 0) -> NoSpace:
    """The error of a target without room."""
    figures = "" if needed_bytes is None else f": {needed_bytes} more bytes are needed and {free_bytes} are free"
    return NoSpace(
        f"There is no room for the backup in {where}{figures}.",
        hint="Keep fewer backups (diecast backup schedule --keep), leave the images out, or take a larger disk.",
    )


def _unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _fstab_points(path: Path) -> list[Path]:
    """Mount points of fstab(5) but the root; spaces in them are written as \\040."""
    points = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = line.split()
            if len(fields) >= 3 and not fields[0].startswith("#") and fields[1].startswith("/") and fields[1] != "/":
                points.append(Path(fields[1].replace("\\040", " ")))
    return points


def _put(path: Path, source: Source) -> None:
    temporary = path.with_name(f".{path.name}.new")
    try:
        if isinstance(source, bytes):
            write_new(temporary, source)
        else:
            copy_file(source, temporary)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def copy_file(source: Path | BinaryIO, path: Path) -> None:
    """Copy a file to `path`, readable for its owner only, and flush it; the folder is not flushed."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            copy_file(file, path)
            return
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as made:
        shutil.copyfileobj(source, made, _PIECE)
        made.flush()
        os.fsync(made.fileno())
