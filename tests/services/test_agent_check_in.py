"""The agent API: who checks in, and what he is told that he is."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from appliance.events import BootStage, TaskState
from appliance.system.about import About, current
from appliance.wire import agentapi as api
from tests.services.http_support import (
    MAC,
    OTHER_MAC,
    CallingPc,
    Site,
    TinyImage,
    pc_at,
)

IMAGE = TinyImage.of("a")


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
    assert "version 99" in api.Problem.from_json(answer.body).error


async def test_a_bad_mac_or_uuid_is_no_defect(pc: CallingPc) -> None:
    bad_mac = await pc.agent("POST", "/checkin", api.CheckIn(macs=["x"], boot_mac="nonsense"))
    assert bad_mac.status == 422
    bad_uuid = await pc.agent("POST", "/checkin", api.CheckIn(macs=[], boot_mac=MAC, uuid="Not Settable"))
    assert bad_uuid.status == 200


class Notes(logging.Handler):
    """Keeps whom each line was about when it was logged."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, About]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append((record.getMessage(), current()))

    def about(self, words: str) -> About:
        return next(subject for text, subject in self.found if words in text)


@pytest.fixture
def notes() -> Iterator[Notes]:
    logger, handler = logging.getLogger("appliance.services"), Notes()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(level)
    logger.removeHandler(handler)


async def test_what_is_logged_of_a_call_is_about_its_host_and_task(site: Site, pc: CallingPc, notes: Notes) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    await pc.check_in()
    assert notes.about("checked in for task") == About("LAB1-01", task.id)
    answer = await pc.agent("POST", "/result", b'{"ok": true}')
    assert answer.status == 409
    assert notes.about("has no manifest yet") == About("LAB1-01", task.id), "also where errors become answers"
