"""The bed of the cast benchmarks: a box with the real cast service, and PCs, in network namespaces on one bridge.

    payload = system_disk()                      # tests.bench.cast_bed_payload; or random_chunks()
    with Bed(workdir, rate_mbit=8000) as bed:    # ceiling of all casts, as in the settings
        version = bed.add(payload)
        bed.start()                              # the service, as `serve cast` runs it
        cast = bed.cast(version)                 # bed.store.casts.limit(cast.id, mbit) gives it a limit of its own
        pcs = [bed.receiver(n, cast, payload) for n in range(16)]
        began = bed.begin(pcs)                   # when all are ready; or bed.begin(pcs, at_s=[0.0, 0.5, ...])
        results = [pc.result() for pc in pcs]    # `Result`; pc.kill() switches one off
        sent = bed.sent(cast)                    # bytes by the cast's own figures ...
        wire = bed.wire()                        # ... and what the box's interface has counted, headers included
        cpu = bed.sender_cpu_s() + sum(result.cpu_s for result in results)
        bed.end(cast)

A PC is a process of `tests.bench.cast_receiver` in the namespace of its place (0, 1, 2 ...), which later PCs use again.
It reads its order and loads its modules, says `ready`, and joins when it is told to begin: so the start of 32
interpreters on two cores is no part of any time or CPU figure, nor does a late PC's socket fill up before it is there.
What cannot be had from the cast it takes from the image store's folder, as from NFS (`Result.nfs_bytes`).

The box's interface has tx-udp-segmentation off (`offload=True`: on), so each datagram crosses the bridge by itself. A
PC's interface has generic receive offload on, as network drivers have by default (`receive_offload=False`: off).
`lose(place, share)` drops datagrams on their way to one PC, each by itself: nftables at the bridge's port, before
receive offload makes runs of them (with `offload=True` it drops whole runs).
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from appliance.config import load
from appliance.engine.castlist import cast_chunks
from appliance.engine.chunkstore import ChunkStore
from appliance.model import Cast, ImageVersion, Task
from appliance.store import Store
from appliance.wire.agentapi import CastOrder
from tests.bench.cast_bed_payload import Payload
from tests.bench.kit import ROOT
from tests.services.cast_room import FEEDBACK_PORT, PORT, SERVER, commit_version, wait_for
from tests.services.dhcp_wires import BOX, Wires, sh

_START_S = 120.0  # for all interpreters
_TICKS_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Result:
    """How one PC fared; times on the monotonic clock, which all processes share."""

    began_at: float  # when it was told to begin
    ended_at: float  # every chunk was right, and written
    cpu_s: float  # between the two
    bytes: int  # plain
    cast_bytes: int  # of chunk files
    nfs_bytes: int
    modes: tuple[str, ...]  # ways in which chunks came, names of `appliance.cast.receiver.Mode`
    counts: dict[str, int]  # what it threw away

    @property
    def seconds(self) -> float:
        """From begin to end."""
        return self.ended_at - self.began_at


@dataclass
class Receiver:
    """A PC: its process has been started, and waits for `begin`."""

    place: int
    task: Task
    process: subprocess.Popen[str]
    log: Path
    is_ready: bool = False

    def wait_ready(self) -> None:
        """Until it has loaded everything. Raises `RuntimeError` when it has died."""
        if not self.is_ready:
            self._line("ready")
            self.is_ready = True

    def begin(self) -> float:
        """Let it join; returns the moment."""
        assert self.process.stdin is not None
        at = time.monotonic()
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return at

    def result(self, seconds: float = 300.0) -> Result:
        """Wait until it has ended. Raises `RuntimeError` when a chunk was not right, or it takes too long."""
        try:
            out, _ = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"PC {self.place} has not ended after {seconds:.0f} s") from None
        if self.process.returncode:
            raise RuntimeError(f"PC {self.place} failed: {self.log.read_text()[-2000:]}")
        found = json.loads(out.splitlines()[-1])
        return Result(**{**found, "modes": tuple(found["modes"])})

    def kill(self) -> None:
        """Switch it off."""
        if self.process.poll() is None:
            self.process.kill()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate()

    def _line(self, wanted: str) -> None:
        assert self.process.stdout is not None
        too_late = threading.Timer(_START_S, self.process.kill)
        too_late.start()
        said = self.process.stdout.readline().strip()
        too_late.cancel()
        if said != wanted:
            self.kill()
            raise RuntimeError(f"PC {self.place} did not start: {self.log.read_text()[-2000:]}")


@dataclass(frozen=True, slots=True)
class Wire:
    """What an interface has sent."""

    bytes: int  # with Ethernet, IP and UDP headers
    packets: int

    def __sub__(self, other: Wire) -> Wire:
        return Wire(self.bytes - other.bytes, self.packets - other.packets)


@dataclass
class Bed:
    """Box, bridge and places for PCs, below `folder`. Use it as a context. Needs root."""

    folder: Path
    rate_mbit: int = 8000
    offload: bool = False
    receive_offload: bool = True
    settings: str = ""  # more lines of [cast]
    receivers: list[Receiver] = field(default_factory=list)
    service: subprocess.Popen[bytes] | None = None
    _places: dict[int, list[str]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.wires = Wires()
        try:
            sh("ip", "netns", "exec", self.wires.name, "sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=0")
            self._offload(self.wires.box, BOX, "tx-udp-segmentation", self.offload)
            paths = "\n".join(f'{name} = "{self.folder / name}"' for name in ("state", "images", "boot", "run"))
            self.config = self.folder / "diecast.toml"
            self.config.write_text(
                f'[paths]\n{paths}\n[network]\ninterfaces = ["{BOX}"]\n[dhcp]\nmode = "proxy"\n'
                f"[cast]\nport = {PORT}\nfeedback_port = {FEEDBACK_PORT}\nrate_mbit = {self.rate_mbit}\n"
                f"{self.settings}\n"
            )
            self.store = Store.open(self.folder / "state" / "diecast.sqlite")
        except BaseException:
            self.wires.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for receiver in self.receivers:
            receiver.kill()
        self.stop()
        self.store.close()
        self.wires.__exit__(kind, error, tb)

    # -- the box

    def set_offload(self, on: bool) -> None:
        """Let runs cross the bridge uncut from now on, or not."""
        self._offload(self.wires.box, BOX, "tx-udp-segmentation", on)

    def add(self, payload: Payload, name: str = "") -> ImageVersion:
        """Make a payload an image of this box. All payloads are in one image store."""
        images = self.folder / "images"
        if not images.exists():
            images.symlink_to(payload.images)
        made = ImageVersion(
            payload.version_id, name or payload.name, 0, datetime.now(UTC), payload.plain_bytes, payload.plain_bytes,
            payload.file_bytes, payload.file_bytes, payload.chunks,
        )  # fmt: skip
        return commit_version(self.store, made)

    def start(self) -> None:
        """Start the service as its unit does, and wait until it listens."""
        words = ["nice", "-n", "-10", sys.executable, "-m", "tests.services.run_service", str(self.config), "cast"]
        with (self.folder / "cast.log").open("ab") as log:
            self.service = subprocess.Popen([*self.wires.box, *words], stdout=log, stderr=log, cwd=ROOT)
        shown = [*self.wires.box, "ss", "-Hlun", f"sport = :{FEEDBACK_PORT}"]
        wait_for(lambda: bool(subprocess.run(shown, capture_output=True, check=True).stdout))

    def stop(self) -> None:
        """Stop the service in order."""
        if self.service is not None and self.service.poll() is None:
            self.service.send_signal(signal.SIGTERM)
            self.service.wait(15)

    def cast(self, version: ImageVersion, *limits: int) -> Cast:
        """Open a cast; `limits`: wait for so many PCs, or so many seconds."""
        return self.store.casts.open(version, *limits, groups=load(self.config).cast.groups)

    def end(self, cast: Cast) -> None:
        """End a cast; the service lets go of it."""
        self.store.casts.stop(cast.id, "the measurement is over")
        for receiver in self.receivers:
            task = self.store.tasks.get(receiver.task.id)
            if task.cast_id == cast.id and not task.state.is_final:
                self.store.tasks.cancel(task.id)

    def sent(self, cast: Cast) -> int:
        """Bytes of all frames of a cast so far, when its figures, written once a second, change no more."""
        deadline, seen, same = time.monotonic() + 15, -1, 0
        while same < 5 and time.monotonic() < deadline:
            found = self.store.casts.get(cast.id).sent_bytes
            seen, same = found, same + 1 if found == seen else 0
            time.sleep(0.3)
        return seen

    def wire(self) -> Wire:
        """What the box's interface has sent so far; a difference of two is the traffic between them."""
        found = json.loads(self.wires.box_ip("-s", "-j", "link", "show", BOX))[0]["stats64"]["tx"]
        return Wire(found["bytes"], found["packets"])

    def sender_cpu_s(self) -> float:
        """CPU time of the service's process so far, user and system."""
        assert self.service is not None
        return process_cpu_s(self.service.pid)

    # -- the PCs

    def place(self, number: int) -> list[str]:
        """The words before commands at a place; made at its first use."""
        if number not in self._places:
            self._places[number] = self.wires.add_station(f"p{number}", f"10.77.1.{number + 1}/16")
            self._offload(self._places[number], "eth0", "gro", self.receive_offload)
            if self.receive_offload:  # veth skips it for what comes from a sender that could do TSO
                self._offload(["ip", "netns", "exec", self.wires.name], f"st-p{number}", "tso", False)
        return self._places[number]

    def lose(self, number: int, share: float) -> None:
        """Drop so much of what goes to a place, 0 to 1; 0 ends it."""
        self.place(number)
        within = ("ip", "netns", "exec", self.wires.name, "nft")
        name = f"loss{number}"
        sh(*within, f"add table netdev {name}")
        sh(*within, f"delete table netdev {name}")
        if share:
            rule = f"numgen random mod 1000000 < {round(share * 1e6)} counter drop"
            hook = f'type filter hook egress device "st-p{number}" priority 0;'
            sh(*within, f"table netdev {name} {{\nchain c {{\n{hook}\n{rule}\n}}\n}}")

    def receiver(
        self, number: int, cast: Cast, payload: Payload, *, target: Path | None = None, **options: float
    ) -> Receiver:
        """A new PC at a place, with a task in the cast. With `target` it looks through that file and writes it as an
        agent does its disk; without, it decompresses and hashes each chunk and drops it. `options` are those of
        `tests.bench.cast_receiver`: `disk_mb_s`, `threads`, `buffer_mib`, `receive_buffer_mib`."""
        words = self.place(number)
        task = self._task(number, cast)
        _, token = self.store.tasks.checked_in(task.id, f"10.77.1.{number + 1}", _mac(task.id))
        order = self.folder / f"order-{task.id}.json"
        order.write_bytes(
            CastOrder(cast.cast_id, task.id, cast.key, str(cast.group), PORT, SERVER, FEEDBACK_PORT).to_json()
        )
        program: list[Any] = [
            *words, sys.executable, "-m", "tests.bench.cast_receiver", "--wait", "--order", order, "--token-hash",
            hashlib.sha256(token.encode()).hexdigest(), "--chunks", payload.images / "chunks",
        ]  # fmt: skip
        if target is not None:
            program += ["--version", payload.version_folder, "--target", target]
        else:
            program += ["--ids", self._ids(payload)]
        for name, value in options.items():
            program += [f"--{name.replace('_', '-')}", value]
        log = self.folder / f"pc-{task.id}.log"
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [str(word) for word in program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                text=True, cwd=ROOT,
            )  # fmt: skip
        made = Receiver(number, task, process, log)
        self.receivers.append(made)
        return made

    def begin(self, receivers: Sequence[Receiver], at_s: Sequence[float] = ()) -> float:
        """Wait until all are ready, then let each join `at_s` seconds later (none given: all at once). Returns the
        moment that these count from; the call ends when the last one has been told."""
        for receiver in receivers:
            receiver.wait_ready()
        began = time.monotonic()
        for receiver, offset in sorted(zip(receivers, at_s or [0.0] * len(receivers), strict=True), key=lambda x: x[1]):
            time.sleep(max(began + offset - time.monotonic(), 0))
            receiver.begin()
        return began

    def _task(self, number: int, cast: Cast) -> Task:
        version = self.store.images.version(cast.version_id)
        count = len(self.store.hosts.list())
        host = self.store.hosts.add(f"PC{count:04}-AT-{number}", [_mac(count, 0xBE)])
        return self.store.tasks.deploy(host, version, cast_id=cast.id)

    def chunk_ids(self, payload: Payload) -> list[bytes]:
        """The chunk list of a payload."""
        chunks = ChunkStore(payload.images)
        manifest = chunks.read_manifest(payload.version_id)
        return cast_chunks(manifest, lambda name: chunks.read_index(payload.version_id, name))

    def _ids(self, payload: Payload) -> Path:
        """The chunk list of a payload as a file."""
        path = self.folder / f"{payload.version_id}.ids"
        if not path.exists():
            path.write_bytes(b"".join(self.chunk_ids(payload)))
        return path

    @staticmethod
    def _offload(words: Sequence[str], interface: str, what: str, on: bool) -> None:
        sh(*words, "ethtool", "-K", interface, what, "on" if on else "off")


def process_cpu_s(pid: int) -> float:
    """CPU time of a process and its threads so far (proc(5): fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def machine_cpu_s() -> float:
    """CPU time that the whole machine has spent so far, interrupts included, idle and waiting for disks not."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system + irq + softirq) / _TICKS_S


def _mac(number: int, group: int = 0xCA) -> str:
    return f"52:54:00:{group:02x}:{number >> 8:02x}:{number & 255:02x}"
