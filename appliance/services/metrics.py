"""Counters of the HTTP service and the Prometheus text that shows them with what the store knows.

Reference: Prometheus text exposition format 0.0.4. Label values come from our own tables only, never from a request, so
that nobody on the network can make the list of series grow.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config import Settings
from appliance.events import TaskState
from appliance.model import Cast
from appliance.services.cast_status import WORDS, word_of
from appliance.store import Store

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STORE_SIZE_MAX_AGE_S = 300  # walking a million chunks takes seconds; nobody needs their sum fresher


@dataclass(slots=True)
class Counters:
    """What this process has served. Thread-safe."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # (route, status)
    sent_bytes: Counter[str] = field(default_factory=Counter)  # by kind of file
    received_bytes: int = 0  # bodies of agent calls
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answered(self, route: str, status: int) -> None:
        """Count one request."""
        with self._lock:
            self.requests[route, status] += 1

    def sent(self, kind: str, size: int) -> None:
        """Count a file of `size` bytes that was sent."""
        with self._lock:
            self.sent_bytes[kind] += size

    def received(self, size: int) -> None:
        """Count the body of an agent call."""
        with self._lock:
            self.received_bytes += size

    def copy(self) -> tuple[Counter[tuple[str, int]], Counter[str], int]:
        """A consistent view."""
        with self._lock:
            return Counter(self.requests), Counter(self.sent_bytes), self.received_bytes


class FolderSize:
    """Bytes and files below a folder, measured at most every `STORE_SIZE_MAX_AGE_S`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._at = float("-inf")
        self._value = (0, 0)
        self._lock = threading.Lock()

    def measure(self) -> tuple[int, int]:
        """(files, bytes). Blocks while it walks the folder."""
        with self._lock:
            if time.monotonic() - self._at > STORE_SIZE_MAX_AGE_S:
                sizes = list(_file_sizes(self.folder))
                self._value = (len(sizes), sum(sizes))
                self._at = time.monotonic()
            return self._value


def _file_sizes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from _file_sizes(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):  # renamed or removed since it was listed; the others count
                        yield entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return


@dataclass(frozen=True, slots=True)
class Series:
    """One metric: its name without prefix, what it is, and its samples (labels, value)."""

    name: str
    kind: str  # counter | gauge
    help: str
    samples: tuple[tuple[dict[str, str], float], ...]


def collect(store: Store, counters: Counters, chunks: FolderSize, settings: Settings) -> list[Series]:
    """Everything `/metrics` shows. Blocks. Raises `ApplianceError` when the store does not answer."""
    images = settings.paths.images
    requests, sent, received = counters.copy()
    tasks = Counter(task.state for task in store.tasks.list(limit=1_000_000))
    files, size = chunks.measure()
    return [
        _one("up", "gauge", "Whether the HTTP service runs.", 1),
        Series("tasks", "gauge", "Tasks by state.", tuple(({"state": s}, tasks[s]) for s in TaskState)),
        _one("hosts", "gauge", "Known PCs.", len(store.hosts.list())),
        _one("leases", "gauge", "Addresses in the lease file.", len(store.leases.all())),
        _one("image_versions", "gauge", "Complete image versions.", len(store.images.live_version_ids())),
        _one("chunks", "gauge", "Chunks in the image store.", files),
        _one("chunk_bytes", "gauge", "Compressed bytes of all chunks.", size),
        _one("images_free_bytes", "gauge", "Free bytes on the disk of the image store.", _free_bytes(images)),
        Series(
            "http_requests_total",
            "counter",
            "Requests by route and status.",
            tuple(({"route": route, "status": str(status)}, n) for (route, status), n in sorted(requests.items())),
        ),
        Series(
            "http_sent_bytes_total",
            "counter",
            "Bytes of files sent, by kind.",
            tuple(({"kind": kind}, n) for kind, n in sorted(sent.items())),
        ),
        _one("http_received_bytes_total", "counter", "Bytes of bodies that agents sent.", received),
        *_casts(store, settings.cast.rate_mbit),
    ]


def _casts(store: Store, ceiling_mbit: int) -> Iterator[Series]:
    """Of the open casts, as the cast service last wrote them; as many as there are groups at most."""
    casts = store.casts.list(open_only=True)
    pcs = {cast.id: Counter(map(word_of, store.casts.members(cast.id))) for cast in casts}

    def each(name: str, kind: str, text: str, value: Callable[[Cast], float]) -> Series:
        return Series(name, kind, text, tuple(({"cast": str(cast.id)}, value(cast)) for cast in casts))

    def by(name: str, kind: str, text: str, label: str, values: Callable[[Cast], dict[str, int]]) -> Series:
        samples = (({"cast": str(c.id), label: word}, number) for c in casts for word, number in values(c).items())
        return Series(name, kind, text, tuple(samples))

    info = tuple(({"cast": str(c.id), "image": c.image_name, "group": str(c.group)}, 1) for c in casts)
    yield Series("cast_info", "gauge", "Open casts: what they send, and where to.", info)
    yield by(
        "cast_pcs", "gauge", "PCs of each cast by state.", "state",
        lambda cast: {word: pcs[cast.id][word] for word in WORDS},
    )  # fmt: skip
    yield by(
        "cast_sent_bytes_total", "counter", "Bytes sent, UDP payload.", "kind",
        lambda cast: {"payload": cast.sent_bytes - cast.parity_bytes, "repair": cast.parity_bytes},
    )  # fmt: skip
    yield each("cast_rate_bytes_per_second", "gauge", "Sent in the last second.", lambda cast: cast.rate_bytes_s)
    yield each(
        "cast_ceiling_bytes_per_second", "gauge", "Its limit, else that of all casts together.",
        lambda cast: min(cast.rate_mbit or ceiling_mbit, ceiling_mbit) * 1e6 / 8,
    )  # fmt: skip
    yield each("cast_wanted_chunks", "gauge", "Chunks that somebody asks for.", lambda cast: cast.wanted)
    yield by(
        "cast_dropped_messages_total", "counter", "Messages to the box that did not count.", "reason",
        lambda cast: {"forged": cast.forged, "foreign": cast.refused, "replayed": cast.replayed},
    )  # fmt: skip


def render(series: Iterable[Series]) -> str:
    """The text for Prometheus."""
    return "".join(line + "\n" for item in series for line in _lines(item))


def _lines(item: Series) -> Iterator[str]:
    name = f"diecast_{item.name}"
    yield f"# HELP {name} {item.help}"
    yield f"# TYPE {name} {item.kind}"
    for labels, value in item.samples:
        inside = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
        yield f"{name}{{{inside}}} {int(value)}" if inside else f"{name} {int(value)}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _one(name: str, kind: str, text: str, value: float) -> Series:
    return Series(name, kind, text, (({}, value),))


def _free_bytes(folder: Path) -> int:
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
