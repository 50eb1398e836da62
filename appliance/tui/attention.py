"""What needs the operator: pure functions from a snapshot to short sentences, the most urgent first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from appliance import overrides
from appliance.events import BootStage, ServiceHealth, TaskKind, TaskState
from appliance.model import Sighting, Task
from appliance.tui import sentences, words
from appliance.tui.i18n import _
from appliance.tui.screens.table import HOST, TASK
from appliance.tui.snapshot import Snapshot

FAILED_FOR = timedelta(hours=24)  # how long a failed task is news
SERVER_FOR = timedelta(minutes=15)  # how long another DHCP server is news
BOOTING_FOR = timedelta(minutes=3)  # how long a PC that came no further is thought to be booting
FULL = 0.9  # of the image disk

SCREEN, JOB = "screen", "job"  # kinds of targets beside those of `screens.table`; a job's key is its name and arguments


@dataclass(frozen=True, slots=True)
class Need:
    """One thing to look at: a sentence, how bad, and where it leads (kind and key)."""

    text: str
    role: str = "warn"
    target: tuple[str, Any] | None = None


def needs(snapshot: Snapshot, dhcp_mode: str = "full") -> list[Need]:
    """Everything that waits for somebody."""
    return [
        *_trial(snapshot),
        *_setup(snapshot),
        *_services(snapshot),
        *_disk(snapshot),
        *_servers(snapshot, dhcp_mode),
        *_restarts(snapshot),
        *_failures(snapshot),
        *_masters(snapshot),
        *_orders(snapshot),
    ]


def _trial(snapshot: Snapshot) -> Iterator[Need]:
    """Another address, seen by who comes back through it after the change has cut the session off."""
    if snapshot.gauges.trial:
        interface, own = snapshot.gauges.trial
        text = _("{interface} has {address} on trial: keep it, or it is taken back")
        yield Need(text.format(interface=interface, address=own), "bad", (SCREEN, "network"))


def _setup(snapshot: Snapshot) -> Iterator[Need]:
    """The guided first start was left before its end."""
    if "console.wizard.at" in snapshot.settings:
        yield Need(_("The first start is not finished: Enter goes on with it"), "warn", (JOB, ("setup",)))


def _services(snapshot: Snapshot) -> Iterator[Need]:
    """Services that failed say why; those that fell silent together are one line."""
    silent = [service for service in snapshot.services if service.state is ServiceHealth.SILENT]
    for service in snapshot.services:
        if service.state is ServiceHealth.FAILED:
            text = _("Service {name} failed {time}").format(
                name=service.name, time=words.moment(service.since, snapshot.at)
            )
            why = f": {sentences.translate(service.words)}" if service.words else ""
            yield Need(text + why, "bad", (SCREEN, "system"))
    if silent:
        names = ", ".join(service.name for service in silent)
        since = words.moment(min(service.since for service in silent), snapshot.at)
        text = _("No sign of life since {time}: {names}").format(time=since, names=names)
        yield Need(text, "bad", (SCREEN, "system"))


def _disk(snapshot: Snapshot) -> Iterator[Need]:
    disk = snapshot.gauges.disk
    if disk.total_bytes and disk.used >= FULL:
        yield Need(
            _("The image disk is {percent} full: {free} left").format(
                percent=words.percent(disk.used).strip(), free=words.size(disk.free_bytes)
            ),
            "bad",
            (SCREEN, "system"),
        )


def _servers(snapshot: Snapshot, dhcp_mode: str) -> Iterator[Need]:
    for server in snapshot.servers:
        if dhcp_mode == "full" and snapshot.at - server.at < SERVER_FOR:
            yield Need(
                _("Another DHCP server answers on {interface}: {ip}").format(interface=server.interface, ip=server.ip),
                "bad",
                (SCREEN, "network"),
            )


def _restarts(snapshot: Snapshot) -> Iterator[Need]:
    """Services that took older values when they started than are set now: one line for all of them."""
    old = overrides.older_than_changes(snapshot.settings, snapshot.services)
    if old:
        names = dict.fromkeys(name for changed in old.values() for name in changed)
        text = _("Restart needed: {services}; changed since they started: {names}")
        said = text.format(services=", ".join(old), names=", ".join(names))
        yield Need(said, "warn", (SCREEN, "system"))


def failures(snapshot: Snapshot) -> list[Task]:
    """Failed tasks of the last day whose PC has got no task since."""
    found, later = [], {task.host_id for task in snapshot.open_tasks}
    for task in snapshot.ended_tasks:
        recent = task.finished is not None and snapshot.at - task.finished < FAILED_FOR
        if task.state is TaskState.FAILED and recent and (task.host_id is None or task.host_id not in later):
            found.append(task)
        later.add(task.host_id)
    return found


def _failures(snapshot: Snapshot) -> Iterator[Need]:
    for task in failures(snapshot):
        text = _("{host}  {kind} failed {time}: {error}").format(
            host=words.subject(task),
            kind=_(words.KINDS[task.kind]),
            time=words.moment(task.finished, snapshot.at),
            error=sentences.translate(task.error),
        )
        yield Need(text, "bad", (TASK, task.id))


def _masters(snapshot: Snapshot) -> Iterator[Need]:
    for task in snapshot.open_tasks:
        if task.kind is TaskKind.CAPTURE and task.host_id is None and task.state is TaskState.WAITING:
            text = _("Capture into {image} waits for the next unknown PC").format(image=task.image_name)
            yield Need(text, "warn", (JOB, ("capture", (), task.id)))
    for host in snapshot.hosts:
        if host.sealed:
            waits = host.id in snapshot.task_of_host
            text = (
                _("{host}  sealed, waits for its capture: start it from the network card")
                if waits
                else _("{host}  sealed, and no capture is ordered")
            )
            own = snapshot.task_of_host.get(host.id)
            target = (JOB, ("capture", (), own.id)) if own is not None and own.kind is TaskKind.CAPTURE else None
            yield Need(text.format(host=host.name), "warn", target or (HOST, host.id))


def _orders(snapshot: Snapshot) -> Iterator[Need]:
    held: dict[int, int] = {}
    for task in snapshot.open_tasks:
        if task.held and task.order_id is not None:
            held[task.order_id] = held.get(task.order_id, 0) + 1
    for order in snapshot.orders:
        if order.id in held:
            text = _("{pcs} of order {number} ({pattern}) wait for your confirmation")
            said = text.format(pcs=words.pcs(held[order.id]), number=order.id, pattern=order.pattern)
            yield Need(said, "warn", (JOB, ("new_pcs", order.id)))


def booting(snapshot: Snapshot) -> list[Sighting]:
    """PCs that were heard a moment ago and have not reached the agent or their own disk."""
    on_the_way = (BootStage.DHCP, BootStage.LOADER, BootStage.SCRIPT, BootStage.KERNEL, BootStage.INITRD)
    return [
        sighting
        for sighting in snapshot.sightings
        if sighting.stage in on_the_way and timedelta() <= snapshot.at - sighting.at < BOOTING_FOR
    ]
