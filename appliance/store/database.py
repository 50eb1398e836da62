"""Connections, transactions and failures of the SQLite file.

- WAL: readers never wait for a writer (https://sqlite.org/wal.html).
- `BEGIN IMMEDIATE` for every change: it waits for the other writer at its start, so it never fails half-way with
  SQLITE_BUSY because a read was to become a write.
- `synchronous=FULL`: in WAL mode a commit is on the disk when it returns. RFC 2131 section 3.1 wants a lease recorded
  before its ACK; a state of a task is promised to the operator. `write(durable=False)` is for what the next second
  overwrites (progress, sightings): after a power cut it may be older, never inconsistent.
- One connection for each thread, as Peewee does it, and one that only watches `PRAGMA data_version`, which counts
  what *other* connections committed.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import peewee

from appliance.errors import ApplianceError, NoSpace, Unavailable
from appliance.store import migrations
from appliance.store.statements import execute, in_transaction, transaction

BUSY_TIMEOUT_S = 15  # longer than any transaction of ours; a writer that was killed lets go at once


class _Sqlite(peewee.SqliteDatabase):
    """Peewee's database, which also remembers its connections so that they can be closed from another thread."""

    def __init__(self, path: Path) -> None:
        self._opened: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._opened_lock = threading.Lock()
        super().__init__(
            str(path),
            pragmas={"foreign_keys": 1, "synchronous": "FULL"},
            lock_type="IMMEDIATE",
            timeout=BUSY_TIMEOUT_S,
            check_same_thread=False,
        )

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection = super()._connect()  # type: ignore[misc]
        with self._opened_lock:
            dead = [pair for pair in self._opened if not pair[0].is_alive()]
            self._opened = [pair for pair in self._opened if pair[0].is_alive()]
            self._opened.append((threading.current_thread(), connection))
        for _, orphan in dead:
            orphan.close()
        return connection

    def close_everywhere(self) -> None:
        """Close the connections of all threads."""
        with self._opened_lock:
            opened, self._opened = self._opened, []
        for _, connection in opened:
            connection.close()


class Database:
    """One SQLite file: transactions for the verbs, errors of ours instead of the library's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._sql = _Sqlite(path)
        self._closed = False
        self._watch: sqlite3.Connection | None = None
        self._watch_lock = threading.Lock()

    @classmethod
    def open(cls, path: Path) -> Database:
        """See `Store.open`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"The folder {path.parent} for the store cannot be made: {error.strerror}.",
                hint="Run as root, or set paths.state to a folder you may write.",
            ) from error
        database = cls(path)
        try:
            with database._own_errors():
                database._use_wal()
                migrations.migrate(database._sql, path)
        except BaseException:
            database.close()
            raise
        return database

    @contextlib.contextmanager
    def write(self, *, durable: bool = True) -> Iterator[peewee.SqliteDatabase]:
        """One immediate transaction; on the disk when it ends, unless `durable` is false."""
        with self._own_errors():
            sql = self._ready()
            if durable:
                with transaction(sql, "IMMEDIATE"):
                    yield sql
                return
            execute(sql, "PRAGMA synchronous = NORMAL")
            try:
                with transaction(sql, "IMMEDIATE"):
                    yield sql
            finally:
                execute(sql, "PRAGMA synchronous = FULL")

    @contextlib.contextmanager
    def read(self) -> Iterator[peewee.SqliteDatabase]:
        """One snapshot for several queries."""
        with self._own_errors():
            sql = self._ready()
            with transaction(sql, "DEFERRED"):
                yield sql

    def data_version(self) -> int:
        """See `Store.data_version`."""
        with self._own_errors(), self._watch_lock:
            self._ready()
            if self._watch is None:
                self._watch = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            row = self._watch.execute("PRAGMA data_version").fetchone()
            return int(row[0])

    def problems(self) -> list[str]:
        """See `Store.problems`."""
        with self.read() as sql:
            rows = execute(sql, "PRAGMA quick_check(5)").fetchall()
        return [str(row[0]).replace("\n", " ") for row in rows if row[0] != "ok"]

    def close(self) -> None:
        """Close every connection."""
        self._closed = True
        self._sql.close_everywhere()
        with self._watch_lock:
            if self._watch is not None:
                self._watch.close()
                self._watch = None

    def _ready(self) -> peewee.SqliteDatabase:
        if self._closed:
            raise Unavailable(f"The store {self.path} is closed.")
        if in_transaction(self._sql):
            raise RuntimeError("a verb of the store was called inside another verb's transaction")
        return self._sql

    def _use_wal(self) -> None:
        """Switch to WAL. SQLite does not wait for a lock here, and another process may be opening the file too."""
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                mode = execute(self._sql, "PRAGMA journal_mode = WAL").fetchone()[0]
            except peewee.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
                continue
            if mode != "wal":
                raise Unavailable(
                    f"The store {self.path} cannot use write-ahead logging (it stays in mode '{mode}').",
                    hint="Put paths.state on a local disk, not on a network file system.",
                )
            return

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        try:
            yield
        except peewee.IntegrityError:
            raise  # every verb checks first: a bug
        except (peewee.DatabaseError, peewee.InterfaceError, sqlite3.Error) as error:
            raise _explain(error, self.path) from error


# What SQLite says (its text is stable) -> our error, sentence, remedy.
_EXPLANATIONS: tuple[tuple[str, type[ApplianceError], str, str], ...] = (
    ("locked", Unavailable, "was held by another process for {timeout} s", "Try again; see who holds it: fuser {path}"),
    ("disk is full", NoSpace, "cannot grow: its disk is full", "Free space on the disk of paths.state."),
    ("readonly", Unavailable, "cannot be written", "Run as root, or mend the owner of {path}."),
    ("unable to open", Unavailable, "cannot be opened", "Run as root, or mend the owner of {path}."),
    ("not a database", Unavailable, "is not an SQLite database", "Move the file away, or restore it from a backup."),
    ("malformed", Unavailable, "is damaged", "Restore it from a backup; images are kept in files and are not lost."),
    ("disk I/O", Unavailable, "cannot be read or written: input/output error", "Check the disk: dmesg"),
)


def _explain(error: Exception, path: Path) -> ApplianceError:
    text = str(error)
    for sign, kind, sentence, remedy in _EXPLANATIONS:
        if sign in text:
            message = f"The store {path} {sentence.format(timeout=BUSY_TIMEOUT_S)}."
            return kind(message, hint=remedy.format(path=path))
    return Unavailable(f"The store {path} failed: {text}.")
