"""Single statements and transactions on one thread's connection, below verbs and migrations."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any

import peewee


def execute(sql: peewee.SqliteDatabase, text: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Cursor:
    """Run one statement."""
    cursor: sqlite3.Cursor = sql.execute_sql(text, parameters)  # type: ignore[no-untyped-call]
    return cursor


def execute_many(sql: peewee.SqliteDatabase, text: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Run one statement for each row."""
    cursor: sqlite3.Cursor = sql.cursor()  # type: ignore[no-untyped-call]
    cursor.executemany(text, rows)


def in_transaction(sql: peewee.SqliteDatabase) -> bool:
    """Whether this thread's connection has a transaction open."""
    connection: sqlite3.Connection = sql.connection()  # type: ignore[no-untyped-call]
    return connection.in_transaction


@contextlib.contextmanager
def transaction(sql: peewee.SqliteDatabase, kind: str) -> Iterator[None]:
    """One transaction, begun with `BEGIN kind` (IMMEDIATE, DEFERRED).

    Peewee's own would hide the error when SQLite has rolled back by itself (disk full, input/output error):
    https://sqlite.org/lang_transaction.html section 3.
    """
    execute(sql, f"BEGIN {kind}")
    try:
        yield
        execute(sql, "COMMIT")
    except BaseException:
        if in_transaction(sql):
            execute(sql, "ROLLBACK")
        raise
