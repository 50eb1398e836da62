"""QEMU's monitor, pretended: each command gets its own answer, also of several threads."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import LabError
from tests.lab.qmp import Qmp


class PretendedMonitor(socketserver.StreamRequestHandler):
    """Answers each command with its own argument, an event before it; knows nothing called `nonsense`."""

    def handle(self) -> None:
        self._say({"QMP": {}})
        for line in self.rfile:
            asked = json.loads(line)
            self._say({"event": "NIC_RX_FILTER_CHANGED"})
            if asked["execute"] == "nonsense":
                self._say({"error": {"class": "CommandNotFound", "desc": "not found"}})
            else:
                self._say({"return": asked.get("arguments")})

    def _say(self, message: dict[str, Any]) -> None:
        self.wfile.write(json.dumps(message).encode() + b"\n")


@pytest.fixture
def qmp(tmp_path: Path) -> Iterator[Qmp]:
    path = tmp_path / "monitor"
    with socketserver.ThreadingUnixStreamServer(str(path), PretendedMonitor) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = Qmp(path)
        yield made
        made.close()
        server.shutdown()


def test_a_command_is_answered_and_events_are_kept(qmp: Qmp) -> None:
    assert qmp.command("send-key", keys=["ret"]) == {"keys": ["ret"]}
    assert {event["event"] for event in qmp.events} == {"NIC_RX_FILTER_CHANGED"}
    with pytest.raises(LabError, match="QEMU refused nonsense: not found"):
        qmp.command("nonsense")


def test_each_of_several_threads_gets_the_answers_to_its_own_commands(qmp: Qmp) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: qmp.command("echo", number=number), range(800)))
    assert [answer["number"] for answer in answers] == list(range(800))
