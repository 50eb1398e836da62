"""A capture's chunks reach the staging folder whole, never more of them than it may hold, and past trouble."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.agent.room import Room
from appliance.agent.staging import StagingSink
from appliance.agent.stop import Stop
from appliance.errors import Cancelled, NoSpace, Unavailable
from tests.agent.conftest import QUICK, connect
from tests.fakes.agent_box import FixedBox

ID = bytes(range(32))
IMPATIENT = replace(QUICK, room_s=2)


class Waits(list[str]):
    """Remembers why something waited."""

    def __call__(self, why: str, left_s: float) -> None:
        self.append(why)


@pytest.fixture
def waits() -> Waits:
    """Nothing waited yet."""
    return Waits()


@pytest.fixture
def sink(tmp_path: Path, stop: Stop, waits: Waits) -> StagingSink:
    """A sink without a box behind it."""
    with FixedBox() as box:
        return StagingSink(connect(box, stop), tmp_path, Room(tmp_path, 0), stop, IMPATIENT, waits)


def failing(code: int, times: int, real: Callable[..., Any]) -> Callable[..., Any]:
    """`real`, after it has failed a few times."""
    left = [times]

    def call(*arguments: object, **more: object) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise OSError(code, os.strerror(code))
        return real(*arguments, **more)

    return call


def test_a_chunk_appears_under_its_name_and_nothing_else_stays(sink: StagingSink, tmp_path: Path) -> None:
    sink.put(ID, b"frame")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {ID.hex(): b"frame"}
    assert (sink.put_bytes, sink.put_chunks) == (5, 1)


def test_a_chunk_is_on_stable_storage_before_it_has_its_name(
    sink: StagingSink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            steps.append(name)
            return real(*arguments)

        return call

    for name in ("fsync", "close", "rename"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    sink.put(ID, b"frame")
    assert steps == ["fsync", "close", "rename"]


def test_the_same_chunk_is_put_once(sink: StagingSink, tmp_path: Path) -> None:
    threads = [threading.Thread(target=sink.put, args=(ID, b"frame")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sink.put_chunks == 1


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "write", "fsync", "rename"])
def test_a_failure_that_passes_is_waited_out(
    sink: StagingSink, tmp_path: Path, waits: Waits, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    monkeypatch.setattr(os, call, failing(code, 2, getattr(os, call)))
    sink.put(ID, b"frame")
    assert (tmp_path / ID.hex()).read_bytes() == b"frame"
    assert waits[-1] == ""
    assert waits[0]


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (errno.ENOSPC, NoSpace, "The box has no room for chunk 000102030405…: No space left"),
        (errno.ESTALE, Unavailable, "Chunk 000102030405… cannot be written to the staging folder: Stale"),
    ],
)
def test_a_failure_that_stays_ends_in_one_sentence(
    sink: StagingSink, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception], words: str
) -> None:
    monkeypatch.setattr(os, "fsync", failing(code, 1000, os.fsync))
    with pytest.raises(kind, match=words):
        sink.put(ID, b"frame")


def test_waiting_for_room_ends_with_a_cancel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: Stop, waits: Waits
) -> None:
    with FixedBox() as box:
        sink = StagingSink(connect(box, stop), tmp_path, Room(tmp_path, 0), stop, replace(QUICK, room_s=60), waits)
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC, 1000, os.fsync))
    threading.Timer(0.2, lambda: stop.request(Cancelled("The operator cancelled the task."))).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        sink.put(ID, b"frame")
    assert time.monotonic() - began < 10


def full_sink(folder: Path, stop: Stop, waits: Waits) -> StagingSink:
    """A sink that holds ten bytes and may hold twelve."""
    with FixedBox() as box:
        sink = StagingSink(connect(box, stop), folder, Room(folder, 12), stop, IMPATIENT, waits)
    sink.put(ID, b"0123456789")
    return sink


def test_a_full_folder_is_waited_for_until_the_box_has_taken_from_it(tmp_path: Path, stop: Stop, waits: Waits) -> None:
    sink = full_sink(tmp_path, stop, waits)
    thread = threading.Thread(target=sink.put, args=(ID[::-1], b"abc"))
    thread.start()
    time.sleep(0.3)
    assert not (tmp_path / ID[::-1].hex()).exists()
    (tmp_path / ID.hex()).unlink()
    thread.join(5)
    assert (tmp_path / ID[::-1].hex()).exists()


def test_a_box_that_takes_nothing_ends_the_capture_in_words(tmp_path: Path, stop: Stop, waits: Waits) -> None:
    sink = full_sink(tmp_path, stop, waits)
    with pytest.raises(NoSpace, match="has taken nothing from the full staging folder"):
        sink.put(ID[::-1], b"abc")


def test_a_box_that_takes_slowly_is_no_box_that_takes_nothing(tmp_path: Path, stop: Stop, waits: Waits) -> None:
    with FixedBox() as box:
        sink = StagingSink(connect(box, stop), tmp_path, Room(tmp_path, 60), stop, IMPATIENT, waits)
    ids = [bytes([number] * 32) for number in range(10)]
    for id in ids[:6]:
        sink.put(id, b"0123456789")
    thread = threading.Thread(target=sink.put, args=(ids[9], bytes(60)))  # only alone
    thread.start()
    for id in ids[:6]:
        time.sleep(IMPATIENT.room_s * 0.25)
        (tmp_path / id.hex()).unlink()
    thread.join(5)
    assert (tmp_path / ids[9].hex()).exists()


def test_what_an_earlier_start_left_counts_and_its_broken_files_go(tmp_path: Path) -> None:
    (tmp_path / ID.hex()).write_bytes(bytes(10))
    (tmp_path / f"{ID.hex()}.part").write_bytes(bytes(5))
    room = Room(tmp_path, 12)
    room.inherit()
    assert room.held_bytes == 10
    assert [path.name for path in tmp_path.iterdir()] == [ID.hex()]
    assert not room.claim("b", 3)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.sampled_from(["claim", "write", "take", "time"]), st.integers(1, 40)), max_size=80),
)
def test_the_folder_never_holds_more_than_its_limit(limit: int, steps: list[tuple[str, int]]) -> None:
    """The folder beside `Room`: files are claimed and written when it allows, and the box takes the oldest away."""
    with tempfile.TemporaryDirectory() as name:
        folder, writing, lying = Path(name), dict[str, int](), dict[str, int]()
        room = Room(folder, limit)
        for number, (step, size) in enumerate(steps):
            if step == "claim" and room.claim(str(number), size):
                writing[str(number)] = size
                held = sum(writing.values()) + sum(lying.values())
                assert held <= limit or held == size
            elif step == "write" and writing:
                file = next(iter(writing))
                (folder / file).touch()
                lying[file] = writing.pop(file)
                room.put(file)
            elif step == "take" and lying:
                file = next(iter(lying))
                (folder / file).unlink()
                del lying[file]
            elif step == "time":
                room._look_at = 0.0
        for file in [*lying]:
            (folder / file).unlink()
        for file in writing:
            room.put(file)
        room._look_at = 0.0
        assert room.claim("last", limit), "an empty folder always has room"
