"""A copy of the store in one file: made while others write, and looked at before it is trusted.

SQLite's backup API copies all pages in one step inside one read transaction: in WAL mode writers go on meanwhile, and
the copy is the store as it was at one moment. It is taken out of WAL mode, so that it is one file.
References: https://sqlite.org/backup.html, https://sqlite.org/pragma.html#pragma_integrity_check
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import BadData, NoSpace, Unavailable
from appliance.store.database import BUSY_TIMEOUT_S
from appliance.store.migrations import MIGRATIONS

NEWEST_SCHEMA = len(MIGRATIONS)


@dataclass(frozen=True, slots=True)
class Copy:
    """What a copy of a store holds."""

    schema: int
    versions: frozenset[str]  # ids of the images' versions
    bytes: int


def copy(source: Path, path: Path) -> Copy:
    """Copy the store `source` to the new file `path`, flushed and checked.

    Raises `NoSpace`, `Unavailable` or `BadData`.
    """
    try:
        path.unlink(missing_ok=True)
        with (
            contextlib.closing(sqlite3.connect(_uri(source, "rw"), timeout=BUSY_TIMEOUT_S, uri=True)) as live,
            contextlib.closing(sqlite3.connect(path)) as made,
        ):
            os.chmod(path, 0o600)
            live.backup(made, pages=-1)
            made.execute("PRAGMA journal_mode = DELETE")
        found = inspect(path)
        _flush(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        if isinstance(error, sqlite3.Error | OSError):
            raise _explain(error, source, path) from error
        raise
    return found


def inspect(path: Path) -> Copy:
    """Read every page of the copy `path` and say what it is. Raises `BadData` for one that is damaged or no store."""
    try:
        with contextlib.closing(sqlite3.connect(_uri(path, "ro"), uri=True)) as sql:
            problems = [str(row[0]) for row in sql.execute("PRAGMA integrity_check(1)")]
            schema = int(sql.execute("PRAGMA user_version").fetchone()[0])
            if problems != ["ok"]:
                raise BadData(f"The copy {path} of the store is damaged: {problems[0]}.", hint="Take another copy.")
            ids = frozenset(str(row[0]) for row in sql.execute("SELECT version_id FROM image_version"))
    except sqlite3.Error as error:
        raise BadData(f"{path} is no copy of a store: {error}.", hint="Take another copy.") from error
    return Copy(schema, ids, path.stat().st_size)


def _uri(path: Path, mode: str) -> str:
    """How SQLite opens a file without making one that is not there."""
    return f"{path.absolute().as_uri()}?mode={mode}"


def _flush(path: Path) -> None:
    for place in (path, path.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _explain(error: Exception, source: Path, path: Path) -> NoSpace | Unavailable:
    if isinstance(error, OSError):
        no_room = error.errno in (errno.ENOSPC, errno.EDQUOT)
    else:
        no_room = "disk is full" in str(error)  # what SQLITE_FULL says
    if no_room:
        return NoSpace(f"There is no room for a copy of the store at {path}.", hint="Free space on that disk.")
    return Unavailable(f"The store {source} cannot be copied to {path}: {error}.", hint="See whether both can be read.")
