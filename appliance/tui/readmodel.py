"""The read model: one thread that watches the store and makes snapshots; the screens' only source.

- It asks `data_version` some times a second, and reads only when that has moved. Reading costs what has changed
  (`store.pictures`). When reading takes long, it waits longer in between: at most an eighth of its time is reading.
- Each snapshot replaces the one before. The screen is told once, and told again only after it has looked: however fast
  the store changes, one message waits at most.
- Trouble (no store, held by another process, written by a newer Diecast, file gone) is part of the snapshot. The last
  picture stays, and the store is tried again every second.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from appliance.errors import ApplianceError, Unavailable
from appliance.tui.snapshot import Gauges, Snapshot, Trouble
from appliance.tui.words import utc_now

if TYPE_CHECKING:
    from appliance.store import Store
    from appliance.store.pictures import Picture, Pictures

POLL_S = 0.22  # well within the second in which a change must be seen
RETRY_S = 1.0
_READING_SHARE = 8  # of the time, at most one part in so many is spent reading
_SERVICE_TICK_S = 2.0  # a service falls silent without any change of the store

Measure = Callable[[], Gauges]

_AS_THEY_ARE = (
    "hosts", "rooms", "images", "versions", "open_tasks", "ended_tasks", "casts", "orders", "leases", "reservations",
    "servers", "docks", "sightings", "services", "operators",
)  # fmt: skip


class ReadModel:
    """Owns the store of this console. `opener` opens it, at the start and again after trouble."""

    def __init__(
        self,
        opener: Callable[[], Store],
        told: Callable[[], None],
        *,
        measure: Measure,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        """`told` is called in the read model's thread when there is a new snapshot. `measure` gives the gauges."""
        self._opener = opener
        self._told = told
        self._measure = measure
        self._clock = clock
        self._store: Store | None = None
        self._pictures: Pictures | None = None
        self._file: tuple[int, int] | None = None
        self._seen = -1
        self._read_at = 0.0
        self._picture: Picture | None = None
        self._untold = True
        self._latest = Snapshot()
        self._lock = threading.RLock()
        self._wanted = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    # -- for screens

    @property
    def store(self) -> Store:
        """The open store, for verbs. Raises `Unavailable` while there is none, also when its file is gone: nobody
        would ever see what is written then.
        """
        store = self._store
        if store is not None and _file_of(store) != self._file:
            raise _gone(store)
        if store is None:
            trouble = self._latest.trouble
            if trouble is None:
                raise Unavailable("The store is being opened.", hint="Try again in a moment.")
            raise Unavailable(trouble.message, hint=trouble.hint)
        return store

    @property
    def latest(self) -> Snapshot:
        """The newest snapshot."""
        return self._latest

    def take(self) -> Snapshot:
        """The newest snapshot, and: tell me about the next one."""
        with self._lock:
            self._untold = True
            return self._latest

    def poke(self) -> None:
        """Read as soon as possible: this console has just changed something."""
        self._wanted.set()

    # -- its thread

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, name="read-model", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End watching and close the store."""
        self._ending = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join(timeout=2)
        with self._lock:
            self._close()

    def _watch(self) -> None:
        while not self._ending:
            began = time.monotonic()
            self.look()
            took = time.monotonic() - began
            pause = RETRY_S if self._latest.trouble else max(POLL_S, took * _READING_SHARE)
            self._wanted.wait(pause)
            self._wanted.clear()

    def look(self) -> None:
        """Look once; make and announce a snapshot if anything is new. Tests call it themselves."""
        with self._lock:
            try:
                changed = self._look()
            except ApplianceError as error:
                changed = self._in_trouble(error)
            if not changed or not self._untold or self._ending:
                return
            self._untold = False
        self._told()

    def _look(self) -> bool:
        self._refuse_lost_file()
        if self._store is None or self._pictures is None:
            self._open()
        assert self._store is not None
        assert self._pictures is not None
        version, now = self._store.data_version(), time.monotonic()
        gauges = self._measure()
        before = self._latest
        due = version != self._seen or now - self._read_at > _SERVICE_TICK_S
        if due:
            self._seen, self._read_at = version, now
            picture = self._pictures.read(now=self._clock())
            if picture is not self._picture:
                self._latest = _with_picture(before, self._picture, picture)
                self._picture = picture
        if gauges is not before.gauges:
            self._latest = replace(self._latest, gauges=gauges)
        if before.trouble is not None:
            self._latest = replace(self._latest, trouble=None)
        if self._latest is before:
            return False
        self._latest = replace(self._latest, at=self._clock())
        return True

    def _open(self) -> None:
        self._store = self._opener()
        self._pictures = self._store.pictures()
        self._file = _file_of(self._store)
        self._seen = -1

    def _refuse_lost_file(self) -> None:
        """SQLite goes on with a file that was removed or replaced; what it shows then is nobody's store."""
        if self._store is None or _file_of(self._store) == self._file:
            return
        path = self._store.path
        if path.exists():  # another file, restored from a backup perhaps: take that one
            self._close()
            return
        raise _gone(self._store)

    def _in_trouble(self, error: ApplianceError) -> bool:
        trouble = Trouble(error.message, error.hint)
        if trouble == self._latest.trouble:
            return False
        self._latest = replace(self._latest, trouble=trouble)
        return True

    def _close(self) -> None:
        if self._store is not None:
            with contextlib.suppress(ApplianceError):
                self._store.close()
        self._store = self._pictures = self._picture = None


def _gone(store: Store) -> Unavailable:
    return Unavailable(f"The store {store.path} is gone.", hint="Put it back from a backup; this console goes on then.")


def _file_of(store: Store) -> tuple[int, int] | None:
    try:
        found = store.path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _with_picture(before: Snapshot, old: Picture | None, new: Picture) -> Snapshot:
    """`before` with what is new in `new`; indexes are made again only where their list has changed."""
    changes = {name: getattr(new, name) for name in _AS_THEY_ARE}
    if old is None or new.members is not old.members:
        members: dict[int, list[object]] = {}
        for cast_id, member in new.members:
            members.setdefault(cast_id, []).append(member)
        changes["members"] = {cast_id: tuple(found) for cast_id, found in members.items()}
    if old is None or new.settings is not old.settings:
        changes["settings"] = dict(new.settings)
    if old is None or new.hosts is not old.hosts:
        changes["host_by_id"] = {host.id: host for host in new.hosts}
    if old is None or new.versions is not old.versions:
        changes["version_by_id"] = {version.id: version for version in reversed(new.versions)}
    if old is None or new.open_tasks is not old.open_tasks:
        changes["task_of_host"] = {task.host_id: task for task in new.open_tasks if task.host_id is not None}
    return replace(before, loaded=True, **changes)
