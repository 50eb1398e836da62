"""Schema 2: casts, their PCs, and which cast a task takes part in.

The table is `room_cast`, since CAST is a word of SQL. Two open casts never have one group.
"""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE room_cast (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        version_id TEXT NOT NULL,
        image_name TEXT NOT NULL,
        state TEXT NOT NULL DEFAULT 'open',
        created TEXT NOT NULL,
        ended TEXT,
        why TEXT NOT NULL DEFAULT '',
        cast_id TEXT NOT NULL UNIQUE,
        key TEXT NOT NULL,
        group_address TEXT NOT NULL,
        wait_for INTEGER NOT NULL DEFAULT 0,
        wait_seconds INTEGER NOT NULL DEFAULT 0,
        rate_mbit INTEGER NOT NULL DEFAULT 0,
        begun INTEGER NOT NULL DEFAULT 0,
        present INTEGER NOT NULL DEFAULT 0,
        waiting INTEGER NOT NULL DEFAULT 0,
        rate_bytes_s REAL NOT NULL DEFAULT 0,
        sent_bytes INTEGER NOT NULL DEFAULT 0,
        parity_bytes INTEGER NOT NULL DEFAULT 0,
        forged INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0,
        broadcast INTEGER NOT NULL DEFAULT 0,
        CHECK (state IN ('open', 'ended'))
    )
    """,
    "CREATE UNIQUE INDEX room_cast_group ON room_cast (group_address) WHERE state = 'open'",
    "ALTER TABLE task ADD COLUMN cast_id INTEGER REFERENCES room_cast (id) ON DELETE SET NULL",
    "CREATE INDEX task_cast ON task (cast_id) WHERE cast_id IS NOT NULL",
    """
    CREATE TABLE cast_member (
        task_id INTEGER NOT NULL PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
        cast_id INTEGER NOT NULL REFERENCES room_cast (id) ON DELETE CASCADE,
        preferred INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        status TEXT NOT NULL DEFAULT '',
        written INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0,
        loss REAL NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX cast_member_cast ON cast_member (cast_id)",
)
