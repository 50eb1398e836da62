"""The terminals that tests and benchmarks look through see what is there, and count a delay from key to answer."""

from __future__ import annotations

import os

import pytest

from tests.bench.tui import GIVEN_UP_S, Press, Sent, answers, cursor, tab
from tests.tui.terminal import Pty, Screen, Tmux

HEAD = "\x1b[2J\x1b[1;1H\x1b[7mHosts\x1b[0m \x1b[1;36mTasks\x1b[0m"
TWO_LINES = f"{HEAD}\x1b[4;3H\x1b[7m▸ lab-01\x1b[0m\x1b[5;3H▸ lab-02".encode()
ONE_DOWN = "\x1b[4;3H▸ lab-01\x1b[5;3H\x1b[7m▸ lab-02\x1b[0m".encode()


def test_text_stands_where_the_cursor_was_sent() -> None:
    screen = Screen()
    screen.feed(TWO_LINES)
    assert screen.line(0) == "Hosts Tasks"
    assert screen.line(3) == "  ▸ lab-01"
    assert tab(screen) == "Hosts"
    assert "lab-01" in cursor(screen)


@pytest.mark.parametrize("cut", range(1, len(TWO_LINES)))
def test_output_may_be_cut_anywhere(cut: int) -> None:
    whole, cut_up = Screen(), Screen()
    whole.feed(TWO_LINES)
    cut_up.feed(TWO_LINES[:cut])
    cut_up.feed(TWO_LINES[cut:])
    assert (cut_up.cells, cut_up.paints) == (whole.cells, whole.paints)


def test_a_delay_ends_with_what_the_key_asked_for_and_with_nothing_else() -> None:
    press = Press("down", "move", cursor)
    rate = b"\x1b[8;3H98 MB/s"
    chunks = [(0.0, TWO_LINES), (1.01, rate), (1.03, ONE_DOWN), (1.05, rate)]
    (delay,) = answers([Sent(press, 1.0)], chunks)["move"]
    assert delay == pytest.approx(0.03)


def test_a_key_without_an_answer_counts_as_given_up() -> None:
    press = Press("down", "move", cursor)
    chunks = [(0.0, TWO_LINES), (1.01, b"\x1b[8;3H98 MB/s"), (3.5, ONE_DOWN)]
    assert answers([Sent(press, 1.0), Sent(press, 3.0)], chunks)["move"] == [GIVEN_UP_S, pytest.approx(0.5)]


def test_keys_reach_the_program_and_its_answer_comes_back() -> None:
    with Pty(["cat"], os.environ) as terminal:
        for char in "lab-07":
            terminal.send(char)
        terminal.send("enter")
        screen = terminal.waits_for("lab-07")
    assert screen.line(0).startswith("lab-07")


def test_tmux_is_a_terminal_of_the_kind_and_size_that_was_asked_for() -> None:
    with Tmux(["sh", "-c", "echo $TERM; stty size; cat"], columns=80, lines=25, term="linux") as terminal:
        terminal.waits_for("^linux$")
        terminal.waits_for("^25 80$")
        terminal.type("Space")
        terminal.press("Space", "x", "Enter")
        terminal.waits_for("^Space x$")
