"""Files between the console and root: what root reads of a folder that is not its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from appliance.errors import BadData, NotFound, Unavailable
from appliance.system import mailbox

WISH = {"id": "1", "word": "é"}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / mailbox.WISHES).mkdir()
    return tmp_path


def test_a_wish_is_read_as_it_was_written_and_a_later_one_takes_its_place(run: Path) -> None:
    mailbox.wish(run, "a", {"id": "0"})
    mailbox.wish(run, "a", WISH)
    assert mailbox.wished(run, "a") == WISH
    assert [path.name for path in (run / mailbox.WISHES).iterdir()] == ["a.json"]


def test_what_nobody_wished_is_not_found_and_what_nobody_reported_is_none(run: Path) -> None:
    with pytest.raises(NotFound):
        mailbox.wished(run, "a")
    assert mailbox.reported(run, "a") is None
    mailbox.report(run, "a", WISH)
    assert mailbox.reported(run, "a") == WISH


def test_root_follows_no_link_of_the_wish_or_of_its_folder(run: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text('{"id": "1"}')
    (run / mailbox.WISHES / "a.json").symlink_to(secret)
    with pytest.raises(BadData, match="cannot be read"):
        mailbox.wished(run, "a")
    (run / mailbox.WISHES / "a.json").unlink()
    (run / mailbox.WISHES).rmdir()
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.json").write_text('{"id": "1"}')
    (run / mailbox.WISHES).symlink_to(other)
    with pytest.raises(BadData, match="cannot be read"):
        mailbox.wished(run, "a")


def test_root_waits_for_no_pipe_and_reads_no_device(run: Path) -> None:
    os.mkfifo(run / mailbox.WISHES / "a.json")
    begun = time.monotonic()
    with pytest.raises(BadData, match="is no such file"):
        mailbox.wished(run, "a")
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 9000, b'{"id": "' + b"x" * 20_000 + b'"}'], ids=lambda raw: raw[:8]
)
def test_anything_but_one_small_object_is_refused(run: Path, raw: bytes) -> None:
    (run / mailbox.WISHES / "a.json").write_bytes(raw)
    with pytest.raises(BadData):
        mailbox.wished(run, "a")


def test_a_report_replaces_a_link_and_does_not_write_through_it(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("untouched")
    (run / "a.json").symlink_to(other)
    mailbox.report(run, "a", WISH)
    assert other.read_text() == "untouched"
    assert mailbox.reported(run, "a") == WISH


def test_without_its_folder_a_wish_is_refused_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"a\.json cannot be written: No such file") as caught:
        mailbox.wish(tmp_path, "a", WISH)
    assert "as the user diecast" in caught.value.hint
