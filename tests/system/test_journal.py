"""Log lines with fields: what journald itself makes of them, and what carries them from a service to a line."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from appliance.services import runtime
from appliance.system.about import About, about, current, tell
from appliance.system.journal import Journal, JournalHandler, encode, journald_reads_stderr
from appliance.system.logs import LogFile, file_of, to_file

REPOSITORY = Path(__file__).parents[2]
JOURNALD = "/usr/lib/systemd/systemd-journald"
TOO_LONG_S = 60

# A journald of our own, in a /run that nobody else sees; a service that logs into it; a last line to wait for.
_ROOM = """
set -eu
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/log/journal
{journald} 2>/dev/null &
journald=$!
tries=0
until [ -S /run/systemd/journal/socket ]; do
    tries=$((tries + 1)); [ $tries -lt 200 ]; sleep 0.05
done
{python} {folder}/said.py 2>{folder}/stderr
tries=0
until journalctl --directory=/run/log/journal/$(cat /etc/machine-id) MESSAGE=end --quiet | grep -q end; do
    tries=$((tries + 1)); [ $tries -lt 200 ]; sleep 0.05
done
journalctl --directory=/run/log/journal/$(cat /etc/machine-id) --output=json --all LOGGER=appliance.services.httpd \
    "$@" >{folder}/entries
kill $journald
wait $journald || true
"""
_SAID = """
import logging, sys
from appliance.services import runtime
from appliance.system.about import about
import appliance.system.journal as journal
import os
found = os.fstat(2)
runtime.set_up_logging("info", environ={{"JOURNAL_STREAM": f"{{found.st_dev}}:{{found.st_ino}}"}})
log = logging.getLogger("appliance.services.httpd")
{text}
journal.Journal().send(journal.encode({{"MESSAGE": "end"}}))
"""


def told_to_journald(folder: Path, text: str, *matches: str) -> list[dict[str, Any]]:
    """What `journalctl` gives after a service has run `text`."""
    (folder / "said.py").write_text(_SAID.format(text=textwrap.dedent(text)))
    (folder / "room.sh").write_text(_ROOM.format(journald=JOURNALD, python=sys.executable, folder=folder))
    command = ["unshare", "--mount", "--propagation=private", "sh", str(folder / "room.sh"), *matches]
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=TOO_LONG_S, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr + (folder / "stderr").read_text()
    return [json.loads(line) for line in (folder / "entries").read_text().splitlines()]


def test_journald_finds_the_lines_about_a_host_and_about_a_task(tmp_path: Path) -> None:
    text = """
        log.info("nobody's")
        with about(host="pc-07", task=7):
            log.warning("pc-07 (%s) asks", "10.0.0.7")
        with about(host="pc-08"):
            log.info("pc-08's")
    """
    (line,) = told_to_journald(tmp_path, text, "DIECAST_HOST=pc-07")
    assert line["MESSAGE"] == "appliance.services.httpd: pc-07 (10.0.0.7) asks", "readable as before"
    assert (line["DIECAST_TASK"], line["PRIORITY"], line["SYSLOG_IDENTIFIER"]) == ("7", "4", "diecast")
    assert (tmp_path / "stderr").read_text() == ""


def test_journald_takes_a_traceback_and_what_is_too_large_for_a_datagram_as_one_entry(tmp_path: Path) -> None:
    text = """
        try:
            raise ValueError("a defect")
        except ValueError:
            log.exception("it failed")
        log.info("x" * 1_000_000)
    """
    first, second = told_to_journald(tmp_path, text)
    assert first["MESSAGE"].startswith("appliance.services.httpd: it failed\nTraceback")
    assert first["MESSAGE"].endswith("ValueError: a defect")
    assert len(second["MESSAGE"]) > 1_000_000


def test_a_name_cannot_forge_a_field(tmp_path: Path) -> None:
    text = r"""
        with about(host="a\nPRIORITY=0\nMESSAGE=forged"):
            log.info("one")
    """
    (line,) = told_to_journald(tmp_path, text)
    assert (line["MESSAGE"], line["PRIORITY"]) == ("appliance.services.httpd: one", "6")


# -- without journald -------------------------------------------------------------------------------------------------


@dataclass
class Listener:
    """Somebody at the other end of the socket."""

    path: Path
    sock: socket.socket

    def received(self) -> bytes:
        return self.sock.recv(1 << 20)


@pytest.fixture
def listener() -> Iterator[Listener]:
    folder = Path(tempfile.mkdtemp(prefix="diecast-journal-"))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.bind(str(folder / "socket"))
            sock.settimeout(TOO_LONG_S)
            yield Listener(folder / "socket", sock)
    finally:
        shutil.rmtree(folder)


def test_an_entry_is_encoded_as_the_protocol_wants_it() -> None:
    assert encode({"A": "x=y", "B_1": ""}) == b"A=x=y\nB_1=\n"
    assert encode({"MESSAGE": "a\nb"}) == b"MESSAGE\n" + (3).to_bytes(8, "little") + b"a\nb\n"


def test_journald_that_is_restarted_gets_the_next_line(listener: Listener) -> None:
    journal = Journal(listener.path)
    journal.send(b"A=1\n")
    listener.sock.close()
    listener.path.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(listener.path))
        sock.settimeout(TOO_LONG_S)
        journal.send(b"A=2\n")
        assert sock.recv(100) == b"A=2\n"
    journal.close()


def test_what_journald_does_not_take_goes_to_standard_error(
    listener: Listener, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = JournalHandler(Journal(listener.path))
    listener.path.unlink()
    handler.handle(logging.LogRecord("appliance.x", logging.ERROR, "", 0, "help", (), None))
    handler.close()
    assert capfd.readouterr().err == "<3>help\n"


def test_only_the_process_whose_standard_error_journald_reads_speaks_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = os.fstat(2)
    assert journald_reads_stderr({"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    assert not journald_reads_stderr({"JOURNAL_STREAM": "1:1"}), "inherited, but standard error goes elsewhere"
    assert not journald_reads_stderr({})
    assert isinstance(runtime._handler({"JOURNAL_STREAM": "1:1"}), logging.StreamHandler)


# -- whom a line is about ---------------------------------------------------------------------------------------------


def test_a_note_ends_with_its_block_and_an_inner_one_knows_what_the_outer_says() -> None:
    with about(host="pc-07"):
        with about(task=7):
            assert current() == About("pc-07", 7)
        assert current() == About("pc-07")
    assert current() == About()
    tell(host="nobody listens")
    assert current() == About()


def test_what_a_thread_finds_out_is_known_to_whoever_started_it() -> None:
    with about():
        context = copy_context()
        thread = threading.Thread(target=context.run, args=(lambda: tell(host="pc-07", task=7),))
        thread.start()
        thread.join()
        assert current() == About("pc-07", 7)


async def test_two_at_once_do_not_mix() -> None:
    seen = {}

    async def one(name: str) -> None:
        with about():
            tell(host=name)
            await asyncio.sleep(0)
            seen[name] = current().host

    await asyncio.gather(one("a"), one("b"))
    assert seen == {"a": "a", "b": "b"}


def test_the_file_keeps_whom_a_line_is_about_and_is_read_by_it(tmp_path: Path) -> None:
    log = logging.getLogger("appliance.services.boot_pages")
    log.setLevel(logging.INFO)
    try:
        with to_file(tmp_path):
            log.info("nobody's host=pc-07 task=7")
            with about(host="pc-07", task=7):
                log.info("one")
            with about(host="pc-07"):
                log.info("two")
            with about(task=8):
                log.info("three")
    finally:
        log.setLevel(logging.NOTSET)
    found = LogFile(file_of(tmp_path))
    assert [(line.host, line.task, line.text.partition(" ")[2]) for line in found.last(9)] == [
        ("", None, "nobody's host=pc-07 task=7"),
        ("pc-07", 7, "one"),
        ("pc-07", None, "two"),
        ("", 8, "three"),
    ]
    assert len(found.last(9, about=About("PC-07"))) == 2
    assert [line.text for line in found.last(9, about=About(task=7))] == ["boot_pages: one"]
    assert found.last(9, about=About("pc-07", 8)) == []
