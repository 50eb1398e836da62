"""A box with an image, and places for its backups: a folder, a host behind a program that plays ssh, a real sshd."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from appliance import config
from appliance.backup import pool
from appliance.backup.places import Folder, Place
from appliance.backup.remote import Remote
from appliance.backup.run import Box, Report, run
from appliance.engine.chunkstore import ChunkStore
from appliance.store import Store
from tests.cli.conftest import commit, version
from tests.engine.test_chunkstore import plain, version_of

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

# ssh(1) as far as we need it: leaves out options, takes the host, has a shell run what remains, as sshd does.
_SSH = """\
#!/bin/sh
while [ $# -gt 0 ]; do
    case "$1" in --) shift; break ;; *) shift ;; esac
done
echo "$1" >> {log}
shift
exec sh -c "$*"
"""


@dataclass(frozen=True, slots=True)
class Home:
    """A box on a folder of its own."""

    folder: Path
    store: Store
    chunks: ChunkStore
    config_path: Path

    @property
    def box(self) -> Box:
        return Box(self.store, config.load(self.config_path), self.config_path)

    def image(self, name: str, *numbers: int) -> str:
        """Capture an image of chunks with these numbers; the version's id."""
        ids = [self.chunks.put(plain(number)) for number in numbers]
        manifest, files = version_of(ids)
        id = self.chunks.write_version(manifest, files)
        made = version(image=name)
        commit(self.store, type(made)(**{**{k: getattr(made, k) for k in made.__slots__}, "id": id}))
        return id

    def back_up(self, place: Place, *, keep: int = 7, images: bool = True, first: bool = False) -> Report:
        return run(self.box, place, images=images, keep=keep, now=NOON, first=first)


def home(folder: Path) -> Iterator[Home]:
    folder.mkdir()
    config_path = folder / "diecast.toml"
    lines = "\n".join(f'{name} = "{folder / name}"' for name in ("state", "images", "boot", "run"))
    config_path.write_text(f"[paths]\n{lines}\n")
    with Store.open(folder / "state" / "diecast.sqlite") as store:
        yield Home(folder, store, ChunkStore(folder / "images"), config_path)


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Home]:
    """A box without images."""
    yield from home(tmp_path / "box")


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A folder as of a mounted disk."""
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


@pytest.fixture
def played_ssh(tmp_path: Path) -> Path:
    """A program that plays ssh; whom it was to call is in `calls` beside it."""
    program = tmp_path / "ssh"
    program.write_text(_SSH.format(log=tmp_path / "calls"))
    program.chmod(0o755)
    return program


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Path]:
    """A real OpenSSH server on the loopback, and a program that calls ssh with its port and key."""
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (keys / "known").write_text(f"[127.0.0.1]:{port} {(keys / 'host.pub').read_text()}")
    shutil.copy(keys / "user.pub", keys / "authorized")
    (keys / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {keys / 'host'}\nAuthorizedKeysFile {keys / 'authorized'}\n"
        f"PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation asks for it
    with (tmp_path / "sshd.log").open("wb") as log:
        server = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(keys / "sshd_config")], stderr=log)
        try:
            _wait_for(port)
            program = tmp_path / "real-ssh"
            program.write_text(
                f"#!/bin/sh\nexec ssh -F none -p {port} -i {keys / 'user'} -o IdentitiesOnly=yes"
                f' -o UserKnownHostsFile={keys / "known"} "$@"\n'
            )
            program.chmod(0o755)
            yield program
        finally:
            server.terminate()
            server.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < deadline, "sshd does not answer"
        time.sleep(0.05)


@pytest.fixture(params=["folder", "played ssh"])
def place(request: pytest.FixtureRequest, disk: Path) -> Place:
    """Both kinds of place, below `disk`; a real sshd is slower and has a story of its own."""
    if request.param == "folder":
        return Folder(disk)
    program: Path = request.getfixturevalue("played_ssh")
    return Remote("127.0.0.1", str(disk), program=str(program))


def names(place: Place) -> list[str]:
    """The backups there, newest first."""
    return [found.name for found in pool.backups(place)]
