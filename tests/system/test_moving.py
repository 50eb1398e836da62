"""Copying the image store: what is copied, what is not, what a second run does, and that reading back finds errors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from appliance.errors import BadData, NoSpace
from appliance.system import moving


def silent(_size: int) -> None:
    """Nobody watches."""


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "chunks" / "ab").mkdir(parents=True)
    (source / "chunks" / "ab" / "one").write_bytes(b"1" * 3_000_000)
    (source / "lock").write_bytes(b"")
    target.mkdir()
    return source, target


def test_files_come_with_owner_mode_and_time_and_are_counted(two: tuple[Path, Path]) -> None:
    source, target = two
    one = source / "chunks/ab/one"
    os.chown(one, 65534, 65533)
    one.chmod(0o440)
    os.utime(one, ns=(1, 2_000_000_001))
    (source / "chunks").chmod(0o750)
    sizes: list[int] = []
    copied = moving.copy(source, target, sizes.append)
    info = (target / "chunks/ab/one").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777, info.st_mtime_ns) == (65534, 65533, 0o440, 2_000_000_001)
    assert (target / "chunks").stat().st_mode & 0o777 == 0o750
    assert sum(sizes) == moving.size_of(source) == 3_000_000
    assert set(copied.hashes) == {"chunks/ab/one", "lock"}
    moving.check(target, copied, silent)


def test_a_second_run_copies_what_has_changed_and_removes_what_is_gone(two: tuple[Path, Path]) -> None:
    source, target = two
    (source / "staging" / "7").mkdir(parents=True)
    (source / "staging" / "7" / "x").write_text("x")
    moving.copy(source, target, silent)
    (source / "staging" / "7" / "x").unlink()
    (source / "staging" / "7").rmdir()
    (source / "chunks" / "ab" / "two").write_text("2")
    copied = moving.copy(source, target, silent)
    assert set(copied.hashes) == {"chunks/ab/two"}
    assert list((target / "staging").iterdir()) == []


def test_no_link_is_followed_and_nothing_but_files_and_folders_is_copied(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = two
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "file").write_text("secret")
    (source / "a").symlink_to(secret / "file")
    (source / "b").symlink_to(secret)
    os.mkfifo(source / "pipe")
    copied = moving.copy(source, target, silent)
    assert copied.left_out == 3
    assert sorted(path.name for path in target.iterdir()) == ["chunks", "lock"]


def test_a_link_in_the_targets_place_is_not_written_through(two: tuple[Path, Path], tmp_path: Path) -> None:
    source, target = two
    other = tmp_path / "other"
    other.write_text("untouched")
    (target / "lock").symlink_to(other)
    with pytest.raises(Exception, match="cannot be copied"):
        moving.copy(source, target, silent)
    assert other.read_text() == "untouched"


def test_reading_back_finds_what_the_disk_gives_otherwise(two: tuple[Path, Path]) -> None:
    source, target = two
    copied = moving.copy(source, target, silent)
    with (target / "chunks/ab/one").open("r+b") as out:
        out.seek(1_500_000)
        out.write(b"2")
    with pytest.raises(BadData, match="does not give back chunks/ab/one"):
        moving.check(target, copied, silent)
    (target / "chunks/ab/one").unlink()
    with pytest.raises(BadData):
        moving.check(target, copied, silent)


def test_a_disk_that_gets_full_is_said(two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(moving, "_file", full)
    with pytest.raises(NoSpace, match="is full"):
        moving.copy(*two, silent)
