"""The machine's own gauges."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.tui import gauges


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock, to be set."""
    now = [1000.0]
    monkeypatch.setattr("appliance.tui.gauges.time.monotonic", lambda: now[0])
    return now


def test_within_a_second_it_gives_the_same_gauges(clock: list[float], tmp_path: Path) -> None:
    machine = gauges.Machine(tmp_path, lambda: ["lo"])
    first = machine()
    clock[0] += 0.5
    assert machine() is first
    clock[0] += 0.6
    assert machine() is not first


def test_the_disk_is_that_of_a_folder_that_may_not_be_there_yet(clock: list[float], tmp_path: Path) -> None:
    disk = gauges.Machine(tmp_path / "not" / "yet", lambda: ["lo"])().disk
    assert disk.total_bytes > disk.free_bytes > 0


def test_named_interfaces_are_shown_and_may_change(clock: list[float], tmp_path: Path) -> None:
    names = ["lo"]
    machine = gauges.Machine(tmp_path, lambda: names)
    assert [(link.name, link.address) for link in machine().links] == [("lo", "127.0.0.1/8")]
    names[:] = ["no-such-card"]
    clock[0] += 60
    assert machine().links == ()


def test_what_passes_is_counted_by_the_second(
    clock: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    class Count:
        bytes_recv = errin = errout = dropin = dropout = 0

        def __init__(self, sent: int) -> None:
            self.bytes_sent = sent

    sent = [1000]
    monkeypatch.setattr(psutil, "net_io_counters", lambda pernic: {"lo": Count(sent[0])})
    machine = gauges.Machine(tmp_path, lambda: ["lo"])
    assert machine().links[0].sent_bytes_s == 0
    sent[0], clock[0] = 5000, clock[0] + 2
    assert machine().links[0].sent_bytes_s == 2000
    sent[0], clock[0] = 10, clock[0] + 1
    assert machine().sent == (0, 2000, 0)
