"""What the box and the screen hear of a task while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from appliance.agent.display import Display
from appliance.agent.report import Reporter, send_log
from appliance.agent.stop import Stop
from appliance.engine.capture import EngineProgress
from tests.agent.conftest import QUICK, Heard, connect
from tests.fakes.agent_box import FixedBox, FlakyBox, Reply


def wait_until(condition: Callable[[], object], timeout_s: float = 10) -> None:
    """Return when it holds; fail when it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def test_only_the_latest_state_is_reported(display: Display, stop: Stop) -> None:
    with FixedBox() as box:
        reporter = Reporter(connect(box, stop), display, "capture", stop, QUICK)
        for done in range(100_000):
            reporter.latest(EngineProgress("capturing", done, 100_000))
        reporter.start()
        wait_until(lambda: len(box.progress) > 2)
        reporter.close()
    assert box.progress[0].done_bytes == 99_999
    assert len(box.progress) < 200


def test_the_rate_of_a_phase_does_not_count_what_came_before(
    display: Display, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("appliance.agent.report.time", SimpleNamespace(monotonic=lambda: now))
    with FixedBox() as box:
        reporter = Reporter(connect(box, stop), display, "capture", stop, QUICK)
        reporter.latest(EngineProgress("looking at the disk", 0, 0))
        reporter._meter()
        now = 1.0
        reporter.latest(EngineProgress("capturing", 0, 10**9))
        reporter._meter()
        now = 1.25
        reporter.latest(EngineProgress("capturing", 10**8, 10**9))
        assert reporter._meter().rate_bytes_s == 4e8


def test_a_box_that_is_away_is_named_and_the_log_waits_for_it(heard: Heard, display: Display, stop: Stop) -> None:
    with FlakyBox() as box:
        reporter = Reporter(connect(box, stop), display, "capture", stop, QUICK)
        reporter.start()
        wait_until(lambda: box.progress)
        timer = box.away_for(0.4)
        display.note("said while the box was away")
        wait_until(lambda: any("said while" in line for line in box.log))
        timer.join()
        wait_until(lambda: "diecast: going on" in heard.lines)
        reporter.close()
    assert any("waiting: The box" in line for line in heard.lines)
    assert not stop.is_set()


def test_a_log_the_box_refuses_does_no_harm(display: Display, stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
        display.note("a line")
        box.scripted.append(Reply(413))
        send_log(client, display)
    assert display.take_pending() == []


@pytest.mark.parametrize("reply", [Reply(200, b"nonsense"), Reply(200, b'{"cancelled": 3}')])
def test_an_answer_that_is_no_message_does_not_end_the_task(
    heard: Heard, display: Display, stop: Stop, reply: Reply
) -> None:
    with FixedBox() as box:
        reporter = Reporter(connect(box, stop), display, "capture", stop, QUICK)
        box.scripted.append(reply)
        reporter.start()
        wait_until(lambda: len(box.progress) > 2)
        reporter.close()
    assert not stop.is_set()
