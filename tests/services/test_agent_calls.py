"""The agent API: who may call, in which state, and what each call does."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from appliance.events import BootStage, TaskState
from appliance.services.http_box import MAX_BODY_BYTES
from appliance.services.scheduler import Scheduler
from appliance.wire import agentapi as api
from tests.services.http_support import (
    MAC,
    OTHER_MAC,
    CallingPc,
    Site,
    TinyImage,
    boot_files,
    pc_at,
    running,
    settings_in,
    stage,
)

IMAGE = TinyImage.of("a")
# Every call that needs a token, with a body that is right.
CALLS: list[tuple[str, str, bytes]] = [
    ("POST", "/inventory", b"{}"),
    ("POST", "/register", b"{}"),
    ("GET", "/held", b""),
    ("GET", "/task", b""),
    ("POST", "/progress", b'{"phase": "x"}'),
    ("POST", "/log", b'{"lines": []}'),
    ("POST", "/result", b'{"ok": true}'),
    ("GET", "/status", b""),
    ("POST", "/chunks/missing", b"\0" * 32),
    ("PUT", "/capture/index/p1.index", b"x"),
    ("PUT", "/capture/manifest", b"x"),
    ("GET", "/version/manifest", b""),
    ("GET", "/version/index/p1.index", b""),
]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    settings = settings_in(tmp_path)
    boot_files(settings)
    async with running(settings) as found:
        yield found


@pytest.fixture
async def pc(site: Site) -> AsyncIterator[CallingPc]:
    async with pc_at(site) as found:
        yield found


def problem(body: bytes) -> api.Problem:
    return api.Problem.from_json(body)


# -- check-in


async def test_a_host_with_a_task_checks_in_and_its_task_runs(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    answer = await pc.check_in(firmware="uefi", secure_boot=True, agent_version="0.1")
    assert (answer.host_name, answer.has_task, answer.sealed) == ("LAB1-01", True, False)
    host = site.store.hosts.get("LAB1-01")
    assert (host.firmware, host.secure_boot, host.stage) == ("uefi", True, BootStage.AGENT)
    assert site.store.tasks.get(task.id).state is TaskState.RUNNING


async def test_a_sealed_host_without_a_task_is_told_so(site: Site, pc: CallingPc) -> None:
    site.host(sealed=True)
    answer = await pc.check_in()
    assert (answer.has_task, answer.sealed) == (False, True)
    assert "SEALED" in answer.message


async def test_an_unknown_pc_gets_a_session_and_a_name_to_choose(pc: CallingPc) -> None:
    answer = await pc.check_in(purpose="register")
    assert (answer.host_name, answer.has_task, answer.suggested_name) == ("", False, "PC-001")


async def test_the_unknown_pc_chosen_as_master_is_captured(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(None, "win11", sealed=True)
    answer = await pc.check_in(purpose="task")
    assert (answer.host_name, answer.has_task) == ("win11-master", True)
    assert site.store.tasks.get(task.id).state is TaskState.RUNNING


@pytest.mark.parametrize("purpose", ["register", "inventory", "deploy-new"])
async def test_the_waiting_capture_takes_only_a_pc_that_was_chosen_for_it(
    site: Site, pc: CallingPc, purpose: str
) -> None:
    task = site.store.tasks.capture(None, "win11")
    assert not (await pc.check_in(purpose=purpose)).has_task
    assert site.store.tasks.get(task.id).host_id is None


async def test_a_pc_chosen_as_master_is_never_deployed_to(site: Site, pc: CallingPc) -> None:
    site.captured(IMAGE)
    waiting = site.store.tasks.capture(None, "linux")
    site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 5, "LAB1-{nn}")
    site.store.tasks.cancel(waiting.id)
    answer = await pc.check_in(purpose="task")
    assert (answer.has_task, answer.host_name) == (False, "")
    assert "No capture waits" in answer.message


async def test_new_pcs_are_named_registered_and_deployed_until_enough(site: Site, pc: CallingPc) -> None:
    site.captured(IMAGE)
    site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 1, "LAB1-{nn}")
    assert (await pc.check_in(purpose="deploy-new")).host_name == "LAB1-01"
    async with pc_at(site, "127.0.0.3", OTHER_MAC) as late:
        assert not (await late.check_in(purpose="deploy-new")).has_task


async def is_held(pc: CallingPc) -> bool:
    return api.Held.from_json((await pc.agent("GET", "/held")).body).held


async def test_a_held_new_pc_waits_until_it_is_confirmed_and_then_has_its_task(site: Site, pc: CallingPc) -> None:
    site.captured(IMAGE)
    order = site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 2, "LAB1-{nn}", hold=True)
    answer = await pc.check_in(purpose="deploy-new")
    assert (answer.host_name, answer.has_task, answer.held) == ("LAB1-01", False, True)
    assert "until the operator confirms it" in answer.message
    assert await is_held(pc)
    (task,) = site.store.tasks.held(order.id)
    assert task.last_heard is not None, "the operator sees that it is there"
    unaware = await pc.agent("GET", "/task")
    assert (unaware.status, "confirm" in unaware.text) == (503, True), "an older agent waits as well"
    site.store.tasks.release(order.id)
    assert not await is_held(pc)
    answer = await pc.check_in(purpose="deploy-new")
    assert (answer.has_task, answer.held) == (True, False)
    assert site.store.tasks.get(task.id).state is TaskState.RUNNING


async def test_a_held_pc_that_is_started_again_waits_again(site: Site, pc: CallingPc) -> None:
    site.captured(IMAGE)
    order = site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 2, "LAB1-{nn}", hold=True)
    for purpose in ("deploy-new", "task", "task"):
        assert (await pc.check_in(purpose=purpose)).held
    assert [task.host_name for task in site.store.tasks.held(order.id)] == ["LAB1-01"]


async def test_a_held_pc_that_is_not_confirmed_is_told_that_it_has_no_task(site: Site, pc: CallingPc) -> None:
    site.captured(IMAGE)
    order = site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 2, "LAB1-{nn}", hold=True)
    await pc.check_in(purpose="deploy-new")
    site.store.tasks.dismiss(order.id)
    assert not await is_held(pc)
    answer = await pc.check_in(purpose="deploy-new")
    assert (answer.has_task, answer.held) == (False, False)
    assert (await pc.agent("GET", "/task")).status == 204


async def test_a_pc_whose_task_is_for_later_has_none_now(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11", start_at=datetime.now(UTC) + timedelta(hours=1))
    answer = await pc.check_in()
    assert (answer.has_task, answer.held) == (False, False)
    assert site.store.tasks.get(task.id).state is TaskState.SCHEDULED


async def test_many_pcs_at_once_do_not_take_one_place_twice(site: Site) -> None:
    site.captured(IMAGE)
    site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 3, "LAB1-{nn}")

    async def boot(number: int) -> str:
        async with pc_at(site, f"127.0.1.{number}", f"52:54:00:00:01:{number:02x}") as pc:
            return (await pc.check_in(purpose="deploy-new")).host_name

    names = await asyncio.gather(*(boot(number) for number in range(1, 9)))
    assert sorted(name for name in names if name) == ["LAB1-01", "LAB1-02", "LAB1-03"]


async def test_a_verifying_task_is_not_run_again_by_a_restarted_pc(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    site.store.tasks.checked_in(task.id, pc.ip, MAC)
    site.store.tasks.move(task.id, TaskState.VERIFYING)
    await pc.check_in()
    answer = await pc.agent("GET", "/task")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert site.store.tasks.get(task.id).state is TaskState.VERIFYING
    site.store.tasks.cancel(task.id)
    assert (await pc.agent("GET", "/task")).status == 204


async def test_another_version_of_the_api_is_refused_in_words(pc: CallingPc) -> None:
    who = api.CheckIn(macs=[MAC], boot_mac=MAC, api_version=99)
    answer = await pc.agent("POST", "/checkin", who)
    assert answer.status == 409
    assert "version 99" in problem(answer.body).error


async def test_a_bad_mac_or_uuid_is_no_defect(pc: CallingPc) -> None:
    bad_mac = await pc.agent("POST", "/checkin", api.CheckIn(macs=["x"], boot_mac="nonsense"))
    assert bad_mac.status == 422
    bad_uuid = await pc.agent("POST", "/checkin", api.CheckIn(macs=[], boot_mac=MAC, uuid="Not Settable"))
    assert bad_uuid.status == 200


# -- tokens


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_every_call_needs_a_token(pc: CallingPc, method: str, path: str, body: bytes) -> None:
    assert (await pc.agent(method, path, body)).status == 401
    for wrong in ("Bearer", "Bearer ", "Basic abc", "Bearer " + "x" * 300, "Bearer wrong", "Bearer \xe4\xf6"):
        answer = await pc.call(method, api.PREFIX + path, body, headers={"Authorization": wrong})
        assert answer.status == 401, wrong


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_a_token_from_another_address_is_refused(
    site: Site, pc: CallingPc, method: str, path: str, body: bytes
) -> None:
    site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    async with pc_at(site, "127.0.0.66") as thief:
        thief.token = pc.token
        assert (await thief.agent(method, path, body)).status == 403


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
async def test_a_token_from_another_card_on_our_segment_is_refused(
    site: Site, pc: CallingPc, monkeypatch: pytest.MonkeyPatch, method: str, path: str, body: bytes
) -> None:
    site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    monkeypatch.setattr("appliance.services.agent_calls.neighbour", {"127.0.0.1": MAC}.get)
    assert (await pc.agent("GET", "/status")).status == 200
    monkeypatch.setattr("appliance.services.agent_calls.neighbour", {"127.0.0.1": OTHER_MAC}.get)
    assert (await pc.agent(method, path, body)).status == 403


async def test_a_token_is_revoked_by_the_next_check_in(site: Site, pc: CallingPc) -> None:
    site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    old = pc.token
    await pc.check_in()
    assert pc.token != old
    assert (await pc.agent("GET", "/status")).status == 200
    pc.token = old
    assert (await pc.agent("GET", "/status")).status == 403


async def test_a_token_moves_its_own_task_only(site: Site, pc: CallingPc) -> None:
    mine = site.store.tasks.capture(site.host(), "win11")
    other = site.store.tasks.capture(site.host("LAB1-02", OTHER_MAC), "linux")
    async with pc_at(site, "127.0.0.2", OTHER_MAC) as neighbour:
        await neighbour.check_in()
        await pc.check_in()
        await neighbour.agent("POST", "/result", api.Result(ok=False, error="Mine is broken."))
    assert site.store.tasks.get(mine.id).state is TaskState.RUNNING
    assert site.store.tasks.get(other.id).state is TaskState.FAILED


async def test_tokens_outlive_a_restart_of_the_service(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    async with running(settings) as before:
        before.store.tasks.capture(before.host(), "win11")
        async with pc_at(before) as pc:
            token = (await pc.check_in()).token
    async with running(settings) as after, pc_at(after) as pc:
        pc.token = token
        assert json.loads((await pc.agent("GET", "/status")).body)["state"] == "running"


async def test_no_token_is_ever_logged(site: Site, pc: CallingPc, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    for method, path, body in CALLS:
        await pc.agent(method, path, body)
    async with pc_at(site, "127.0.0.66") as thief:
        thief.token = pc.token
        await thief.agent("GET", "/status")
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("appliance")]
    assert ours
    assert not any(pc.token in line for line in ours)


# -- registration and inventory


async def test_a_pc_registers_with_a_name_or_with_one_from_the_pattern(site: Site, pc: CallingPc) -> None:
    await pc.check_in(purpose="register", macs=[MAC, OTHER_MAC], firmware="uefi")
    answer = await pc.agent("POST", "/register", api.Register("Reception"))
    assert json.loads(answer.body) == {"host_name": "Reception"}
    host = site.store.hosts.get("Reception")
    assert (host.macs, host.firmware) == ((MAC, OTHER_MAC), "uefi")
    async with pc_at(site, "127.0.0.4", "52:54:00:00:00:04") as second:
        await second.check_in(purpose="register")
        answer = await second.agent("POST", "/register", api.Register())
        assert json.loads(answer.body) == {"host_name": "PC-001"}


async def test_a_registration_whose_answer_was_lost_can_be_repeated(site: Site, pc: CallingPc) -> None:
    await pc.check_in(purpose="register")
    for _ in range(2):
        answer = await pc.agent("POST", "/register", api.Register("Reception"))
        assert json.loads(answer.body) == {"host_name": "Reception"}
    assert (await pc.agent("POST", "/register", api.Register("Other"))).status == 409
    assert len(site.store.hosts.list()) == 1


@pytest.mark.parametrize(("name", "status"), [("taken", 409), ("not a name", 422), ("../../x", 422), ("a" * 64, 422)])
async def test_a_bad_or_taken_name_is_refused_in_words(site: Site, pc: CallingPc, name: str, status: int) -> None:
    site.host("taken", OTHER_MAC)
    await pc.check_in(purpose="register")
    answer = await pc.agent("POST", "/register", api.Register(name))
    assert answer.status == status
    assert problem(answer.body).error


async def test_a_shared_dock_is_not_registered_as_a_pcs_own_card(site: Site, pc: CallingPc) -> None:
    site.store.hosts.add_dock_mac(MAC)
    await pc.check_in(purpose="register", macs=[MAC, OTHER_MAC])
    await pc.agent("POST", "/register", api.Register("LAPTOP"))
    assert site.store.hosts.get("LAPTOP").macs == (OTHER_MAC,)


async def test_registration_after_a_restart_asks_for_a_new_check_in(site: Site, pc: CallingPc) -> None:
    await pc.check_in(purpose="register")
    site.box.guests.__init__()  # type: ignore[misc]
    assert (await pc.agent("POST", "/register", api.Register("X"))).status == 401


async def test_the_inventory_of_a_host_is_kept_and_of_a_stranger_is_not(site: Site, pc: CallingPc) -> None:
    found = api.Inventory(vendor="QEMU", disks=[api.DiskInfo("/dev/vda", 1 << 30)])
    await pc.check_in(purpose="inventory")
    assert (await pc.agent("POST", "/inventory", found)).status == 200
    await pc.agent("POST", "/register", api.Register("LAB1-01"))
    assert (await pc.agent("POST", "/inventory", found)).status == 200
    kept = site.store.hosts.inventory(site.store.hosts.get("LAB1-01").id)
    assert kept is not None
    assert kept.data["disks"][0]["path"] == "/dev/vda"


# -- the task


async def test_the_task_is_handed_out_when_its_export_is_there_for_this_address(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(disk="/dev/sda"), "win11")
    await pc.check_in()
    assert (await pc.agent("GET", "/task")).status == 503
    site.store.settings.set(f"nfs.ready.{task.id}", "127.0.0.9")
    assert (await pc.agent("GET", "/task")).status == 503
    site.export(task.id)
    order = api.TaskOrder.from_json((await pc.agent("GET", "/task")).body)
    assert (order.task_id, order.kind, order.disk, order.after) == (task.id, "capture", "/dev/sda", "poweroff")
    assert order.chunks == api.NfsExport("127.0.0.1", "/chunks", 2049)
    assert order.staging == api.NfsExport("127.0.0.1", f"/staging/{task.id}", 2049)


async def test_the_exports_stand_below_the_root_of_the_nfs_server(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    site.store.settings.set("nfs.root", "/srv/diecast")
    site.export(task.id)
    await pc.check_in()
    order = api.TaskOrder.from_json((await pc.agent("GET", "/task")).body)
    assert order.chunks.path == "/srv/diecast/chunks"
    assert order.staging is not None
    assert order.staging.path == f"/srv/diecast/staging/{task.id}"


async def test_the_task_of_a_cast_says_where_it_is_heard_until_it_has_ended(site: Site, pc: CallingPc) -> None:
    site.captured(TinyImage.of("disk"))
    version = site.store.images.resolve("win11")
    cast = site.store.casts.open(version, groups=site.box.settings.cast.groups)
    task = site.store.tasks.deploy(site.host(), version, cast_id=cast.id)
    await pc.check_in()
    site.store.settings.set(f"nfs.ready.{task.id}", "127.0.0.1")
    order = api.TaskOrder.from_json((await pc.agent("GET", "/task")).body)
    assert order.cast == api.CastOrder(cast.cast_id, task.id, cast.key, str(cast.group), 4020, "127.0.0.1", 4021)
    site.store.casts.stop(cast.id)
    order = api.TaskOrder.from_json((await pc.agent("GET", "/task")).body)
    assert (order.cast, order.version_id) == (None, version.id)


async def test_a_pc_that_was_just_registered_gets_a_task_that_waits_for_it(site: Site, pc: CallingPc) -> None:
    await pc.check_in(purpose="register")
    await pc.agent("POST", "/register", api.Register("Reception"))
    assert not (await pc.check_in(purpose="register")).has_task
    site.store.tasks.capture(site.store.hosts.get("Reception"), "win11")
    assert (await pc.check_in(purpose="register")).has_task


async def test_a_host_without_a_task_is_handed_none(site: Site, pc: CallingPc) -> None:
    site.host()
    await pc.check_in()
    assert (await pc.agent("GET", "/task")).status == 204


async def test_progress_is_kept_and_tells_of_a_cancellation(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    report = api.Progress("reading", 10, 100, 5.0)
    answer = api.ProgressAnswer.from_json((await pc.agent("POST", "/progress", report)).body)
    assert answer == api.ProgressAnswer(False)
    now = site.store.tasks.get(task.id)
    assert (now.phase, now.done_bytes, now.total_bytes) == ("reading", 10, 100)
    site.store.tasks.cancel(task.id)
    answer = api.ProgressAnswer.from_json((await pc.agent("POST", "/progress", report)).body)
    assert answer.cancelled
    assert json.loads((await pc.agent("GET", "/status")).body)["state"] == "cancelled"


async def test_an_agent_that_never_went_away_goes_on_after_a_false_boot(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    site.store.tasks.move(task.id, TaskState.BOOTING)
    assert (await pc.agent("POST", "/progress", api.Progress("reading"))).status == 200
    assert site.store.tasks.get(task.id).state is TaskState.RUNNING


async def test_a_failure_is_recorded_in_the_agents_own_words(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    await pc.agent("POST", "/log", api.Log(["first", "second"]))
    end = api.Result(ok=False, error="The disk /dev/sda cannot be read.", remedy="Replace it.")
    assert (await pc.agent("POST", "/result", end)).status == 200
    now = site.store.tasks.get(task.id)
    assert (now.state, now.error, now.remedy) == (TaskState.FAILED, end.error, end.remedy)
    assert site.store.tasks.log(task.id) == "first\nsecond\n"
    assert (await pc.agent("GET", "/task")).status == 204


async def test_a_capture_without_a_manifest_cannot_end_well(site: Site, pc: CallingPc) -> None:
    site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    assert (await pc.agent("POST", "/result", api.Result(ok=True))).status == 409


# -- a whole capture and a whole deploy over HTTP


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
        assert problem(answer.body).error == now.error
        assert "diecast image remove" in now.remedy
