"""Plain dataclasses that every part passes around. They import nothing of ours but the shared words.

Times are aware UTC datetimes. Sizes are in bytes. MAC addresses are text, lower case, with colons (`normalise_mac`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

from appliance.errors import UsageError
from appliance.events import (
    AfterTask,
    BootStage,
    CastState,
    LocalBoot,
    Role,
    ServiceHealth,
    TaskKind,
    TaskState,
    UefiLoader,
)

_MAC = re.compile(r"[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


def normalise_mac(text: str) -> str:
    """Return `text` as `aa:bb:cc:dd:ee:ff`. Accepts colons, dashes, dots or none. Raises `UsageError`."""
    digits = re.sub(r"[:.\-]", "", text.strip().lower())
    if not _MAC.fullmatch(digits):
        raise UsageError(f"'{text}' is no MAC address.", hint="Write it as 52:54:00:aa:01:02.")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def check_name(text: str, what: str) -> str:
    """Return `text` if it can name a host or an image (RFC 1123 label, and `_`). Raises `UsageError`.

    The same rule serves both because both become part of file names, command lines and DHCP option 12.
    """
    if not text:
        the = "the " + what.partition(" ")[2]
        raise UsageError(f"Give {the} a name.")
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"'{text}' cannot name {what}.",
            hint="Use letters, digits, '-' and '_', at most 63, beginning and ending with a letter or digit.",
        )
    return text


@dataclass(frozen=True, slots=True)
class Host:
    """A PC the operator knows, by its MACs and its SMBIOS UUID."""

    id: int
    name: str
    macs: tuple[str, ...]
    uuid: UUID | None = None
    sealed: bool = False  # generalised; must not start its own disk before it is captured
    local_boot: LocalBoot = LocalBoot.CHAIN
    uefi_loader: UefiLoader = UefiLoader.SHIM
    disk: str = ""  # which disk to use (path, serial, WWN or model); empty: the only fixed one
    notes: str = ""
    firmware: str = ""  # bios | uefi, as last seen
    secure_boot: bool | None = None  # as its kernel last said
    version_id: str = ""  # image version last written to it
    ip: str = ""  # address last seen
    stage: BootStage | None = None  # how far it came, last time it booted from us
    last_seen: datetime | None = None
    created: datetime | None = None
    room: str = ""  # name of the room it stands in; empty: none


@dataclass(frozen=True, slots=True)
class Room:
    """A group of hosts that are worked with together; a host stands in one or in none."""

    id: int
    name: str
    notes: str = ""
    hosts: int = 0  # how many stand in it


@dataclass(frozen=True, slots=True)
class WakeCall:
    """A PC that is to be woken by magic packets, until it is seen or they were sent often enough."""

    id: int
    host_name: str
    macs: tuple[str, ...]
    sent: int = 0  # how often already


@dataclass(frozen=True, slots=True)
class Sighting:
    """The last time that a MAC booted from the network, known host or not."""

    mac: str
    stage: BootStage
    at: datetime
    uuid: UUID | None = None
    arch: int | None = None  # DHCP option 93
    ip: str = ""
    host_name: str = ""
    detail: str = ""
    steps: tuple[tuple[BootStage, datetime], ...] = ()  # of that boot, each with the time it was first reached


@dataclass(frozen=True, slots=True)
class Image:
    """A name that versions are captured into."""

    id: int
    name: str
    notes: str = ""
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class ImageVersion:
    """One immutable capture. `id` is the BLAKE3 of its manifest, in hex."""

    id: str
    image_name: str
    number: int  # 1, 2, 3 ... within its image
    created: datetime
    disk_bytes: int  # size of the master's disk
    used_bytes: int  # plain bytes of its windows
    stored_bytes: int  # compressed bytes of its chunks, shared ones counted in full
    new_bytes: int  # compressed bytes that this capture added to the store
    chunks: int  # distinct chunks
    master_name: str = ""
    task_id: int | None = None
    sealed: bool = False  # captured from a sealed host
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """One thing that one host shall do once."""

    id: int
    kind: TaskKind
    state: TaskState
    image_name: str
    host_id: int | None = None  # None: a capture of the next unknown PC that boots
    host_name: str = ""
    version_id: str = ""  # deploy: what to write; capture: what was made, once done
    sealed: bool = False  # capture: the host is sealed
    after: AfterTask = AfterTask.REBOOT
    created: datetime | None = None
    started: datetime | None = None  # first check-in
    finished: datetime | None = None
    last_heard: datetime | None = None  # last sign of life of its agent
    phase: str = ""  # what the agent is doing, in words
    done_bytes: int = 0
    total_bytes: int = 0
    rate_bytes_s: float = 0.0
    attempts: int = 0  # check-ins so far
    ip: str = ""  # of the agent at its last check-in
    error: str = ""  # why it failed, one sentence
    remedy: str = ""  # what to do, one sentence
    cast_id: int | None = None  # deploy: the cast that it takes part in
    start_at: datetime | None = None  # SCHEDULED until then
    wake: bool = False  # its PC is sent magic packets when it is to start
    held: bool = False  # SCHEDULED until the operator confirms its order's newcomers
    order_id: int | None = None  # the order for new PCs that made it

    @property
    def is_held(self) -> bool:
        """Whether its PC waits for the operator's confirmation now."""
        return self.held and self.state is TaskState.SCHEDULED


@dataclass(frozen=True, slots=True)
class Cast:
    """One version sent to many PCs at once (docs/cast-protocol.md). The figures are of the last second."""

    id: int
    version_id: str
    image_name: str
    state: CastState
    created: datetime
    cast_id: str  # 16 hex digits, as in the frames
    key: str = field(repr=False)  # 64 hex digits; a secret of the cast's PCs
    group: IPv4Address
    ended: datetime | None = None
    why: str = ""  # it ended
    wait_for: int = 0  # PCs to wait for before it begins ...
    wait_seconds: int = 0  # ... but not for longer than this after the first
    rate_mbit: int = 0  # 10^6 bits/s; 0: only the ceiling of all casts
    begun: bool = False  # the operator waits for nobody any more
    present: int = 0  # PCs that are there
    waiting: bool = False  # for more PCs
    rate_bytes_s: float = 0.0  # what is sent, UDP payload
    sent_bytes: int = 0
    parity_bytes: int = 0  # of them
    forged: int = 0  # FEEDBACK whose MAC was wrong
    refused: int = 0  # FEEDBACK from no PC of the cast
    replayed: int = 0  # FEEDBACK that was old, repeated, or about chunks that do not exist
    wanted: int = 0  # chunks that somebody asks for
    broadcast: bool = False  # it goes to the subnet's broadcast address


@dataclass(frozen=True, slots=True)
class CastMember:
    """One PC of a cast."""

    task_id: int
    host_name: str
    task_state: TaskState
    status: str = ""  # how it gets its chunks, in words
    written: int = 0  # chunks on its disk
    total: int = 0  # chunks of the version
    loss: float = 0.0  # share of the frames that do not reach it
    preferred: bool = False
    dropped: bool = False  # by the operator: it goes on by NFS


@dataclass(frozen=True, slots=True)
class CastSeat:
    """What the sender has to know of one PC of a cast."""

    task_id: int
    token_hash: bytes = field(repr=False)  # of its task's valid token; its keys are made from it
    preferred: bool = False
    dropped: bool = False
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """One line in a task's life."""

    task_id: int
    at: datetime
    state: TaskState
    text: str = ""


@dataclass(frozen=True, slots=True)
class NewPcOrder:
    """A standing order: the next `wanted` unknown PCs that boot are named from `pattern` and get `version_id`."""

    id: int
    version_id: str
    image_name: str
    pattern: str  # e.g. LAB1-{nn}
    wanted: int
    taken: int = 0
    after: AfterTask = AfterTask.REBOOT
    created: datetime | None = None
    cast_id: int | None = None  # the cast that its PCs take part in, as long as it is open
    until: datetime | None = None  # it closes by itself then
    hold: bool = False  # its PCs wait until the operator confirms them
    room: str = ""  # where its PCs are put
    closed: datetime | None = None  # it takes no more PCs since then
    why: str = ""  # it was closed


@dataclass(frozen=True, slots=True)
class Lease:
    """An address lent to a client (RFC 2131). `client_key` is what it is known by."""

    address: IPv4Address
    client_key: str  # `mac:52:54:..` for PXE clients and known hosts, `cid:<hex>` for others
    mac: str
    expires: datetime
    client_id: str = ""  # option 61, hex, as sent
    hostname: str = ""  # option 12, as the client said
    declined: bool = False  # somebody else answered there: not to be lent until it expires


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address that belongs to one MAC, inside or outside the range."""

    mac: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Inventory:
    """What the agent found in a PC: plain JSON, as in `wire.agentapi.Inventory`."""

    host_id: int
    at: datetime
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TokenInfo:
    """What a token of an agent stands for. The token itself is not stored, only its hash."""

    task_id: int | None  # None: a PC without a task, in the menu
    mac: str
    ip: str
    revoked: bool = False
    host_name: str = ""  # of the task's PC


@dataclass(frozen=True, slots=True)
class DhcpServer:
    """Another DHCP server that was heard on one of our networks."""

    ip: str
    interface: str
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """How one of our services said it is, last time it said something."""

    name: str
    state: ServiceHealth
    pid: int
    since: datetime  # it is in this state; silent: its last beat
    beat: datetime  # its last sign of life
    words: str  # why it failed, or what it waits for
    started: datetime  # its process


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who may use the console. The password is not here: only the store compares it."""

    name: str
    role: Role
    language: str = ""  # two letters; empty: the box's own
    created: datetime | None = None
    last_login: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Who did what, when."""

    at: datetime
    actor: str
    action: str
    detail: str = ""
