"""The consoles of this PC: the page on its screen (tty1), plain lines on serial ones, and what is typed on any.

Which consoles there are, the kernel says in /sys/class/tty/console/active; `tty0` is the screen. A console that does
not take our bytes (a serial port without a listener may block) loses lines; it never stops the task.
References: console_codes(4), termios(3), Documentation/admin-guide/serial-console.rst.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time
from dataclasses import dataclass, field

from appliance.agent.machine import Machine

_WRITE_S = 1.0  # how long a console may hold us up
_MOST_TYPED = 80


@dataclass(slots=True)
class Console:
    """One open terminal."""

    name: str
    fd: int
    is_screen: bool
    typed: str = ""
    _escape: int = field(default=0)

    def write(self, content: bytes) -> None:
        """Write what the terminal takes within a second; the rest is lost."""
        deadline = time.monotonic() + _WRITE_S
        while content and time.monotonic() < deadline:
            try:
                content = content[os.write(self.fd, content) :]
            except BlockingIOError:
                select.select([], [self.fd], [], 0.1)
            except OSError:  # a serial port that is not really there answers EIO
                return

    def read(self) -> bytes:
        """What was typed; empty when nothing was."""
        try:
            return os.read(self.fd, 256)
        except OSError:
            return b""

    def feed(self, content: bytes) -> str | None:
        """Edit `typed` by these keys; return the line when Enter was among them."""
        for code in content:
            if self._in_escape(code):
                continue
            if code in (10, 13):
                line, self.typed = self.typed, ""
                return line
            if code in (8, 127):
                self.typed = self.typed[:-1]
            elif code == 21:  # Ctrl-U
                self.typed = ""
            elif 32 <= code < 127 and len(self.typed) < _MOST_TYPED:
                self.typed += chr(code)
        return None

    def _in_escape(self, code: int) -> bool:
        """Swallow arrow and function keys: ESC [ ... letter, ESC O letter."""
        if code == 27:
            self._escape = 1
        elif self._escape == 1:
            self._escape = 2 if code in b"[O" else 0
        elif self._escape == 2:
            self._escape = 2 if code in b"[;0123456789" else 0
        else:
            return False
        return True


class Consoles:
    """All of them."""

    def __init__(self, consoles: list[Console]) -> None:
        self.all = consoles

    @classmethod
    def open(cls, machine: Machine) -> Consoles:
        """Open every console the kernel uses; those that cannot be opened are left out."""
        names = machine.text(machine.sys / "class/tty/console/active").split() or ["tty0", "ttyS0"]
        found = []
        for name in dict.fromkeys(names):
            screen = name == "tty0"
            path = machine.dev / ("tty1" if screen else name)
            with contextlib.suppress(OSError):
                fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
                _silence(fd)
                found.append(Console(path.name, fd, screen))
        return cls(found)

    def line(self, text: str) -> None:
        """One plain line on every console that is no screen."""
        for console in self.all:
            if not console.is_screen:
                console.write(text.encode(errors="replace") + b"\n")

    def prompt(self, text: str) -> None:
        """Text without an end of line, where somebody will type behind it."""
        for console in self.all:
            if not console.is_screen:
                console.write(text.encode(errors="replace"))

    def draw(self, page: bytes) -> None:
        """The page on every screen."""
        for console in self.all:
            if console.is_screen:
                console.write(page)

    def discard_typed(self) -> None:
        """Forget what was typed before a question stood there."""
        for console in self.all:
            console.typed = ""
            while console.read():
                pass

    def typed_line(self, wait_s: float) -> tuple[str | None, str]:
        """Wait for keys on any console. Return a finished line or None, and what has been typed so far."""
        ready: list[int] = []
        if self.all:
            ready, _, _ = select.select([console.fd for console in self.all], [], [], wait_s)
        else:
            time.sleep(wait_s)
        typed = ""
        for console in self.all:
            if console.fd in ready:
                before = console.typed
                keys = console.read()
                if not keys:
                    time.sleep(0.05)  # a terminal that was hung up is always ready
                line = console.feed(keys)
                if not console.is_screen:
                    console.write(_echo(before, console.typed if line is None else line, line is not None))
                if line is not None:
                    return line, line
            typed = max(typed, console.typed, key=len)
        return None, typed

    def close(self) -> None:
        """Close all."""
        for console in self.all:
            os.close(console.fd)
        self.all = []


def _echo(before: str, after: str, ended: bool) -> bytes:
    common = 0
    while common < min(len(before), len(after)) and before[common] == after[common]:
        common += 1
    text = "\b \b" * (len(before) - common) + after[common:] + ("\n" if ended else "")
    return text.encode()


def _silence(fd: int) -> None:
    """No echo, no line editing by the kernel: the page is ours. Output keeps its processing."""
    with contextlib.suppress(termios.error):
        mode = termios.tcgetattr(fd)
        mode[0] |= termios.ICRNL
        mode[1] |= termios.OPOST | termios.ONLCR
        mode[2] |= termios.CLOCAL | termios.CREAD  # a three-wire cable carries no DCD
        mode[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 0, 0
        termios.tcsetattr(fd, termios.TCSANOW, mode)
