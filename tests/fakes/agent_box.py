"""Boxes for the agent to talk to: real HTTP on the loopback, an image store in a folder, no database.

`FixedBox` answers every call as version 1 of the agent calls says. `FlakyBox` also goes away and comes back.
`RevokingBox` also takes tokens back.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from appliance.engine.chunkstore import ChunkStore
from appliance.errors import ApplianceError
from appliance.wire import agentapi as api

_TASK = 1


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it came in."""

    method: str
    path: str
    body: bytes
    token: str


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: bytes = b"{}"
    headers: dict[str, str] = field(default_factory=dict)


class FixedBox:
    """A box with at most one task, for one PC. Use as a context manager; `port` is free to connect to then."""

    def __init__(self, store: ChunkStore | None = None) -> None:
        self.store = store
        self.order: api.TaskOrder | None = None
        self.host_name = "lab-01"
        self.suggested_name = ""
        self.taken_names: set[str] = set()
        self.message = ""
        self.cancelled = False
        self.version_id = ""  # what a deploy gets, or what a capture made
        self.final = api.Status("done")
        self.calls: list[Call] = []
        self.check_ins: list[api.CheckIn] = []
        self.progress: list[api.Progress] = []
        self.log: list[str] = []
        self.results: list[api.Result] = []
        self.inventories: list[api.Inventory] = []
        self.uploads: dict[str, bytes] = {}
        self.scripted: deque[Reply | None] = deque()  # answers (None: hang up) to the next calls, whatever they are
        self.tokens: set[str] = set()
        self.revoked: set[str] = set()
        self.port = 0
        self._numbers = itertools.count(1)
        self._server: _Server | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop_listening()

    def listen(self) -> None:
        """Begin to answer, on the same port as before."""
        self._server = _Server(("127.0.0.1", self.port), self)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop_listening(self) -> None:
        """Go away as a killed process does: the port refuses, open connections are cut."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            server.cut_all()

    @property
    def paths(self) -> list[str]:
        """The paths of all calls so far."""
        return [call.path for call in self.calls]

    def answer(self, call: Call) -> Reply | None:
        """What to answer; None hangs up."""
        with self._lock:
            self.calls.append(call)
            if self.scripted:
                return self.scripted.popleft()
            if call.path == "/checkin":
                return self._check_in(call)
            if call.token in self.revoked:
                return Reply(403, b"")
            if call.token not in self.tokens:
                return Reply(401, b"")
            try:
                return self.call(call)
            except ApplianceError as error:
                return Reply(422, api.Problem(error.message, error.hint).to_json())

    def _check_in(self, call: Call) -> Reply:
        self.check_ins.append(api.CheckIn.from_json(call.body))
        self.revoked |= self.tokens
        token = f"token-{next(self._numbers)}"
        self.tokens = {token}
        answer = api.CheckInAnswer(
            token=token,
            host_name=self.host_name,
            has_task=self.order is not None,
            suggested_name=self.suggested_name,
            message=self.message,
        )
        return Reply(200, answer.to_json())

    def call(self, call: Call) -> Reply:
        """An answer to a call whose token is right."""
        if call.path.startswith("/capture/"):
            self.uploads[call.path.removeprefix("/capture/")] = call.body
            return Reply(200)
        if call.path.startswith("/version/"):
            assert self.store is not None
            if call.path == "/version/manifest":
                return Reply(200, self.store.read_manifest(self.version_id))
            return Reply(200, self.store.read_index(self.version_id, call.path.removeprefix("/version/index/")))
        known: Any = getattr(self, "_on_" + call.path[1:].replace("/", "_"), None)
        reply: Reply = known(call.body) if known else Reply(404)
        return reply

    def _on_inventory(self, body: bytes) -> Reply:
        self.inventories.append(api.Inventory.from_json(body))
        return Reply(200)

    def _on_register(self, body: bytes) -> Reply:
        name = api.Register.from_json(body).name or self.suggested_name
        if name in self.taken_names:
            return Reply(409, api.Problem(f"There is a host {name} already.", "Choose another name.").to_json())
        self.host_name = name
        return Reply(200, api.Registered(name).to_json())

    def _on_task(self, _: bytes) -> Reply:
        return Reply(200, self.order.to_json()) if self.order else Reply(204, b"")

    def _on_chunks_missing(self, body: bytes) -> Reply:
        ids = api.split_ids(body)
        return Reply(200, b"".join(self.store.missing(_TASK, ids) if self.store else ids))

    def _on_progress(self, body: bytes) -> Reply:
        self.progress.append(api.Progress.from_json(body))
        return Reply(200, api.ProgressAnswer(self.cancelled).to_json())

    def _on_log(self, body: bytes) -> Reply:
        self.log += api.Log.from_json(body).lines
        return Reply(200)

    def _on_result(self, body: bytes) -> Reply:
        if self.results:
            return Reply(409, api.Problem("The task has its result already.").to_json())
        result = api.Result.from_json(body)
        self.results.append(result)
        if result.ok and self.order and self.order.kind == "capture":
            self._commit()
        return Reply(200)

    def _commit(self) -> None:
        assert self.store is not None
        self.store.ingest(_TASK, limit_bytes=1 << 40)
        indexes = {
            name.removeprefix("index/"): body for name, body in self.uploads.items() if name.startswith("index/")
        }
        self.version_id = self.store.write_version(self.uploads["manifest"], indexes)

    def _on_status(self, _: bytes) -> Reply:
        return Reply(200, self.final.to_json())


class FlakyBox(FixedBox):
    """A box that goes away when told to."""

    def away_for(self, seconds: float) -> threading.Timer:
        """Go away now, and come back in a while; the timer is returned to be joined."""
        self.stop_listening()
        timer = threading.Timer(seconds, self.listen)
        timer.start()
        return timer


class RevokingBox(FixedBox):
    """A box that takes tokens back."""

    def revoke(self) -> None:
        """Answer 403 to the present token: the task is somebody else's now."""
        with self._lock:
            self.revoked |= self.tokens
            self.tokens = set()

    def forget(self) -> None:
        """Answer 401 to the present token: it was lost in a restart."""
        with self._lock:
            self.tokens = set()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        assert self.path.startswith(api.PREFIX)
        reply = self.server.box.answer(Call(self.command, self.path.removeprefix(api.PREFIX), body, token))
        if reply is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if reply.status != 204:
            self.wfile.write(reply.body)

    do_GET = do_POST = do_PUT = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Tests look at `FixedBox.calls` instead."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], box: FixedBox) -> None:
        self.box = box
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def cut_all(self) -> None:
        """Cut every connection."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that was cut in the middle of an answer is what these boxes are for."""
