"""A copy of the store that cannot be made says why, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from appliance.errors import NoSpace, Unavailable
from appliance.model import Host
from appliance.store import Store, copying


def test_a_copy_holds_what_the_store_holds_and_takes_the_place_of_an_older_one(store: Store, pc1: Host) -> None:
    made = store.path.parent / "copy.sqlite"
    made.write_bytes(b"half a copy")
    copy = copying.copy(store.path, made)
    assert (copy.schema, copy.versions, copy.bytes) == (copying.NEWEST_SCHEMA, frozenset(), made.stat().st_size)
    with Store.open(made) as opened:
        assert opened.hosts.list() == [pc1]


def test_no_store_is_made_where_none_is(tmp_path: Path) -> None:
    gone = tmp_path / "gone.sqlite"
    with pytest.raises(Unavailable, match="cannot be copied"):
        copying.copy(gone, tmp_path / "copy.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_file_is_said(store: Store, tmp_path: Path) -> None:
    in_the_way = tmp_path / "copy.sqlite"
    in_the_way.mkdir()
    with pytest.raises(Unavailable, match="cannot be copied"):
        copying.copy(store.path, in_the_way)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), NoSpace),
        (OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)), NoSpace),
        (sqlite3.OperationalError("database or disk is full"), NoSpace),
        (OSError(errno.EIO, os.strerror(errno.EIO), "/mnt/full/copy.sqlite"), Unavailable),
        (sqlite3.DatabaseError("malformed schema (full_text)"), Unavailable),
    ],
)
def test_only_a_full_disk_is_told_as_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception]
) -> None:
    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(copying, "inspect", fail)
    with pytest.raises(kind):
        copying.copy(store.path, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()
