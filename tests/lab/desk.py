"""What a second process needs to work with the PCs of a lab: which there are, and their buttons, over a local socket.

One request a connection, one line of JSON each way: `{"do": "on", "name": "master", "with": ["network"]}` is answered
`{"error": ""}`, or with words; `{"do": "pcs"}` is answered `{"pcs": [...]}` with a row for each (`Row`).
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.lab.command import LabError
from tests.lab.pc import Pc

_LINES = 30  # of a PC's screen
_TIMEOUT_S = 30.0  # QEMU's start takes some of it


@dataclass(frozen=True, slots=True)
class Row:
    """A PC as the menu shows it."""

    name: str
    made_of: str
    mac: str
    on: bool
    lines: tuple[str, ...] = ()  # the end of what it shows


def made_of(pc: Pc) -> str:
    """Firmware, bus and size of the disk."""
    return f"{pc.hardware.firmware:8} {pc.hardware.bus:7} {pc.disk.stat().st_size >> 20:5} MiB"


def _lines(pc: Pc) -> tuple[str, ...]:
    """What it printed since its button was pressed; of a BIOS PC that has printed nothing yet, its screen."""
    said = [line.rstrip() for line in pc.console.text().splitlines() if line.strip()]
    if not said and pc.is_on and pc.hardware.firmware == "bios":
        said = [line for line in pc.screen_text().splitlines() if line.strip()]
    return tuple(line[:200] for line in said[-_LINES:])


def _row(pc: Pc) -> Row:
    try:
        lines = _lines(pc)
    except (LabError, OSError) as error:  # it went off while we looked
        lines = (str(error),)
    return Row(pc.name, made_of(pc), pc.mac, pc.is_on, lines)


def _on(pc: Pc, first: str = "network") -> None:
    pc.power_on(first=first)


def _cable(pc: Pc, way: str) -> None:
    if way == "out":
        pc.pull_cable()
    else:
        pc.plug_cable()


_VERBS: dict[str, Callable[..., None]] = {
    "on": _on,
    "off": lambda pc: pc.power_off(),
    "cable": _cable,
    "press": lambda pc, *keys: pc.presses(*keys),
}


class Desk:
    """Answers at `path` while it is open; `pcs` may grow."""

    def __init__(self, path: Path, pcs: Mapping[str, Pc]) -> None:
        self._path = path
        self._pcs = pcs
        self._lock = threading.Lock()
        path.unlink(missing_ok=True)
        desk = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                answer = desk.answer(json.loads(self.rfile.readline() or b"{}"))
                self.wfile.write(json.dumps(answer).encode() + b"\n")

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(path), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked. What goes wrong in the lab becomes words."""
        with self._lock:
            if request.get("do") == "pcs":
                return {"pcs": [asdict(_row(pc)) for pc in list(self._pcs.values())]}
            pc, verb = self._pcs.get(str(request.get("name"))), _VERBS.get(str(request.get("do")))
            if pc is None or verb is None:
                return {"error": f"No such PC or verb: {request}."}
            try:
                verb(pc, *request.get("with", ()))
            except (LabError, OSError) as error:
                return {"error": str(error)}
        return {"error": ""}

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class Visitor:
    """The other side: the menu's view of the PCs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pcs(self) -> list[Row]:
        """All PCs. Raises `OSError` when the lab is gone."""
        return [Row(**{**row, "lines": tuple(row["lines"])}) for row in self._ask({"do": "pcs"})["pcs"]]

    def do(self, verb: str, name: str, *words: str) -> str:
        """Do something with a PC; returns what went wrong, or nothing. Raises `OSError` when the lab is gone."""
        return str(self._ask({"do": verb, "name": name, "with": words})["error"])

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_TIMEOUT_S)
            line.connect(str(self._path))
            line.sendall(json.dumps(request).encode() + b"\n")
            said = line.makefile().readline()
        if not said:
            raise ConnectionError("The lab has hung up.")
        answer: dict[str, Any] = json.loads(said)
        return answer
