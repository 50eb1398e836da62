"""The cast service with real multicast between network namespaces, software PCs, forgers and a querier."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from appliance.cast.receiver import GONE_S
from appliance.config import Cast
from appliance.errors import Unavailable
from appliance.events import CastState
from appliance.services.cast_sockets import Card, Outlet
from appliance.wire.agentapi import CastOrder
from appliance.wire.cast import Feedback, pack_feedback
from tests.services.cast_room import FEEDBACK_PORT, PORT, SERVER, Room, random_image, wait_for
from tests.services.dhcp_wires import BOX, Wires

pytestmark = pytest.mark.netns
MB = 1_000_000


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires(f"{SERVER}/16") as made:
        yield made


@pytest.fixture
def room(tmp_path: Path, wires: Wires) -> Iterator[Room]:
    made = Room(tmp_path, wires, "rate_mbit = 200")
    try:
        yield made
    finally:
        made.close()


def test_two_pcs_get_the_image_once_for_both_and_the_cast_ends(room: Room) -> None:
    version = room.image(200)
    cast = room.cast(version, 2, 60)
    tasks = [room.order(version, cast) for _ in range(2)]
    room.start()
    reports = [station.report() for station in [room.power_on(task, cast) for task in tasks]]
    assert [report.complete for report in reports] == [True, True]
    wait_for(lambda: [m.status for m in room.store.casts.members(cast.id)] == ["complete"] * 2)  # told once a second
    told = room.store.casts.get(cast.id)
    assert told.sent_bytes < 1.3 * version.used_bytes
    assert [(m.written, m.total) for m in room.store.casts.members(cast.id)] == [(200, 200)] * 2
    assert told.state is CastState.OPEN
    for task in tasks:
        room.finish(task)
    wait_for(lambda: room.store.casts.get(cast.id).state is CastState.ENDED)
    assert room.stop() == 0


def test_a_lossy_pc_and_a_late_one_end_with_the_right_bytes(room: Room) -> None:
    version = room.image(200)
    cast = room.cast(version)
    tasks = [room.order(version, cast) for _ in range(3)]
    room.start()
    stations = [room.power_on(tasks[0], cast, loss=0.1), room.power_on(tasks[1], cast, half=2)]
    time.sleep(0.6)
    stations.append(room.power_on(tasks[2], cast))
    reports = [station.report() for station in stations]
    assert [report.complete for report in reports] == [True] * 3
    assert [report.counts["bad_hash"] for report in reports] == [0] * 3
    wait_for(lambda: room.store.casts.get(cast.id).parity_bytes > 0)


def test_forged_feedback_is_dropped_and_counted(room: Room) -> None:
    version = room.image(100)
    cast = room.cast(version)
    task = room.order(version, cast)
    room.start()
    room.errand(task, cast)
    time.sleep(0.6)  # the service has seen that the PC has checked in
    everything = Feedback(int(cast.cast_id, 16), task.id, 1 << 30, first=0, end=100, wanted=(1 << 100) - 1)
    stranger = Feedback(int(cast.cast_id, 16), 999, 1, first=0, end=100, wanted=1)
    forged = pack_feedback(everything, b"\0" * 32)[0]
    from_nobody = pack_feedback(stranger, b"\0" * 32)[0]
    words = room.wires.add_station("forger", "10.77.2.1/16")
    program = (
        "import socket, sys\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f"for frame in sys.argv[1:]:\n    s.sendto(bytes.fromhex(frame), ('{SERVER}', {FEEDBACK_PORT}))"
    )
    junk = ["", "00" * 200, forged[:40].hex(), "ff" * 1472]
    subprocess.run([*words, sys.executable, "-c", program, forged.hex(), from_nobody.hex(), *junk], check=True)
    wait_for(lambda: room.store.casts.get(cast.id).forged == 1)
    told = room.store.casts.get(cast.id)
    assert (told.refused, told.sent_bytes, told.present) == (1, 0, 0)
    assert room.power_on(task, cast).report().complete, "its messages count although a higher number was forged"


@pytest.mark.lengthy
def test_two_casts_share_the_link(room: Room) -> None:
    stations = []
    versions = [room.image(150, f"image{n}", n) for n in range(2)]
    casts = [room.cast(version, 1, 0) for version in versions]
    tasks = [room.order(version, cast) for version, cast in zip(versions, casts, strict=True)]
    assert casts[0].group != casts[1].group
    for cast in casts:
        room.store.casts.limit(cast.id, 1)  # the first to come waits for the second
    room.start()
    stations = [room.power_on(task, cast) for task, cast in zip(tasks, casts, strict=True)]
    wait_for(lambda: all(room.store.casts.get(cast.id).present for cast in casts))
    for cast in casts:
        room.store.casts.limit(cast.id, 50)
    times = [station.report() for station in stations]
    assert [report.complete for report in times] == [True, True]
    assert max(t.seconds for t in times) / min(t.seconds for t in times) <= 1.25


def test_cancelling_one_pc_cancels_one_pc(room: Room) -> None:
    version = room.image(150)
    cast = room.cast(version, 2, 60)
    room.store.casts.limit(cast.id, 40)
    tasks = [room.order(version, cast) for _ in range(2)]
    room.start()
    stations = [room.power_on(task, cast) for task in tasks]
    wait_for(lambda: room.store.casts.get(cast.id).sent_bytes > MB)
    room.store.tasks.cancel(tasks[0].id)
    assert stations[1].report().complete
    wait_for(lambda: room.store.casts.get(cast.id).refused > 0)
    assert room.store.casts.get(cast.id).state is CastState.OPEN
    assert room.store.casts.get(cast.id).sent_bytes < 1.3 * version.used_bytes


def test_a_stopped_cast_says_so_and_a_dropped_pc_is_told(room: Room) -> None:
    version = room.image(150)
    cast = room.cast(version)
    room.store.casts.limit(cast.id, 8)
    tasks = [room.order(version, cast) for _ in range(2)]
    room.start()
    dropped = room.power_on(tasks[0], cast, until="MOVED")
    other = room.power_on(tasks[1], cast, until="GONE", seconds=9.0)
    wait_for(lambda: room.store.casts.get(cast.id).present == 2)
    room.store.casts.drop(cast.id, tasks[0].id)
    assert dropped.report().mode == "MOVED"
    room.store.casts.stop(cast.id)
    stopped_at = time.monotonic()
    report = other.report()
    assert (report.mode, report.complete) == ("GONE", False)
    assert time.monotonic() - stopped_at < GONE_S - 1, "it was told, and did not have to notice"


def test_nothing_is_sent_until_enough_pcs_are_there_or_the_operator_says_so(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version, 3, 60)
    tasks = [room.order(version, cast) for _ in range(3)]
    room.start()
    station = room.power_on(tasks[0], cast)
    wait_for(lambda: room.store.casts.get(cast.id).waiting)
    time.sleep(0.5)
    assert room.store.casts.get(cast.id).sent_bytes == 0
    room.store.casts.begin(cast.id)
    assert station.report().complete
    assert room.stop() == 0
    told = room.store.casts.get(cast.id)
    assert (told.present, told.waiting, told.rate_bytes_s, told.state) == (0, False, 0.0, CastState.OPEN)


def test_whoever_can_come_is_there_when_the_others_are_cancelled(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version, 2, 60)
    tasks = [room.order(version, cast) for _ in range(2)]
    room.start()
    station = room.power_on(tasks[0], cast)
    wait_for(lambda: room.store.casts.get(cast.id).waiting)
    room.store.tasks.cancel(tasks[1].id)
    assert station.report().complete


def test_new_pcs_are_cast_to_as_they_come_and_waited_for(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version, 2, 60)
    room.store.tasks.order_new_pcs(version, 2, "LAB1-{nn}", cast_id=cast.id)
    room.start()
    stations = []
    for number in (1, 2):
        adopted = room.store.tasks.adopt([f"52:54:00:cb:00:{number:02x}"])
        assert adopted is not None
        stations.append(room.power_on(adopted[1], cast))
        if number == 1:
            wait_for(lambda: room.store.casts.get(cast.id).waiting)
            time.sleep(1.5)  # the service has looked whether more can come
            assert room.store.casts.get(cast.id).sent_bytes == 0, "the second has no task yet, but will"
    assert [station.report().complete for station in stations] == [True, True]


def test_a_killed_service_goes_on_where_its_pcs_are(room: Room) -> None:
    version = room.image(200)
    cast = room.cast(version, 2, 60)
    room.store.casts.limit(cast.id, 40)
    tasks = [room.order(version, cast) for _ in range(2)]
    room.start()
    stations = [room.power_on(task, cast) for task in tasks]
    wait_for(lambda: room.store.casts.get(cast.id).sent_bytes > 2 * MB)
    room.kill9()
    room.start()
    reports = [station.report() for station in stations]
    assert [report.complete for report in reports] == [True, True]
    assert [report.counts["bad_hash"] for report in reports] == [0, 0]


@pytest.mark.lengthy
def test_pcs_that_hear_no_group_are_sent_broadcasts(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version)
    stations = []
    room.start()
    for number in (1, 2):
        task = room.order(version, cast)
        words = room.wires.add_station(f"deaf{number}", f"10.77.3.{number}/16")
        port = ["link", "set", f"st-deaf{number}", "type", "bridge_slave"]
        subprocess.run(["ip", "-n", room.wires.name, *port, "mcast_flood", "off"], check=True)
        stations.append(room.power_on(task, cast, words=words))
    for report in [station.report() for station in stations]:
        assert report.complete
        assert report.seconds > 2.5
    wait_for(lambda: room.store.casts.get(cast.id).broadcast)


def test_an_interface_that_refuses_runs_gets_single_frames(room: Room) -> None:
    """With an MTU below 1500 the kernel refuses to cut a run; single frames go out in fragments."""
    version = room.image(20)
    cast = room.cast(version)
    task = room.order(version, cast)
    room.wires.box_ip("link", "set", BOX, "mtu", "1400")
    room.start()
    assert room.power_on(task, cast).report().complete


HEAR_QUERIES = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
s.settimeout(float(sys.argv[1]))
while True:
    packet = s.recv(2048)
    if packet[(packet[0] & 15) * 4] == 0x11:
        print(socket.inet_ntoa(packet[12:16]), packet[8], packet[20:24].hex())
        break
"""
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.77.3.9"))
s.sendto(bytes.fromhex("1164ee9b00000000"), ("224.0.0.1", 0))
"""


@pytest.mark.parametrize("other_querier", [False, True])
@pytest.mark.lengthy
def test_the_box_asks_for_members_while_a_cast_is_open_unless_somebody_else_does(
    room: Room, other_querier: bool
) -> None:
    version = room.image(20)
    cast = room.cast(version)
    task = room.order(version, cast)
    listener = room.wires.add_station("ear", "10.77.3.8/16")
    asker = room.wires.add_station("switch", "10.77.3.9/16")
    room.start()
    if other_querier:
        subprocess.run([*asker, sys.executable, "-c", ASK], check=True)
    ear = subprocess.Popen(
        [*listener, sys.executable, "-c", HEAR_QUERIES, "6"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert room.power_on(task, cast).report().complete
    heard, _ = ear.communicate(timeout=20)
    # TTL 1 and the Router Alert option, whose place is taken from the IPv4 header.
    assert heard == ("" if other_querier else f"{SERVER} 1 94040000\n")


def test_a_version_that_cannot_be_read_ends_its_cast_in_words(room: Room) -> None:
    version = room.image(5)
    cast = room.cast(version)
    (room.folder / "images" / "versions" / version.id / "manifest.json").unlink()
    room.start()
    wait_for(lambda: room.store.casts.get(cast.id).state is CastState.ENDED)
    assert "its version cannot be read" in room.store.casts.get(cast.id).why


def test_a_chunk_that_is_gone_is_skipped_and_the_rest_is_sent(room: Room) -> None:
    version = room.image(50)
    cast = room.cast(version)
    task = room.order(version, cast)
    sorted(room.chunks.chunks.glob("*/*"))[7].unlink()
    room.start()
    report = room.power_on(task, cast, seconds=4.0).report()
    assert (report.complete, report.written) == (False, 49)


def test_the_agents_own_code_writes_a_disk_from_it_and_asks_only_for_what_differs(room: Room, tmp_path: Path) -> None:
    version = room.image(120)
    cast = room.cast(version)
    task = room.order(version, cast)
    errand = room.errand(task, cast)
    order = tmp_path / "order.json"
    order.write_bytes(
        CastOrder(cast.cast_id, task.id, cast.key, str(cast.group), PORT, SERVER, FEEDBACK_PORT).to_json()
    )
    wanted = b"".join(random_image(1, 120).plain)
    disk = tmp_path / "disk.img"
    disk.write_bytes(wanted[: len(wanted) // 2] + bytes(len(wanted) // 2))
    room.start()
    program = [*room.wires.add_station("agent", "10.77.4.1/16"), sys.executable, "-m", "tests.bench.cast_receiver"]
    told = {
        "--order": order, "--token-hash": errand.token_hash, "--interface": "eth0", "--target": disk,
        "--chunks": room.folder / "images" / "chunks", "--version": room.folder / "images" / "versions" / version.id,
    }  # fmt: skip
    words = [str(word) for pair in told.items() for word in pair]
    done = subprocess.run([*program, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert disk.read_bytes() == wanted
    figures = json.loads(done.stdout.splitlines()[-1])
    assert 0.45 * len(wanted) < figures["cast_bytes"] < 0.6 * len(wanted)
    wait_for(lambda: [m.status for m in room.store.casts.members(cast.id)] == ["complete"])


def test_a_port_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1 port {port}"):
            Outlet(Card("lo", 1, IPv4Address("127.0.0.1"), None), Cast(feedback_port=port))
