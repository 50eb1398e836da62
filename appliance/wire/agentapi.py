"""The talk between the agent and the box over HTTP: message shapes, paths and limits of version 1.

Everything is JSON but chunk id lists, indexes and manifests, which are bytes. Both sides parse with `from_json`,
which refuses wrong types and over-long text with `BadMessage`, so that no other exception can come from the network.

| call                                   | body -> answer                                              |
|----------------------------------------|-------------------------------------------------------------|
| POST /agent/v1/checkin                 | CheckIn -> CheckInAnswer; no token                          |
| POST /agent/v1/inventory               | Inventory -> {}                                             |
| POST /agent/v1/register                | Register -> Registered; only for a PC without a host        |
| GET  /agent/v1/held                    | -> Held: whether the operator has yet to confirm this PC    |
| GET  /agent/v1/task                    | -> TaskOrder, or 204 when there is none                     |
| POST /agent/v1/chunks/missing          | n * 32 bytes of ids -> m * 32 bytes: those to be staged     |
| PUT  /agent/v1/capture/index/NAME      | bytes -> {}; NAME is an index name of the manifest          |
| PUT  /agent/v1/capture/manifest        | bytes -> {}; after every index                              |
| GET  /agent/v1/version/manifest        | -> bytes, of the version the task deploys                   |
| GET  /agent/v1/version/index/NAME      | -> bytes                                                    |
| POST /agent/v1/progress                | Progress -> ProgressAnswer                                  |
| POST /agent/v1/log                     | Log -> {}                                                   |
| POST /agent/v1/result                  | Result -> {}                                                |
| GET  /agent/v1/status                  | -> Status; asked after `result` until the state is final    |

The token goes in `Authorization: Bearer TOKEN`. Answers: 401 token missing or unknown; 403 token of another task,
address or a revoked one; 404; 409 the task is in no state for this (body: Problem); 413; 422 (body: Problem).
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
from dataclasses import dataclass, field
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from appliance.errors import BadData

API_VERSION = 1
PREFIX = "/agent/v1"
CHUNK_ID_BYTES = 32
MAX_TEXT = 4096  # characters of one text field
MAX_LIST = 1024  # entries of one list
MAX_MISSING_IDS = 8192  # ids in one `chunks/missing` call
_HALF = re.compile("[\ud800-\udfff]")  # a surrogate alone: JSON can write it as \u, UTF-8 cannot (RFC 8259, 8.2)


class BadMessage(BadData):
    """A message is not of the shape that version 1 says."""


@dataclass(frozen=True, slots=True)
class _Message:
    """Parsing and printing shared by all messages."""

    @classmethod
    def from_json(cls, body: bytes | str) -> Self:
        """Parse one message; unknown fields are ignored (a newer peer). Raises `BadMessage`."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadMessage(f"{cls.__name__}: not JSON ({type(error).__name__})") from None
        return cls.from_dict(data)

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """As `from_json`, from what a JSON parser made."""
        result: Self = _build(cls, data, cls.__name__)
        return result

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        return dataclasses.asdict(self)

    def to_json(self) -> bytes:
        """The message as UTF-8 JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class CheckIn(_Message):
    """Who is calling. Sent once a start, and again after the box answers 401."""

    macs: list[str]
    boot_mac: str
    uuid: str = ""  # SMBIOS system UUID as the kernel prints it
    firmware: str = "bios"  # bios | uefi
    secure_boot: bool = False  # as the running kernel says
    agent_version: str = ""
    api_version: int = API_VERSION
    purpose: str = "task"  # task | register | inventory | deploy-new, from the menu


@dataclass(frozen=True, slots=True)
class CheckInAnswer(_Message):
    """Who the box thinks it is."""

    token: str
    host_name: str = ""  # empty: an unknown PC
    has_task: bool = False
    sealed: bool = False
    suggested_name: str = ""  # for registration, from the pattern
    message: str = ""  # for the PC's screen
    held: bool = False  # it has a task, which the operator has yet to confirm: ask `held` until then


@dataclass(frozen=True, slots=True)
class Held(_Message):
    """Whether a PC that was told to wait still has to. When it has not: check in again."""

    held: bool


@dataclass(frozen=True, slots=True)
class DiskInfo(_Message):
    """One disk of a PC."""

    path: str
    size_bytes: int
    logical_sector: int = 512
    physical_sector: int = 512
    model: str = ""
    serial: str = ""
    wwn: str = ""
    bus: str = ""  # nvme, ata, virtio, usb, mmc, scsi
    removable: bool = False
    rotational: bool = False


@dataclass(frozen=True, slots=True)
class NicInfo(_Message):
    """One wired network card of a PC."""

    name: str
    mac: str
    driver: str = ""
    speed_mbit: int = 0
    link: bool = False


@dataclass(frozen=True, slots=True)
class Inventory(_Message):
    """What is in a PC."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    board: str = ""
    bios_version: str = ""
    cpu: str = ""
    cpu_threads: int = 0
    memory_bytes: int = 0
    firmware: str = ""
    secure_boot: bool = False
    disks: list[DiskInfo] = field(default_factory=list)
    nics: list[NicInfo] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Register(_Message):
    """Make the calling PC a host. An empty name asks for one from the pattern."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class Registered(_Message):
    """The name the PC has from now on."""

    host_name: str


@dataclass(frozen=True, slots=True)
class NfsExport(_Message):
    """An export to mount: `server:path` with NFS 4.1."""

    server: str
    path: str
    port: int = 2049


@dataclass(frozen=True, slots=True)
class CastOrder(_Message):
    """The cast that sends this task's version (docs/cast-protocol.md). Numbers in hexadecimal where they are text."""

    cast_id: str  # 16 digits
    receiver: int  # the receiver number
    key: str  # 64 digits: of PROBE
    group: str  # IPv4 multicast group that DATA and PROBE go to
    port: int  # their destination port
    server: str  # IPv4 address that FEEDBACK goes to
    server_port: int


@dataclass(frozen=True, slots=True)
class TaskOrder(_Message):
    """What to do. `chunks` is read-only and always there; `staging` only for a capture."""

    task_id: int
    kind: str  # capture | deploy
    image_name: str
    host_name: str
    chunks: NfsExport
    staging: NfsExport | None = None
    version_id: str = ""  # deploy: BLAKE3 of the manifest, hex; the agent checks it
    disk: str = ""  # which disk; empty: the only fixed one
    after: str = "reboot"
    window_bytes: int = 1 << 20
    zstd_level: int = 3
    staging_limit_bytes: int = 0
    cast: CastOrder | None = None  # deploy: take the chunks from this cast, and by NFS what it does not bring


@dataclass(frozen=True, slots=True)
class Progress(_Message):
    """How far the agent is; the last one counts."""

    phase: str
    done_bytes: int = 0
    total_bytes: int = 0
    rate_bytes_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ProgressAnswer(_Message):
    """Whether to go on."""

    cancelled: bool = False


@dataclass(frozen=True, slots=True)
class Log(_Message):
    """Lines for the task's log."""

    lines: list[str]


@dataclass(frozen=True, slots=True)
class Result(_Message):
    """The end of the agent's part. `ok` asks the box to verify (and, for a capture, commit)."""

    ok: bool
    error: str = ""  # one sentence
    remedy: str = ""  # one sentence
    written_bytes: int = 0
    reused_bytes: int = 0
    details: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Status(_Message):
    """Where the task stands."""

    state: str
    error: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Problem(_Message):
    """Why a call was refused."""

    error: str
    remedy: str = ""


def split_ids(body: bytes) -> list[bytes]:
    """Cut a body of chunk ids. Raises `BadMessage` when it is not a whole number of ids, or too many."""
    if len(body) % CHUNK_ID_BYTES or len(body) > MAX_MISSING_IDS * CHUNK_ID_BYTES:
        raise BadMessage(
            f"{len(body)} bytes of chunk ids: not whole ids of {CHUNK_ID_BYTES}, or over {MAX_MISSING_IDS}"
        )
    return [body[i : i + CHUNK_ID_BYTES] for i in range(0, len(body), CHUNK_ID_BYTES)]


def _build(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise BadMessage(f"{where}: an object is needed, not {type(data).__name__}")
    hints = get_type_hints(cls)
    values = {}
    for item in dataclasses.fields(cls):
        if item.name in data:
            values[item.name] = _value(hints[item.name], data[item.name], f"{where}.{item.name}")
        elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
            raise BadMessage(f"{where}: '{item.name}' is missing")
    return cls(**values)


def _value(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        if value is None:
            return None
        kind = next(arg for arg in get_args(kind) if arg is not type(None))
    if get_origin(kind) is list:
        if not isinstance(value, list) or len(value) > MAX_LIST:
            raise BadMessage(f"{where}: a list of at most {MAX_LIST} is needed")
        return [_value(get_args(kind)[0], item, where) for item in value]
    if get_origin(kind) is dict:
        if not isinstance(value, dict) or len(value) > MAX_LIST:
            raise BadMessage(f"{where}: an object of at most {MAX_LIST} is needed")
        return {_text(key, where): _text(item, where) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where)
    if kind is str:
        return _text(value, where)
    return _number(kind, value, where)


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise BadMessage(f"{where}: text of at most {MAX_TEXT} characters is needed")
    if _HALF.search(value):
        raise BadMessage(f"{where}: half a character, which neither a file nor the store can hold")
    return value


def _number(kind: Any, value: Any, where: str) -> Any:
    if kind is bool and type(value) is bool:
        return value
    if kind is int and type(value) is int and -(1 << 63) <= value < 1 << 63:
        return value
    if kind is float and type(value) in (int, float) and value == value and abs(value) < 1e300:
        return float(value)
    raise BadMessage(f"{where}: {kind.__name__} is needed")
