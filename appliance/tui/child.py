"""Our own command line as a child process: what only the engine or the machine can tell or do.

`ask` gives the JSON that a command prints. `run` also hands over what it says on standard error, line by line, while it
works: `image verify --progress` counts there. A child never outlives the worker that waits for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.errors import ApplianceError, Unavailable
from appliance.tui import sentences

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp

TIMEOUT_S = 60.0  # of a command that only tells something
_LINE_LIMIT = 1 << 20  # bytes
_KEPT = 20  # lines


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended, and all that it said."""

    name: str  # for sentences: `diecast image verify`
    status: int
    out: str
    errors: tuple[str, ...]

    @property
    def words(self) -> str:
        """Why it failed, in its own words."""
        said = [line for line in self.errors if line.strip()]
        return said[-1].removeprefix("diecast: ") if said else f"it ended with status {self.status}."

    def json(self) -> Any:
        """What it printed. Raises `Unavailable` in its own words when that is no JSON.

        A status other than 0 is no failure by itself: `doctor` and `image verify` have one when they found something.
        """
        try:
            return json.loads(self.out)
        except ValueError:
            raise Unavailable(f"{self.name}: {self.words}") from None


async def ask(console: ConsoleApp, *arguments: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The JSON that `diecast ARGUMENTS` prints. Raises `Unavailable` in its own words."""
    return (await run(console, *arguments, timeout_s=timeout_s)).json()


async def run(
    console: ConsoleApp,
    *arguments: str,
    told: Callable[[str], None] | None = None,
    timeout_s: float | None = None,
) -> Ended:
    """Run `diecast ARGUMENTS` to its end. `told` gets each line of standard error at once.

    Raises `Unavailable` when it cannot be started or takes longer than `timeout_s`. When the worker that waits is
    cancelled the child is ended.
    """
    name = "diecast " + " ".join(arguments[:2])
    try:
        process = await asyncio.create_subprocess_exec(
            *console.command,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
    except OSError as error:
        raise Unavailable(f"{name} cannot be run: {error.strerror}.") from error
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s):
            out, errors = await asyncio.gather(process.stdout.read(), _lines(process.stderr, told))
            status = await process.wait()
    except TimeoutError:
        raise Unavailable(f"{name} was not done after {timeout_s:.0f} s.") from None
    finally:
        await _end(process)
    return Ended(name, status, out.decode("utf-8", "replace"), tuple(errors))


async def _lines(stream: asyncio.StreamReader, told: Callable[[str], None] | None) -> list[str]:
    """What it said; of what was handed over already only the last lines are kept."""
    kept: list[str] = []
    async for raw in stream:
        line = raw.decode("utf-8", "replace").rstrip()
        kept.append(line)
        if told is not None:
            told(line)
            kept = kept[-_KEPT:]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what is still at work: our commands may be killed at any moment."""
    if process.returncode is None:
        # The only way to close its pipes too, which a child of its own may still hold; it kills as well.
        process._transport.close()  # type: ignore[attr-defined]
        await process.wait()


def start(
    console: ConsoleApp,
    *arguments: str,
    then: Callable[[Any], None],
    failed: Callable[[ApplianceError], None] | None = None,
    group: str,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Ask in a worker; `then` gets the JSON. A later call of the same `group` drops an earlier one.

    An error goes to `failed`, or is shown in the notice line.
    """

    async def work() -> None:
        try:
            found = await ask(console, *arguments, timeout_s=timeout_s)
        except ApplianceError as error:
            if failed is not None:
                failed(error)
            else:
                console.say(sentences.explain(error), "alarm")
            return
        then(found)

    console.run_worker(work, group=group, exclusive=True)  # type: ignore[arg-type]  # see `Session.fetch`
