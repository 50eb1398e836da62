"""The steps to files that survive a crash: written beside their place and flushed, renamed, and the folder flushed.

Also the two kinds of lock the store uses (flock(2): released by the kernel when its holder dies).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import NoSpace, Unavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})  # what a write to a full disk ends with


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` (replaced if it is there) and flush it; the folder is not flushed."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
    finally:
        os.close(handle)  # NFS may report a failed write only here


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path` alone, among threads and processes."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def full_disk_in_words(root: Path, needed_bytes: int) -> Iterator[None]:
    """Turn the disk's own errors into `NoSpace` (with what is free and what was needed) or `Unavailable`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise no_space(root, needed_bytes) from error
        if error.errno in (errno.EIO, errno.EROFS, errno.ESTALE):
            raise Unavailable(
                f"The image store {root} cannot be used: {error}.", hint="Check the disk it lies on."
            ) from error
        raise


def no_space(root: Path, needed_bytes: int, reserve_bytes: int = 0) -> NoSpace:
    """The error of a full store, with both figures."""
    free = shutil.disk_usage(root).free
    kept = f", of which {reserve_bytes} are kept free," if reserve_bytes else ""
    return NoSpace(
        f"The image store {root} is full: {free} bytes are free{kept} and {needed_bytes} more are needed.",
        hint="Remove images that nobody needs: diecast image remove",
    )
