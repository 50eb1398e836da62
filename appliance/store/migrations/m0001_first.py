"""Schema 1: hosts, images, tasks, tokens, leases and records of the first release.

Times are ISO 8601 text in UTC with microseconds, so that they sort as text. Names compare without regard to case.
The partial indexes state two rules of tasks where no writer can get round them: one unfinished task for a host, and
one capture that waits for the next unknown PC.
"""

from __future__ import annotations

_OPEN = "state IN ('scheduled', 'waiting', 'booting', 'running', 'verifying')"

STATEMENTS: tuple[str, ...] = (
    """
    CREATE TABLE host (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        uuid TEXT,
        sealed INTEGER NOT NULL DEFAULT 0,
        local_boot TEXT NOT NULL DEFAULT 'chain',
        uefi_loader TEXT NOT NULL DEFAULT 'shim',
        disk TEXT NOT NULL DEFAULT '',
        notes TEXT NOT NULL DEFAULT '',
        firmware TEXT NOT NULL DEFAULT '',
        secure_boot INTEGER,
        version_id TEXT NOT NULL DEFAULT '',
        ip TEXT NOT NULL DEFAULT '',
        stage TEXT,
        last_seen TEXT,
        created TEXT NOT NULL
    )
    """,
    "CREATE INDEX host_uuid ON host (uuid)",
    """
    CREATE TABLE mac (
        address TEXT NOT NULL PRIMARY KEY,
        host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
        position INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX mac_host ON mac (host_id)",
    "CREATE TABLE dock_mac (address TEXT NOT NULL PRIMARY KEY)",
    """
    CREATE TABLE sighting (
        mac TEXT NOT NULL PRIMARY KEY,
        stage TEXT NOT NULL,
        at TEXT NOT NULL,
        uuid TEXT,
        arch INTEGER,
        ip TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT ''
    )
    """,
    """
    CREATE TABLE inventory (
        host_id INTEGER NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        data TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE image (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        notes TEXT NOT NULL DEFAULT '',
        last_number INTEGER NOT NULL DEFAULT 0,
        created TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE image_version (
        row INTEGER PRIMARY KEY AUTOINCREMENT,
        image_id INTEGER NOT NULL REFERENCES image (id) ON DELETE CASCADE,
        version_id TEXT NOT NULL,
        number INTEGER NOT NULL,
        created TEXT NOT NULL,
        disk_bytes INTEGER NOT NULL,
        used_bytes INTEGER NOT NULL,
        stored_bytes INTEGER NOT NULL,
        new_bytes INTEGER NOT NULL,
        chunks INTEGER NOT NULL,
        master_name TEXT NOT NULL DEFAULT '',
        task_id INTEGER,
        sealed INTEGER NOT NULL DEFAULT 0,
        notes TEXT NOT NULL DEFAULT '',
        UNIQUE (image_id, number),
        UNIQUE (image_id, version_id)
    )
    """,
    "CREATE INDEX image_version_id ON image_version (version_id)",
    f"""
    CREATE TABLE task (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        image_name TEXT NOT NULL,
        host_id INTEGER REFERENCES host (id) ON DELETE SET NULL,
        host_name TEXT NOT NULL DEFAULT '',
        version_id TEXT NOT NULL DEFAULT '',
        sealed INTEGER NOT NULL DEFAULT 0,
        after TEXT NOT NULL,
        created TEXT NOT NULL,
        started TEXT,
        finished TEXT,
        last_heard TEXT,
        phase TEXT NOT NULL DEFAULT '',
        done_bytes INTEGER NOT NULL DEFAULT 0,
        total_bytes INTEGER NOT NULL DEFAULT 0,
        rate_bytes_s REAL NOT NULL DEFAULT 0,
        attempts INTEGER NOT NULL DEFAULT 0,
        ip TEXT NOT NULL DEFAULT '',
        error TEXT NOT NULL DEFAULT '',
        remedy TEXT NOT NULL DEFAULT '',
        log_bytes INTEGER NOT NULL DEFAULT 0,
        CHECK (kind IN ('capture', 'deploy')),
        CHECK ({_OPEN} OR state IN ('done', 'failed', 'cancelled')),
        CHECK (kind = 'capture' OR host_id IS NOT NULL OR NOT {_OPEN})
    )
    """,
    f"CREATE UNIQUE INDEX task_one_a_host ON task (host_id) WHERE host_id IS NOT NULL AND {_OPEN}",
    f"CREATE UNIQUE INDEX task_one_next_unknown ON task (kind) WHERE host_id IS NULL AND {_OPEN}",
    """
    CREATE TABLE task_event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        state TEXT NOT NULL,
        text TEXT NOT NULL DEFAULT ''
    )
    """,
    "CREATE INDEX task_event_task ON task_event (task_id)",
    """
    CREATE TABLE task_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
        text TEXT NOT NULL
    )
    """,
    "CREATE INDEX task_log_task ON task_log (task_id)",
    """
    CREATE TABLE new_pc_order (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        version_id TEXT NOT NULL,
        image_name TEXT NOT NULL,
        pattern TEXT NOT NULL,
        wanted INTEGER NOT NULL,
        taken INTEGER NOT NULL DEFAULT 0,
        after TEXT NOT NULL,
        created TEXT NOT NULL,
        cancelled INTEGER NOT NULL DEFAULT 0,
        CHECK (taken BETWEEN 0 AND wanted)
    )
    """,
    """
    CREATE TABLE token (
        hash TEXT NOT NULL PRIMARY KEY,
        task_id INTEGER REFERENCES task (id) ON DELETE CASCADE,
        mac TEXT NOT NULL,
        ip TEXT NOT NULL,
        issued TEXT NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX token_task ON token (task_id)",
    "CREATE INDEX token_mac ON token (mac)",
    """
    CREATE TABLE lease (
        address TEXT NOT NULL PRIMARY KEY,
        client_key TEXT NOT NULL,
        mac TEXT NOT NULL,
        expires TEXT NOT NULL,
        client_id TEXT NOT NULL DEFAULT '',
        hostname TEXT NOT NULL DEFAULT '',
        declined INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE TABLE reservation (mac TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL UNIQUE)",
    "CREATE TABLE setting (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT ''
    )
    """,
    """
    CREATE TABLE dhcp_server (
        ip TEXT NOT NULL,
        interface TEXT NOT NULL,
        at TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (ip, interface)
    )
    """,
)
