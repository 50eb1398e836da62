"""Copying the image store onto another disk: once while services work, once more when they rest, and read back.

A second run copies only what has changed (size or time) and removes what is gone. Only folders and regular files are
copied, with owner, mode and times; links, pipes and devices that somebody has put there are not. No link is followed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from appliance.errors import BadData, NoSpace, Unavailable

_BLOCK = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
Told = Callable[[int], None]  # bytes done since the last call


@dataclass(slots=True)
class Copied:
    """What one run has copied, with a hash of each file's content as it was read."""

    hashes: dict[str, bytes] = field(default_factory=dict)  # path below the target -> BLAKE2b-256
    left_out: int = 0  # what is neither folder nor regular file


def size_of(folder: Path) -> int:
    """Bytes that the regular files below it hold."""
    total = 0
    for _root, _folders, files, inside in os.fwalk(folder, follow_symlinks=False):
        for name in files:
            with contextlib.suppress(FileNotFoundError):
                info = os.stat(name, dir_fd=inside, follow_symlinks=False)
                total += info.st_size if stat.S_ISREG(info.st_mode) else 0
    return total


def copy(source: Path, target: Path, told: Told) -> Copied:
    """Make `target`, a folder that is there, as `source` is. Raises `NoSpace` or `Unavailable`."""
    done = Copied()
    try:
        one, other = os.open(source, _FOLDER), os.open(target, _FOLDER)
        try:
            _folder(one, other, "", done, told)
        finally:
            os.close(one)
            os.close(other)
        os.sync()
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise NoSpace(f"{target} is full.", hint="Take a larger disk.") from error
        raise Unavailable(
            f"{source} cannot be copied to {target}: {error.strerror}.", hint="See: journalctl -k"
        ) from error
    return done


def _folder(source: int, target: int, path: str, done: Copied, told: Told) -> None:
    there = set(os.listdir(target))
    for name in os.listdir(source):
        try:
            info = os.stat(name, dir_fd=source, follow_symlinks=False)
        except FileNotFoundError:
            continue  # collected meanwhile
        inner = f"{path}/{name}" if path else name
        if stat.S_ISDIR(info.st_mode):
            _inner_folder(source, target, name, inner, done, told)
        elif stat.S_ISREG(info.st_mode):
            if not _is_same(info, name, target):
                with contextlib.suppress(FileNotFoundError):
                    done.hashes[inner] = _file(source, target, name, told)
            else:
                told(info.st_size)
        else:
            done.left_out += 1
            continue
        there.discard(name)
    for name in there:
        _remove(name, target)
    _as_it_was(os.fstat(source), target)


def _inner_folder(source: int, target: int, name: str, path: str, done: Copied, told: Told) -> None:
    try:
        one = os.open(name, _FOLDER, dir_fd=source)
    except FileNotFoundError:
        return
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=target)
        other = os.open(name, _FOLDER, dir_fd=target)
        try:
            _folder(one, other, path, done, told)
        finally:
            os.close(other)
    finally:
        os.close(one)


def _is_same(info: os.stat_result, name: str, target: int) -> bool:
    """Whether an earlier run has copied it as it still is."""
    try:
        other = os.stat(name, dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(other.st_mode) and (other.st_size, other.st_mtime_ns) == (info.st_size, info.st_mtime_ns)


def _file(source: int, target: int, name: str, told: Told) -> bytes:
    """Copy one file; the hash of what was read."""
    digest = hashlib.blake2b(digest_size=32)
    with open(os.open(name, _FILE, dir_fd=source), "rb", buffering=0) as read:
        info = os.fstat(read.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise OSError(5, "it was replaced while it was read")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=target), "wb") as write:
            while block := read.read(_BLOCK):
                digest.update(block)
                write.write(block)
                told(len(block))
            write.flush()
            _as_it_was(info, write.fileno())
    return digest.digest()


def _as_it_was(info: os.stat_result, target: int) -> None:
    os.fchown(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))


def _remove(name: str, inside: int) -> None:
    """A file, or a folder with all that is in it."""
    info = os.stat(name, dir_fd=inside, follow_symlinks=False)
    if not stat.S_ISDIR(info.st_mode):
        os.unlink(name, dir_fd=inside)
        return
    folder = os.open(name, _FOLDER, dir_fd=inside)
    try:
        for inner in os.listdir(folder):
            _remove(inner, folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=inside)


def check(target: Path, copied: Copied, told: Told) -> None:
    """Read back what was copied. Raises `BadData` for a file that the disk gives otherwise."""
    for path, expected in copied.hashes.items():
        digest = hashlib.blake2b(digest_size=32)
        try:
            with open(target / path, "rb", buffering=0) as read:
                while block := read.read(_BLOCK):
                    digest.update(block)
                    told(len(block))
            sound = digest.digest() == expected
        except OSError:
            sound = False
        if not sound:
            raise BadData(f"The disk does not give back {path} as it was written.", hint="Take another disk.")
