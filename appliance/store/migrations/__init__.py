"""Numbered migrations: each brings the schema one number up, in one transaction.

`PRAGMA user_version` holds the number of the last one applied. A migration that was released is never edited; it says
in frozen SQL what the tables became, apart from the row classes, which follow the newest schema. A database of every
schema is kept as text in `tests/testdata` and must open.
"""

from __future__ import annotations

from pathlib import Path

import peewee

from appliance.errors import Unavailable
from appliance.store.migrations import m0001_first, m0002_casts, m0003_orders_by_cast
from appliance.store.statements import execute, transaction

# Position + 1 is the schema's number.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    m0001_first.STATEMENTS,
    m0002_casts.STATEMENTS,
    m0003_orders_by_cast.STATEMENTS,
)


def migrate(sql: peewee.SqliteDatabase, path: Path, steps: tuple[tuple[str, ...], ...] = MIGRATIONS) -> None:
    """Apply what is missing. Two processes may try at once: the second finds nothing left to do.

    Raises `Unavailable` when the file is no store of ours or newer than this program.
    """
    if _number(sql) == len(steps):
        return
    with transaction(sql, "IMMEDIATE"):
        number = _number(sql)
        _check(sql, path, number, len(steps))
        for statements in steps[number:]:
            for statement in statements:
                execute(sql, statement)
        execute(sql, f"PRAGMA user_version = {len(steps)}")


def _number(sql: peewee.SqliteDatabase) -> int:
    return int(execute(sql, "PRAGMA user_version").fetchone()[0])


def _check(sql: peewee.SqliteDatabase, path: Path, number: int, newest: int) -> None:
    if number > newest:
        raise Unavailable(
            f"The store {path} has schema {number}, but this Diecast knows only up to {newest}.",
            hint="Install the newer Diecast that wrote it, or restore an older backup.",
        )
    if number == 0 and sql.get_tables():
        raise Unavailable(
            f"{path} is an SQLite database, but not a store of Diecast.", hint="Set paths.state to another folder."
        )
