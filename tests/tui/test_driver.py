"""Reading keys: a lone Esc is told as soon as its delay is over, and sequences stay whole."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from textual import constants, events

from appliance.tui.driver import PromptDriver

DELAY_S = 0.025
SOON_S = 5.0


class PipeDriver(PromptDriver):
    """Reads a pipe, and keeps what it told and when."""

    def __init__(self, fileno: int) -> None:  # no terminal, no application
        self.fileno = fileno
        self.exit_event = threading.Event()
        self._debug = False
        self.told: list[tuple[float, str]] = []

    def process_message(self, message: Any) -> None:
        assert isinstance(message, events.Key)
        self.told.append((time.monotonic(), message.key))

    def waits_for(self, count: int) -> list[str]:
        """The keys, once there are so many."""
        until = time.monotonic() + SOON_S
        while len(self.told) < count:
            assert time.monotonic() < until, self.told
            time.sleep(0.002)
        return [key for _at, key in self.told]


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.fixture
def driver(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[PipeDriver]:
    monkeypatch.setattr(constants, "ESCAPE_DELAY", DELAY_S)
    made = PipeDriver(pipe[0])
    thread = threading.Thread(target=made.run_input_thread, daemon=True)
    thread.start()
    yield made
    made.exit_event.set()
    thread.join(SOON_S)
    assert not thread.is_alive(), "it does not end"


def test_a_lone_escape_does_not_wait_for_the_next_tenth_of_a_second(driver: PipeDriver, pipe: tuple[int, int]) -> None:
    waited = []
    for count in range(1, 6):
        at = time.monotonic()
        os.write(pipe[1], b"\x1b")
        driver.waits_for(count)
        waited.append(driver.told[-1][0] - at)
    assert {key for _at, key in driver.told} == {"escape"}
    assert DELAY_S <= statistics.median(waited) < 0.08


def test_a_sequence_that_comes_in_two_pieces_is_one_key(driver: PipeDriver, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"\x1b")
    os.write(pipe[1], b"[A")
    assert driver.waits_for(1) == ["up"]


def test_a_torn_character_is_put_together_and_a_broken_one_ends_nothing(
    driver: PipeDriver, pipe: tuple[int, int]
) -> None:
    os.write(pipe[1], "é".encode()[:1])
    time.sleep(0.01)
    os.write(pipe[1], "é".encode()[1:] + b"a")
    assert driver.waits_for(2)[-1] == "a"
    os.write(pipe[1], b"\xff")
    os.write(pipe[1], b"b")
    assert driver.waits_for(4)[-1] == "b"
