"""A busy box for the console's benchmark: 1 000 hosts in 40 rooms, 200 tasks at work, and a cast to 200 more PCs.

`fill` makes it; `python -m tests.bench.tui_store DATABASE` keeps it moving: every task and every PC of the cast has new
figures each second, written as the services write them, the tasks one by one all through the second.
"""

from __future__ import annotations

import dataclasses
import itertools
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network
from pathlib import Path

from appliance.events import BootStage, ServiceHealth, TaskState
from appliance.model import Host, ImageVersion, Task
from appliance.store import Store

HOSTS, ROOMS, TASKS, MEMBERS = 1000, 40, 200, 200
CHUNKS = 41_961
SERVICES = ("cast", "dhcp", "http", "nfs", "scheduler", "tftp")
_SHARES = 20  # parts of a second in which tasks are written


def host_name(number: int) -> str:
    """`r07-18`: room and place."""
    per_room = HOSTS // ROOMS
    return f"r{number // per_room + 1:02}-{number % per_room + 1:02}"


def fill(path: Path) -> None:
    """Make the store. Tasks `0 .. TASKS` run by themselves, the next `MEMBERS` by cast."""
    with Store.open(path) as store:
        for room in range(ROOMS):
            store.rooms.add(f"Room {room + 1:02}", f"{HOSTS // ROOMS} places")
        hosts = [_host(store, number) for number in range(HOSTS)]
        version = _image(store, hosts[-1])
        cast = store.casts.open(version, groups=IPv4Network("239.192.0.0/24"))
        for number, host in enumerate(hosts[: TASKS + MEMBERS]):
            task = store.tasks.deploy(host, version, cast_id=cast.id if number >= TASKS else None)
            store.tasks.checked_in(task.id, host.ip, host.macs[0])
            store.tasks.progress(task.id, "writing windows", 0, version.used_bytes, 80e6)
        _beat(store)


def _host(store: Store, number: int) -> Host:
    mac = f"52:54:00:b0:{number >> 8:02x}:{number & 255:02x}"
    name = host_name(number)
    host = store.hosts.add(name, [mac], room=f"Room {number // (HOSTS // ROOMS) + 1:02}")
    store.hosts.seen(mac, BootStage.LOCAL, ip=f"10.20.{number >> 8}.{number & 255}", arch=7)
    return store.hosts.by_id(host.id)


def _image(store: Store, master: Host) -> ImageVersion:
    at = datetime.now(UTC) - timedelta(days=2)
    task = store.tasks.capture(master, "win11-lab", now=at)
    store.tasks.checked_in(task.id, master.ip, master.macs[0], now=at)
    store.tasks.move(task.id, TaskState.VERIFYING, now=at)
    size = CHUNKS << 20
    figures = ImageVersion(
        id="a" * 64,
        image_name="win11-lab",
        number=0,
        created=at,
        disk_bytes=128_000_000_000,
        used_bytes=size,
        stored_bytes=size // 2,
        new_bytes=size // 2,
        chunks=CHUNKS,
    )
    store.images.commit(task.id, figures, now=at)
    return store.images.resolve("win11-lab")


def _beat(store: Store) -> None:
    started = datetime.now(UTC) - timedelta(hours=1)
    for name in SERVICES:
        store.services.beat(name, ServiceHealth.OK, pid=1, started=started)


def keep_moving(store: Store) -> None:
    """Write new figures each second, until the process is ended."""
    chance = random.Random(1)
    tasks = store.tasks.list(active_only=True, limit=TASKS + MEMBERS)
    alone = [task for task in tasks if task.cast_id is None]
    (cast,) = store.casts.list(open_only=True)
    began = time.monotonic()
    for turn in itertools.count():
        share = (10 + turn % 3000) / 3011  # nobody ever gets to the end
        done = int(CHUNKS * share)
        members = [
            dataclasses.replace(member, status="cast", written=done - chance.randrange(200), total=CHUNKS)
            for member in store.casts.members(cast.id)
        ]
        now = dataclasses.replace(cast, present=len(members), rate_bytes_s=chance.uniform(9e7, 1.1e8))
        store.casts.record([(now, members)])
        if turn % 5 == 0:
            _beat(store)
        for part in range(_SHARES):
            for task in alone[part::_SHARES]:
                _goes_on(store, task, share, chance)
            time.sleep(max(0.0, began + turn + (part + 1) / _SHARES - time.monotonic()))


def _goes_on(store: Store, task: Task, share: float, chance: random.Random) -> None:
    total = CHUNKS << 20
    store.tasks.progress(task.id, "writing windows", int(share * total), total, chance.uniform(6e7, 1e8))


if __name__ == "__main__":
    with Store.open(Path(sys.argv[1])) as opened:
        keep_moving(opened)
