"""A small client of QEMU's machine protocol: one command, one answer, events kept for whoever waits.

Several threads may use one connection, as the lab's shell and its menu do.

Reference: QEMU documentation, "QEMU Machine Protocol Specification".
"""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

from tests.lab.command import LabError


class Qmp:
    """A connection to one guest's monitor."""

    def __init__(self, path: Path, *, timeout_s: float = 15) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._lock = threading.Lock()
        self.events: list[dict[str, Any]] = []
        self._connect(path, timeout_s)
        self._stream = self._socket.makefile("rb")
        self._read()  # the greeting
        self.command("qmp_capabilities")

    def _connect(self, path: Path, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._socket.connect(str(path))
                return
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise LabError(f"QEMU's monitor {path} does not answer.") from None
                time.sleep(0.05)

    def _read(self) -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise LabError("QEMU closed its monitor.")
        message: dict[str, Any] = json.loads(line)
        return message

    def command(self, name: str, /, **arguments: Any) -> Any:
        """Run one command and return what it answers. Raises `LabError` with QEMU's own words."""
        request = {"execute": name, "arguments": arguments}
        try:
            with self._lock:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
                answer = self._answer()
        except (OSError, ValueError) as error:
            raise LabError(f"QEMU's monitor failed at {name}: {error}") from error
        if "error" in answer:
            raise LabError(f"QEMU refused {name}: {answer['error'].get('desc')}")
        return answer["return"]

    def _answer(self) -> dict[str, Any]:
        while True:
            message = self._read()
            if "event" in message:
                self.events.append(message)
            elif "error" in message or "return" in message:
                return message

    def close(self) -> None:
        """Hang up; the guest runs on."""
        self._stream.close()  # holds the connection too
        self._socket.close()
