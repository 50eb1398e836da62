"""Magic packets on a real wire, with a listener of its own at the sleeping PC's card."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.events import ServiceHealth
from appliance.services import wake
from appliance.store import Store
from tests.services.dhcp_wires import BOX, Wires

MAC = "52:54:00:aa:01:02"
MAGIC = "ff" * 6 + "525400aa0102" * 16

# A card that sleeps has no address: it only sees frames. Prints where from, where to and the payload of UDP to port 9.
LISTENER = """
import socket, sys
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
card.bind(("eth0", 0))
print("listening", flush=True)
while True:
    frame = card.recv(2000)
    ip = frame[14:]
    udp = ip[(ip[0] & 15) * 4:]
    if ip[9] == 17 and udp[2:4] == b"\\0\\x09":
        print(frame[:6].hex(), ip[16:20].hex(), udp[8:].hex(), flush=True)
"""


@contextmanager
def listening(station: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The listener, ready, in the namespace of `station`."""
    words = [*station, sys.executable, "-c", LISTENER]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process
        process.kill()


def heard(process: subprocess.Popen[str]) -> list[str]:
    """Destination MAC, destination address and payload of the next packet."""
    assert process.stdout is not None
    return process.stdout.readline().split()


def send(station: list[str], *words: str) -> str:
    """`wake.send` without any capability, in the namespace of `station`: interfaces, `--`, MACs; what it returned."""
    code = (
        "import sys; from appliance.services import wake; at = sys.argv.index('--');"
        "print(wake.send(sys.argv[1:at], sys.argv[at + 1:]))"
    )
    command = [*station, "setpriv", "--bounding-set=-all", sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_magic_packet_is_six_times_ff_and_sixteen_times_the_mac() -> None:
    assert wake.magic_packet(MAC).hex() == MAGIC


@pytest.mark.netns
@pytest.mark.parametrize("address", ["10.77.0.1/16", ""])
def test_the_packet_reaches_every_card_of_the_segment_even_from_an_interface_without_address(address: str) -> None:
    with Wires(address) as wires, listening(wires.add_station("pc")) as pc:
        assert send(wires.box, BOX, "--", MAC) == "[]"
        assert heard(pc) == ["ff" * 6, "ff" * 4, MAGIC]


@pytest.mark.netns
def test_no_packet_leaves_by_an_interface_that_is_not_in_the_settings() -> None:
    with Wires() as lab, Wires("") as office:
        lab.box_ip("link", "add", "office0", "type", "veth", "peer", "name", "eth9", "netns", f"{office.name}-box")
        office.box_ip("link", "set", "eth9", "name", "eth0")
        office.box_ip("link", "set", "eth0", "up")
        lab.box_ip("addr", "add", "10.99.0.1/16", "dev", "office0")
        lab.box_ip("link", "set", "office0", "up")
        with listening(lab.add_station("pc")) as pc, listening(office.box) as elsewhere:
            assert send(lab.box, BOX, "--", "52:54:00:00:00:01") == "[]"
            assert heard(pc)[2].endswith("525400000001")
            assert send(lab.box, "office0", "--", MAC) == "[]"
            assert heard(elsewhere)[2] == MAGIC, "the first packet on that wire is the one that was meant for it"


@pytest.mark.netns
def test_an_interface_that_is_not_there_is_named_and_the_others_are_used() -> None:
    with Wires() as wires, listening(wires.add_station("pc")) as pc:
        said = send(wires.box, "nic7", BOX, "--", MAC)
        assert "No magic packet went out of nic7: No such device." in said
        assert BOX not in said
        assert heard(pc)[2] == MAGIC


@pytest.mark.netns
def test_the_scheduler_wakes_whom_the_operator_asked_for(tmp_path: Path) -> None:
    config = tmp_path / "diecast.toml"
    folders = "".join(f'{name} = "{tmp_path / name}"\n' for name in ("state", "images", "boot", "run"))
    config.write_text(f'[paths]\n{folders}[network]\ninterfaces = ["{BOX}"]\n[dhcp]\nmode = "proxy"\n')
    with Store.open(tmp_path / "state" / "diecast.sqlite") as store, Wires() as wires:
        store.hosts.add("PC1", [MAC, "52:54:00:aa:01:03"])
        service = [*wires.box, sys.executable, "-m", "tests.services.run_service", str(config), "scheduler"]
        with listening(wires.add_station("pc")) as pc, subprocess.Popen(service) as process:
            try:
                store.hosts.wake(["PC1"])
                assert [heard(pc)[2], heard(pc)[2]] == [MAGIC, MAGIC.replace("525400aa0102", "525400aa0103")]
            finally:
                process.terminate()
        assert [(state.name, state.state) for state in store.services.list()] == [("scheduler", ServiceHealth.STOPPED)]
