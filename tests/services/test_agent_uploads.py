"""The agent API: a whole capture and a whole deployment, and uploads that are broken, too long or too many."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from pathlib import Path

import pytest

from appliance.events import TaskState
from appliance.services.http_box import MAX_BODY_BYTES
from appliance.services.scheduler import Scheduler
from appliance.services.uploads import Upload
from appliance.wire import agentapi as api
from tests.services.http_support import (
    OTHER_MAC,
    CallingPc,
    Site,
    TinyImage,
    pc_at,
    running,
    settings_in,
    stage,
)

IMAGE = TinyImage.of("a")


async def test_a_capture_and_a_deploy_go_through_with_answers_lost_on_the_way(site: Site, pc: CallingPc) -> None:
    scheduler = Scheduler(site.box.settings, site.store, site.box.chunks, site.box.uploads)
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    staging = site.export(task.id)
    ids = b"".join(IMAGE.frames)
    for _ in range(2):
        assert (await pc.agent("POST", "/chunks/missing", ids)).body == ids
    stage(staging, IMAGE)
    scheduler.tick()
    assert (await pc.agent("POST", "/chunks/missing", ids)).body == b""
    for _ in range(2):
        assert (await pc.agent("PUT", "/capture/index/disk.index", IMAGE.index)).status == 200
        assert (await pc.agent("PUT", "/capture/manifest", IMAGE.manifest)).status == 200
    for _ in range(2):
        assert (await pc.agent("POST", "/result", api.Result(ok=True))).status == 200
    scheduler.tick()
    assert json.loads((await pc.agent("GET", "/status")).body)["state"] == "done"
    assert (await pc.agent("POST", "/result", api.Result(ok=True))).status == 200
    version = site.store.images.resolve("win11")
    assert (version.id, version.number, version.chunks) == (IMAGE.version_id, 1, 3)
    assert version.new_bytes == version.stored_bytes == sum(map(len, IMAGE.frames.values()))
    scheduler.tick()
    assert not staging.exists()
    assert not site.box.uploads.folder(task.id).exists()

    async with pc_at(site, "127.0.0.2", OTHER_MAC) as target:
        deploy = site.store.tasks.deploy(site.host("LAB1-02", OTHER_MAC), version)
        await target.check_in()
        site.export(deploy.id, "127.0.0.2")
        order = api.TaskOrder.from_json((await target.agent("GET", "/task")).body)
        assert (order.version_id, order.staging) == (IMAGE.version_id, None)
        assert (await target.agent("GET", "/version/manifest")).body == IMAGE.manifest
        assert (await target.agent("GET", "/version/index/disk.index")).body == IMAGE.index
        assert (await target.agent("POST", "/chunks/missing", ids)).status == 409
        assert (await target.agent("PUT", "/capture/manifest", b"x")).status == 409
        details = {"fetched_bytes": "70", "by_cast_bytes": "60 of what"}
        await target.agent("POST", "/result", api.Result(ok=True, written_bytes=100, reused_bytes=9, details=details))
        scheduler.tick()
        assert site.store.tasks.get(deploy.id).state is TaskState.DONE
        assert "written 100 bytes, kept 9, fetched 70" in [e.text for e in site.store.tasks.events(deploy.id)]
        assert site.store.hosts.get("LAB1-02").version_id == IMAGE.version_id


@pytest.mark.parametrize(
    "name", ["..", "%2e%2e", "..%2f..%2fx", "manifest.json", "UPPER", ".hidden", "a" * 80, "a%00b"]
)
async def test_an_upload_never_chooses_its_path(site: Site, pc: CallingPc, name: str) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    answer = await pc.agent("PUT", f"/capture/index/{name}", b"x")
    assert answer.status in (404, 405)
    folder = site.box.uploads.folder(task.id)
    assert not folder.exists() or not list(folder.iterdir())
    assert (await pc.agent("GET", f"/version/index/{name}")).status in (404, 405, 409)


async def test_an_upload_that_breaks_off_leaves_nothing(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    head = f"PUT {api.PREFIX}/capture/index/p1.index HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {pc.token}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(head.encode() + b"Content-Length: 1000\r\n\r\nonly this")
    await writer.drain()
    folder = site.box.uploads.folder(task.id)
    for _ in range(100):
        if folder.exists() and list(folder.iterdir()):
            break
        await asyncio.sleep(0.02)
    assert list(folder.iterdir())
    writer.close()
    for _ in range(100):
        if not list(folder.iterdir()):
            break
        await asyncio.sleep(0.02)
    assert not list(folder.iterdir())
    assert reader


async def test_a_body_that_is_too_long_is_refused(site: Site, pc: CallingPc) -> None:
    site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    assert (await pc.agent("POST", "/log", b"x" * (MAX_BODY_BYTES + 1))).status == 413
    too_many = b"\0" * 32 * (api.MAX_MISSING_IDS + 1)
    assert (await pc.agent("POST", "/chunks/missing", too_many)).status == 422


@pytest.mark.parametrize("call", ["write", "fsync"])
async def test_a_full_disk_of_the_box_refuses_an_upload_in_words_and_leaves_nothing(
    site: Site, pc: CallingPc, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    begin = site.box.uploads.begin

    def begin_on_a_full_disk(task_id: int, name: str) -> Upload:
        upload = begin(task_id, name)
        upload._file.close()
        upload._file = Path("/dev/full").open("wb")  # noqa: SIM115
        return upload

    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(site.box.uploads, "begin", begin_on_a_full_disk)
    answer = await pc.agent("PUT", "/capture/index/disk.index", bytes(1 << 16))
    assert answer.status == 409
    problem = api.Problem.from_json(answer.body)
    assert "no room for the capture's indexes" in problem.error
    assert "paths.state" in problem.remedy
    assert not list(site.box.uploads.folder(task.id).iterdir())


async def test_a_full_store_ends_the_capture_in_words(tmp_path: Path) -> None:
    from appliance.config import Tasks

    settings = settings_in(tmp_path, tasks=Tasks(free_reserve_mb=1 << 40))
    async with running(settings) as site, pc_at(site) as pc:
        task = site.store.tasks.capture(site.host(), "win11")
        await pc.check_in()
        answer = await pc.agent("POST", "/chunks/missing", b"\0" * 32)
        assert answer.status == 409
        now = site.store.tasks.get(task.id)
        assert now.state is TaskState.FAILED
        assert "MB left" in now.error
        assert api.Problem.from_json(answer.body).error == now.error
        assert "diecast image remove" in now.remedy
