"""The agent API: who may call, in which state, and what each call does."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from appliance.events import TaskState
from appliance.wire import agentapi as api
from tests.services.http_support import (
    MAC,
    OTHER_MAC,
    CallingPc,
    Site,
    TinyImage,
    pc_at,
    running,
    settings_in,
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
    assert api.Problem.from_json(answer.body).error


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
