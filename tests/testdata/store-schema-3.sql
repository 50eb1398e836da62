BEGIN TRANSACTION;
CREATE TABLE audit (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        actor TEXT NOT NULL,
        action TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT ''
    );
INSERT INTO "audit" VALUES(1,'2026-11-23T12:00:00.000000+00:00','root','capture','win11');
CREATE TABLE cast_member (
        task_id INTEGER NOT NULL PRIMARY KEY REFERENCES task (id) ON DELETE CASCADE,
        cast_id INTEGER NOT NULL REFERENCES room_cast (id) ON DELETE CASCADE,
        preferred INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        status TEXT NOT NULL DEFAULT '',
        written INTEGER NOT NULL DEFAULT 0,
        total INTEGER NOT NULL DEFAULT 0,
        loss REAL NOT NULL DEFAULT 0
    );
INSERT INTO "cast_member" VALUES(3,1,0,0,'',0,0,0.0);
CREATE TABLE dhcp_server (
        ip TEXT NOT NULL,
        interface TEXT NOT NULL,
        at TEXT NOT NULL,
        detail TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (ip, interface)
    );
INSERT INTO "dhcp_server" VALUES('10.20.4.1','eth0','2026-11-23T12:00:00.000000+00:00','');
CREATE TABLE dock_mac (address TEXT NOT NULL PRIMARY KEY);
INSERT INTO "dock_mac" VALUES('00:e0:4c:68:00:01');
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
    );
INSERT INTO "host" VALUES(1,'MASTER','8d3f0b56-11c4-4f0e-9a77-0123456789ab',0,'chain','shim','','','',NULL,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','',NULL,NULL,'2026-11-23T12:00:00.000000+00:00');
INSERT INTO "host" VALUES(2,'LAB1-01',NULL,0,'chain','shim','','','',NULL,'','',NULL,NULL,'2026-11-23T12:00:00.000000+00:00');
CREATE TABLE image (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE COLLATE NOCASE,
        notes TEXT NOT NULL DEFAULT '',
        last_number INTEGER NOT NULL DEFAULT 0,
        created TEXT NOT NULL
    );
INSERT INTO "image" VALUES(1,'win11','',1,'2026-11-23T12:00:00.000000+00:00');
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
    );
INSERT INTO "image_version" VALUES(1,1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1,'2026-11-23T12:00:00.000000+00:00',68719476736,21474836480,9663676416,9663676416,20480,'MASTER',1,1,'');
CREATE TABLE inventory (
        host_id INTEGER NOT NULL PRIMARY KEY REFERENCES host (id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        data TEXT NOT NULL
    );
INSERT INTO "inventory" VALUES(1,'2026-11-23T12:00:00.000000+00:00','{"cpu": "one", "disks": []}');
CREATE TABLE lease (
        address TEXT NOT NULL PRIMARY KEY,
        client_key TEXT NOT NULL,
        mac TEXT NOT NULL,
        expires TEXT NOT NULL,
        client_id TEXT NOT NULL DEFAULT '',
        hostname TEXT NOT NULL DEFAULT '',
        declined INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO "lease" VALUES('10.20.5.1','mac:52:54:00:aa:01:01','52:54:00:aa:01:01','2026-11-23T12:00:00.000000+00:00','','',0);
CREATE TABLE mac (
        address TEXT NOT NULL PRIMARY KEY,
        host_id INTEGER NOT NULL REFERENCES host (id) ON DELETE CASCADE,
        position INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO "mac" VALUES('52:54:00:aa:01:01',1,0);
INSERT INTO "mac" VALUES('52:54:00:aa:01:02',1,1);
INSERT INTO "mac" VALUES('52:54:00:aa:02:01',2,0);
CREATE TABLE new_pc_order (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        version_id TEXT NOT NULL,
        image_name TEXT NOT NULL,
        pattern TEXT NOT NULL,
        wanted INTEGER NOT NULL,
        taken INTEGER NOT NULL DEFAULT 0,
        after TEXT NOT NULL,
        created TEXT NOT NULL,
        cancelled INTEGER NOT NULL DEFAULT 0, cast_id INTEGER REFERENCES room_cast (id) ON DELETE SET NULL,
        CHECK (taken BETWEEN 0 AND wanted)
    );
INSERT INTO "new_pc_order" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','win11','LAB1-{nn}',3,0,'reboot','2026-11-23T12:00:00.000000+00:00',0,1);
CREATE TABLE reservation (mac TEXT NOT NULL PRIMARY KEY, address TEXT NOT NULL UNIQUE);
INSERT INTO "reservation" VALUES('52:54:00:aa:01:01','10.20.4.9');
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
        broadcast INTEGER NOT NULL DEFAULT 0, replayed INTEGER NOT NULL DEFAULT 0, wanted INTEGER NOT NULL DEFAULT 0,
        CHECK (state IN ('open', 'ended'))
    );
INSERT INTO "room_cast" VALUES(1,'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa','win11','open','2026-11-23T12:00:00.000000+00:00',NULL,'','234da6b2818c75bf','d4e7298fd301a206a71e4822ed34278f6e475bbc1e02c9c67e760b927357e9af','239.192.68.1',2,60,0,0,0,0,0.0,0,0,0,0,0,0,0);
CREATE TABLE setting (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "setting" VALUES('key','value');
CREATE TABLE sighting (
        mac TEXT NOT NULL PRIMARY KEY,
        stage TEXT NOT NULL,
        at TEXT NOT NULL,
        uuid TEXT,
        arch INTEGER,
        ip TEXT NOT NULL DEFAULT '',
        detail TEXT NOT NULL DEFAULT ''
    );
INSERT INTO "sighting" VALUES('52:54:00:00:00:07','dhcp','2026-11-23T12:00:00.000000+00:00',NULL,11,'','');
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
        log_bytes INTEGER NOT NULL DEFAULT 0, cast_id INTEGER REFERENCES room_cast (id) ON DELETE SET NULL,
        CHECK (kind IN ('capture', 'deploy')),
        CHECK (state IN ('scheduled', 'waiting', 'booting', 'running', 'verifying') OR state IN ('done', 'failed', 'cancelled')),
        CHECK (kind = 'capture' OR host_id IS NOT NULL OR NOT state IN ('scheduled', 'waiting', 'booting', 'running', 'verifying'))
    );
INSERT INTO "task" VALUES(1,'capture','done','win11',1,'MASTER','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1,'poweroff','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:00:00.000000+00:00','2026-11-23T12:00:00.000000+00:00','',0,0,0.0,1,'10.20.5.1','','',22,NULL);
INSERT INTO "task" VALUES(2,'capture','failed','win11',1,'MASTER','',0,'poweroff','2026-11-23T12:00:00.000000+00:00',NULL,'2026-11-23T12:00:00.000000+00:00',NULL,'',0,0,0.0,0,'','The PC was silent.','Switch it on.',0,NULL);
INSERT INTO "task" VALUES(3,'deploy','waiting','win11',2,'LAB1-01','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',0,'reboot','2026-11-23T12:00:00.000000+00:00',NULL,NULL,NULL,'',0,0,0.0,0,'','','',0,1);
CREATE TABLE task_event (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
        at TEXT NOT NULL,
        state TEXT NOT NULL,
        text TEXT NOT NULL DEFAULT ''
    );
INSERT INTO "task_event" VALUES(1,1,'2026-11-23T12:00:00.000000+00:00','waiting','waiting for MASTER to boot');
INSERT INTO "task_event" VALUES(2,1,'2026-11-23T12:00:00.000000+00:00','running','agent at 10.20.5.1');
INSERT INTO "task_event" VALUES(3,1,'2026-11-23T12:00:00.000000+00:00','verifying','');
INSERT INTO "task_event" VALUES(4,1,'2026-11-23T12:00:00.000000+00:00','done','committed as win11@1');
INSERT INTO "task_event" VALUES(5,2,'2026-11-23T12:00:00.000000+00:00','waiting','waiting for MASTER to boot');
INSERT INTO "task_event" VALUES(6,2,'2026-11-23T12:00:00.000000+00:00','failed','The PC was silent.');
INSERT INTO "task_event" VALUES(7,3,'2026-11-23T12:00:00.000000+00:00','waiting','waiting for LAB1-01 to boot');
CREATE TABLE task_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        task_id INTEGER NOT NULL REFERENCES task (id) ON DELETE CASCADE,
        text TEXT NOT NULL
    );
INSERT INTO "task_log" VALUES(1,1,'reading /dev/sda
done
');
CREATE TABLE token (
        hash TEXT NOT NULL PRIMARY KEY,
        task_id INTEGER REFERENCES task (id) ON DELETE CASCADE,
        mac TEXT NOT NULL,
        ip TEXT NOT NULL,
        issued TEXT NOT NULL,
        revoked INTEGER NOT NULL DEFAULT 0
    );
INSERT INTO "token" VALUES('73d4833da7fba872e2226851c0421d090d7ae78e3dda1a0c8580a2da55dda0bf',1,'52:54:00:aa:01:01','10.20.5.1','2026-11-23T12:00:00.000000+00:00',0);
INSERT INTO "token" VALUES('db2e3441cbb833354392ca1f1d41356e4c102a337fe844225550d2060f573bf1',NULL,'52:54:00:00:00:07','10.20.5.9','2026-11-23T12:00:00.000000+00:00',0);
CREATE INDEX host_uuid ON host (uuid);
CREATE INDEX mac_host ON mac (host_id);
CREATE INDEX image_version_id ON image_version (version_id);
CREATE UNIQUE INDEX task_one_a_host ON task (host_id) WHERE host_id IS NOT NULL AND state IN ('scheduled', 'waiting', 'booting', 'running', 'verifying');
CREATE UNIQUE INDEX task_one_next_unknown ON task (kind) WHERE host_id IS NULL AND state IN ('scheduled', 'waiting', 'booting', 'running', 'verifying');
CREATE INDEX task_event_task ON task_event (task_id);
CREATE INDEX task_log_task ON task_log (task_id);
CREATE INDEX token_task ON token (task_id);
CREATE INDEX token_mac ON token (mac);
CREATE UNIQUE INDEX room_cast_group ON room_cast (group_address) WHERE state = 'open';
CREATE INDEX task_cast ON task (cast_id) WHERE cast_id IS NOT NULL;
CREATE INDEX cast_member_cast ON cast_member (cast_id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('host',2);
INSERT INTO "sqlite_sequence" VALUES('task',3);
INSERT INTO "sqlite_sequence" VALUES('task_event',7);
INSERT INTO "sqlite_sequence" VALUES('task_log',1);
INSERT INTO "sqlite_sequence" VALUES('image',1);
INSERT INTO "sqlite_sequence" VALUES('image_version',1);
INSERT INTO "sqlite_sequence" VALUES('room_cast',1);
INSERT INTO "sqlite_sequence" VALUES('new_pc_order',1);
INSERT INTO "sqlite_sequence" VALUES('audit',1);
COMMIT;
PRAGMA user_version = 3;
