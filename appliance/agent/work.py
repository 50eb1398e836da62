"""One task, from its order to the result: mount, capture or restore, report.

The engine runs in a thread of its own, so that a cancel is obeyed within seconds even when a thread hangs in a hard NFS
mount whose server is gone: then the thread is left behind, and the PC goes down without it.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.agent import page
from appliance.agent.cast import CastDeploy, buffer_bytes
from appliance.agent.chunks import NfsChunks
from appliance.agent.client import Box, BoxAway, Refused
from appliance.agent.display import Display
from appliance.agent.machine import Limits, Machine
from appliance.agent.mounts import Mounts
from appliance.agent.report import Reporter, send_log, verdict
from appliance.agent.room import Room
from appliance.agent.staging import StagingSink
from appliance.agent.stop import Stop
from appliance.disk.blockdev import Disk, choose_disk, list_disks
from appliance.engine.capture import CaptureOptions, EngineProgress, capture
from appliance.engine.errors import BadImage, ChunkInvalid
from appliance.engine.manifest import version_id
from appliance.engine.restore import restore
from appliance.engine.target import RestoreOptions, RestoreReport
from appliance.engine.version import Version
from appliance.errors import ApplianceError, BadData, Cancelled, Unavailable
from appliance.events import TaskKind, TaskState
from appliance.wire import agentapi as api

_T = TypeVar("_T")
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """What every part of a task needs."""

    machine: Machine
    box: Box
    display: Display
    limits: Limits
    stop: Stop
    order: api.TaskOrder
    interface: str = ""  # the card this PC booted from


def perform(job: Job) -> None:
    """Do the task and have it confirmed by the box. Raises `ApplianceError` when it failed; the box knows."""
    order, display = job.order, job.display
    display.show(task=_title(order))
    display.say(f"task {order.task_id}: {order.kind} {order.image_name}")
    reporter = Reporter(job.box, display, order.kind, job.stop, job.limits)
    mounts = Mounts(job.machine, job.limits, job.stop, display.waiting)
    reporter.start()
    try:
        try:
            result = run_stoppable(lambda: _work(job, reporter, mounts), job.stop, job.limits)
        finally:
            mounts.close()
            reporter.close()
    except Exception as error:
        failure = _in_words(job, error)
        tell_failure(job.machine, job.box, display, job.stop, failure)
        raise failure from error
    finish(job, result)


def _in_words(job: Job, error: Exception) -> ApplianceError:
    """A bug must reach the box too: as a sentence, with its traceback in the log."""
    if isinstance(error, Refused):  # a call of the engine may meet the end of the task before the reporter does
        return verdict(job.box, error)
    if isinstance(error, ApplianceError):
        return error
    job.display.note("".join(traceback.format_exception(error)))
    return Unavailable(
        f"The agent met an error of its own: {type(error).__name__}: {error}.",
        hint="Please report this with the task's log.",
    )


def _title(order: api.TaskOrder) -> str:
    version = f" version {order.version_id[:12]}" if order.version_id else ""
    return f"{order.task_id}: {order.kind} image {order.image_name}{version}"


def _work(job: Job, reporter: Reporter, mounts: Mounts) -> api.Result:
    disk = choose_disk(list_disks(job.machine.sys, job.machine.dev), job.order.disk)
    job.display.say(
        f"disk {disk.path}, {page.size(disk.size_bytes)} {disk.model}".rstrip(),
        disk=f"{disk.path}  {page.size(disk.size_bytes)}  {disk.bus}  {disk.model}",
    )
    if job.order.kind == TaskKind.CAPTURE:
        return _capture(job, disk, reporter, mounts)
    if job.order.kind == TaskKind.DEPLOY:
        return _deploy(job, disk, reporter, mounts)
    raise BadData(
        f"The box asks for a '{job.order.kind}', which this agent cannot do.",
        hint="Check that box and agent are of one version.",
    )


def _room(folder: Path, limit_bytes: int) -> Room:
    room = Room(folder, limit_bytes)
    try:
        room.inherit()
    except OSError as error:
        raise Unavailable(
            f"The staging folder cannot be used: {error.strerror}.",
            hint="Check the box's nfs service: diecast doctor",
        ) from error
    return room


def _threads() -> int:
    """Enough that disk, processor and network overlap on any PC, few enough for one with 1 GB of memory."""
    return max(4, min(16, 2 * (os.cpu_count() or 1)))


def _capture(job: Job, disk: Disk, reporter: Reporter, mounts: Mounts) -> api.Result:
    order = job.order
    if order.staging is None:
        raise BadData(
            "The box gave a capture no staging folder.", hint="Check that its nfs service runs: diecast doctor"
        )
    folder = mounts.mount(order.staging, "staging", read_only=False)
    room = _room(folder, order.staging_limit_bytes)
    sink = StagingSink(job.box, folder, room, job.stop, job.limits, job.display.waiting)
    made = capture(
        Path(disk.path),
        sink,
        CaptureOptions(order.window_bytes, order.zstd_level, _threads()),
        reporter.latest,
        job.stop.is_set,
    )
    job.stop.check()
    for note in made.notes:
        job.display.note(note)
    reporter.latest(EngineProgress("sending the indexes", made.used_bytes, made.used_bytes))
    for name, content in made.indexes.items():
        job.box.put_index(name, content)
    job.box.put_manifest(made.manifest)
    details = {
        "used_bytes": str(made.used_bytes),
        "sent_bytes": str(sink.put_bytes),
        "sent_chunks": str(sink.put_chunks),
        "version_id": version_id(made.manifest),
    }
    return api.Result(ok=True, written_bytes=sink.put_bytes, details=details)


def _deploy(job: Job, disk: Disk, reporter: Reporter, mounts: Mounts) -> api.Result:
    order = job.order
    content = job.box.manifest()
    found = version_id(content)
    if found != order.version_id:
        raise BadData(
            f"The manifest of image {order.image_name} is {found[:12]}… but should be {order.version_id[:12]}….",
            hint=f"On the box run: diecast image verify {order.image_name}",
        )
    try:
        reporter.latest(EngineProgress("checking the image", 0, 0))
        version = Version.load(content, job.box.index)
        report, details = _write(job, version, Path(disk.path), reporter, mounts)
    except (BadImage, ChunkInvalid) as error:
        raise BadData(
            f"Image {order.image_name} is damaged on the box: {error.message}",
            hint=f"On the box run: diecast image verify {order.image_name}",
        ) from error
    job.stop.check()
    job.display.note(
        f"written {report.written_bytes}, kept {report.reused_bytes}, fetched {report.fetched_bytes} bytes"
    )
    details["fetched_bytes"] = str(report.fetched_bytes)
    return api.Result(True, written_bytes=report.written_bytes, reused_bytes=report.reused_bytes, details=details)


def _write(
    job: Job, version: Version, disk: Path, reporter: Reporter, mounts: Mounts
) -> tuple[RestoreReport, dict[str, str]]:
    """Make the disk right: by cast if the order says so and it can be joined, else by NFS."""
    order, options = job.order, RestoreOptions(threads=_threads())
    folder = mounts.mount(order.chunks, "chunks", read_only=True)
    source = NfsChunks(folder, order.image_name, job.stop, job.limits, job.display.waiting)
    if order.cast is not None:
        cast = CastDeploy(job.box, job.display, reporter, job.stop)
        feed = cast.open(order.cast, job.interface, version, buffer_bytes(job.machine), options.threads)
        if feed is not None:
            report = cast.restore(feed, version, disk, source, options)
            return report, {"by_cast_bytes": str(cast.by_cast_bytes)}
    return restore(version, disk, source, options, reporter.latest, job.stop.is_set), {}


def run_stoppable(work: Callable[[], _T], stop: Stop, limits: Limits) -> _T:
    """Run `work` in a thread; return its value or raise its error. After a stop it has `grace_s`, then it is left."""
    values: list[_T] = []
    errors: list[BaseException] = []

    def body() -> None:
        try:
            values.append(work())
        except BaseException as error:  # whatever it is belongs to the thread that waits
            errors.append(error)

    thread = threading.Thread(target=body, name="work", daemon=True)
    thread.start()
    while thread.is_alive() and not stop.is_set():
        thread.join(_POLL_S)
    thread.join(limits.grace_s)
    stop.check()
    if errors:
        raise errors[0]
    return values[0]


def tell_failure(machine: Machine, box: Box, display: Display, stop: Stop, error: ApplianceError) -> None:
    """The box hears why, with the log; patiently, unless it was the box that ended the task."""
    if isinstance(error, (Cancelled, BoxAway)):
        return
    kernel = machine.run(["dmesg"], 5)
    if kernel.status == 0:
        display.note("last lines of the kernel:\n" + "\n".join(kernel.output.splitlines()[-40:]))
    display.note(f"failed: {error}")
    send_log(box, display)
    result = api.Result(ok=False, error=error.message[: api.MAX_TEXT], remedy=error.hint[: api.MAX_TEXT])
    try:
        box.result(result, patient=not stop.is_set())
    except ApplianceError as refusal:
        display.note(f"the box did not take the result: {refusal}")


def finish(job: Job, result: api.Result) -> None:
    """Give the result to the box and wait for its verdict. Raises what the verdict is, unless it is `done`."""
    display = job.display
    display.show(meter=None)
    display.doing("the box checks and commits" if job.order.kind == TaskKind.CAPTURE else "the box takes note")
    try:
        job.box.result(result)
    except Refused as refusal:
        if refusal.status != 409:  # 409: it has it already, and the first answer was lost; its status tells
            raise
    deadline = time.monotonic() + job.limits.verdict_s
    while time.monotonic() < deadline:
        status = job.box.status()
        if status.state == TaskState.DONE:
            return
        if status.state == TaskState.CANCELLED:
            raise Cancelled("The operator cancelled the task.")
        if status.state == TaskState.FAILED:
            raise Unavailable(status.error or "The box reports the task as failed.", hint=status.remedy)
        job.stop.wait(job.limits.report_every_s)
    raise Unavailable(
        f"The box has not finished the task after {job.limits.verdict_s / 3600:.0f} h.",
        hint="Check its scheduler service: diecast doctor",
    )
