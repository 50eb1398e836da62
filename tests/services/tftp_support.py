"""A live TFTP server on loopback, and a client that is only sockets, for the tests of the TFTP service.

A module that uses the fixtures names them in its `__all__`.
"""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.config import Tftp
from appliance.services.tftp_files import GRUB_CONFIG, Library
from appliance.services.tftpd import Fetched, LoaderServer

GRUB_CFG = b"# first configuration\nset timeout=0\n"
SIZES = {"shimx64.efi": 100_000, "grubx64.efi": 512 * 3, "undionly.kpxe": 1000, "snponly.efi": 0, "vmlinuz": 5000}


def make_boot_folder(folder: Path, sizes: dict[str, int]) -> Path:
    """A boot folder with files of these sizes, listed in its catalogue."""
    boot = folder / "boot"
    boot.mkdir()
    catalog = {}
    for name, size in sizes.items():
        content = pattern(name, size)
        (boot / name).write_bytes(content)
        catalog[name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "package": "test", "version": "1"}
    (boot / "catalog.json").write_text(json.dumps(catalog))
    return boot


def pattern(name: str, size: int) -> bytes:
    """Content in which no two blocks are alike, so that a repeated or swapped block shows."""
    seed = hashlib.sha256(name.encode()).digest()
    return b"".join(hashlib.sha256(seed + struct.pack("!I", i)).digest() for i in range(size // 32 + 1))[:size]


@dataclass(slots=True)
class RunningServer:
    """A server in a thread of its own."""

    server: LoaderServer
    thread: threading.Thread
    boot: Path
    fetched: list[Fetched] = field(default_factory=list)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.server.port


@contextmanager
def running_server(boot: Path, settings: Tftp) -> Iterator[RunningServer]:
    """Run a server on loopback; the end asserts that its loop was still alive."""
    fetched: list[Fetched] = []
    server = LoaderServer(settings, Library(boot, {GRUB_CONFIG: GRUB_CFG}), ["lo"], fetched.append)
    server.open()
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield RunningServer(server, thread, boot, fetched)
        assert thread.is_alive(), "the server's loop ended"
    finally:
        server.stop()
        thread.join(10)


def request(name: bytes, *options: bytes, opcode: int = 1, mode: bytes = b"octet") -> bytes:
    """The bytes of a request; options are name, value, name, value ..."""
    return struct.pack("!H", opcode) + b"\0".join((name, mode, *options)) + b"\0"


def ack(block: int) -> bytes:
    """The bytes of an acknowledgement."""
    return struct.pack("!HH", 4, block & 0xFFFF)


@dataclass(slots=True)
class Client:
    """One client socket."""

    server: tuple[str, int]
    sock: socket.socket = field(default_factory=lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    peer: tuple[str, int] = ("", 0)

    def __enter__(self) -> Client:
        self.sock.settimeout(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def ask(self, datagram: bytes) -> bytes:
        """Send to the server's port and return the first answer."""
        self.sock.sendto(datagram, self.server)
        return self.receive()

    def receive(self) -> bytes:
        """The next datagram of a transfer."""
        answer, self.peer = self.sock.recvfrom(70000)
        return answer

    def reply(self, datagram: bytes) -> None:
        """Send to the transfer's port."""
        self.sock.sendto(datagram, self.peer)

    def hears_nothing(self, seconds: float) -> bool:
        """Whether nothing arrives for so long."""
        self.sock.settimeout(seconds)
        try:
            self.sock.recv(70000)
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(5)
        return False

    def fetch(self, name: bytes, *options: bytes, blksize: int = 512, mode: bytes = b"octet") -> bytes:
        """Fetch a whole file."""
        answer = self.ask(request(name, *options, mode=mode))
        if answer[:2] == b"\0\6":
            self.reply(ack(0))
            answer = self.receive()
        content = bytearray()
        for block in range(1, 1 << 20):
            assert answer[:4] == struct.pack("!HH", 3, block & 0xFFFF), answer[:40]
            content += answer[4:]
            self.reply(ack(block))
            if len(answer) - 4 < blksize:
                return bytes(content)
            answer = self.receive()
        raise AssertionError("endless file")


def options_of(oack: bytes) -> dict[bytes, bytes]:
    """The options of an OACK."""
    assert oack[:2] == b"\0\6", oack[:40]
    words = oack[2:].split(b"\0")[:-1]
    return dict(zip(words[::2], words[1::2], strict=True))


def error_code(datagram: bytes) -> int:
    """The code of an ERROR."""
    assert datagram[:2] == b"\0\5", datagram[:40]
    return int.from_bytes(datagram[2:4])


SHIM = pattern("shimx64.efi", SIZES["shimx64.efi"])


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_boot_folder(tmp_path_factory.mktemp("tftp"), SIZES)


@pytest.fixture(scope="module")
def running(boot: Path) -> Iterator[RunningServer]:
    with running_server(boot, Tftp(port=0, timeout_s=0.3, retries=2)) as running:
        yield running


@pytest.fixture
def quiet(boot: Path) -> Iterator[RunningServer]:
    """A server of one's own, for tests that count its transfers."""
    with running_server(boot, Tftp(port=0, timeout_s=0.3, retries=2)) as running:
        yield running


@pytest.fixture
def client(running: RunningServer) -> Iterator[Client]:
    with Client(running.address) as client:
        yield client
