"""A box of its own for each test, and its command line called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from appliance.__main__ import main
from appliance.events import TaskState
from appliance.model import ImageVersion, Task
from appliance.store import Store

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
MAC1, MAC2 = "52:54:00:aa:01:01", "52:54:00:aa:01:02"


@dataclass(frozen=True, slots=True)
class Said:
    """What one command line printed, and its exit status."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Diecast = Callable[..., Said]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "diecast.toml"
    folders = "\n".join(f'{name} = "{tmp_path / name}"' for name in ("state", "images", "boot", "run"))
    path.write_text(
        f'[paths]\n{folders}\n[network]\ninterfaces = ["lo"]\n'
        '[[dhcp.subnet]]\nnetwork = "127.0.0.0/8"\nrange_first = "127.0.0.10"\nrange_last = "127.0.0.20"\n'
    )
    return path


@pytest.fixture
def diecast(config: Path, capsys: pytest.CaptureFixture[str]) -> Diecast:
    """Run one command line."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        status = main(["--config", str(config), *words])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return run


@pytest.fixture
def store(config: Path) -> Iterator[Store]:
    """The same store that the command line opens."""
    with Store.open(config.parent / "state" / "diecast.sqlite") as opened:
        yield opened


def version(digit: str = "a", image: str = "win11") -> ImageVersion:
    return ImageVersion(
        id=digit * 64,
        image_name=image,
        number=0,
        created=NOON,
        disk_bytes=64_000_000_000,
        used_bytes=18_300_000_000,
        stored_bytes=9_100_000_000,
        new_bytes=9_100_000_000,
        chunks=17_452,
    )


def commit(store: Store, made: ImageVersion, host_name: str = "MASTER") -> Task:
    """Take a version through a whole capture."""
    names = {host.name for host in store.hosts.list()}
    if host_name not in names:
        store.hosts.add(host_name, [f"52:54:00:ff:00:{len(names):02x}"])
    task = store.tasks.capture(store.hosts.get(host_name), made.image_name)
    store.tasks.checked_in(task.id, "10.20.5.1", "52:54:00:ff:00:00")
    store.tasks.move(task.id, TaskState.VERIFYING)
    return store.images.commit(task.id, made)


@pytest.fixture
def win11(store: Store) -> ImageVersion:
    """`win11@1`, captured from MASTER."""
    commit(store, version())
    return store.images.resolve("win11")
