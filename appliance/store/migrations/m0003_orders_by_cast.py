"""Schema 3: orders for new PCs take part in casts; a cast says what is asked for, and old FEEDBACK apart from strange.

Until now `refused` counted both.
"""

from __future__ import annotations

STATEMENTS: tuple[str, ...] = (
    "ALTER TABLE new_pc_order ADD COLUMN cast_id INTEGER REFERENCES room_cast (id) ON DELETE SET NULL",
    "ALTER TABLE room_cast ADD COLUMN replayed INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE room_cast ADD COLUMN wanted INTEGER NOT NULL DEFAULT 0",
)
