"""Our own command line as a child of the console."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from appliance.errors import Unavailable
from appliance.tui import child
from tests.fakes.command_line import FakeCommandLine

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp


class Console:
    """As much of a console as a child needs."""

    def __init__(self, command: tuple[str, ...]) -> None:
        self.command = command


def console_of(*command: str) -> ConsoleApp:
    return cast("ConsoleApp", Console(command))


@pytest.fixture
def cli(tmp_path: Path) -> FakeCommandLine:
    return FakeCommandLine.install(tmp_path / "cli")


async def test_the_json_of_a_command_is_given(cli: FakeCommandLine) -> None:
    cli.answers("image list", [{"number": 2}])
    assert await child.ask(console_of(*cli.command), "image", "list", "--json") == [{"number": 2}]
    assert cli.calls() == ["image list --json"]


async def test_a_status_is_no_failure_where_there_is_json(cli: FakeCommandLine) -> None:
    cli.answers("doctor", [], status=69)
    assert await child.ask(console_of(*cli.command), "doctor", "--json") == []


async def test_without_json_it_fails_in_the_commands_own_words(cli: FakeCommandLine) -> None:
    cli.answers("image show", None, errors="a warning\ndiecast: There is no image 'x'.\n", status=66)
    with pytest.raises(Unavailable, match=r"^diecast image show: There is no image 'x'\.$"):
        await child.ask(console_of(*cli.command), "image", "show", "x")


async def test_a_silent_failure_tells_its_status(cli: FakeCommandLine) -> None:
    cli.answers("doctor", None, status=7)
    with pytest.raises(Unavailable, match="it ended with status 7"):
        await child.ask(console_of(*cli.command), "doctor")


async def test_a_program_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="diecast doctor cannot be run: No such file"):
        await child.ask(console_of(str(tmp_path / "nowhere")), "doctor")


async def test_lines_are_handed_over_while_it_works(cli: FakeCommandLine) -> None:
    cli.answers("image verify", [{"ok": True}], errors="1 2\n2 2\n")
    cli.hold()
    lines: list[str] = []
    seen = asyncio.Event()

    def told(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            seen.set()

    working = asyncio.create_task(child.run(console_of(*cli.command), "image", "verify", told=told))
    await asyncio.wait_for(seen.wait(), 60)
    assert not working.done()
    cli.release()
    ended = await working
    assert (lines, ended.status, ended.json()) == (["1 2", "2 2"], 0, [{"ok": True}])


async def test_a_child_ends_with_the_worker_that_waits_for_it(tmp_path: Path) -> None:
    program = tmp_path / "sleeper"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\necho there >&2\nexec sleep 600\n")
    program.chmod(0o755)
    there = asyncio.Event()
    working = asyncio.create_task(child.run(console_of(str(program)), "x", told=lambda line: there.set()))
    await asyncio.wait_for(there.wait(), 60)
    pid = int((tmp_path / "pid").read_text())
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_one_that_takes_too_long_is_ended(cli: FakeCommandLine) -> None:
    cli.answers("doctor", [])
    cli.hold()
    with pytest.raises(Unavailable, match="diecast doctor --json was not done after 0 s"):
        await child.run(console_of(*cli.command), "doctor", "--json", timeout_s=0.05)
