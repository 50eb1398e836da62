"""What guided jobs write into the store: a cast and its tasks, or an order for new PCs. Run in a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network

from appliance.errors import ApplianceError
from appliance.events import AfterTask
from appliance.model import Host, NewPcOrder, Task
from appliance.store import Store


@dataclass(frozen=True, slots=True)
class Way:
    """How the image gets onto the PCs."""

    cast: bool = False
    wait_for: int = 0  # PCs; 0: begin with the first
    wait_seconds: int = 0
    after: AfterTask = AfterTask.REBOOT
    start_at: datetime | None = None
    wake: bool = False
    now: datetime | None = None  # when the order was given


@dataclass(frozen=True, slots=True)
class Ordered:
    """What came of a deploy."""

    tasks: tuple[Task, ...]
    refused: tuple[tuple[str, ApplianceError], ...]  # host and why
    cast_id: int | None


def cast_for(store: Store, version_id: str, way: Way, groups: IPv4Network, actor: str) -> int | None:
    """The cast that PCs are given to: the open one of that version, or a new one. None for unicast.

    Who waits for a number of PCs gets a new one.
    """
    if not way.cast:
        return None
    version = store.images.version(version_id)
    cast, new = store.casts.join(version, way.wait_for, way.wait_seconds, groups=groups, now=way.now)
    if new:
        store.audit.record(actor, "cast", f"cast {cast.id}: {version.image_name}@{version.number} in {cast.group}")
    return cast.id


def deploy(store: Store, version_id: str, hosts: Sequence[Host], way: Way, groups: IPv4Network, actor: str) -> Ordered:
    """Order a version onto hosts. A host that became busy or sealed meanwhile does not stop the others.

    Raises when nobody could be given a task: the first reason.
    """
    version = store.images.version(version_id)
    cast_id = cast_for(store, version_id, way, groups, actor)
    tasks: list[Task] = []
    refused: list[tuple[str, ApplianceError]] = []
    for host in hosts:
        try:
            task = store.tasks.deploy(
                host, version, after=way.after, cast_id=cast_id, start_at=way.start_at, wake=way.wake, now=way.now
            )
        except ApplianceError as error:
            refused.append((host.name, error))
            continue
        store.audit.record(actor, "deploy", f"task {task.id}: {version.image_name}@{version.number} to {host.name}")
        tasks.append(task)
    if not tasks and refused:
        raise refused[0][1]
    return Ordered(tuple(tasks), tuple(refused), cast_id)


def order_new_pcs(
    store: Store,
    version_id: str,
    wanted: int,
    pattern: str,
    way: Way,
    groups: IPv4Network,
    actor: str,
    *,
    until: datetime | None,
    room: str,
) -> NewPcOrder:
    """Order a version onto the next unknown PCs, which wait until they are released."""
    version = store.images.version(version_id)
    store.hosts.next_name(pattern)  # refuses a pattern before a cast is opened for it
    cast_id = cast_for(store, version_id, way, groups, actor)
    return store.tasks.order_new_pcs(
        version, wanted, pattern, way.after, cast_id=cast_id, until=until, hold=True, room=room, now=way.now
    )
