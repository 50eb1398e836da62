"""A real HTTP service on the loopback with a real store and image store, and PCs that call it."""

from __future__ import annotations

import dataclasses
import http.client
import io
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.test_utils import TestServer

from appliance.config import Paths, Settings
from appliance.engine.chunk import chunk_id, compress
from appliance.engine.index import Index, Window
from appliance.engine.manifest import DiskShape, File, FileSystem, Manifest, Region, TableShape, version_id
from appliance.events import TaskState
from appliance.model import Host, Task
from appliance.services.http_box import Box
from appliance.services.httpd import CONNECTION, make_app, make_box
from appliance.services.ingest import Ingest
from appliance.store import Store
from appliance.wire import agentapi as api

MAC = "52:54:00:aa:01:02"
OTHER_MAC = "52:54:00:aa:01:03"
WINDOW = 1 << 16


def settings_in(folder: Path, **changes: Any) -> Settings:
    """Settings with every path below `folder`; `changes` replace whole sections."""
    paths = Paths(folder / "state", folder / "images", folder / "boot", folder / "run")
    return dataclasses.replace(Settings(), paths=paths, **changes)


def boot_files(settings: Settings) -> dict[str, bytes]:
    """Put small stand-ins for kernel, initrd and loaders where they are served from."""
    files = {name: name.encode() * 5000 for name in ("vmlinuz", "initrd.img", "shimx64.efi", "grubx64.efi")}
    settings.paths.boot.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (settings.paths.boot / name).write_bytes(content)
    return files


@dataclass(frozen=True)
class TinyImage:
    """A disk without a table, in windows of 64 KiB: enough to be a version."""

    plain: tuple[bytes, ...]

    @classmethod
    def of(cls, text: str, windows: int = 3) -> TinyImage:
        return cls(tuple(f"{text} {number} ".encode().ljust(WINDOW, b".") for number in range(windows)))

    @property
    def frames(self) -> dict[bytes, bytes]:
        return {chunk_id(window): compress(window) for window in self.plain}

    @property
    def index(self) -> bytes:
        windows = [Window(n, chunk_id(data), ((0, WINDOW),)) for n, data in enumerate(self.plain)]
        return Index.build(windows, window_bytes=WINDOW, region_bytes=len(self.plain) * WINDOW).data

    @property
    def manifest(self) -> bytes:
        size, index = len(self.plain) * WINDOW, self.index
        file = File("disk.index", Index.parse(index).hash, len(index))
        region = Region("disk", "disk", 0, size, FileSystem("raw"), file, used_bytes=size)
        shape = DiskShape(size, 512, 512)
        made = Manifest(WINDOW, size, len(set(self.plain)), size, shape, TableShape("none"), (region,))
        return made.to_bytes()

    @property
    def version_id(self) -> str:
        return version_id(self.manifest)


@dataclass
class Site:
    """The running service and what it works on."""

    box: Box
    url: str

    @property
    def store(self) -> Store:
        return self.box.store

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def ingest(self) -> Ingest:
        return Ingest(self.box.settings, self.box.store, self.box.chunks, self.box.uploads)

    def host(self, name: str = "LAB1-01", mac: str = MAC, **fields: Any) -> Host:
        return self.store.hosts.add(name, [mac], **fields)

    def export(self, task_id: int, ip: str = "127.0.0.1") -> Path:
        """What the NFS service does for a running task."""
        self.store.settings.set(f"nfs.ready.{task_id}", ip)
        return self.box.chunks.open_staging(task_id, 65600)

    def captured(self, image: TinyImage, name: str = "win11", mac: str = "52:54:00:00:00:99") -> Task:
        """A version made by a whole capture, without HTTP."""
        host = self.store.hosts.identify([mac]) or self.host("master", mac)
        task = self.store.tasks.capture(host, name)
        self.store.tasks.checked_in(task.id, "127.0.0.1", mac)
        stage(self.export(task.id), image)
        upload(self.box, task.id, image)
        return self.ingest.commit(verifying(self.store, task.id))


def verifying(store: Store, task_id: int) -> Task:
    """The agent's result has come."""
    return store.tasks.move(task_id, TaskState.VERIFYING)


def stage(folder: Path, image: TinyImage) -> None:
    """Leave the chunks of `image` in a staging folder, as the agent does."""
    for id, frame in image.frames.items():
        part = folder / f"{id.hex()}.part"
        part.write_bytes(frame)
        part.rename(folder / id.hex())


def upload(box: Box, task_id: int, image: TinyImage) -> None:
    """Upload index and manifest without HTTP."""
    for file, data in (
        (box.uploads.begin(task_id, "disk.index"), image.index),
        (box.uploads.begin_manifest(task_id), image.manifest),
    ):
        with file:
            file.write(data)
            file.keep()


@dataclass
class Answer:
    """What came back."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class CallingPc:
    """A PC with an address of its own: 127.0.0.0/8 has enough of them."""

    session: aiohttp.ClientSession
    url: str
    mac: str
    ip: str
    token: str = ""

    async def call(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        sent |= headers or {}
        data = io.BytesIO(body) if body else None
        async with self.session.request(method, self.url + path, data=data, headers=sent) as got:
            return Answer(got.status, await got.read(), got.headers)

    async def agent(self, method: str, path: str, message: Any = b"") -> Answer:
        """One agent call; `message` is bytes or a message of `wire.agentapi`."""
        body = message if isinstance(message, bytes) else message.to_json()
        return await self.call(method, api.PREFIX + path, body)

    async def check_in(self, **fields: Any) -> api.CheckInAnswer:
        who = api.CheckIn(macs=fields.pop("macs", [self.mac]), boot_mac=self.mac, **fields)
        answer = await self.agent("POST", "/checkin", who)
        assert answer.status == 200, answer.text
        found = api.CheckInAnswer.from_json(answer.body)
        self.token = found.token
        return found


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Site]:
    """The service on a free port of all loopback addresses."""
    with Store.open(settings.paths.database) as store:
        box = make_box(settings, store)
        server = TestServer(make_app(box), host="0.0.0.0", skip_url_asserts=True)
        await server.start_server(**CONNECTION)
        try:
            yield Site(box, f"http://127.0.0.1:{server.port}")
        finally:
            await server.close()
            box.pool.shutdown()


@asynccontextmanager
async def pc_at(site: Site, ip: str = "127.0.0.1", mac: str = MAC) -> AsyncIterator[CallingPc]:
    """A PC that calls from `ip`."""
    connector = aiohttp.TCPConnector(local_addr=(ip, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield CallingPc(session, site.url, mac, ip)


def raw_exchange(port: int, data: bytes, timeout_s: float = 1.0) -> bytes:
    """Send bytes to the socket as they are; return what comes back until it is closed or silent for `timeout_s`."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as sock:
        received = b""
        try:
            sock.sendall(data)
            while piece := sock.recv(65536):
                received += piece
        except (TimeoutError, ConnectionError):
            pass
        return received


def is_alive(port: int) -> bool:
    """Whether the service still answers a plain question."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    finally:
        connection.close()
