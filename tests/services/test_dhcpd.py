"""The DHCP service on real interfaces, with foreign clients, a foreign server and a foreign relay."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from appliance.config import Network, Settings
from appliance.errors import ConfigError, Unavailable
from appliance.events import BootStage
from appliance.services.dhcpd import choose_links
from appliance.services.netlink import Interface
from appliance.store import Store
from tests.services.dhcp_box import ROOT, DhcpBox, Dnsmasq, dhclient, settings_toml, udhcpc
from tests.services.dhcp_wires import Wires, sh

FIRST, SECOND = "10.77.1.10", "10.77.1.11"
MAC = "52:54:00:aa:01:02"
PRESENT = {
    "lo": Interface("lo", 1, "", True, (IPv4Interface("127.0.0.1/8"),)),
    "eth0": Interface("eth0", 2, "02:00:00:00:00:01", True, (IPv4Interface("10.0.0.1/24"),)),
    "eth1": Interface("eth1", 3, "02:00:00:00:00:02", True, ()),
}


def test_without_a_chosen_interface_nothing_is_served() -> None:
    with pytest.raises(ConfigError, match="No interface is chosen") as caught:
        choose_links(Settings(), PRESENT)
    assert "eth0, eth1" in caught.value.hint


@pytest.mark.parametrize(("name", "says"), [("eth7", "eth7 does not exist"), ("eth1", "eth1 has no IPv4 address")])
def test_an_interface_that_cannot_be_served_is_named(name: str, says: str) -> None:
    with pytest.raises(Unavailable, match=says):
        choose_links(Settings(network=Network(interfaces=(name,))), PRESENT)


def test_clients_fetch_from_the_address_the_operator_chose_or_else_from_the_interfaces_own() -> None:
    (own,) = choose_links(Settings(network=Network(("eth0",))), PRESENT)
    assert (own.fetch_from, own.server_id) == (None, IPv4Address("10.0.0.1"))
    (link,) = choose_links(Settings(network=Network(("eth0",), IPv4Address("192.0.2.1"))), PRESENT)
    assert (link.fetch_from, link.server_id) == (IPv4Address("192.0.2.1"), IPv4Address("10.0.0.1"))


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as made:
        yield made


def pxe(station: list[str], arch: int, *words: str, seconds: float = 1.5) -> list[dict[str, Any]]:
    command = [*station, sys.executable, "-m", "tests.services.pxe_client", MAC, str(arch), str(seconds), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.netns
@pytest.mark.parametrize("words", [(), ("-B",)], ids=["unicast", "broadcast"])
def test_udhcpc_gets_an_address_and_all_settings(wires: Wires, tmp_path: Path, words: tuple[str, ...]) -> None:
    station = wires.add_station("pc")
    with DhcpBox(wires, tmp_path) as box:
        said = udhcpc(station, tmp_path, *words)
        assert f"event=bound ip={FIRST} router=10.77.0.254 dns=10.77.0.2 domain=lab.example" in said
        assert "server=10.77.0.1 lease=3600" in said
        assert [str(lease.address) for lease in box.leases()] == [FIRST]


@pytest.mark.netns
def test_dhclient_gets_renews_keeps_and_releases_its_address(wires: Wires, tmp_path: Path) -> None:
    station = wires.add_station("pc")
    with DhcpBox(wires, tmp_path) as box:
        assert f"reason=BOUND ip={FIRST}" in dhclient(station, tmp_path)
        dhclient(station, tmp_path, "-x")
        # With its lease file it asks for the same address again (INIT-REBOOT), also after a hard death of the service.
        box.kill9()
        box.start()
        assert f"reason=REBOOT ip={FIRST}" in dhclient(station, tmp_path)
        dhclient(station, tmp_path, "-r")
        # A release has no answer: the client is gone when its datagram may still be read.
        deadline = time.monotonic() + 10
        while [lease for lease in box.leases() if lease.expires.timestamp() > time.time()]:
            assert time.monotonic() < deadline, box.output
            time.sleep(0.05)
        assert [str(lease.address) for lease in box.leases()] == [FIRST]


@pytest.mark.netns
def test_a_lease_outlives_a_hard_death_of_the_service(wires: Wires, tmp_path: Path) -> None:
    one, two = wires.add_station("one"), wires.add_station("two")
    with DhcpBox(wires, tmp_path) as box:
        assert f"ip={FIRST} " in udhcpc(one, tmp_path)
        box.kill9()
        box.start()
        assert f"ip={SECOND} " in udhcpc(two, tmp_path)
        assert f"ip={FIRST} " in udhcpc(one, tmp_path)


@pytest.mark.netns
def test_an_address_that_a_stranger_uses_is_not_offered(wires: Wires, tmp_path: Path) -> None:
    wires.add_station("stranger", f"{FIRST}/16", mac="02:00:00:00:00:66")
    station = wires.add_station("pc")
    with DhcpBox(wires, tmp_path) as box:
        assert f"ip={SECOND} " in udhcpc(station, tmp_path)
        assert f"{FIRST} is used by 02:00:00:00:00:66, who has no lease of it" in box.output
        assert {str(lease.address): lease.declined for lease in box.leases()} == {FIRST: True, SECOND: False}


@pytest.mark.netns
@pytest.mark.lengthy
def test_an_exhausted_range_is_said_and_the_service_goes_on(wires: Wires, tmp_path: Path) -> None:
    stations = [wires.add_station(f"pc{number}") for number in range(4)]
    with DhcpBox(wires, tmp_path) as box:
        said = [udhcpc(station, tmp_path) for station in stations]
        assert ["event=bound" in text for text in said] == [True, True, True, False]
        assert f"The range {FIRST} to 10.77.1.12 is exhausted" in box.output
        assert "event=bound" in udhcpc(stations[0], tmp_path)


@pytest.mark.netns
def test_malformed_datagrams_are_named_and_the_service_goes_on(wires: Wires, tmp_path: Path) -> None:
    station = wires.add_station("pc", "10.77.0.9/16")
    header = bytes((1, 1, 6, 0)) + bytes(24) + bytes.fromhex("525400aa0102") + bytes(202)
    cookie = bytes.fromhex("63825363")
    bad = [
        b"",
        b"\x00",
        bytes(240),
        header + cookie + b"\x35",
        header + cookie + b"\x35\x09\x01",
        header + cookie + b"\x35\x01\x09\xff",
        header + cookie + b"\x34\x01\x07\x35\x01\x01\xff",
        header + cookie + b"\x35\x01\x01\x32\x03abc\xff",
        header + cookie + b"\x35\x01\x03\x36\x01a\xff",
        b"\xff" * 1400,
    ]
    with DhcpBox(wires, tmp_path) as box:
        program = "import socket, sys\ns = socket.socket(2, 2)\nfor data in sys.argv[1:]:\n"
        program += "    s.sendto(bytes.fromhex(data), ('10.77.0.1', 67))"
        sh(*station, sys.executable, "-c", program, *(data.hex() for data in bad))
        box.waits_for("A malformed DHCP message from 10.77.0.9 on box0 is ignored")
        assert "event=bound" in udhcpc(station, tmp_path)
        assert "Traceback" not in box.output


@pytest.mark.netns
@pytest.mark.lengthy
def test_nothing_is_answered_on_an_interface_that_was_not_chosen(wires: Wires, tmp_path: Path) -> None:
    wires.box_ip("link", "add", "other0", "type", "veth", "peer", "name", "far0")
    sh("ip", "netns", "add", f"{wires.name}-far")
    try:
        wires.box_ip("link", "set", "far0", "netns", f"{wires.name}-far", "name", "eth0", "up")
        wires.box_ip("addr", "add", "10.78.0.1/16", "dev", "other0")
        wires.box_ip("link", "set", "other0", "up")
        more = '[[dhcp.subnet]]\nnetwork="10.78.0.0/16"\nrange_first="10.78.1.1"\nrange_last="10.78.1.9"\n'
        with DhcpBox(wires, tmp_path, settings_toml(tmp_path / "state", force=True, more=more)):
            far = ["ip", "netns", "exec", f"{wires.name}-far"]
            assert "event=bound" not in udhcpc(far, tmp_path)
            assert pxe(far, 7) == []
    finally:
        sh("ip", "netns", "del", f"{wires.name}-far")


@pytest.mark.netns
@pytest.mark.lengthy
def test_full_mode_refuses_to_start_beside_another_server_and_names_it(wires: Wires, tmp_path: Path) -> None:
    foreign = wires.add_station("foreign", "10.77.0.2/16")
    with Dnsmasq(foreign, tmp_path, "--interface=eth0", "--dhcp-range=10.77.9.1,10.77.9.9"):
        box = DhcpBox(wires, tmp_path, settings_toml(tmp_path / "state"))
        box.spawn()
        assert box.wait() != 0
        assert "Another DHCP server answers: 10.77.0.2 on box0 (offers 10.77.9." in box.output
        assert "dhcp.mode = 'proxy'" in box.output
        with Store.open(box.state / "diecast.sqlite") as store:
            assert [(server.ip, server.interface) for server in store.servers.list()] == [("10.77.0.2", "box0")]


@pytest.mark.netns
@pytest.mark.lengthy
def test_full_mode_starts_where_nobody_else_answers(wires: Wires, tmp_path: Path) -> None:
    with DhcpBox(wires, tmp_path, settings_toml(tmp_path / "state")) as box:
        assert "Another" not in box.output


@pytest.mark.netns
def test_forced_full_mode_starts_and_names_the_other_server(wires: Wires, tmp_path: Path) -> None:
    foreign = wires.add_station("foreign", "10.77.0.2/16")
    with (
        Dnsmasq(foreign, tmp_path, "--interface=eth0", "--dhcp-range=10.77.9.1,10.77.9.9"),
        DhcpBox(wires, tmp_path) as box,
    ):
        box.waits_for("Another DHCP server on box0: 10.77.0.2")


@pytest.mark.netns
@pytest.mark.lengthy
def test_proxy_mode_names_loaders_beside_dnsmasq_and_lends_nothing(wires: Wires, tmp_path: Path) -> None:
    foreign = wires.add_station("foreign", "10.77.0.2/16")
    station = wires.add_station("pc", mac=MAC)
    toml = settings_toml(tmp_path / "state", "proxy")
    with (
        Dnsmasq(foreign, tmp_path, "--interface=eth0", "--dhcp-range=10.77.9.1,10.77.9.9", "--no-ping"),
        DhcpBox(wires, tmp_path, toml) as box,
    ):
        offers = {offer["from"][0]: offer for offer in pxe(station, 7)}
        assert offers["10.77.0.2"]["yiaddr"].startswith("10.77.9.")
        ours = offers["10.77.0.1"]
        assert (ours["yiaddr"], ours["siaddr"], ours["file"]) == ("0.0.0.0", "10.77.0.1", "shimx64.efi")
        assert bytes.fromhex(ours["options"]["60"]) == b"PXEClient"
        said = udhcpc(station, tmp_path)
        address = re.findall(r"event=bound ip=(10\.77\.9\.\d+)", said)
        assert address, said
        (ack,) = pxe(station, 7, "10.77.0.1", address[0], seconds=0.7)
        assert ack["from"] == ["10.77.0.1", 4011]
        assert (ack["type"], ack["file"], ack["yiaddr"]) == (5, "shimx64.efi", "0.0.0.0")
        (answer,) = (offer for offer in pxe(station, 16) if offer["from"][0] == "10.77.0.1")
        assert bytes.fromhex(answer["options"]["67"]) == b"http://10.77.0.1/shimx64.efi"
        assert box.leases() == []
        box.waits_for("Another DHCP server on box0: 10.77.0.2")


@pytest.mark.netns
def test_a_network_boot_is_sighted_with_its_architecture(wires: Wires, tmp_path: Path) -> None:
    station = wires.add_station("pc")
    with DhcpBox(wires, tmp_path) as box:
        (offer,) = pxe(station, 11)
        assert offer["file"] == ""
        box.waits_for(f"{MAC} is 64-bit ARM UEFI (option 93 = 11): there is no agent for it")
        deadline = time.monotonic() + 5
        with Store.open(box.state / "diecast.sqlite") as store:
            while not (seen := store.hosts.sightings()):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert (seen[0].mac, seen[0].stage, seen[0].arch) == (MAC, BootStage.DHCP, 11)
        assert "no loader offered" in seen[0].detail


@pytest.mark.netns
def test_clients_behind_a_foreign_relay_are_served_probed_by_ping_and_renewed(wires: Wires, tmp_path: Path) -> None:
    relay = wires.add_station("relay", "10.77.0.3/16")
    name = f"{wires.name}-far"
    sh("ip", "netns", "add", name)
    try:
        sh(*relay, "ip", "link", "add", "far0", "type", "veth", "peer", "name", "eth0", "netns", name)
        sh(*relay, "ip", "addr", "add", "10.99.0.1/24", "dev", "far0")
        sh(*relay, "ip", "addr", "add", "10.99.0.10/24", "dev", "far0")  # a stranger's address, inside the range
        sh(*relay, "ip", "link", "set", "far0", "up")
        sh(*relay, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        sh("ip", "-n", name, "link", "set", "eth0", "up")
        wires.box_ip("route", "add", "10.99.0.0/24", "via", "10.77.0.3")
        more = '[[dhcp.subnet]]\nnetwork="10.99.0.0/24"\nrange_first="10.99.0.10"\nrange_last="10.99.0.20"\n'
        with (
            Dnsmasq(relay, tmp_path, "--dhcp-relay=10.99.0.1,10.77.0.1"),
            DhcpBox(wires, tmp_path, settings_toml(tmp_path / "state", force=True, more=more)) as box,
        ):
            far = ["ip", "netns", "exec", name]
            said = udhcpc(far, tmp_path)
            assert "event=bound ip=10.99.0.11 " in said
            assert "10.99.0.10 is used by 10.99.0.10, who has no lease of it" in box.output
            assert [str(lease.address) for lease in box.leases() if not lease.declined] == ["10.99.0.11"]
    finally:
        sh("ip", "netns", "del", name)


@pytest.mark.netns
def test_a_taken_port_is_named(wires: Wires, tmp_path: Path) -> None:
    program = "import socket,time\ns=socket.socket(2,2)\ns.bind(('',67))\nprint(1,flush=True)\ntime.sleep(60)"
    with subprocess.Popen([*wires.box, sys.executable, "-c", program], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        box = DhcpBox(wires, tmp_path)
        box.spawn()
        assert box.wait() != 0
        assert "UDP port 67 on box0 cannot be opened" in box.output
        other.kill()


def test_the_constant_for_forced_buffers_is_the_kernels() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 16 << 20
