"""Write `tests/testdata/store-schema-N.sql`: a filled store of the newest schema, as text.

Run once for each new schema, before the next one is begun: `python -m tests.store.make_fixture`.
"""

from __future__ import annotations

import sqlite3
import tempfile
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from uuid import UUID

from appliance.events import BootStage, TaskState
from appliance.model import Lease
from appliance.store import Store
from appliance.store.migrations import MIGRATIONS
from tests.store.conftest import NOON, make_version

TESTDATA = Path(__file__).parent.parent / "testdata"


def fill(store: Store) -> None:
    """A capture that is done, one that failed, a waiting deploy, an order, and one of everything else."""
    master = store.hosts.add(
        "MASTER",
        ["52:54:00:aa:01:01", "52:54:00:aa:01:02"],
        uuid=UUID("8d3f0b56-11c4-4f0e-9a77-0123456789ab"),
        now=NOON,
    )
    task = store.tasks.capture(master, "win11", sealed=True, now=NOON)
    store.tasks.checked_in(task.id, "10.20.5.1", master.macs[0], now=NOON)
    store.tasks.add_log(task.id, ["reading /dev/sda", "done"])
    store.tasks.move(task.id, TaskState.VERIFYING, now=NOON)
    store.images.commit(task.id, make_version("a"), now=NOON)
    failed = store.tasks.capture(master, "win11", now=NOON)
    store.tasks.move(failed.id, TaskState.FAILED, error="The PC was silent.", remedy="Switch it on.", now=NOON)
    target = store.hosts.add("LAB1-01", ["52:54:00:aa:02:01"], now=NOON)
    version = store.images.resolve("win11")
    cast = store.casts.open(version, 2, 60, groups=IPv4Network("239.192.68.0/24"), now=NOON)
    store.tasks.deploy(target, version, cast_id=cast.id, now=NOON)
    store.tasks.order_new_pcs(store.images.resolve("win11@1"), 3, "LAB1-{nn}", cast_id=cast.id, now=NOON)
    store.hosts.seen("52:54:00:00:00:07", BootStage.DHCP, arch=11, now=NOON)
    store.hosts.save_inventory(master.id, {"cpu": "one", "disks": []}, now=NOON)
    store.hosts.add_dock_mac("00:e0:4c:68:00:01")
    store.tasks.session_token("52:54:00:00:00:07", "10.20.5.9", now=NOON)
    store.leases.save([Lease(IPv4Address("10.20.5.1"), "mac:52:54:00:aa:01:01", "52:54:00:aa:01:01", NOON)])
    store.leases.reserve("52:54:00:aa:01:01", IPv4Address("10.20.4.9"))
    store.settings.set("key", "value")
    store.audit.record("root", "capture", "win11", now=NOON)
    store.servers.heard("10.20.4.1", "eth0", now=NOON)


def dump(path: Path) -> str:
    """The database as SQL text, its schema number included."""
    connection = sqlite3.connect(path)
    try:
        number = connection.execute("PRAGMA user_version").fetchone()[0]
        return "\n".join([*connection.iterdump(), f"PRAGMA user_version = {number};", ""])
    finally:
        connection.close()


def main() -> None:
    """Write the fixture of the newest schema."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "diecast.sqlite"
        with Store.open(path) as store:
            fill(store)
        TESTDATA.mkdir(exist_ok=True)
        (TESTDATA / f"store-schema-{len(MIGRATIONS)}.sql").write_text(dump(path), encoding="utf-8")


if __name__ == "__main__":
    main()
