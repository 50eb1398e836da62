"""What loaders get over HTTP, and what the box learns from their asking."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest

from appliance.events import BootStage, LocalBoot, TaskState
from appliance.model import Lease
from tests.services.http_support import MAC, CallingPc, Site, TinyImage

PATHS = {"ipxe": f"/boot/ipxe/{MAC}", "grub": f"/boot/grub/{MAC.replace(':', '-')}"}


def stage_of(site: Site, mac: str = MAC) -> BootStage | None:
    return next((seen.stage for seen in site.store.hosts.sightings() if seen.mac == mac), None)


@pytest.mark.parametrize("loader", PATHS)
async def test_a_host_with_a_task_is_sent_to_the_agent_and_its_task_boots(
    site: Site, pc: CallingPc, loader: str
) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    answer = await pc.call("GET", PATHS[loader])
    assert answer.status == 200
    assert "diecast.purpose=task" in answer.text
    assert f"/boot/m/{MAC.replace(':', '-')}/vmlinuz" in answer.text
    assert f"diecast.server={site.url} " in answer.text
    assert site.store.tasks.get(task.id).state is TaskState.BOOTING
    assert stage_of(site) is BootStage.SCRIPT


@pytest.mark.parametrize("loader", PATHS)
async def test_asking_with_head_changes_nothing(site: Site, pc: CallingPc, loader: str) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    answer = await pc.call("HEAD", PATHS[loader])
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100
    assert site.store.tasks.get(task.id).state is TaskState.WAITING
    assert stage_of(site) is None


@pytest.mark.parametrize(
    ("fields", "stage", "words"),
    [
        ({}, BootStage.LOCAL, "its own disk starts"),
        ({"sealed": True}, BootStage.REFUSED, "is SEALED"),
        ({"sealed": True, "local_boot": LocalBoot.NO_ANSWER}, BootStage.REFUSED, "is SEALED"),
        ({"local_boot": LocalBoot.NO_ANSWER}, BootStage.SCRIPT, "starts its own disk without us"),
    ],
)
@pytest.mark.parametrize("loader", PATHS)
async def test_a_host_without_a_task_starts_its_disk_or_is_refused(
    site: Site, pc: CallingPc, loader: str, fields: dict[str, Any], stage: BootStage, words: str
) -> None:
    site.host(**fields)
    answer = await pc.call("GET", PATHS[loader])
    assert words in answer.text
    assert stage_of(site) is stage
    assert site.store.hosts.get("LAB1-01").stage is stage


async def test_an_unknown_pc_gets_the_menu(site: Site, pc: CallingPc) -> None:
    answer = await pc.call("GET", PATHS["grub"])
    assert "set timeout=5" in answer.text
    assert "set default=local" in answer.text
    assert stage_of(site) is BootStage.MENU


async def test_the_menu_names_the_image_of_the_waiting_capture(site: Site, pc: CallingPc) -> None:
    site.store.tasks.capture(None, "win11-gold")
    answer = await pc.call("GET", PATHS["ipxe"])
    assert "Capture this PC as image win11-gold" in answer.text
    assert "sanboot" not in answer.text


async def test_an_unknown_pc_joins_an_open_order(site: Site, pc: CallingPc) -> None:
    site.captured(TinyImage.of("a"))
    site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 2, "LAB1-{nn}")
    assert "diecast.purpose=deploy-new" in (await pc.call("GET", PATHS["grub"])).text


async def test_a_held_pc_is_sent_to_the_agent_again_and_its_task_stays_held(site: Site, pc: CallingPc) -> None:
    site.captured(TinyImage.of("a"))
    order = site.store.tasks.order_new_pcs(site.store.images.resolve("win11"), 2, "LAB1-{nn}", hold=True)
    site.store.tasks.adopt([MAC])
    assert "diecast.purpose=task" in (await pc.call("GET", PATHS["grub"])).text
    assert [task.state for task in site.store.tasks.held(order.id)] == [TaskState.SCHEDULED]


async def test_an_order_whose_time_is_over_takes_no_pc_even_before_it_is_closed(site: Site, pc: CallingPc) -> None:
    site.captured(TinyImage.of("a"))
    ended = datetime.now(UTC) - timedelta(minutes=1)
    version = site.store.images.resolve("win11")
    site.store.tasks.order_new_pcs(version, 2, "LAB1-{nn}", until=ended, now=ended - timedelta(minutes=9))
    assert "diecast.purpose=deploy-new" not in (await pc.call("GET", PATHS["grub"])).text


async def test_a_pc_behind_a_shared_dock_is_known_by_the_uuid_that_dhcp_saw(site: Site, pc: CallingPc) -> None:
    uuid = UUID("4c4c4544-0035-3510-8052-b4c04f4a4d31")
    site.store.hosts.add("LAPTOP", ["52:54:00:00:00:07"], uuid=uuid)
    site.store.hosts.add_dock_mac(MAC)
    site.store.hosts.seen(MAC, BootStage.DHCP, uuid=uuid, arch=7)
    assert "LAPTOP has no task" in (await pc.call("GET", PATHS["grub"])).text


async def test_a_task_that_runs_is_disturbed_only_when_its_agent_is_gone(site: Site, pc: CallingPc) -> None:
    task = site.store.tasks.capture(site.host(), "win11")
    site.store.tasks.checked_in(task.id, "127.0.0.1", MAC)
    await pc.call("GET", PATHS["ipxe"])
    assert site.store.tasks.get(task.id).state is TaskState.RUNNING
    site.store.tasks.heard(task.id, now=datetime.now(UTC) - timedelta(seconds=30))
    await pc.call("GET", PATHS["ipxe"])
    assert site.store.tasks.get(task.id).state is TaskState.BOOTING


@pytest.mark.parametrize(
    "path", ["/boot/ipxe/", "/boot/ipxe/nonsense", "/boot/grub/..%2f..%2fetc", "/boot/m/zz/vmlinuz", "/boot/m/x"]
)
async def test_a_path_without_a_mac_is_not_found(pc: CallingPc, path: str) -> None:
    assert (await pc.call("GET", path)).status == 404


async def test_kernel_and_initrd_are_served_whole_and_the_stage_is_recorded(site: Site, pc: CallingPc) -> None:
    site.host()
    for name, stage in (("vmlinuz", BootStage.KERNEL), ("initrd.img", BootStage.INITRD)):
        answer = await pc.call("GET", f"/boot/m/{MAC.replace(':', '-')}/{name}")
        assert answer.body == name.encode() * 5000
        assert site.store.hosts.get("LAB1-01").stage is stage


async def test_files_answer_head_ranges_and_etags(pc: CallingPc) -> None:
    head = await pc.call("HEAD", "/boot/vmlinuz")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", "35000")
    part = await pc.call("GET", "/boot/vmlinuz", headers={"Range": "bytes=2-4"})
    assert (part.status, part.body, part.headers["Content-Range"]) == (206, b"lin", "bytes 2-4/35000")
    assert (await pc.call("GET", "/boot/vmlinuz", headers={"Range": "bytes=99999-"})).status == 416
    again = await pc.call("GET", "/boot/vmlinuz", headers={"If-None-Match": head.headers["ETag"]})
    assert again.status == 304


async def test_http_boot_gets_loaders_and_the_first_grub_configuration(site: Site, pc: CallingPc) -> None:
    expires = datetime.now(UTC) + timedelta(hours=1)
    site.store.leases.save([Lease(IPv4Address("127.0.0.1"), f"mac:{MAC}", MAC, expires)])
    assert (await pc.call("GET", "/shimx64.efi")).body == b"shimx64.efi" * 5000
    assert stage_of(site) is BootStage.LOADER
    assert (await pc.call("HEAD", "/grubx64.efi")).status == 200
    assert f":{site.port})/boot/grub/" in (await pc.call("GET", "/grub/grub.cfg")).text


@pytest.mark.parametrize(
    "path",
    [
        "/snponly.efi",  # allowed, but not in the folder
        "/catalog.json",
        "/boot/../state/diecast.sqlite",
        "/boot/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/grub/grub.cfg-01-52-54-00-aa-01-02",
        "/grub/x86_64-efi/command.lst",
        "/",
    ],
)
async def test_nothing_else_is_served(pc: CallingPc, path: str) -> None:
    answer = await pc.call("GET", path)
    assert answer.status == 404
    assert "Traceback" not in answer.text


async def test_health_and_metrics_tell_how_the_box_is(site: Site, pc: CallingPc) -> None:
    site.store.tasks.capture(site.host(), "win11")
    await pc.call("GET", "/boot/vmlinuz")
    assert (await pc.call("GET", "/healthz")).text == "ok\n"
    text = (await pc.call("GET", "/metrics")).text
    assert 'diecast_tasks{state="waiting"} 1' in text
    assert 'diecast_http_sent_bytes_total{kind="vmlinuz"} 35000' in text
    assert 'diecast_http_requests_total{route="GET /healthz",status="200"} 1' in text
    for line in text.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2


async def test_the_labs_side_is_told_no_metrics(site: Site, pc: CallingPc) -> None:
    """Any other address of the box stands for the lab's."""
    lab = dataclasses.replace(pc, url=site.url.replace("127.0.0.1", "127.0.0.2"))
    answer = await lab.call("GET", "/metrics")
    assert (answer.status, "diecast_" in answer.text) == (404, False)
    assert (await lab.call("GET", "/healthz")).status == 200


async def test_the_list_of_series_does_not_grow_with_what_is_asked(pc: CallingPc) -> None:
    for number in range(30):
        await pc.call("GET", f"/nothing/{number}")
        await pc.call("GET", f"/boot/ipxe/52-54-00-00-00-{number:02x}")
    text = (await pc.call("GET", "/metrics")).text
    assert text.count("diecast_http_requests_total{") == 2
