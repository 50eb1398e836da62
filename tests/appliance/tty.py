"""The screen and keyboard of a BIOS machine, through QEMU's monitor: what a person in front of it sees and presses.

`Terminal` is what this and a window of tmux (`tests.tui.terminal`) have in common.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Protocol

from tests.appliance import keyboard, vga
from tests.tui import psf

if TYPE_CHECKING:
    from tests.appliance.machine import Machine

FONT = "Lat15-Fixed16"  # what the image's console-setup takes
_LOOK_S = 0.4
_KEY_S = 0.08  # a kernel of an emulated machine drops keys that come faster


class Terminal(Protocol):
    """Something with keys and 80x25 characters."""

    def text(self) -> str:
        """What is to be seen."""

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them: Down, Enter, C-p, a."""

    def type(self, text: str) -> None:
        """Type a text."""

    def waits_for(self, pattern: str, timeout_s: float = 15.0) -> re.Match[str]:
        """Wait until `pattern` is to be seen. Raises `AssertionError` with what is there instead."""


class Tty:
    """The machine's own."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._shapes = vga.shapes_of(psf.held(FONT))

    def text(self) -> str:
        """What the screen shows, in VGA text mode."""
        monitor = self._machine.monitor()
        path = self._machine.folder / f"{self._machine.name}.vga"
        # Stopped, so that Linux does not find the card's index register elsewhere than it left it.
        monitor.command("stop")
        try:
            monitor.command("pmemsave", val=vga.ADDRESS, size=vga.MEMORY_BYTES, filename=str(path))
            index = self._port(vga.REGISTER_INDEX)
            start = self._register(vga.START_HIGH) << 8 | self._register(vga.START_LOW)
            self._port(vga.REGISTER_INDEX, index)
        finally:
            monitor.command("cont")
        return "\n".join(vga.lines_of(vga.shown_of(path.read_bytes(), start), self._shapes))

    def waits_for(self, pattern: str, timeout_s: float = 60.0) -> re.Match[str]:
        """Wait until the screen shows `pattern`. Raises `AssertionError` with what it shows instead."""
        deadline = time.monotonic() + timeout_s
        while True:
            text = self.text()
            if found := re.search(pattern, text, re.MULTILINE):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"The screen does not show /{pattern}/ within {timeout_s:g} s but:\n{text}")
            time.sleep(_LOOK_S)

    def press(self, *keys: str) -> None:
        """Press keys as tmux names them: Down, Enter, C-p, M-F2, a."""
        for key in keys:
            self._chord(keyboard.chord(key))

    def type(self, text: str) -> None:
        """Type a text."""
        for char in text:
            self._chord(keyboard.stroke(char))

    def _chord(self, names: list[str]) -> None:
        keys = [{"type": "qcode", "data": name} for name in names]
        self._machine.monitor().command("send-key", keys=keys, **{"hold-time": 30})
        time.sleep(_KEY_S)

    def _register(self, number: int) -> int:
        self._port(vga.REGISTER_INDEX, number)
        return self._port(vga.REGISTER_DATA)

    def _port(self, port: int, value: int | None = None) -> int:
        """Write to a port of the machine, or read it."""
        line = f"i /b 0x{port:x}" if value is None else f"o /b 0x{port:x} 0x{value:x}"
        said = self._machine.monitor().command("human-monitor-command", **{"command-line": line})
        return int(said.rpartition("=")[2], 16) if value is None else value
