"""NFS mounts of one task. `hard`: a transfer survives a restart of the server; 4.1: see docs/decisions.md.

References: nfs(5), RFC 8881.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from appliance.agent.machine import Limits, Machine
from appliance.agent.stop import Stop
from appliance.errors import Unavailable
from appliance.wire.agentapi import NfsExport

_SAFE = "nosuid,nodev,noexec,noatime"


class Mounts:
    """What is mounted now, below `Machine.state`."""

    def __init__(self, machine: Machine, limits: Limits, stop: Stop, on_wait: Callable[[str, float], None]) -> None:
        self._machine, self._limits, self._stop, self._on_wait = machine, limits, stop, on_wait
        self._mounted: list[Path] = []

    def mount(self, export: NfsExport, name: str, *, read_only: bool) -> Path:
        """Mount `export` as `name`; asks again while the server is starting. Raises `Unavailable`."""
        where = self._machine.state / name
        where.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + self._limits.mount_s
        command = ["mount", "-t", "nfs", "-o", options(export, read_only), f"{export.server}:{export.path}", str(where)]
        waited = False
        while True:
            outcome = self._machine.run(command, 60)
            if outcome.status == 0:
                if waited:
                    self._on_wait("", 0)
                self._mounted.append(where)
                return where
            left = deadline - time.monotonic()
            if left <= 0:
                raise Unavailable(
                    f"The export {export.server}:{export.path} cannot be mounted: {outcome.last_line}.",
                    hint="Check that the box's nfs service runs: diecast doctor",
                )
            waited = True
            self._on_wait(f"The export {export.server}:{export.path} cannot be mounted yet: {outcome.last_line}", left)
            self._stop.wait(min(2.0, self._limits.retry_most_s))

    def close(self) -> None:
        """Unmount everything, newest first; one whose server is gone is detached."""
        for where in reversed(self._mounted):
            if self._machine.run(["umount", str(where)], 15).status:
                self._machine.run(["umount", "-l", "-f", str(where)], 5)
        self._mounted.clear()


def options(export: NfsExport, read_only: bool) -> str:
    """The mount options.

    Chunks are immutable, so their attributes need not be asked for again at each open (`nocto`); that a chunk is
    *absent* is never remembered (`lookupcache=positive`): it may have been repaired. What lies in a staging folder is
    looked up again after a second (`acdirmax=1`): the box takes files away. `retry=0`: we do the waiting.
    """
    common = f"vers=4.1,proto=tcp,port={export.port},sec=sys,hard,retry=0,{_SAFE}"
    return f"{common},ro,nocto,lookupcache=positive" if read_only else f"{common},rw,acdirmin=1,acdirmax=1"
