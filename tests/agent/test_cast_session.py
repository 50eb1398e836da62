"""A whole start of the agent with a task that names a cast; multicast over the loopback."""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import appliance.cast.receiver as rules
from appliance.agent import network
from appliance.agent.session import Exit
from appliance.cast.receiver import DEAF_HINT
from appliance.cast.sender import Start
from appliance.engine.castlist import chunk_list
from appliance.wire.cast import feedback_key
from tests.agent.conftest import MAC
from tests.agent.session_kit import MIB, Lab, content, lab, when
from tests.cast.on_air import OnAir, files_of
from tests.engine.kit import loaded
from tests.fakes.agent_box import FixedBox

__all__ = ["lab"]  # a fixture


def on_air(lab: Lab, version: str, **more: object) -> OnAir:
    """A sender for the first check-in's token."""
    ids = chunk_list(loaded(lab.store, version))
    air = OnAir(files_of(lab.store.root / "chunks", ids), "127.0.0.1", **more)  # type: ignore[arg-type]
    air.desk.key = feedback_key(hashlib.sha256(b"token-1").digest())
    return air


@pytest.fixture
def boot_nic(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The PC has booted from the loopback."""
    address = network.Address("lo", MAC, IPv4Address("127.0.0.1"), 8)
    monkeypatch.setattr(network, "bring_up", lambda *_: address)


@pytest.fixture
def lost_nic(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The card that the PC has booted from is not there."""
    address = network.Address("gone0", MAC, IPv4Address("127.0.0.1"), 8)
    monkeypatch.setattr(network, "bring_up", lambda *_: address)


def forget_chunks(lab: Lab) -> None:
    """NFS has nothing: what arrives came by cast."""
    (lab.tools.exports["/chunks"]).rename(lab.store.root / "away")
    lab.tools.exports["/chunks"].mkdir()


@pytest.mark.usefixtures("boot_nic")
def test_a_deploy_by_cast_makes_an_equal_disk_and_says_how(lab: Lab) -> None:
    data = content(24)
    version = lab.captured(data)
    target = lab.disk("nvme0n1", b"old" * 1000, size=len(data) + 8 * MIB)
    with FixedBox(lab.store) as box, on_air(lab, version) as air:
        forget_chunks(lab)
        box.version_id = version
        box.order = lab.order("deploy", cast=air.order())
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
    assert target.read_bytes()[: len(data)] == data
    assert box.results[0].written_bytes + box.results[0].reused_bytes == len(data)
    assert int(box.results[0].details["by_cast_bytes"]) == int(box.results[0].details["fetched_bytes"]) > 0
    assert "diecast: cast: receiving by multicast" in lab.heard.lines
    assert any(progress.phase == "writing, by multicast" for progress in box.progress)


@pytest.mark.usefixtures("lost_nic")
def test_a_cast_that_cannot_be_joined_is_said_and_the_deploy_goes_on_by_nfs(lab: Lab) -> None:
    data = content(12)
    version = lab.captured(data)
    target = lab.disk("sda", b"", size=len(data))
    with FixedBox(lab.store) as box, on_air(lab, version) as air:
        box.version_id = version
        box.order = lab.order("deploy", cast=air.order())
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
    assert target.read_bytes() == data
    said = [line for line in lab.heard.lines if "cannot be joined" in line]
    assert said == ["diecast: the cast 239.192.68.7 cannot be joined (no interface with this name); going on by NFS"]


@pytest.mark.usefixtures("boot_nic")
def test_a_deaf_pc_names_what_to_look_at_on_the_switch(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "DEAF_S", 0.4)
    data = content(12)
    version = lab.captured(data)
    target = lab.disk("sda", b"", size=len(data))
    with FixedBox(lab.store) as box, on_air(lab, version) as air:
        air.is_muted = True
        box.version_id = version
        box.order = lab.order("deploy", cast=air.order())
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
    assert target.read_bytes() == data
    assert any(DEAF_HINT[:60] in line for line in lab.heard.lines)
    assert any("multicast does not arrive" in line for line in box.log)


@pytest.mark.usefixtures("boot_nic")
def test_waiting_for_more_pcs_is_no_stall_and_a_cancel_ends_it(lab: Lab) -> None:
    data = content(12)
    version = lab.captured(data)
    target = lab.disk("sda", b"", size=len(data))
    lab.limits = replace(lab.limits, stall_s=0.5)
    with FixedBox(lab.store) as box, on_air(lab, version, start=Start(9, 99)) as air:
        box.version_id = version
        box.order = lab.order("deploy", cast=air.order())
        box.final = replace(box.final, state="running")
        seen = threading.Event()

        def cancel() -> None:
            time.sleep(1.5)  # three times as long as a stall
            seen.set()
            box.final = replace(box.final, state="cancelled")
            box.cancelled = True

        watcher = when(lambda: "diecast: cast: waiting for more PCs" in lab.heard.lines, cancel)
        assert lab.start(box) is Exit.POWER_OFF, lab.heard.lines
        watcher.join()
    assert seen.is_set(), lab.heard.lines
    assert "diecast: failed: The operator cancelled the task." in lab.heard.lines
    assert not any(target.read_bytes()[:4096])


def test_an_order_whose_numbers_cannot_be_fails_in_words(lab: Lab) -> None:
    version = lab.captured(content(4))
    target: Path = lab.disk("sda", b"", size=4 * MIB)
    with FixedBox(lab.store) as box, on_air(lab, version) as air:
        box.version_id = version
        box.order = lab.order("deploy", cast=replace(air.order(), key="short"))
        assert lab.start(box) is Exit.FAILED
    assert any("which cannot be" in line for line in lab.heard.lines)
    assert not any(target.read_bytes())
