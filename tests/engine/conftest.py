"""Disks that several tests look at, made once a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.engine.capture import CaptureResult
from appliance.engine.chunkstore import ChunkStore
from tests.disk import makedisk
from tests.engine.kit import captured


@pytest.fixture
def store(tmp_path: Path) -> ChunkStore:
    """An empty image store."""
    return ChunkStore(tmp_path / "store")


@pytest.fixture(scope="session")
def gpt_disk(tmp_path_factory: pytest.TempPathFactory) -> makedisk.Made:
    """See `makedisk.gpt_disk`; not to be written to."""
    return makedisk.gpt_disk(tmp_path_factory.mktemp("gpt"))


@pytest.fixture(scope="session")
def gpt_version(
    gpt_disk: makedisk.Made, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ChunkStore, str, CaptureResult]:
    """`gpt_disk` captured into a store of its own; not to be written to."""
    shared = ChunkStore(tmp_path_factory.mktemp("shared"))
    return shared, *captured(shared, gpt_disk.path)


@pytest.fixture(scope="session")
def mbr_disk(tmp_path_factory: pytest.TempPathFactory) -> makedisk.Made:
    """See `makedisk.mbr_disk`; not to be written to."""
    return makedisk.mbr_disk(tmp_path_factory.mktemp("mbr"))
