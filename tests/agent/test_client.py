"""The agent's calls: patience with a box that is away, none with one that says no."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from appliance.agent.client import BoxAway, Refused
from appliance.agent.stop import Stop
from appliance.errors import Cancelled
from appliance.wire import agentapi as api
from tests.agent.conftest import MAC, QUICK, connect
from tests.fakes.agent_box import Call, FixedBox, FlakyBox, Reply, RevokingBox

STATE = api.Progress("capturing", 1, 2)


def test_check_in_says_who_we_are_and_its_token_is_used_from_then_on(stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
        client.progress(STATE)
    assert box.check_ins[0].boot_mac == MAC
    assert [call.token for call in box.calls] == ["", "token-1"]


def test_a_box_that_comes_back_is_asked_again_until_it_answers(stop: Stop) -> None:
    waits: list[str] = []
    with FlakyBox() as box:
        client = connect(box, stop, waits=waits)
        timer = box.away_for(0.5)
        assert client.status().state == "done"
        timer.join()
    assert "does not answer" in waits[0]
    assert waits[-1] == "", "it says when it goes on"


def test_a_connection_cut_once_needs_no_words(stop: Stop) -> None:
    waits: list[str] = []
    with FixedBox() as box:
        client = connect(box, stop, waits=waits)
        box.scripted.append(None)
        assert client.status().state == "done"
    assert waits == []


def test_a_box_that_stays_away_is_given_up_in_words(stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop, replace(QUICK, away_s=0.3))
    with pytest.raises(BoxAway, match=r"does not answer \(Connection refused\) for 0 min\. Check that its http"):
        client.status()


def test_a_report_is_not_patient(stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
    began = time.monotonic()
    with pytest.raises(BoxAway):
        client.progress(STATE)
    assert time.monotonic() - began < QUICK.away_s / 2


def test_503_is_asked_again_after_the_time_the_box_names(stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
        box.scripted += [Reply(503, headers={"Retry-After": "1"}), Reply(500)]
        began = time.monotonic()
        assert client.task() is None
        assert time.monotonic() - began >= 1


def test_401_checks_in_again_and_repeats_the_call(stop: Stop) -> None:
    with RevokingBox() as box:
        client = connect(box, stop)
        box.forget()
        assert client.status().state == "done"
    assert box.paths == ["/checkin", "/status", "/checkin", "/status"]
    assert box.calls[-1].token == "token-2"


class DenyingBox(FixedBox):
    """A box that issues tokens and never accepts one."""

    def call(self, call: Call) -> Reply:
        """No."""
        return Reply(401, b"")


def test_a_box_that_never_likes_our_token_is_not_asked_for_ever(stop: Stop) -> None:
    with DenyingBox() as box:
        client = connect(box, stop)
        with pytest.raises(Refused, match="no longer accepts this PC's key"):
            client.status()
    assert len(box.calls) < 12


def test_403_stops_in_words_without_a_new_check_in(stop: Stop) -> None:
    with RevokingBox() as box:
        client = connect(box, stop)
        box.revoke()
        with pytest.raises(Refused, match=r"no longer accepts .* Another start of this PC"):
            client.status()
    assert box.paths.count("/checkin") == 1


def test_threads_that_lose_their_token_together_check_in_once_and_all_go_on(stop: Stop) -> None:
    with RevokingBox() as box:
        client = connect(box, stop)
        box.forget()
        states: list[str] = []
        threads = [threading.Thread(target=lambda: states.append(client.status().state)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert states == ["done"] * 8
    assert box.paths.count("/checkin") == 2


def test_the_box_own_words_reach_the_screen(stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
        box.scripted.append(Reply(409, api.Problem("The task was cancelled.", "Nothing to do.").to_json()))
        with pytest.raises(Refused, match=r"The task was cancelled\. Nothing to do\."):
            client.progress(STATE)


def test_waiting_for_the_box_ends_when_the_task_is_cancelled(stop: Stop) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
    threading.Timer(0.2, lambda: stop.request(Cancelled("The operator cancelled the task."))).start()
    with pytest.raises(Cancelled):
        client.status()


def test_a_long_list_of_ids_goes_in_calls_of_the_allowed_size(stop: Stop) -> None:
    ids = [number.to_bytes(32, "big") for number in range(api.MAX_MISSING_IDS + 5)]
    with FixedBox() as box:
        assert connect(box, stop).missing(ids) == ids
    sizes = [len(call.body) // 32 for call in box.calls if call.path == "/chunks/missing"]
    assert sizes == [api.MAX_MISSING_IDS, 5]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"state": 5}', b"\xff\xfe", b'{"state": null}'])
def test_an_answer_that_is_no_message_is_bad_data_in_words(stop: Stop, body: bytes) -> None:
    with FixedBox() as box:
        client = connect(box, stop)
        box.scripted.append(Reply(200, body))
        with pytest.raises(api.BadMessage, match="Status"):
            client.status()
