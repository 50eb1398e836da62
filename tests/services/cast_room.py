"""A room for tests of the cast service: a box and PCs in network namespaces on one bridge, a store, an image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from appliance.engine.chunkstore import ChunkStore
from appliance.events import TaskState
from appliance.model import Cast, ImageVersion, Task
from appliance.store import Store
from tests.services.cast_pc import Errand, Report
from tests.services.dhcp_wires import BOX, Wires
from tests.services.http_support import WINDOW, TinyImage

SERVER = "10.77.0.1"
PORT, FEEDBACK_PORT = 4020, 4021


def random_image(seed: int, windows: int) -> TinyImage:
    """An image that cannot be compressed."""
    rng = random.Random(seed)
    return TinyImage(tuple(rng.randbytes(WINDOW) for _ in range(windows)))


def add_version(store: Store, chunks: ChunkStore, image: TinyImage, name: str = "win11") -> ImageVersion:
    """Put `image` into the image store, and its version into the store."""
    for plain in image.plain:
        chunks.put(plain)
    id = chunks.write_version(image.manifest, {"disk.index": image.index})
    size = sum(map(len, image.plain))
    made = ImageVersion(id, name, 0, datetime.now(UTC), size, size, size, size, len(image.plain))
    return commit_version(store, made)


def commit_version(store: Store, made: ImageVersion) -> ImageVersion:
    """Put a version of the image store into the store, as if a master had just been captured."""
    hosts = len(store.hosts.list())
    master = store.hosts.add(f"MASTER-{made.image_name}", [f"52:54:00:fe:00:{hosts:02x}"])
    task = store.tasks.capture(master, made.image_name)
    store.tasks.checked_in(task.id, SERVER, master.macs[0])
    store.tasks.move(task.id, TaskState.VERIFYING)
    store.images.commit(task.id, made)
    return store.images.resolve(made.image_name)


def wait_for(what: Callable[[], bool], seconds: float = 15.0) -> None:
    """Until `what` holds; fails when it takes too long."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@dataclass
class Station:
    """A PC of the room whose program runs."""

    task: Task
    process: subprocess.Popen[str]
    words: list[str]

    def report(self, seconds: float = 40.0) -> Report:
        """How it went, when it is over."""
        out, _ = self.process.communicate(timeout=seconds)
        return Report(**json.loads(out.splitlines()[-1]))

    def kill(self) -> None:
        self.process.kill()
        if self.process.stdout is not None and not self.process.stdout.closed:
            self.process.communicate()


@dataclass
class Room:
    """The box and its PCs. Close it."""

    folder: Path
    wires: Wires
    settings: str = ""  # lines of [cast]
    stations: list[Station] = field(default_factory=list)
    service: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.store = Store.open(self.folder / "state" / "diecast.sqlite")
        self.chunks = ChunkStore(self.folder / "images")
        paths = "\n".join(f'{name} = "{self.folder / name}"' for name in ("state", "images", "boot", "run"))
        self.config = self.folder / "diecast.toml"
        network = f'[network]\ninterfaces = ["{BOX}"]\n[dhcp]\nmode = "proxy"\n'
        self.config.write_text(f"[paths]\n{paths}\n{network}[cast]\n{self.settings}\n")

    def image(self, windows: int = 100, name: str = "win11", seed: int = 1) -> ImageVersion:
        return add_version(self.store, self.chunks, random_image(seed, windows), name)

    def cast(self, version: ImageVersion, *limits: int) -> Cast:
        from appliance.config import load

        return self.store.casts.open(version, *limits, groups=load(self.config).cast.groups)

    def start(self) -> None:
        """Start the service and wait until it listens."""
        words = [sys.executable, "-m", "tests.services.run_service", str(self.config), "cast"]
        self.service = subprocess.Popen([*self.wires.box, *words])
        shown = [*self.wires.box, "ss", "-Hlun", f"sport = :{FEEDBACK_PORT}"]
        wait_for(lambda: bool(subprocess.run(shown, capture_output=True, check=True).stdout))

    def kill9(self) -> None:
        assert self.service is not None
        self.service.kill()
        self.service.wait()

    def stop(self) -> int:
        """Stop the service in order; its exit status."""
        assert self.service is not None
        self.service.send_signal(signal.SIGTERM)
        return self.service.wait(15)

    def order(self, version: ImageVersion, cast: Cast) -> Task:
        """A new PC and its task."""
        number = len(self.store.hosts.list())
        host = self.store.hosts.add(f"PC{number:02}", [f"52:54:00:ca:00:{number:02x}"])
        return self.store.tasks.deploy(host, version, cast_id=cast.id)

    def errand(self, task: Task, cast: Cast, **changes: Any) -> Errand:
        """What the PC of `task` gets with its order, after a check-in."""
        number = task.id
        _, token = self.store.tasks.checked_in(number, "10.77.0.99", f"52:54:00:ca:00:{number:02x}")
        errand = Errand(
            str(self.folder / "images"), task.version_id, cast.cast_id, cast.key, number,
            hashlib.sha256(token.encode()).hexdigest(), str(cast.group), PORT, SERVER, FEEDBACK_PORT,
        )  # fmt: skip
        return dataclasses.replace(errand, **changes)

    def power_on(self, task: Task, cast: Cast, *, words: list[str] | None = None, **changes: Any) -> Station:
        """Start the PC of `task`, at a place of its own or at that of `words`."""
        number = len(self.stations)
        words = words or self.wires.add_station(f"p{number}", f"10.77.1.{number + 1}/16")
        text = json.dumps(dataclasses.asdict(self.errand(task, cast, **changes)))
        program = [*words, sys.executable, "-m", "tests.services.cast_pc", text]
        station = Station(task, subprocess.Popen(program, stdout=subprocess.PIPE, text=True), words)
        self.stations.append(station)
        return station

    def finish(self, task: Task) -> None:
        """The agent's result, and the scheduler's verdict."""
        self.store.tasks.move(task.id, TaskState.VERIFYING)
        self.store.tasks.move(task.id, TaskState.DONE)

    def close(self) -> None:
        for station in self.stations:
            station.kill()
        if self.service is not None and self.service.poll() is None:
            self.stop()
        self.store.close()
