"""Several processes on one store, and processes that are killed in the middle of writing."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from appliance.events import TaskState
from appliance.store import Store
from tests.store.conftest import make_version

REPOSITORY = Path(__file__).parents[2]

# Takes its number, the store and a count; adds hosts and takes their captures to the end, so many or until killed.
WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from appliance.events import TaskState
    from appliance.store import Store
    from tests.store.conftest import make_version
    who, path, count = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    store = Store.open(path)
    print("ready", flush=True)
    for number in range(count):
        mac = f"02:{who >> 8:02x}:{who & 255:02x}:00:{number >> 8:02x}:{number & 255:02x}"
        host = store.hosts.add(f"W{who}-{number}", [mac], sealed=True)
        task = store.tasks.capture(host, "shared")
        store.tasks.checked_in(task.id, "10.0.0.1", mac)
        store.tasks.progress(task.id, "reading", number, count, 1.0)
        store.tasks.move(task.id, TaskState.VERIFYING)
        store.images.commit(task.id, make_version(f"{who:04x}{number:04x}"[-8:] * 8, "shared"))
        print(number, flush=True)
    store.close()
""")


@contextlib.contextmanager
def writer(who: int, path: Path, count: int) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", WRITER, str(who), str(path), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_two_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    each = 40
    with writer(1, path, each) as one, writer(2, path, each) as other:
        for process in (one, other):
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
    with Store.open(path) as store:
        assert len(store.hosts.list()) == len(store.tasks.list()) == 2 * each
        numbers = sorted(version.number for version in store.images.versions("shared"))
        assert numbers == list(range(1, 2 * each + 1)), "each commit took its own number"


def test_a_writer_killed_at_any_moment_leaves_a_store_that_opens_and_holds_together(path: Path) -> None:
    chance = random.Random(20261123)
    confirmed = 0
    for who in range(8):
        with writer(who, path, 10_000) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            if who % 2:  # at least one is confirmed, however slow the machine is
                confirmed += process.stdout.readline() == "0\n"
            time.sleep(chance.uniform(0.01, 0.15))
            process.send_signal(signal.SIGKILL)
            confirmed += len(process.stdout.read().splitlines())
        with Store.open(path) as store:
            check_that_it_holds_together(store)
            assert len(store.images.versions()) >= confirmed, "a commit that was confirmed is gone"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    assert confirmed > 0


def test_a_log_that_a_power_cut_tore_anywhere_opens_with_whole_transactions(path: Path, tmp_path: Path) -> None:
    """The log as a power cut may leave it: a beginning of it, perhaps with rubbish behind."""
    chance = random.Random(7)
    with Store.open(path) as store:
        for number in range(12):
            host = store.hosts.add(f"PC{number}", [f"52:54:00:aa:00:{number:02x}"], sealed=True)
            task = store.tasks.capture(host, "shared")
            store.tasks.checked_in(task.id, "10.0.0.1", host.macs[0])
            store.tasks.progress(task.id, "reading", number, 12, 1.0)
            store.tasks.move(task.id, TaskState.VERIFYING)
            store.images.commit(task.id, make_version(f"{number:x}", "shared"))
        database, log = path.read_bytes(), Path(f"{path}-wal").read_bytes()
    found = set()
    for trial in range(25):
        torn = tmp_path / f"torn{trial}.sqlite"
        torn.write_bytes(database)
        end = chance.randrange(len(log) + 1)
        Path(f"{torn}-wal").write_bytes(log[:end] + chance.randbytes(chance.choice((0, 100, 5000))))
        with Store.open(torn) as store:
            check_that_it_holds_together(store)
            found.add(len(store.tasks.list()))
    assert len(found) > 3, "the log was torn at different places"


def check_that_it_holds_together(store: Store) -> None:
    """No verb was half done: what belongs together is there together."""
    versions = {version.task_id: version for version in store.images.versions()} if store.images.list() else {}
    tasks = store.tasks.list(limit=100_000)
    for task in tasks:
        assert task.host_id is not None
        host = store.hosts.by_id(task.host_id)
        assert (task.state is TaskState.DONE) == (task.id in versions)
        assert host.sealed != (task.state is TaskState.DONE)
        assert (host.version_id != "") == (task.state is TaskState.DONE)
        assert store.tasks.events(task.id)[-1].state is task.state
    assert all(host.macs for host in store.hosts.list())


def test_a_killed_writer_does_not_hold_up_the_next_one(path: Path) -> None:
    Store.open(path).close()
    holder = textwrap.dedent("""
        import sqlite3, sys, time
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO setting VALUES ('half', 'done')")
        print("holding", flush=True)
        time.sleep(60)
    """)
    process = subprocess.Popen([sys.executable, "-c", holder, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "holding\n"
        process.kill()
        process.wait()
        with Store.open(path) as store:
            start = time.monotonic()
            store.settings.set("next", "one")
            assert time.monotonic() - start < 5
            assert store.settings.all() == {"next": "one"}
    finally:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_many_threads_share_one_store(path: Path) -> None:
    with Store.open(path) as store:
        host = store.hosts.add("PC1", ["52:54:00:aa:01:01"])
        task = store.tasks.capture(host, "win11")
        store.tasks.checked_in(task.id, "10.0.0.1", host.macs[0])

        def work(who: int) -> int:
            for number in range(20):
                store.tasks.add_log(task.id, [f"{who} {number}"])
                store.tasks.progress(task.id, "reading", number, 20, 1.0)
            return len(store.tasks.log(task.id).splitlines())

        with ThreadPoolExecutor(8) as pool:
            assert max(pool.map(work, range(8))) == 160
        lines = store.tasks.log(task.id).splitlines()
        for who in range(8):
            assert [line for line in lines if line.startswith(f"{who} ")] == [f"{who} {n}" for n in range(20)]
