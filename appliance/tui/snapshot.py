"""What screens draw: one immutable picture of the store and the machine, with the indexes they need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from appliance.model import (
    Cast,
    CastMember,
    DhcpServer,
    Host,
    Image,
    ImageVersion,
    Lease,
    NewPcOrder,
    Operator,
    Reservation,
    Room,
    ServiceState,
    Sighting,
    Task,
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the store cannot be read just now; English, to be translated when shown."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk that images lie on."""

    total_bytes: int = 0
    free_bytes: int = 0

    @property
    def used(self) -> float:
        """Share that is used, 0 to 1."""
        return 1 - self.free_bytes / self.total_bytes if self.total_bytes else 0.0


@dataclass(frozen=True, slots=True)
class LinkUse:
    """One network interface that we answer on."""

    name: str
    address: str = ""  # with prefix length; empty: none
    up: bool = True
    speed_mbit: int = 0  # 0: unknown
    sent_bytes_s: float = 0.0
    received_bytes_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Gauges:
    """What the machine itself shows, and what it showed: histories have one value a second, newest last."""

    disk: Disk = Disk()
    links: tuple[LinkUse, ...] = ()
    sent: tuple[float, ...] = ()  # bytes/s of all links together
    written: tuple[float, ...] = ()  # bytes/s written to and read from disks
    trial: tuple[str, ...] = ()  # interface and address that wait for a yes; empty: none


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. An unchanged part is the same object as in the snapshot before: compare with `is`.

    Screens read fields and never change them. What only one screen needs (a log, an inventory, the audit trail) is
    not here: it is read on demand (`Session.fetch`).
    """

    at: datetime = datetime(1970, 1, 1, tzinfo=UTC)
    loaded: bool = False  # whether the store was ever read
    trouble: Trouble | None = None  # the store cannot be read: all else is the last that was seen
    hosts: tuple[Host, ...] = ()
    rooms: tuple[Room, ...] = ()
    images: tuple[Image, ...] = ()
    versions: tuple[ImageVersion, ...] = ()  # newest first
    open_tasks: tuple[Task, ...] = ()  # newest first
    ended_tasks: tuple[Task, ...] = ()  # the last ones, newest first
    casts: tuple[Cast, ...] = ()  # newest first, ended ones too
    members: Mapping[int, tuple[CastMember, ...]] = field(default_factory=dict)  # of open casts, by cast number
    orders: tuple[NewPcOrder, ...] = ()  # newest first, closed ones too
    leases: tuple[Lease, ...] = ()
    reservations: tuple[Reservation, ...] = ()
    servers: tuple[DhcpServer, ...] = ()
    docks: tuple[str, ...] = ()  # MACs of shared docks
    sightings: tuple[Sighting, ...] = ()  # newest first
    services: tuple[ServiceState, ...] = ()
    operators: tuple[Operator, ...] = ()  # by name
    settings: Mapping[str, str] = field(default_factory=dict)
    gauges: Gauges = Gauges()
    host_by_id: Mapping[int, Host] = field(default_factory=dict)
    version_by_id: Mapping[str, ImageVersion] = field(default_factory=dict)
    task_of_host: Mapping[int, Task] = field(default_factory=dict)  # its open task

    def version_name(self, version_id: str) -> str:
        """`win11@3`; empty for none, and a short id for one that is gone."""
        version = self.version_by_id.get(version_id)
        return f"{version.image_name}@{version.number}" if version else version_id[:8]

    def task_target(self, task: Task) -> str:
        """What a task writes or makes: `win11@3`, or the image's name for a capture."""
        version = self.version_by_id.get(task.version_id)
        return f"{version.image_name}@{version.number}" if version else task.image_name

    def task(self, task_id: int) -> Task | None:
        """The task, if it is in the picture."""
        return next((task for task in (*self.open_tasks, *self.ended_tasks) if task.id == task_id), None)
