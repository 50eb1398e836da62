"""A fresh store for each test, and things to put into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance.events import TaskState
from appliance.model import Host, ImageVersion
from appliance.store import Store

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "diecast.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with Store.open(path) as opened:
        yield opened


@pytest.fixture
def pc1(store: Store) -> Host:
    return store.hosts.add("PC1", ["52:54:00:aa:01:01"])


@pytest.fixture
def pc2(store: Store) -> Host:
    return store.hosts.add("PC2", ["52:54:00:aa:01:02"])


def make_version(digit: str = "a", image: str = "win11", *, sealed: bool = False) -> ImageVersion:
    """A version as a capture would describe it; equal digits make equal content."""
    return ImageVersion(
        id=digit * 64,
        image_name=image,
        number=0,
        created=NOON,
        disk_bytes=64 << 30,
        used_bytes=20 << 30,
        stored_bytes=9 << 30,
        new_bytes=9 << 30,
        chunks=20480,
        sealed=sealed,
    )


@pytest.fixture
def captured(store: Store) -> Callable[..., ImageVersion]:
    """Take a version through a whole capture of a host of its own."""

    def capture(digit: str = "a", image: str = "win11") -> ImageVersion:
        name = f"master-{digit}-{image}"
        host = store.hosts.add(name, [f"52:54:00:ff:{len(store.hosts.list()):02x}:01"])
        task = store.tasks.capture(host, image)
        store.tasks.checked_in(task.id, "10.0.0.9", host.macs[0])
        store.tasks.move(task.id, TaskState.VERIFYING)
        store.images.commit(task.id, make_version(digit, image))
        return store.images.resolve(image)

    return capture
