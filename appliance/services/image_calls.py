"""The agent's calls about image content: which chunks to send, index and manifest up, index and manifest down.

The chunks themselves go over NFS. Uploads are streamed to disk and count for nothing until the scheduler has checked
them against one another and against the chunk store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from appliance.errors import Conflict, NoSpace
from appliance.events import TaskKind, TaskState
from appliance.model import Task
from appliance.services.agent_calls import Caller, Reply, authorise, bearer, handler, task_of
from appliance.services.http_box import BODY_TIMEOUT_S, BOX, Box, sockname
from appliance.services.uploads import Upload
from appliance.wire import agentapi as api

T = TypeVar("T")

_PIECE_BYTES = 1 << 18
_BYTES = "application/octet-stream"
_ALIVE = (TaskState.BOOTING, TaskState.RUNNING)


def add_routes(app: web.Application) -> None:
    """Register the calls of this module."""
    app.router.add_post(f"{api.PREFIX}/chunks/missing", handler(missing))
    app.router.add_put(f"{api.PREFIX}/capture/index/{{name}}", _put_index)
    app.router.add_put(f"{api.PREFIX}/capture/manifest", _put_manifest)
    app.router.add_get(f"{api.PREFIX}/version/manifest", handler(manifest))
    app.router.add_get(f"{api.PREFIX}/version/index/{{name}}", _get_index)


def missing(box: Box, caller: Caller, body: bytes) -> Reply:
    """Which of these chunks the agent shall stage. All of them are pinned from here on."""
    ids = api.split_ids(body)
    task = _capture(box, caller)
    refuse_when_full(box, task)
    box.store.tasks.heard(task.id)
    return Reply(b"".join(box.chunks.missing(task.id, ids)), content_type=_BYTES)


def refuse_when_full(box: Box, task: Task) -> None:
    """End a capture in words before the disk is full. Raises `NoSpace` (409)."""
    free, reserve = box.chunks.free_bytes(), box.settings.tasks.free_reserve_mb * 10**6
    if free >= reserve:
        return
    error = (
        f"The image store has {free // 10**6} MB left, and {reserve // 10**6} MB are kept free"
        f" (tasks.free_reserve_mb): the capture of {task.host_name} was stopped."
    )
    remedy = "Remove images that nobody needs (diecast image remove) or add disk space, then capture again."
    box.store.tasks.move(task.id, TaskState.FAILED, error=error, remedy=remedy)
    raise NoSpace(error, hint=remedy)


def manifest(box: Box, caller: Caller, body: bytes) -> Reply:
    """The manifest of the version that the caller deploys."""
    task = _deploy(box, caller)
    return Reply(box.chunks.read_manifest(task.version_id), content_type=_BYTES)


async def _get_index(request: web.Request) -> web.StreamResponse:
    def find(caller: Caller) -> Path:
        return box.chunks.index_path(_deploy(box, caller).version_id, request.match_info["name"])

    box = request.app[BOX]
    path = await _authorised(request, find)
    return web.FileResponse(path, headers={"Content-Type": _BYTES})


async def _put_index(request: web.Request) -> web.Response:
    uploads, name = request.app[BOX].uploads, request.match_info["name"]
    return await _receive(request, lambda task: uploads.begin(task.id, name))


async def _put_manifest(request: web.Request) -> web.Response:
    uploads = request.app[BOX].uploads
    return await _receive(request, lambda task: uploads.begin_manifest(task.id))


async def _receive(request: web.Request, start: Callable[[Task], Upload]) -> web.Response:
    def begin(caller: Caller) -> Upload:
        task = _capture(box, caller)
        refuse_when_full(box, task)
        box.store.tasks.heard(task.id)
        return start(task)

    box = request.app[BOX]
    upload = await _authorised(request, begin)
    try:
        if (request.content_length or 0) > upload.limit_bytes:
            raise web.HTTPRequestEntityTooLarge(upload.limit_bytes, request.content_length or 0)
        await _copy(request, upload, box.call)
        await box.call(upload.keep)
    finally:
        await asyncio.shield(box.call(upload.__exit__, None, None, None))
    return web.json_response({})


async def _copy(request: web.Request, upload: Upload, call: Callable[..., Awaitable[None]]) -> None:
    pieces = request.content.iter_chunked(_PIECE_BYTES)
    while True:
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                piece = await anext(pieces, b"")
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        if not piece:
            return
        request.app[BOX].counters.received(len(piece))
        await call(upload.write, piece)


async def _authorised(request: web.Request, work: Callable[[Caller], T]) -> T:
    box = request.app[BOX]
    token, ip, server = bearer(request), request.remote or "", sockname(request)[0]
    return await box.call(lambda: work(authorise(box, token, ip, server)))


def _capture(box: Box, caller: Caller) -> Task:
    return _of_kind(task_of(box, caller, *_ALIVE), TaskKind.CAPTURE)


def _deploy(box: Box, caller: Caller) -> Task:
    return _of_kind(task_of(box, caller, *_ALIVE), TaskKind.DEPLOY)


def _of_kind(task: Task, kind: TaskKind) -> Task:
    if task.kind is not kind:
        raise Conflict(f"Task {task.id} is a {task.kind}, not a {kind}.")
    return task
