"""NFS exports: exactly what the running tasks need, through the kernel's server or nfs-ganesha.

Twice a second the wanted exports are computed from the store and applied if they differ, so that a change, a restart
and a crash all take the same way. `nfs.ready.<task>` in the store holds the address that a task's exports are in force
for; only then does the HTTP service hand out the task. `nfs.root` holds what stands before the exports' paths.
A capture's staging folder is watched: beyond its limit the task fails, and its export is withdrawn in the same round.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

from appliance.config import Network, Settings
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ApplianceError, ConfigError, Conflict, NotFound, Unavailable
from appliance.events import TaskKind, TaskState
from appliance.model import Task
from appliance.services import nfs_ganesha, nfs_kernel
from appliance.services.nfs_exports import Export, address_of, wanted_exports
from appliance.services.nfs_ganesha import GaneshaServer
from appliance.services.nfs_kernel import KernelServer
from appliance.services.watchdog import duty
from appliance.system.about import about

if TYPE_CHECKING:
    from appliance.store import Store

log = logging.getLogger(__name__)

ROUND_S = 0.5
_ROUND_HANGS_S = 300.0  # exportfs and the kernel's server may take their time; then somebody has to look
# A task that stops running without an end (its PC restarts, or someone asked for its boot script in its name) keeps its
# exports for so long: withdrawn ones would break the transfers of an agent that never went away.
LINGER_S = 10.0
READY = "nfs.ready."  # settings key before the task's id; the value is the address of its agent
ROOT = "nfs.root"  # settings key
MAX_FILES = 100_000  # in a staging folder: a client may fill a disk with names as well as with bytes
_MAX_TROUBLE_S = 120.0  # a back end that fails for so long ends the service, for the service manager to see


class Backend(Protocol):
    """A server of exports."""

    root: str

    def start(self, exports: tuple[Export, ...]) -> None:
        """Have it run with these exports."""

    def apply(self, exports: tuple[Export, ...]) -> None:
        """Export exactly these; return when they are in force."""

    def check(self) -> None:
        """Mend it if it has ended."""

    def stop(self) -> None:
        """End it, or withdraw everything."""


class Controller:
    """Keeps a back end at what the store's tasks need. All of it blocks: it runs in a thread."""

    def __init__(self, settings: Settings, store: Store, chunks: ChunkStore, backend: Backend) -> None:
        self._nfs = settings.nfs
        self._store = store
        self._chunks = chunks
        self._backend = backend
        self._exports: tuple[Export, ...] = ()
        self._needed: dict[int, tuple[Task, float]] = {}  # task id -> as it last ran, and when (monotonic)

    def start(self) -> None:
        """Begin with what the running tasks need now. Nothing counts as ready until the back end has said so."""
        self._announce([])
        self._store.settings.set(ROOT, self._backend.root)
        tasks = self._prepared()
        self._exports = self._wanted(tasks)
        self._backend.start(self._exports)
        self._announce(tasks)
        self._sweep()

    def round(self) -> None:
        """One look at everything. Raises `ApplianceError` when the back end is in trouble; the next one tries again."""
        self._backend.check()
        tasks = [task for task in self._prepared() if not self._over_limit(task)]
        wanted = self._wanted(tasks)
        if wanted != self._exports:
            self._announce([task for task in tasks if self._is_ready(task)])
            self._backend.apply(wanted)
            log.info("exports: %s", ", ".join(f"{export.pseudo} to {_names(export)}" for export in wanted) or "none")
            self._exports = wanted
        self._announce(tasks)
        self._sweep()

    def stop(self) -> None:
        """Withdraw everything."""
        try:
            self._announce([])
        finally:
            self._backend.stop()

    def _wanted(self, tasks: list[Task]) -> tuple[Export, ...]:
        # A path that leads over a symbolic link is one that nfs-ganesha never finds.
        return wanted_exports(tasks, self._chunks.root.resolve(), self._nfs.staging_uid)

    def _prepared(self) -> list[Task]:
        """The tasks that need exports, each capture with its staging folder."""
        now = time.monotonic()
        running = {task.id: (task, now) for task in self._store.tasks.exports_needed() if address_of(task)}
        pausing = {number: last for number, last in self._needed.items() if number not in running}
        for number, (_, seen) in list(pausing.items()):
            if now - seen > LINGER_S or self._has_ended(number):
                del pausing[number]
        self._needed = running | pausing
        tasks = [task for task, _ in self._needed.values()]
        for task in tasks:
            if task.kind is TaskKind.CAPTURE:
                self._chunks.open_staging(task.id, self._nfs.staging_uid)
        return sorted(tasks, key=lambda task: task.id)

    def _is_ready(self, task: Task) -> bool:
        return self._store.settings.get(READY + str(task.id)) == task.ip

    def _announce(self, tasks: list[Task]) -> None:
        """Make the store say that exactly these tasks' exports are in force."""
        known = self._store.settings.all(READY)
        wanted = {READY + str(task.id): task.ip for task in tasks}
        for key in known.keys() | wanted.keys():
            if known.get(key, "") != wanted.get(key, ""):
                self._store.settings.set(key, wanted.get(key, ""))

    def _over_limit(self, task: Task) -> bool:
        """Whether a capture's staging folder holds more than it may; then the task has failed."""
        if task.kind is not TaskKind.CAPTURE:
            return False
        limit = self._nfs.staging_limit_mb * 10**6
        size, files = folder_size(self._chunks.staging / str(task.id))
        if size <= limit and files <= MAX_FILES:
            return False
        found = f"{size} bytes in {files} files" if files <= MAX_FILES else f"more than {MAX_FILES} files"
        error = f"The staging folder of task {task.id} ({task.host_name}) holds {found}; {limit} bytes are allowed."
        remedy = "Raise nfs.staging_limit_mb, or see why the box did not take the chunks; then capture again."
        with about(host=task.host_name, task=task.id):
            log.error("%s %s", error, remedy)
        with suppress(Conflict):  # it has ended meanwhile
            self._store.tasks.move(task.id, TaskState.FAILED, error=error, remedy=remedy)
        return True

    def _sweep(self) -> None:
        """Remove the staging folders of tasks that have ended, now that nothing of them is exported."""
        for name in os.listdir(self._chunks.staging):
            if name.isdecimal() and self._has_ended(int(name)):
                with about(task=int(name)):
                    log.info("staging folder of task %s is removed", name)
                with suppress(FileNotFoundError):  # the scheduler may have been quicker
                    self._chunks.drop_staging(int(name))

    def _has_ended(self, task_id: int) -> bool:
        try:
            return self._store.tasks.get(task_id).state.is_final
        except NotFound:
            return True


def folder_size(folder: Path) -> tuple[int, int]:
    """Bytes and number of everything below `folder`, links not followed; counting ends after `MAX_FILES` entries.

    A sparse file counts with its length, a preallocated one with its blocks.
    """
    size = files = 0
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    files += 1
                    if files > MAX_FILES:
                        return size, files
                    with suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(Path(entry.path))
                        status = entry.stat(follow_symlinks=False)
                        size += max(status.st_size, status.st_blocks * 512)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return size, files


def _names(export: Export) -> str:
    return ", ".join(map(str, export.clients))


def own_addresses(network: Network) -> list[IPv4Address]:
    """The IPv4 addresses of the chosen interfaces. Raises `Unavailable` for an interface that does not exist."""
    cards = psutil.net_if_addrs()
    found = []
    for name in network.interfaces:
        if name not in cards:
            raise Unavailable(f"The interface {name} does not exist.", hint="Correct network.interfaces.")
        found += [IPv4Address(item.address) for item in cards[name] if item.family == socket.AF_INET]
    return found


def choose_backend(settings: Settings) -> Backend:
    """The back end of `nfs.backend`. Raises `Unavailable` if there is none, `ConfigError` without interfaces."""
    if not settings.network.interfaces:
        raise ConfigError("NFS has no interface to serve.", hint="Set network.interfaces in the settings.")
    addresses = own_addresses(settings.network)
    kind = settings.nfs.backend
    if kind == "auto":
        kind = "kernel" if nfs_kernel.is_there() else "ganesha"
    if kind == "kernel":
        return KernelServer(settings.nfs, settings.paths.images, addresses)
    if not nfs_ganesha.is_there():
        raise Unavailable(
            "This machine has no NFS server.", hint="Install nfs-kernel-server, or nfs-ganesha and nfs-ganesha-vfs."
        )
    return GaneshaServer(settings.nfs, settings.paths.run, addresses)


async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Keep the exports right until `stop` is set. Raises `ApplianceError` when the back end cannot be had."""
    backend = choose_backend(settings)
    chunks = await asyncio.to_thread(ChunkStore, settings.paths.images)
    controller = Controller(settings, store, chunks, backend)
    try:
        await asyncio.to_thread(controller.start)
        ready()
        await _rounds(controller, stop)
    finally:
        await asyncio.to_thread(controller.stop)


async def _rounds(controller: Controller, stop: asyncio.Event) -> None:
    """Rounds until `stop`. Trouble is told once, and ends the service only when it lasts."""
    well = time.monotonic()
    told = ""
    with duty("the round of exports", _ROUND_HANGS_S) as rounds:
        while not stop.is_set():
            try:
                await asyncio.to_thread(controller.round)
                well, told = time.monotonic(), ""
            except (ApplianceError, OSError) as error:
                if str(error) != told:
                    log.error("exports are not as they should be: %s", error)
                told = str(error)
                if time.monotonic() - well > _MAX_TROUBLE_S:
                    raise
            rounds.turned()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), ROUND_S)
