"""Schema 4: rooms; when a task starts, and whether its PC is woken or held; how services are; who may use the console.

An order for new PCs says when and why it was closed; a sighting, when each stage of the boot was reached. `task_state`
serves the scheduler, which asks for tasks by state twice a second, and the console.
"""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE room (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        notes TEXT NOT NULL DEFAULT ''
    )
    """,
    "ALTER TABLE host ADD COLUMN room_id INTEGER REFERENCES room (id) ON DELETE SET NULL",
    "CREATE INDEX host_room ON host (room_id) WHERE room_id IS NOT NULL",
    "ALTER TABLE task ADD COLUMN start_at TEXT",
    "ALTER TABLE task ADD COLUMN wake INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE task ADD COLUMN held INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE task ADD COLUMN order_id INTEGER REFERENCES new_pc_order (id) ON DELETE SET NULL",
    "CREATE INDEX task_order ON task (order_id) WHERE order_id IS NOT NULL",
    "CREATE INDEX task_state ON task (state)",
    "ALTER TABLE new_pc_order ADD COLUMN until TEXT",
    "ALTER TABLE new_pc_order ADD COLUMN hold INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE new_pc_order ADD COLUMN room_id INTEGER REFERENCES room (id) ON DELETE SET NULL",
    "ALTER TABLE new_pc_order ADD COLUMN closed TEXT",
    "ALTER TABLE new_pc_order ADD COLUMN why TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE sighting ADD COLUMN steps TEXT NOT NULL DEFAULT '[]'",
    """
    CREATE TABLE wake (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        host_id INTEGER NOT NULL UNIQUE REFERENCES host (id) ON DELETE CASCADE,
        asked TEXT NOT NULL,
        next_at TEXT NOT NULL,
        sent INTEGER NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE service (
        name TEXT NOT NULL PRIMARY KEY,
        state TEXT NOT NULL,
        pid INTEGER NOT NULL,
        since TEXT NOT NULL,
        beat TEXT NOT NULL,
        words TEXT NOT NULL DEFAULT '',
        started TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE operator (
        name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE,
        role TEXT NOT NULL,
        hash TEXT NOT NULL,
        language TEXT NOT NULL DEFAULT '',
        created TEXT NOT NULL,
        last_login TEXT,
        CHECK (role IN ('viewer', 'operator', 'admin'))
    )
    """,
)
