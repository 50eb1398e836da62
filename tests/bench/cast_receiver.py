"""A software receiver of a cast, for benchmarks: the agent's own code, writing to a file or to nothing.

    python -m tests.bench.cast_receiver --order order.json --token-hash HEX --interface eth0 --chunks FOLDER \\
        (--version FOLDER --target disk.img | --ids FILE) [--disk-mb-s 8]

`order.json` is a `CastOrder`. With `--version` (a folder with manifest and indexes) the disk is looked through and
written as by an agent; with `--ids` (32 bytes a chunk) each chunk is decompressed, hashed and dropped. With `--wait` it
prints `ready` when all is loaded, and joins the cast when a line comes on its standard input. At the end one line of
JSON: `began_at` and `ended_at` (CLOCK_MONOTONIC, the same for all processes), `cpu_s` between them, `bytes` (plain),
`cast_bytes`, `nfs_bytes`, `modes`, `counts`. Exit status 0 when every chunk was right.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from appliance.agent.cast import place_of
from appliance.agent.cast_feed import CastFeed, Ways
from appliance.agent.cast_net import RECEIVE_BUFFER_BYTES, CastSockets
from appliance.agent.chunks import NfsChunks
from appliance.agent.machine import Limits
from appliance.agent.stop import Stop
from appliance.cast.receiver import Mode
from appliance.engine.cast_restore import Arrival, cast_restore
from appliance.engine.castlist import chunk_list
from appliance.engine.chunk import ID_BYTES, MAX_WINDOW_BYTES, open_frame
from appliance.engine.errors import ChunkInvalid
from appliance.engine.pipeline import for_each
from appliance.engine.restore import CountedSource
from appliance.engine.target import RestoreOptions
from appliance.engine.version import Version
from appliance.wire.agentapi import CastOrder

MIB = 1 << 20


class Pace:
    """A disk that takes so many bytes a second: every write waits for its turn."""

    def __init__(self, bytes_s: float) -> None:
        self._bytes_s = bytes_s
        self._free_at = time.monotonic()
        self._mutex = threading.Lock()

    def spend(self, size: int) -> None:
        """Wait until `size` bytes would be written."""
        if not self._bytes_s:
            return
        with self._mutex:
            self._free_at = max(self._free_at, time.monotonic()) + size / self._bytes_s
            until = self._free_at
        time.sleep(max(until - time.monotonic(), 0))


class SlowDiskFeed(CastFeed):
    """A feed whose chunks are done when the disk of `pace` would have them, `sizes(chunk)` plain bytes each."""

    pace = Pace(0)
    sizes: Callable[[int], int] = staticmethod(lambda chunk: 0)

    def done(self, arrival: Arrival) -> None:
        """See `Feed`."""
        self.pace.spend(self.sizes(arrival.chunk))
        super().done(arrival)


class NoDisk:
    """Decompresses and hashes each chunk, and drops it."""

    def __init__(self, feed: CastFeed, ids: list[bytes], source: CountedSource) -> None:
        self._feed, self._ids, self._source = feed, ids, source
        self._plain: dict[int, int] = {}
        feed.receiver.want_all()

    @property
    def bytes(self) -> int:
        """Plain bytes so far."""
        return sum(self._plain.values())

    def size(self, chunk: int) -> int:
        """Plain bytes of a chunk that came."""
        return self._plain.get(chunk, 0)

    def run(self, threads: int) -> None:
        """Until all is there."""
        for_each(self._arrivals(), self._take, lambda _: None, threads=threads)

    def _arrivals(self) -> Iterator[Arrival | None]:
        while not self._feed.complete():
            yield self._feed.take(0.2)

    def _take(self, arrival: Arrival | None) -> None:
        if arrival is None:
            return
        id = self._ids[arrival.chunk]
        file = self._source.fetch(id) if arrival.part is None else arrival.part.file()
        try:
            plain = open_frame(file or b"", id, limit_bytes=MAX_WINDOW_BYTES)
        except ChunkInvalid:
            self._feed.bad(arrival)
            return
        self._plain[arrival.chunk] = len(plain)
        self._feed.done(arrival)


def main() -> int:
    """See the top of this file."""
    wanted = _arguments()
    order = CastOrder.from_json(wanted.order.read_bytes())
    token_hash = bytes.fromhex(wanted.token_hash)
    modes: list[Mode] = []
    source = CountedSource(NfsChunks(wanted.chunks, "bench", Stop(), Limits(), lambda why, left_s: None))
    version = _version(wanted.version) if wanted.version else None
    ids = _split(wanted.ids.read_bytes()) if wanted.ids else None
    chunks = len(chunk_list(version) if version is not None else ids or ())
    place = place_of(order, chunks, MAX_WINDOW_BYTES, token_hash, wanted.buffer_mib * MIB)
    if version is not None:
        _make_disk(wanted.target, version.manifest.disk.size_bytes)
    if wanted.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    began, used_before = time.monotonic(), time.process_time()
    sockets = CastSockets(order, wanted.interface, wanted.receive_buffer_mib * MIB)
    feed = SlowDiskFeed(place, sockets, Ways(lambda: token_hash, modes.append), most_by_nfs=1)
    feed.pace = Pace(wanted.disk_mb_s * 1e6)
    feed.start()
    try:
        if version is not None:
            window = version.manifest.window_bytes
            feed.sizes = lambda chunk: window
            options = RestoreOptions(wanted.threads)
            report = cast_restore(version, feed, wanted.target, source, options, lambda p: None, lambda: False)
            size = report.written_bytes + report.reused_bytes
        else:
            disk = NoDisk(feed, ids or [], source)
            feed.sizes = disk.size
            disk.run(wanted.threads)
            size = disk.bytes
        ended, used = time.monotonic(), time.process_time()
    finally:
        feed.close()
    found = {
        "began_at": began,
        "ended_at": ended,
        "cpu_s": used - used_before,
        "bytes": size,
        "cast_bytes": feed.receiver.fetched_bytes,
        "nfs_bytes": source.fetched,
        "modes": [mode.name for mode in modes],
        "counts": asdict(feed.receiver.counts),
    }
    print(json.dumps(found), flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="cast_receiver")
    parser.add_argument("--order", type=Path, required=True)
    parser.add_argument("--token-hash", required=True)
    parser.add_argument("--wait", action="store_true", help="say `ready`, and begin with a line on standard input")
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--chunks", type=Path, required=True)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--version", type=Path)
    what.add_argument("--ids", type=Path)
    parser.add_argument("--target", type=Path, default=Path("disk.img"))
    parser.add_argument("--disk-mb-s", type=float, default=0.0, help="plain MB/s; 0: as fast as it goes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--buffer-mib", type=int, default=64)
    parser.add_argument("--receive-buffer-mib", type=int, default=RECEIVE_BUFFER_BYTES // MIB)
    return parser.parse_args()


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]


def _version(folder: Path) -> Version:
    return Version.load((folder / "manifest.json").read_bytes(), lambda name: (folder / name).read_bytes())


def _make_disk(target: Path, size: int) -> None:
    with target.open("ab") as disk:
        disk.truncate(max(size, target.stat().st_size))


if __name__ == "__main__":
    raise SystemExit(main())
