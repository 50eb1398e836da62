"""The real console at a terminal: `diecast tui` as its own process, keys in as bytes, what it draws out.

`Pty` keeps everything that the program wrote with the time at which it came, so that delays are counted afterwards and
looking costs the program nothing. `Screen` is as much of a terminal as Textual's output needs. `Tmux` is a foreign
terminal: tmux draws, and says what there is to be seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import tempfile
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

COLUMNS, LINES = 80, 25  # the Linux console

KEYS = {
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    "enter": "\r",
    "escape": "\x1b",
    "tab": "\t",
    "backspace": "\x7f",
    "space": " ",
    "ctrl+p": "\x10",
}
_TOKEN = re.compile(
    rb"\x1b\[([<=>?]?)([0-9;:]*)([ !-/]*)([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x1f]"
)
_CUT_SHORT = re.compile(rb"\x1b(?:\[[0-9;:<=>?]*)?$")


class Screen:
    """What a terminal shows of the bytes that it was fed: characters, and the colours under them."""

    def __init__(self, columns: int = COLUMNS, lines: int = LINES) -> None:
        self.columns, self.lines = columns, lines
        self.cells = [[" "] * columns for _ in range(lines)]
        self.paints = [[""] * columns for _ in range(lines)]
        self._x = self._y = 0
        self._paint = ""
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Draw."""
        data, self._rest = self._rest + data, b""
        cut = _CUT_SHORT.search(data)
        if cut:
            data, self._rest = data[: cut.start()], cut[0]
        data, torn = _whole_characters(data)
        self._rest = torn + self._rest
        at = 0
        for token in _TOKEN.finditer(data):
            self._write(data[at : token.start()].decode(errors="replace"))
            at = token.end()
            self._control(token)
        self._write(data[at:].decode(errors="replace"))

    def line(self, y: int) -> str:
        """The characters of a line."""
        return "".join(self.cells[y]).rstrip()

    def text(self) -> str:
        """All lines."""
        return "\n".join(self.line(y) for y in range(self.lines))

    def _write(self, text: str) -> None:
        for char in text:
            if self._x >= self.columns:
                self._x, self._y = 0, min(self._y + 1, self.lines - 1)
            self.cells[self._y][self._x] = char
            self.paints[self._y][self._x] = self._paint
            self._x += 1

    def _control(self, token: re.Match[bytes]) -> None:
        if token[4] is None:
            if token[0] == b"\r":
                self._x = 0
            elif token[0] == b"\n":
                self._y = min(self._y + 1, self.lines - 1)
            return
        if token[1] or token[3]:  # modes and questions
            return
        numbers = [int(word) if word.isdigit() else 0 for word in token[2].split(b";")]
        match token[4]:
            case b"H" | b"f":
                y, x = (*numbers, 0)[:2]
                self._y, self._x = min(max(y, 1), self.lines) - 1, min(max(x, 1), self.columns) - 1
            case b"m":
                words = token[2].decode()
                self._paint = "" if words in ("", "0") else f"{self._paint};{words}".removeprefix(";")
            case b"J":
                for y in range(self.lines):
                    self.cells[y], self.paints[y] = [" "] * self.columns, [""] * self.columns
            case b"K":
                for x in range(self._x, self.columns):
                    self.cells[self._y][x], self.paints[self._y][x] = " ", self._paint


def _whole_characters(data: bytes) -> tuple[bytes, bytes]:
    """`data` without the first bytes of a character whose last ones have not come, and those."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return (data, b"") if length <= back else (data[:-back], data[-back:])
    return data, b""


class Pty:
    """A program at a terminal of its own. `chunks` is what it wrote: seconds (`time.monotonic`) and bytes."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], *, columns: int = COLUMNS, lines: int = LINES
    ) -> None:
        self.size = (columns, lines)
        self.chunks: list[tuple[float, bytes]] = []
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=dict(environment), start_new_session=True
        )
        os.close(slave)
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self) -> None:
        while not self._ended.is_set():
            with contextlib.suppress(OSError):
                if select.select([self._master], [], [], 0.2)[0]:
                    data = os.read(self._master, 65536)
                    self.chunks.append((time.monotonic(), data))
                continue
            return  # the program has closed its end

    def send(self, key: str) -> float:
        """Press a key, by its name or as its character; returns when."""
        at = time.monotonic()
        os.write(self._master, KEYS.get(key, key).encode())
        return at

    def screen(self) -> Screen:
        """What is to be seen now."""
        screen = Screen(*self.size)
        for _at, data in list(self.chunks):
            screen.feed(data)
        return screen

    def waits_for(self, words: str, timeout_s: float = 20.0) -> Screen:
        """Wait until some words are to be seen. Raises `AssertionError` with what is there instead."""
        return _wait(self.screen, lambda screen: words in screen.text(), timeout_s, words)

    def close(self) -> None:
        """End the program."""
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._ended.set()
        self._reader.join(2)
        os.close(self._master)


def _wait(look: Callable[[], Screen], good: Callable[[Screen], bool], timeout_s: float, words: str) -> Screen:
    deadline = time.monotonic() + timeout_s
    while True:
        screen = look()
        if good(screen):
            return screen
        if time.monotonic() > deadline:
            raise AssertionError(f"'{words}' did not come within {timeout_s:g} s:\n{screen.text()}")
        time.sleep(0.1)


class Tmux:
    """A program in a window of a tmux server of its own, which is ended with it."""

    def __init__(
        self, command: Sequence[str], *, columns: int = COLUMNS, lines: int = LINES, term: str = "linux"
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="diecast-tmux-"))
        settings = self._folder / "tmux.conf"
        settings.write_text(
            f'set -g default-terminal "{term}"\nset -g status off\nset -g remain-on-exit on\nset -s escape-time 0\n'
        )
        self._tmux = ["tmux", "-u", "-S", str(self._folder / "socket"), "-f", str(settings)]
        self._run("new-session", "-d", "-x", str(columns), "-y", str(lines), *command)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, *words: str) -> str:
        done = subprocess.run([*self._tmux, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssertionError(f"tmux {' '.join(words)[:200]}: {done.stderr.strip()}")
        return done.stdout

    def text(self) -> str:
        """What is to be seen."""
        return self._run("capture-pane", "-p")

    def waits_for_end(self, timeout_s: float = 15.0) -> None:
        """Wait until the program has ended. (The line that tmux draws then is missing when it learns of the closed
        terminal before it learns of the process's end.) Raises `AssertionError` with what is there.
        """
        deadline = time.monotonic() + timeout_s
        while self._run("display-message", "-p", "#{pane_dead}").strip() != "1":
            if time.monotonic() > deadline:
                raise AssertionError(f"the program has not ended within {timeout_s:g} s:\n{self.text()}")
            time.sleep(0.1)

    def press(self, *keys: str) -> None:
        """Press keys, by tmux's names: Down, Enter, Escape, C-p; or characters."""
        for key in keys:
            self._run("send-keys", key)
            time.sleep(0.15)

    def type(self, text: str) -> None:
        """Type a text."""
        self._run("send-keys", "-l", text)
        time.sleep(0.15)

    def waits_for(self, pattern: str, timeout_s: float = 15.0) -> re.Match[str]:
        """Wait until `pattern` is to be seen. Raises `AssertionError` with what is there instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.text()
            found = re.search(pattern, text, re.MULTILINE)
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"/{pattern}/ did not come within {timeout_s:g} s:\n{text}")
            time.sleep(0.2)

    def close(self) -> None:
        """End the program and its tmux."""
        with contextlib.suppress(AssertionError):
            self._run("kill-server")
        for path in self._folder.iterdir():
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._folder.rmdir()
