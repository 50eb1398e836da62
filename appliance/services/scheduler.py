"""What happens by itself: tasks start at their time, PCs are woken, orders end at theirs, chunks are taken over,
captures committed, silent PCs given up, rubbish removed; failed tasks and full disks are told of (`notify`).

A tick every half second looks at the store and does what is due; it remembers nothing that matters, so it may be killed
and started again at any moment, also beside a predecessor that still runs. An error in one task ends that task in words
and never the loop; nothing here touches a version that has a row.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from appliance.config import Settings
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ApplianceError, Conflict, NotFound, Unavailable
from appliance.events import TaskKind, TaskState
from appliance.model import Task
from appliance.services import notify, wake
from appliance.services.ingest import Ingest
from appliance.services.uploads import Uploads
from appliance.services.watchdog import duty
from appliance.store import Store
from appliance.system.about import about

log = logging.getLogger(__name__)

TICK_S = 0.5
COLLECT_EVERY_S = 3600.0
# A PC whose capture was ended is told with its next report, a second later; until then its folder stays.
LINGER = timedelta(seconds=10)
_LATE = timedelta(minutes=1)  # a task that starts later than this after its time says so
_MANY = 10_000  # tasks that can be open at once

# A round takes all that lies staged, on a slow disk for minutes; a collection reads every index. Then they hang.
_TICK_HANGS_S = 1800.0
_COLLECTION_HANGS_S = 4 * 3600.0


class Scheduler:
    """One tick's work, and what was seen since the start. Its methods block: run them in a thread, one at a time."""

    def __init__(self, settings: Settings, store: Store, chunks: ChunkStore, uploads: Uploads) -> None:
        self.settings = settings
        self.store = store
        self.chunks = chunks
        self.ingest = Ingest(settings, store, chunks, uploads)
        self.uploads = uploads
        self._started = time.monotonic()
        self._stuck: set[int] = set()  # whose leftovers could not be removed; said once
        self._complaint = ""
        self._live: set[str] = set()
        self._collected = float("-inf")

    def tick(self, *, now: datetime | None = None) -> None:
        """Do everything that is due. Never raises but for defects."""
        moment = now or datetime.now(UTC)
        try:
            self._start_due(moment)
            self._wake(moment)
            self._close_orders(moment)
            for task in self.store.tasks.exports_needed():
                self._serve(task)
            self._give_up_silent(moment)
            self._clear_finished(moment)
            self._complaint = ""
        except Unavailable as error:  # the store: everything waits until it answers again
            if str(error) != self._complaint:
                log.error("%s", error)
            self._complaint = str(error)

    # -- what begins and ends at its time

    def _start_due(self, now: datetime) -> None:
        for task in self.store.tasks.due(now):
            late = task.start_at is not None and now - task.start_at > _LATE
            text = (
                f"its time came at {task.start_at:%Y-%m-%d %H:%M} UTC; the box was off" if late else "its time has come"
            )
            with suppress(Conflict), about(host=task.host_name, task=task.id):  # cancelled or started by hand meanwhile
                self.store.tasks.start_now(task.id, text=text, now=now)
                log.info("task %d (%s) waits for its PC: %s", task.id, task.host_name, text)

    def _wake(self, now: datetime) -> None:
        """Killed between packet and note, the packet is sent once more; that does no harm."""
        calls = self.store.hosts.to_wake(now=now)
        if not calls:
            return
        problems = wake.send(self.settings.network.interfaces, [mac for call in calls for mac in call.macs])
        self.store.hosts.woken([call.id for call in calls], now=now)
        for call in calls:
            with about(host=call.host_name):
                log.info("magic packets sent to %s", call.host_name)
        for problem in problems:
            log.warning("%s", problem)

    def _close_orders(self, now: datetime) -> None:
        for order in self.store.tasks.close_expired(now=now):
            log.info("order %d for new PCs (%s) is closed: %s", order.id, order.pattern, order.why)

    # -- running and verifying tasks

    def _serve(self, task: Task) -> None:
        with about(host=task.host_name, task=task.id):
            self._serve_one(task)

    def _serve_one(self, task: Task) -> None:
        try:
            if task.kind is TaskKind.CAPTURE and task.state is TaskState.RUNNING:
                self.ingest.take_staged(task)
            elif task.kind is TaskKind.CAPTURE:
                self.ingest.commit(task)
            elif task.state is TaskState.VERIFYING:
                # The agent has hashed every window in place and flushed the disk: its word is the verification.
                self.store.tasks.move(task.id, TaskState.DONE, text=f"{task.host_name} holds the version")
        except Unavailable:
            raise
        except ApplianceError as error:
            self._fail(task, error.message, error.hint)
        except Exception as error:
            log.exception("task %d: a defect", task.id)
            self._fail(task, f"The box could not go on with the task: {error}.", "Read the log of its scheduler.")

    def _fail(self, task: Task, sentence: str, remedy: str) -> None:
        """End a task in words, unless it has ended meanwhile."""
        current = self.store.tasks.get(task.id)
        if current.state.is_final:
            return
        with about(host=task.host_name, task=task.id):
            log.warning("task %d (%s) fails: %s", task.id, task.host_name, sentence)
        with suppress(Conflict):
            self.store.tasks.move(task.id, TaskState.FAILED, error=sentence, remedy=remedy)

    # -- silence

    def _give_up_silent(self, now: datetime) -> None:
        """Silence counts only while we were there to listen: agents wait for a box that is restarted."""
        limit_s = self.settings.tasks.silent_after_s
        if time.monotonic() - self._started < limit_s:
            return
        for task in self.store.tasks.silent(now - timedelta(seconds=limit_s)):
            self._fail(task, *_silence(task, limit_s))

    # -- what is left over

    def _clear_finished(self, now: datetime) -> None:
        """What lies there says which tasks to look at, so nothing that a predecessor left is forgotten."""
        for task_id in self.ingest.left_over():
            try:
                task = self.store.tasks.get(task_id)
            except NotFound:
                self._clear(task_id)  # the database is older than the folders
                continue
            told = task.finished is None or now - task.finished > LINGER
            if task.state is TaskState.DONE or (task.state.is_final and told):
                self._clear(task_id)

    def _clear(self, task_id: int) -> None:
        try:
            self.ingest.clear(task_id)
            self._stuck.discard(task_id)
        except (OSError, ApplianceError) as error:
            if task_id not in self._stuck:
                with about(task=task_id):
                    log.warning("what task %d left cannot be removed: %s", task_id, error)
            self._stuck.add(task_id)

    def collect_if_due(self) -> None:
        """Remove chunks that no version needs: every hour, and when a version was removed."""
        try:
            live = self.store.images.live_version_ids()
            removed = self._live - live
            self._live = live
            if not removed and time.monotonic() - self._collected < COLLECT_EVERY_S:
                return
            self._collected = time.monotonic()
            open_tasks = {task.id for task in self.store.tasks.list(active_only=True, limit=_MANY)}
            report = self.chunks.collect(live, open_tasks)
        except ApplianceError as error:
            log.error("nothing was collected: %s", error)
            return
        if report.removed_chunks or report.removed_versions:
            log.info("collected %d chunks, %d bytes", report.removed_chunks, report.removed_bytes)


def _silence(task: Task, limit_s: int) -> tuple[str, str]:
    """Sentence and remedy for a PC that is not heard any more."""
    again = f"diecast {'capture' if task.kind is TaskKind.CAPTURE else 'deploy'}"
    if task.state is TaskState.BOOTING:
        return (
            f"{task.host_name} asked for its boot script, but its agent has not checked in within {limit_s} s.",
            f"Look at the PC's screen, then order the task again: {again}",
        )
    return (
        f"{task.host_name} has not been heard for {limit_s} s: it was switched off, or its network failed.",
        f"Switch it on again and order the task again ({again}); what is done already is not done twice.",
    )


async def serve(settings: Settings, store: Store, stop: asyncio.Event, *, ready: Callable[[], None]) -> None:
    """Tick until `stop` is set. Raises `ApplianceError` when the image store cannot be opened."""
    chunks = await asyncio.to_thread(ChunkStore, settings.paths.images)
    scheduler = Scheduler(settings, store, chunks, Uploads(settings.paths.state / "uploads"))
    ready()
    beside = [asyncio.create_task(_collect(scheduler, stop)), asyncio.create_task(notify.run(settings, store, stop))]
    try:
        with duty("the scheduler's round", _TICK_HANGS_S) as rounds:
            while not stop.is_set():
                await _guarded(scheduler.tick)
                rounds.turned()
                await _sleep(stop, TICK_S)
    finally:
        await asyncio.gather(*beside)


async def _collect(scheduler: Scheduler, stop: asyncio.Event) -> None:
    """Beside the ticks: a collection reads every index and may take minutes."""
    with duty("the collection", _COLLECTION_HANGS_S) as collections:
        while not stop.is_set():
            await _guarded(scheduler.collect_if_due)
            collections.turned()
            await _sleep(stop, 5.0)


async def _guarded(work: Callable[[], None]) -> None:
    try:
        await asyncio.to_thread(work)
    except Exception:
        log.exception("a defect; the scheduler goes on")


async def _sleep(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
