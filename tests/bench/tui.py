"""`tui_key_ms`, `tui_cpu`, `tui_start_s`: the console's own speed on a busy box, at a terminal, with nobody helping.

The program is `diecast tui` as an operator starts it, at a pty of 80x25 with TERM=linux; another process keeps 1 000
hosts, 200 tasks and a cast of 200 moving (`tui_store`). What it writes is kept with the time of each piece and looked
at afterwards through a terminal's eyes: a key is answered when what it asks for is to be seen, whatever else changes.

- `tui_key_ms`: from a key to its answer, 95th percentile: moves in every list, screens at the first and at later
  looks, letters of a filter. A key comes while tasks and cast are being redrawn as likely as at any other time.
- `tui_cpu`: processor time of the program over the whole of it, keys and watching, in percent of one core.
- `tui_start_s`: from exec to the first picture that shows the tasks; median of some starts.
"""

from __future__ import annotations

import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.bench import tui_store
from tests.bench.kit import running
from tests.tui.terminal import LINES, Pty, Screen

STARTS = 7
WATCH_S = 5.0  # on each screen, without a key
PAUSE_S = (0.12, 0.32)  # between two keys: faster than a person reads
GIVEN_UP_S = 2.0  # a key that shows nothing by then counts so much
FIRST_ROOM = "r01-01"
_MOVES = ["down"] * 40 + ["up"] * 20 + ["pagedown", "down", "down", "pagedown", "up", "home"] * 3

Look = Callable[[Screen], Any]


@dataclass(frozen=True, slots=True)
class Press:
    """A key, and what of the screen it must change (`sees` gives another value than before, and `good` holds)."""

    key: str
    kind: str
    sees: Look
    good: Callable[[Screen], bool] = lambda screen: True


@dataclass(frozen=True, slots=True)
class Sent:
    """A key that was pressed, and when."""

    press: Press
    at: float


def run(workdir: Path) -> list[dict[str, Any]]:
    """Measure and return the three entries. Raises `AssertionError` when the console does not come up."""
    workdir.mkdir(parents=True, exist_ok=True)
    config = _box(workdir)
    database = workdir / "state" / "diecast.sqlite"
    tui_store.fill(database)
    with running([sys.executable, "-m", "tests.bench.tui_store", str(database)], workdir / "writer.log"):
        time.sleep(1.5)
        starts = [_start(config) for _ in range(STARTS)]
        sent, chunks, cpu = _session(config)
    delays = answers(sent, chunks)
    return [_key_entry(delays), _cpu_entry(cpu), _start_entry(starts)]


def _key_entry(delays: dict[str, list[float]]) -> dict[str, Any]:
    every = sorted(delay for found in delays.values() for delay in found)
    worst = ", ".join(f"{kind} {_percentile(found) * 1000:.0f}" for kind, found in delays.items())
    detail = f"{len(every)} keys, median {statistics.median(every) * 1000:.0f} ms; 95th percentile of {worst}"
    return _entry("tui_key_ms", _percentile(every) * 1000, "ms", detail)


def _cpu_entry(cpu: dict[str, tuple[float, float]]) -> dict[str, Any]:
    spent, passed = (sum(parts) for parts in zip(*cpu.values(), strict=True))
    each = ", ".join(f"{name} {100 * used / wall:.0f}" for name, (used, wall) in cpu.items())
    return _entry("tui_cpu", 100 * spent / passed, "%", f"of one core in {passed:.0f} s; by part: {each}")


def _start_entry(starts: list[float]) -> dict[str, Any]:
    detail = f"median of {len(starts)}, slowest {max(starts):.2f} s; 1 000 hosts, 400 tasks"
    return _entry("tui_start_s", statistics.median(starts), "s", detail)


def _entry(name: str, ours: float, unit: str, detail: str) -> dict[str, Any]:
    return {"name": name, "ours": round(ours, 2), "peer": None, "ratio": None, "unit": unit, "detail": detail}


def _percentile(values: list[float]) -> float:
    """The 95th, of the values themselves."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * 95 // 100) - 1)]


def _box(folder: Path) -> Path:
    for name in ("state", "images"):
        (folder / name).mkdir(exist_ok=True)
    config = folder / "diecast.toml"
    config.write_text(
        f'[paths]\nstate = "{folder}/state"\nimages = "{folder}/images"\nboot = "{folder}/boot"\nrun = "{folder}/run"\n'
        '[network]\ninterfaces = ["lo"]\n[dhcp]\nmode = "off"\n'
    )
    return config


def _console(config: Path) -> Pty:
    environment = {**os.environ, "TERM": "linux", "LANG": "C.UTF-8"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    return Pty([sys.executable, "-m", "appliance", "--config", str(config), "tui"], environment)


def _start(config: Path) -> float:
    """Seconds from exec to the first picture with data."""
    with _console(config) as console:
        console.waits_for(FIRST_ROOM)
        screen = Screen()
        for at, data in console.chunks:
            screen.feed(data)
            if FIRST_ROOM in screen.text() and "Help" in screen.line(LINES - 1):
                return at - console.started
    raise AssertionError(f"no picture:\n{screen.text()}")


def _session(config: Path) -> tuple[list[Sent], list[tuple[float, bytes]], dict[str, tuple[float, float]]]:
    """Sit at the console: each screen watched, then its keys. Processor and wall seconds by part."""
    chance = random.Random(2)
    sent: list[Sent] = []
    cpu: dict[str, tuple[float, float]] = {}
    with _console(config) as console:
        console.waits_for(FIRST_ROOM)
        process = psutil.Process(console.process.pid)
        for name, presses in _parts(console.screen()):
            for part, keys in ((name, []), (f"{name} with keys", presses)):
                before, began = sum(process.cpu_times()[:2]), time.monotonic()
                for press in keys:
                    sent.append(Sent(press, console.send(press.key)))
                    time.sleep(chance.uniform(*PAUSE_S))
                if not keys:
                    time.sleep(WATCH_S)
                cpu[part] = (sum(process.cpu_times()[:2]) - before, time.monotonic() - began)
        time.sleep(GIVEN_UP_S)
        return sent, list(console.chunks), cpu


def _parts(screen: Screen) -> Iterator[tuple[str, list[Press]]]:
    """Each screen that there is with the keys pressed on it, the last of which leads on; then all screens again."""
    tabs = screen.line(0).split()
    screens = [(tabs[i], tabs[i + 1]) for i in range(len(tabs) - 1) if tabs[i].isdigit()]
    around = [key for key, _title in (*screens[1:], screens[0])]
    for (_key, title), following in zip(screens, around, strict=True):
        yield title, [*_presses(title), Press(following, "first look", tab)]
    yield "all", [Press(key, "screen", tab) for key in around * 6]


def _presses(title: str) -> list[Press]:
    """Keys of one screen."""
    moves = [Press(key, "move", cursor) for key in _MOVES]
    match title:
        case "Hosts":
            return [*moves, *_filter("r07"), *moves[:8], Press("escape", "filter", names)]
        case "Tasks":
            return [*moves, *_filter("r03"), *moves[:8], Press("escape", "filter", names)]
        case "Casts":
            room = ["tab", *["down"] * 8, *["right"] * 6, *["left"] * 3, *["up"] * 3]
            return [Press(key, "move", cursor) for key in room]
        case _:
            return []


def _filter(text: str) -> list[Press]:
    """Open the filter, type `text`, keep it: at each letter the list holds what was typed so far, and only that."""
    opened = Press("/", "filter", lambda screen: screen.line(LINES - 2))
    letters = [
        Press(char, "filter", lambda screen: screen.line(LINES - 3), _only(text[: at + 1]))
        for at, char in enumerate(text)
    ]
    return [opened, *letters, Press("enter", "filter", cursor)]


def _only(typed: str) -> Callable[[Screen], bool]:
    def good(screen: Screen) -> bool:
        return typed in screen.line(LINES - 3) and all(typed in name for name in names(screen))

    return good


# -- what is looked at


def tab(screen: Screen) -> str:
    """The title of the screen shown: what is reversed in the first line."""
    return _reversed(screen, 0)


def cursor(screen: Screen) -> str:
    """What the cursor is on: the longest reversed text between the rules, its place and the words that keep still."""
    found = {y: _reversed(screen, y).strip() for y in range(2, LINES - 2)}
    y = max(found, key=lambda y: len(found[y]))
    return f"{y} {' '.join(word for word in found[y].split()[:4] if not word[0].isdigit())}" if found[y] else ""


def names(screen: Screen) -> tuple[str, ...]:
    """The hosts in sight."""
    words = (word for y in range(3, LINES - 3) for word in screen.line(y).split())
    return tuple(word for word in words if len(word) == len(FIRST_ROOM) and word[0] == "r" and word[3] == "-")


def _reversed(screen: Screen, y: int) -> str:
    return "".join(
        char for char, paint in zip(screen.cells[y], screen.paints[y], strict=True) if "7" in paint.split(";")
    )


def answers(sent: list[Sent], chunks: list[tuple[float, bytes]]) -> dict[str, list[float]]:
    """Seconds from each key to the piece of output with which its answer was complete, by kind of key."""
    screen, at = Screen(), 0
    found: dict[str, list[float]] = {}
    for number, key in enumerate(sent):
        until = sent[number + 1].at if number + 1 < len(sent) else float("inf")
        while at < len(chunks) and chunks[at][0] < key.at:
            screen.feed(chunks[at][1])
            at += 1
        before, delay = key.press.sees(screen), GIVEN_UP_S
        while at < len(chunks) and chunks[at][0] < until:
            screen.feed(chunks[at][1])
            at += 1
            if key.press.sees(screen) != before and key.press.good(screen):
                delay = chunks[at - 1][0] - key.at
                break
        found.setdefault(key.press.kind, []).append(delay)
    return found
