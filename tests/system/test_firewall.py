"""What the lab may reach, by mode: as words, as nft reads them, and as packets find it."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from appliance.config import Dhcp, Http, Network, Settings, Subnet
from appliance.errors import ConfigError
from appliance.system import firewall
from tests.services.dhcp_wires import BOX, Wires

ALWAYS = {"udp 68", "udp 69", "tcp 80", "tcp 2049", "udp 4021", "udp 123", "tcp 22"}
MODES = {"full": {"udp 67"}, "proxy": {"udp 67", "udp 4011"}, "off": set[str]()}


def settings(mode: str, *interfaces: str) -> Settings:
    subnet = Subnet(IPv4Network("10.77.0.0/16"), IPv4Address("10.77.1.1"), IPv4Address("10.77.1.9"))
    return Settings(network=Network(interfaces), dhcp=Dhcp(mode=mode, subnet=(subnet,)))


def ports(text: str) -> set[str]:
    return {f"{kind} {port}" for kind, port in re.findall(r"(tcp|udp) dport (\d+) accept", text)}


@pytest.mark.parametrize("mode", MODES)
def test_only_what_the_mode_needs_is_open(mode: str) -> None:
    assert ports(firewall.render(settings(mode, "lab0"))) == ALWAYS | MODES[mode]


def test_ports_are_those_of_the_settings() -> None:
    changed = dataclasses.replace(settings("off", "lab0"), http=Http(port=8080))
    found = ports(firewall.render(changed, ssh_port=2222))
    assert found == ALWAYS - {"tcp 80", "tcp 22"} | {"tcp 8080", "tcp 2222"}


def test_only_dhcp_servers_speak_to_the_probes_port() -> None:
    assert "udp sport 67 udp dport 68 accept" in firewall.render(settings("full", "lab0"))


def test_the_boxs_own_casts_come_back_to_it() -> None:
    assert "ip daddr 239.192.68.0/24 meta l4proto udp accept" in firewall.render(settings("full", "lab0"))


def test_other_interfaces_are_not_filtered_and_without_any_nothing_is() -> None:
    assert 'iifname { "lab0", "lab1" } jump lab' in firewall.render(settings("full", "lab0", "lab1"))
    assert "jump" not in firewall.render(settings("full"))


def test_a_name_that_would_leave_its_quotes_is_refused() -> None:
    with pytest.raises(ConfigError):
        firewall.render(settings("full", 'a" } accept'))


@pytest.fixture
def wires() -> Iterator[Wires]:
    with Wires() as made:
        yield made


@pytest.mark.parametrize("mode", MODES)
def test_nft_takes_the_rules_again_and_again(mode: str, wires: Wires, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    for names in ((BOX,), (BOX, "other0"), ()):
        rules.write_text(firewall.render(settings(mode, *names)))
        for check in (["-c"], []):
            done = subprocess.run([*wires.box, "nft", *check, "-f", rules], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, "")


SERVER = """
import socket
made = []
for port in (80, 9100):
    sock = socket.socket(); sock.bind(("0.0.0.0", port)); sock.listen(); made.append(sock)
print("listening", flush=True)
input()
"""
CLIENT = """
import socket, sys
sock = socket.socket(); sock.settimeout(2)
try:
    sock.connect(("10.77.0.1", int(sys.argv[1]))); print("open")
except OSError:
    print("closed")
"""


def test_a_pc_reaches_what_is_open_and_nothing_else(wires: Wires, tmp_path: Path) -> None:
    pc = wires.add_station("pc", "10.77.0.2/16")

    def reach(port: int) -> str:
        done = subprocess.run(
            [*pc, sys.executable, "-c", CLIENT, str(port)], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    words = [*wires.box, sys.executable, "-c", SERVER]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listening\n"
            assert [reach(80), reach(9100)] == ["open", "open"]
            rules = tmp_path / "rules"
            rules.write_text(firewall.render(settings("full", BOX)))
            subprocess.run([*wires.box, "nft", "-f", rules], check=True)
            assert [reach(80), reach(9100)] == ["open", "closed"]
        finally:
            server.kill()
