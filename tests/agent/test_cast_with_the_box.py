"""The agent's receiver beside the box's own cast service, on one switch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.model import Cast, ImageVersion
from appliance.wire.agentapi import CastOrder
from tests.services.cast_room import FEEDBACK_PORT, PORT, SERVER, Room, random_image, wait_for
from tests.services.dhcp_box import ROOT
from tests.services.dhcp_wires import Wires

pytestmark = pytest.mark.netns
WINDOWS = 100
DATA = b"".join(random_image(1, WINDOWS).plain)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A box with the service running."""
    with Wires(f"{SERVER}/16") as wires:
        made = Room(tmp_path, wires)
        made.start()
        yield made
        made.close()


class Pc:
    """A PC with the agent's receiver; its disk is a file."""

    def __init__(self, room: Room, version: ImageVersion, cast: Cast) -> None:
        self.task = room.order(version, cast)
        number = self.task.id
        _, token = room.store.tasks.checked_in(number, f"10.77.1.{number}", f"52:54:00:ca:00:{number:02x}")
        order = room.folder / f"order{number}.json"
        key = CastOrder(cast.cast_id, number, cast.key, str(cast.group), PORT, SERVER, FEEDBACK_PORT)
        order.write_bytes(key.to_json())
        self.disk = room.folder / f"disk{number}"
        images = room.folder / "images"
        words = [*room.wires.add_station(f"a{number}", f"10.77.1.{number}/16")]
        words += [sys.executable, "-m", "tests.bench.cast_receiver", "--order", str(order)]
        words += ["--token-hash", hashlib.sha256(token.encode()).hexdigest(), "--chunks", str(images / "chunks")]
        words += ["--version", str(images / "versions" / version.id), "--target", str(self.disk)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def report(self) -> dict[str, Any]:
        """How it went."""
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        found: dict[str, Any] = json.loads(out)
        return found


def test_pcs_of_a_cast_get_equal_disks_and_the_box_knows_it(room: Room) -> None:
    version = room.image(WINDOWS)
    cast = room.cast(version)
    pcs = [Pc(room, version, cast) for _ in range(2)]
    for pc in pcs:
        found = pc.report()
        assert pc.disk.read_bytes()[: len(DATA)] == DATA
        assert (found["nfs_bytes"], found["modes"][-1]) == (0, "CAST")
    wait_for(lambda: all(member.written == member.total > 0 for member in room.store.casts.members(cast.id)))


def test_a_pc_that_the_operator_drops_goes_on_by_nfs(room: Room) -> None:
    version = room.image(WINDOWS)
    cast = room.store.casts.limit(room.cast(version).id, 8)
    pc = Pc(room, version, cast)
    wait_for(lambda: any(member.written > 3 for member in room.store.casts.members(cast.id)))
    room.store.casts.drop(cast.id, pc.task.id)
    found = pc.report()
    assert pc.disk.read_bytes()[: len(DATA)] == DATA
    assert found["modes"][-1] == "MOVED"
    assert found["nfs_bytes"] > 0 < found["cast_bytes"]


@pytest.mark.lengthy
def test_when_the_service_dies_in_mid_cast_the_rest_comes_by_nfs(room: Room) -> None:
    version = room.image(WINDOWS)
    cast = room.store.casts.limit(room.cast(version).id, 8)
    pc = Pc(room, version, cast)
    wait_for(lambda: any(member.written > 3 for member in room.store.casts.members(cast.id)))
    room.kill9()
    found = pc.report()
    assert pc.disk.read_bytes()[: len(DATA)] == DATA
    assert found["modes"][-1] == "GONE"
    assert found["nfs_bytes"] > 0 < found["cast_bytes"]
