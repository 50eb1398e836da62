"""What is copied from a backup into this box, and what is said when this box is the one that has no room."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from appliance.backup import pool
from appliance.backup.places import ROOT, Folder
from appliance.errors import NoSpace, Unavailable


@pytest.fixture
def place(tmp_path: Path) -> Folder:
    (tmp_path / "target" / ROOT).mkdir(parents=True)
    (tmp_path / "target" / ROOT / "file").write_bytes(b"content")
    return Folder(tmp_path / "target")


def test_files_are_copied_into_a_folder_that_is_gone_afterwards(place: Folder, tmp_path: Path) -> None:
    with pool.work_folder(tmp_path) as work:
        pool.fetch(place, ["file"], work)
        assert (work / "file").read_bytes() == b"content"
        assert work.stat().st_mode & 0o777 == 0o700
    assert not work.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_box_without_room_is_not_told_as_a_target_without(
    place: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(pool, "copy_file", full)
    with pytest.raises(NoSpace) as caught:
        pool.fetch(place, ["file"], tmp_path / "work")
    assert str(tmp_path / "work") in caught.value.message
    assert place.name not in caught.value.message


def test_a_target_that_cannot_be_read_is_named(place: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(pool, "copy_file", broken)
    with pytest.raises(Unavailable, match=f"The backups in {place.name} cannot be read"):
        pool.fetch(place, ["file"], tmp_path / "work")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = f"The folder {tmp_path / 'gone'} cannot be written to"
    with pytest.raises(Unavailable, match=told), pool.work_folder(tmp_path / "gone"):
        pass

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "x"))

    monkeypatch.setattr(tempfile, "TemporaryDirectory", full)
    with pytest.raises(NoSpace, match=f"There is no room in {tmp_path} for what is copied"), pool.work_folder():
        pass
