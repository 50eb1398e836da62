"""The appliance as tests ask it: its store and command line, read through root's test-only connection.

The store is copied as SQLite does it (a backup of the open database), by a small program that runs on the box and is
asked again and again, so that looking costs the emulated machine little.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path

from appliance.store import Store
from tests.appliance.ssh import Way
from tests.lab.boxview import BoxView, CliFailed
from tests.lab.command import LabError

DATABASE = "/var/lib/diecast/diecast.sqlite"
AWAY_S = 240  # a box that restarts is waited for so long
_FRESH_S = 1.5  # a copy is good for this time
_COPIER = f"""
import sqlite3, sys
for _line in sys.stdin:
    source = sqlite3.connect("file:{DATABASE}?mode=ro", uri=True, timeout=10)
    copy = sqlite3.connect(":memory:")
    source.backup(copy)
    source.close()
    data = copy.serialize()
    copy.close()
    sys.stdout.buffer.write(b"%d\\n" % len(data) + data)
    sys.stdout.buffer.flush()
"""


class ApplianceBox(BoxView):
    """The box behind `root`. Copies of its store lie in `folder`."""

    def __init__(self, root: Way, folder: Path) -> None:
        self.root = root
        self.log = folder / "journal.txt"
        self._folder = folder
        self._copier: subprocess.Popen[bytes] | None = None
        self._copy: Path | None = None
        self._copied = 0.0
        self._number = 0

    def cli(self, *words: str, stdin: str = "", timeout_s: float = 60) -> str:
        """Run one `diecast` command as root on the box. Raises `CliFailed`."""
        done = subprocess.run(
            self.root.command(shlex.join(["diecast", *words])),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise CliFailed(words, done.returncode, done.stderr + done.stdout)
        return done.stdout

    def store(self) -> Store:
        """A copy of the box's store, not older than a second or two. A box that restarts is waited for."""
        if self._copy is None or time.monotonic() - self._copied > _FRESH_S:
            deadline = time.monotonic() + AWAY_S
            while not self._take_copy():
                if time.monotonic() > deadline:
                    raise LabError(f"The box did not show its store for {AWAY_S} s.")
                time.sleep(1)
        assert self._copy is not None
        return Store.open(self._copy)

    def forget(self) -> None:
        """Let the next look be at the store as it is then."""
        self._copied = 0.0

    def save_journal(self) -> None:
        """Keep what the box's journal has of this boot and the ones before."""
        self.log.write_text(self.root.run("journalctl --no-pager -o short-precise", timeout_s=120))

    def hang_up(self) -> None:
        """Forget the connection; the next look makes another."""
        if self._copier:
            self._copier.kill()
            self._copier.wait()
            for stream in (self._copier.stdin, self._copier.stdout):
                if stream:
                    stream.close()
            self._copier = None
        self.root.hang_up()

    def _take_copy(self) -> bool:
        try:
            data = self._ask()
        except (OSError, ValueError, LabError):
            self.hang_up()
            return False
        if self._copy:
            for path in self._folder.glob(self._copy.name + "*"):
                path.unlink(missing_ok=True)
        self._number += 1
        self._copy = self._folder / f"copy-{self._number}.sqlite"
        self._copy.write_bytes(data)
        self._copied = time.monotonic()
        return True

    def _ask(self) -> bytes:
        if self._copier is None:
            self.root.run("true", timeout_s=20)  # the shared connection, which the copier then takes
            words = self.root.command(shlex.join(["python3", "-u", "-c", _COPIER]))
            self._copier = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        assert self._copier.stdin is not None
        assert self._copier.stdout is not None
        self._copier.stdin.write(b"\n")
        self._copier.stdin.flush()
        size = int(self._copier.stdout.readline())
        data = self._copier.stdout.read(size)
        if len(data) != size:
            raise OSError("the box went away")
        return data
