"""A deploy by cast: join the group, write what comes and what is lacking, leave; every change of way said in words.

What multicast does not bring comes by NFS, so a cast can fail to help, but does not fail a task.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from appliance.agent.cast_feed import CastFeed, Ways
from appliance.agent.cast_net import CastSockets
from appliance.agent.client import Box
from appliance.agent.display import Display
from appliance.agent.machine import Machine
from appliance.agent.report import Reporter
from appliance.agent.stop import Stop
from appliance.cast.receiver import DEAF_HINT, Mode, Place
from appliance.engine.capture import EngineProgress
from appliance.engine.cast_restore import cast_restore
from appliance.engine.castlist import chunk_list
from appliance.engine.chunk import longest_frame
from appliance.engine.restore import ChunkSource
from appliance.engine.target import WRITING, RestoreOptions, RestoreReport
from appliance.engine.version import Version
from appliance.errors import BadData
from appliance.wire.agentapi import CastOrder
from appliance.wire.cast import KEY_BYTES, feedback_key

_SMALLEST_BUFFER = 16 << 20
_LARGEST_BUFFER = 256 << 20
_SHARE_OF_MEMORY = 4  # a quarter of what is available

# What is said at each change of way.
_SAID = {
    Mode.JOINING: "joining",
    Mode.WAITING: "waiting for more PCs",
    Mode.CAST: "receiving by multicast",
    Mode.DEAF: "multicast does not arrive here; going on by NFS",
    Mode.GONE: "the box's cast service does not answer; going on by NFS",
    Mode.MOVED: "the box has moved this PC out of the cast; going on by NFS",
}


def buffer_bytes(machine: Machine) -> int:
    """Room for chunks in part and chunks that wait for a thread: a share of the memory that is available."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", machine.text(machine.proc / "meminfo"), re.MULTILINE)
    available = int(found[1]) * 1024 if found else 0
    return max(_SMALLEST_BUFFER, min(_LARGEST_BUFFER, available // _SHARE_OF_MEMORY))


def place_of(order: CastOrder, chunks: int, window_bytes: int, token_hash: bytes, buffer: int) -> Place:
    """This receiver's place in a cast of so many chunks. Raises `BadData` when the order's numbers are none."""
    try:
        cast_id, key = int(order.cast_id, 16), bytes.fromhex(order.key)
    except ValueError:
        cast_id, key = -1, b""
    if not 0 <= cast_id < 1 << 64 or len(key) != KEY_BYTES or not 0 <= order.receiver < 1 << 32:
        raise BadData(
            f"The box names the cast {order.cast_id[:40]!r} with receiver {order.receiver}, which cannot be.",
            hint="Check that box and agent are of one version.",
        )
    largest = longest_frame(window_bytes)
    return Place(cast_id, order.receiver, key, feedback_key(token_hash), chunks, max(buffer, 2 * largest), largest)


class CastDeploy:
    """Where the parts of the agent meet for one deploy by cast."""

    def __init__(self, box: Box, display: Display, reporter: Reporter, stop: Stop) -> None:
        self._box, self._display, self._reporter, self._stop = box, display, reporter, stop
        self._mode = Mode.JOINING
        self._state = EngineProgress(WRITING, 0, 0)
        self.by_cast_bytes = 0  # of chunk files

    def open(self, order: CastOrder, interface: str, version: Version, buffer: int, threads: int) -> CastFeed | None:
        """Join the cast. None: it cannot be joined, which has been said."""
        chunks = len(chunk_list(version))
        place = place_of(order, chunks, version.manifest.window_bytes, self._box.token_hash, buffer)
        self._display.note(f"cast {order.cast_id}, group {order.group} port {order.port}, {place.chunks} chunks")
        try:
            sockets = CastSockets(order, interface)
        except (OSError, ValueError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            self._display.say(f"the cast {order.group} cannot be joined ({why}); going on by NFS")
            return None
        ways = Ways(lambda: self._box.token_hash, self._tell, self._stop.is_set)
        return CastFeed(place, sockets, ways, most_by_nfs=max(1, threads // 2))

    def restore(
        self, feed: CastFeed, version: Version, target: Path, source: ChunkSource, options: RestoreOptions
    ) -> RestoreReport:
        """Write the disk. Raises as `engine.cast_restore` does."""
        self._state = EngineProgress(WRITING, 0, version.manifest.used_bytes)
        feed.start()
        try:
            return cast_restore(version, feed, target, source, options, self._told, self._stop.is_set)
        finally:
            feed.close()
            self.by_cast_bytes = feed.receiver.fetched_bytes
            self._display.note(f"cast: {self.by_cast_bytes} bytes by multicast; thrown away: {feed.receiver.counts}")

    def _told(self, state: EngineProgress) -> None:
        """The way in which chunks come belongs to the words of the progress."""
        self._state = state
        self._reporter.latest(
            replace(state, phase=f"{state.phase}, {self._mode.value}") if state.phase == WRITING else state
        )

    def _tell(self, mode: Mode) -> None:
        self._mode = mode
        self._reporter.hold(mode is Mode.WAITING)
        self._told(self._state)
        self._display.say(f"cast: {_SAID[mode]}")
        if mode is Mode.DEAF:
            self._display.say(DEAF_HINT)
