"""Consoles: which there are, what is typed on them, and that none of them can stop a task."""

from __future__ import annotations

import os
import pty
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.agent.consoles import Console, Consoles
from appliance.agent.display import Display
from appliance.agent.machine import Machine
from appliance.agent.page import Meter
from tests.agent.conftest import Heard, write


@pytest.fixture
def terminal(machine: Machine) -> Iterator[tuple[int, Consoles]]:
    """A serial console on a real terminal; the number is the other end."""
    master, slave = pty.openpty()
    (machine.dev / "ttyS0").symlink_to(os.ttyname(slave))
    write(machine.sys, {"class/tty/console/active": "tty0 ttyS0\n"})
    consoles = Consoles.open(machine)
    yield master, consoles
    consoles.close()
    os.close(master)
    os.close(slave)


def test_the_consoles_of_the_kernel_line_are_opened_and_a_missing_one_is_left_out(
    terminal: tuple[int, Consoles],
) -> None:
    assert [(console.name, console.is_screen) for console in terminal[1].all] == [("ttyS0", False)]


def test_a_terminal_does_not_echo_by_itself(terminal: tuple[int, Consoles]) -> None:
    mode = termios.tcgetattr(terminal[1].all[0].fd)
    assert not mode[3] & (termios.ECHO | termios.ICANON)


def test_what_is_typed_is_edited_echoed_and_returned_at_enter(terminal: tuple[int, Consoles]) -> None:
    master, consoles = terminal
    os.write(master, b"lab-01x\x7f2\x1b[A\x1bOP\r")
    line = None
    for _ in range(20):
        line, _typed = consoles.typed_line(0.2)
        if line is not None:
            break
    assert line == "lab-012"
    assert os.read(master, 100).endswith(b"2\r\n")


def test_a_console_that_takes_nothing_costs_a_second_at_most() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    consoles = Consoles([Console("ttyS0", writer, False)])
    began = time.monotonic()
    consoles.line("x" * 200_000)
    assert time.monotonic() - began < 3
    consoles.close()
    os.close(reader)


def test_a_console_that_was_hung_up_is_ignored() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    consoles = Consoles([Console("ttyS0", writer, False)])
    consoles.line("nobody hears this")
    consoles.close()


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_no_key_puts_anything_unprintable_into_a_line(pieces: list[bytes]) -> None:
    console = Console("tty1", -1, True)
    for piece in pieces:
        line = console.feed(piece)
        for text in (line or "", console.typed):
            assert text.isascii()
            assert text.isprintable()
            assert len(text) <= 80


def test_serial_lines_say_each_percent_once(heard: Heard, display: Display) -> None:
    for done in (0, 1, 2, 420, 421, 1000):
        display.progress("capture", Meter("capturing", done * 1_000_000, 1_000_000_000, 120e6))
    assert heard.lines == [
        "diecast: capture 0 % 120 MB/s 0:08 left",
        "diecast: capture 42 % 120 MB/s 0:05 left",
        "diecast: capture 100 % 120 MB/s 0:00 left",
    ]


def test_a_reason_to_wait_is_said_once_and_its_end_once(heard: Heard, display: Display) -> None:
    for left in (600, 599, 598):
        display.waiting("The box does not answer", left)
    assert "waiting 9:58 more at most" in heard.page
    display.waiting("")
    display.waiting("")
    assert heard.lines == ["diecast: waiting: The box does not answer", "diecast: going on"]


def test_a_thread_that_was_left_behind_says_nothing_after_the_end(heard: Heard, display: Display) -> None:
    display.failed("The disk is too small.", "Use a larger one.")
    display.waiting("Chunks cannot be written", 5)
    display.progress("capture", Meter("capturing", 1, 2, 3.0))
    display.doing("sending the indexes")
    assert heard.lines == ["diecast: failed: The disk is too small. Use a larger one."]


def test_escape_sequences_from_outside_do_not_reach_a_console(heard: Heard, display: Display) -> None:
    display.say("image \x1b[2J\x07\r\ndiecast: done, powering off", task="\x1b]0;x\x07")
    assert "\x1b[2J" not in heard.serial.read_text() + heard.page
    assert len(heard.lines) == 1


def test_log_lines_that_could_not_be_sent_come_first_the_next_time(display: Display) -> None:
    display.note("one\ntwo")
    lines = display.take_pending()
    display.note("three")
    display.give_back(lines)
    assert [line.split()[-1] for line in display.take_pending()] == ["one", "two", "three"]


def test_a_log_nobody_takes_does_not_grow_for_ever(display: Display) -> None:
    for number in range(5000):
        display.note(f"line {number}")
    display.give_back(["old"] * 5000)
    lines = display.take_pending()
    assert len(lines) == 1024
    assert lines[-1].endswith("line 4999")


def test_the_page_is_drawn_again_over_what_the_kernel_wrote(heard: Heard, display: Display, tmp_path: Path) -> None:
    display.start()
    before = heard.screen.read_text().count("Diecast agent")
    end = time.monotonic() + 20
    while heard.screen.read_text().count("Diecast agent") == before and time.monotonic() < end:
        time.sleep(0.05)
    again = heard.screen.read_text().count("Diecast agent")
    display.close()
    assert before < again < heard.screen.read_text().count("Diecast agent")
