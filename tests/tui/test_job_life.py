"""A PC's way through its task, what to check when a step does not come, and what a deploy finds against a PC."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from ipaddress import IPv4Address, IPv4Interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.events import BootStage, ServiceHealth, TaskKind, TaskState
from appliance.model import DhcpServer, Host, ImageVersion, ServiceState, Sighting, Task
from appliance.tui.jobs import life, lost, ranges
from appliance.tui.snapshot import Snapshot
from tests.tui.kit import NOON, version_of

MAC = "52:54:00:aa:01:01"
HOST = Host(1, "lab-01", (MAC,))
TASK = Task(7, TaskKind.CAPTURE, TaskState.WAITING, "win11", host_id=1, host_name="lab-01", created=NOON)


def seen(stage: BootStage, second: float, *, host: str = "lab-01") -> Sighting:
    """The PC reached a stage so long after the order."""
    at = NOON + timedelta(seconds=second)
    return Sighting(MAC, stage, at, host_name=host, steps=((stage, at),))


def after(seconds: float, *sightings: Sighting, **parts: object) -> Snapshot:
    """The picture so long after the order."""
    snapshot = Snapshot(at=NOON + timedelta(seconds=seconds), sightings=sightings, host_by_id={1: HOST})
    return dataclasses.replace(snapshot, **parts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        (None, "network card first in the firmware's boot order"),
        (BootStage.DHCP, "fetched no loader: a firewall"),
        (BootStage.LOADER, "Secure Boot may refuse it"),
        (BootStage.SCRIPT, "Secure Boot may refuse it"),
        (BootStage.KERNEL, "2 GB of memory"),
        (BootStage.INITRD, "2 GB of memory"),
        (BootStage.MENU, "is it the PC that you mean?"),
        (BootStage.REFUSED, "its screen says more"),
    ],
)
def test_a_step_that_does_not_come_has_its_own_hint(stage: BootStage | None, said: str) -> None:
    sightings = () if stage is None else (seen(stage, 5),)
    assert life.hints(after(30, *sightings), TASK) == []
    (hint,) = life.hints(after(300, *sightings), TASK)
    assert said in hint


def test_another_dhcp_server_is_named_where_it_may_have_answered() -> None:
    server = DhcpServer("10.20.4.254", "eth1", NOON)
    (hint,) = life.hints(after(300, seen(BootStage.DHCP, 5), servers=(server,)), TASK)
    assert "another DHCP server (10.20.4.254)" in hint


def test_a_master_that_started_its_own_disk_is_said_at_once() -> None:
    (hint,) = life.hints(after(10, seen(BootStage.LOCAL, 5)), TASK)
    assert "run Sysprep again" in hint


@pytest.mark.parametrize("health", [ServiceHealth.STOPPED, ServiceHealth.FAILED, ServiceHealth.SILENT])
def test_a_service_that_is_down_is_said_at_once(health: ServiceHealth) -> None:
    service = ServiceState("dhcp", health, 1, NOON, NOON, "", NOON)
    (hint,) = life.hints(after(1, services=(service,)), TASK)
    assert f"The service dhcp is {health}" in hint


def test_a_silent_agent_is_said_and_an_ended_task_has_no_hint() -> None:
    running = dataclasses.replace(TASK, state=TaskState.RUNNING, started=NOON, last_heard=NOON)
    assert life.hints(after(20), running) == []
    (hint,) = life.hints(after(120), running)
    assert "The PC has said nothing for 2 min" in hint
    assert life.hints(after(9000), dataclasses.replace(TASK, state=TaskState.FAILED)) == []


def test_a_boot_before_the_order_is_no_step_of_it() -> None:
    snapshot = after(10, seen(BootStage.KERNEL, -600))
    assert life.sighting_of(snapshot, TASK) is None
    assert not any(step.taken for step in life.steps(snapshot, TASK))


def test_for_the_next_unknown_pc_only_unknown_ones_count() -> None:
    unknown = dataclasses.replace(TASK, host_id=None, host_name="")
    assert life.sighting_of(after(10, seen(BootStage.DHCP, 5)), unknown) is None
    assert life.sighting_of(after(10, seen(BootStage.DHCP, 5, host="")), unknown) is not None


def test_steps_before_one_that_was_taken_were_taken_too() -> None:
    running = dataclasses.replace(TASK, state=TaskState.RUNNING, started=NOON + timedelta(seconds=20))
    steps = life.steps(after(30), running)
    assert [step.taken for step in steps] == [True, True, True, True, False, False, False]
    assert [step.at for step in steps[:3]] == [None, None, None]


# -- what is lost


def found_against(host: Host, inventory: dict[str, object] | None = None, **parts: object) -> lost.Target:
    """The one target."""
    (target,) = lost.targets(after(0, **parts), [host], {1: inventory} if inventory else {}, 64_000_000_000)
    return target


def test_disks_are_found_as_the_agent_will_choose_them() -> None:
    disks = [
        {"path": "/dev/sda", "size_bytes": 32_000_000_000, "removable": True},
        {"path": "/dev/nvme0n1", "size_bytes": 512_000_000_000, "model": "Samsung 980", "serial": "S5GX"},
    ]
    assert lost.disk_of(HOST, {"disks": disks}) == ("/dev/nvme0n1 512 GB Samsung 980", 512_000_000_000)
    assert lost.disk_of(dataclasses.replace(HOST, disk="S5GX"), {"disks": disks})[1] == 512_000_000_000
    assert lost.disk_of(dataclasses.replace(HOST, disk="sda"), {"disks": disks})[1] == 32_000_000_000
    assert lost.disk_of(dataclasses.replace(HOST, disk="sdz"), {"disks": disks}) == ("sdz", None)
    assert lost.disk_of(HOST, {"disks": disks[1:] * 2})[0] == "one of 2: choose it in the host's data"
    assert lost.disk_of(HOST, None) == ("not known yet", None)


def test_a_disk_that_is_just_large_enough_is_no_warning() -> None:
    disk = {"path": "/dev/sda", "size_bytes": 64_000_000_000}
    ready = dataclasses.replace(HOST, last_seen=NOON)
    assert found_against(ready, {"disks": [disk]}).remark == ""
    assert "too small" in found_against(ready, {"disks": [disk | {"size_bytes": 63_999_999_999}]}).warning


def test_the_smallest_disk_is_the_masters_where_the_manifest_is_not_known() -> None:
    version: ImageVersion = version_of("win11", "a")
    assert lost.minimum_bytes(version, None) == version.disk_bytes
    assert lost.minimum_bytes(version, {"minimum_disk_bytes": 5}) == 5
    assert lost.minimum_bytes(None, {"minimum_disk_bytes": "x"}) == 0


# -- ranges


@given(st.integers(0, 2**32 - 1), st.integers(8, 29))
def test_a_proposed_range_can_always_be_lent(address: int, prefix: int) -> None:
    own = IPv4Interface((address, prefix))
    if own.ip in (own.network.network_address, own.network.broadcast_address):
        return
    proposed = ranges.proposal(own)
    assert proposed is not None
    ranges.check(own, *proposed, None)


@pytest.mark.parametrize("prefix", [30, 31, 32])
def test_a_tiny_subnet_has_no_range(prefix: int) -> None:
    assert ranges.proposal(IPv4Interface(f"10.0.0.1/{prefix}")) is None


def test_the_boxs_own_address_parts_the_range() -> None:
    assert ranges.proposal(IPv4Interface("10.0.0.200/24")) == (IPv4Address("10.0.0.65"), IPv4Address("10.0.0.199"))


@pytest.mark.parametrize("text", ["", "10.0.0", "10.0.0.256", "fe80::1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ranges.address(text)
