"""A deploy's chunks come over NFS, past a restart of its server."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.agent.chunks import NfsChunks
from appliance.agent.stop import Stop
from appliance.engine.chunk import MAX_FRAME_BYTES
from appliance.engine.errors import ChunkMissing
from appliance.errors import Cancelled, Unavailable
from tests.agent.conftest import QUICK, write
from tests.agent.test_staging import Waits, failing

ID = bytes(range(32))
NAME = f"{ID.hex()[:2]}/{ID.hex()}"


@pytest.fixture
def waits() -> Waits:
    """Nothing waited yet."""
    return Waits()


@pytest.fixture
def source(tmp_path: Path, stop: Stop, waits: Waits) -> NfsChunks:
    """The chunk folder of a box."""
    return NfsChunks(tmp_path, "win11-lab", stop, QUICK, waits)


def test_a_chunk_is_read_from_the_folder_of_its_first_two_digits(source: NfsChunks, tmp_path: Path) -> None:
    write(tmp_path, {NAME: b"frame"})
    assert source.fetch(ID) == b"frame"


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("call", ["open", "read"])
def test_an_error_of_nfs_that_passes_is_waited_out(
    source: NfsChunks, tmp_path: Path, waits: Waits, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    write(tmp_path, {NAME: b"frame"})
    monkeypatch.setattr(os, call, failing(code, 3, getattr(os, call)))
    assert source.fetch(ID) == b"frame"
    assert waits[-1] == ""


def test_an_error_of_nfs_that_stays_names_the_chunk_the_image_and_what_to_do(
    source: NfsChunks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {NAME: b"frame"})
    monkeypatch.setattr(os, "open", failing(errno.EIO, 1000, os.open))
    with pytest.raises(Unavailable, match=r"Chunk 000102030405… of image win11-lab cannot .* verify win11-lab"):
        source.fetch(ID)


def test_a_chunk_that_is_not_there_is_missing_after_a_few_looks(source: NfsChunks) -> None:
    with pytest.raises(ChunkMissing, match=r"000102030405… of image win11-lab is not on the box.*verify win11-lab"):
        source.fetch(ID)


def test_a_chunk_that_shows_up_late_is_taken(source: NfsChunks, tmp_path: Path) -> None:
    timer = threading.Timer(0.01, lambda: write(tmp_path, {NAME: b"frame"}))
    timer.start()
    try:
        assert source.fetch(ID) == b"frame"
    finally:
        timer.join()


def test_a_huge_file_is_not_read_whole(source: NfsChunks, tmp_path: Path) -> None:
    write(tmp_path, {NAME: b""})
    os.truncate(tmp_path / NAME, 1 << 40)
    assert len(source.fetch(ID)) == MAX_FRAME_BYTES + 1


def test_a_symbolic_link_is_not_followed(source: NfsChunks, tmp_path: Path) -> None:
    write(tmp_path, {NAME + ".real": b"frame"})
    (tmp_path / NAME).symlink_to(tmp_path / (NAME + ".real"))
    with pytest.raises(Unavailable):
        source.fetch(ID)


def test_waiting_ends_with_a_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Stop, waits: Waits) -> None:
    source = NfsChunks(tmp_path, "win11-lab", stop, replace(QUICK, chunk_s=60), waits)
    write(tmp_path, {NAME: b"frame"})
    monkeypatch.setattr(os, "open", failing(errno.EIO, 1000, os.open))
    threading.Timer(0.1, lambda: stop.request(Cancelled("The operator cancelled the task."))).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        source.fetch(ID)
    assert time.monotonic() - began < 10
