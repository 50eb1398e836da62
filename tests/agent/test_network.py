"""The agent finds its card, waits for link and address, and keeps the address; dnsmasq is the peer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.agent import network
from appliance.agent.machine import Machine, Outcome
from appliance.errors import Unavailable
from appliance.wire.agentapi import NicInfo
from tests.agent.conftest import MAC, QUICK, FakeTools, write
from tests.agent.test_hardware import card

NIC = NicInfo("eth0", MAC)


def quiet(_: str) -> None:
    """Say nothing."""


def test_the_card_the_pc_booted_from_is_taken_not_the_first(machine: Machine) -> None:
    card(machine, "eth0", "52:54:00:aa:01:01")
    card(machine, "eth1", MAC)
    assert network.find_nic(machine, MAC, QUICK, quiet).name == "eth1"


def test_without_a_boot_mac_the_card_with_a_link_is_taken(machine: Machine) -> None:
    card(machine, "eth0", "52:54:00:aa:01:01", carrier="0")
    card(machine, "eth1", MAC)
    assert network.find_nic(machine, "", QUICK, quiet).name == "eth1"


def test_a_driver_that_loads_late_is_waited_for_and_said(machine: Machine) -> None:
    said: list[str] = []
    timer = threading.Timer(0.1, lambda: card(machine, "eth0", MAC))
    timer.start()
    assert network.find_nic(machine, MAC, QUICK, said.append).name == "eth0"
    timer.join()
    assert said == [f"waiting for the driver of the network card {MAC}"]


def test_a_card_without_a_driver_is_named_beside_those_that_are_there(machine: Machine) -> None:
    card(machine, "eth0", "52:54:00:aa:01:01")
    with pytest.raises(Unavailable, match=f"card {MAC} .* no driver here; there is: eth0 52:54:00:aa:01:01"):
        network.find_nic(machine, MAC, QUICK, quiet)


def test_a_link_that_comes_late_is_waited_for_and_said(machine: Machine) -> None:
    card(machine, "eth0", MAC, carrier="0")
    said: list[str] = []
    timer = threading.Timer(0.1, lambda: write(machine.sys, {"class/net/eth0/carrier": "1\n"}))
    timer.start()
    network.wait_for_link(machine, NIC, QUICK, said.append)
    timer.join()
    assert said == ["waiting for a link on eth0"]


def test_no_link_ends_in_words(machine: Machine) -> None:
    card(machine, "eth0", MAC, carrier="0")
    with pytest.raises(Unavailable, match=r"eth0 \(52:54:00:aa:01:02\) has no link .* Check the cable"):
        network.wait_for_link(machine, NIC, QUICK, quiet)


def test_a_card_whose_firmware_is_missing_says_so(machine: Machine, tools: FakeTools) -> None:
    card(machine, "eth0", MAC)
    tools.failures["ip"] = [Outcome(0, ""), Outcome(2, "RTNETLINK answers: No such file or directory\n")]
    with pytest.raises(Unavailable, match="cannot be switched on: RTNETLINK answers: No such file"):
        network.bring_up(machine, MAC, QUICK, quiet)


def test_each_pc_has_a_host_name_of_its_own_before_anything_is_mounted(machine: Machine) -> None:
    write(machine.proc, {"sys/kernel/hostname": "(none)\n"})
    network.name_this_machine(machine, MAC)
    assert (machine.proc / "sys/kernel/hostname").read_text() == "diecast-525400aa0102\n"


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.from_regex(rb"ip=[0-9.]{0,20}\nprefix=.{0,5}\n"))
def test_no_lease_file_is_more_than_not_usable(content: bytes) -> None:
    class OneFile(Machine):
        def text(self, path: Path) -> str:
            return content.decode(errors="replace")

    found = network.read_lease(OneFile(), Path("lease"), NIC)
    assert found is None or found.interface == "eth0"


def run(*command: str) -> str:
    """Run a tool that must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@dataclass
class Wire:
    """Two namespaces with a cable between them: `pc` (eth0) and `server` (srv0, 10.99.0.1)."""

    pc: str
    server: str
    folder: Path
    dnsmasq: subprocess.Popen[bytes] | None = None

    def start_dnsmasq(self, lease: str = "2m") -> None:
        """Lend addresses at the server's end."""
        self.dnsmasq = subprocess.Popen(
            [
                *("ip", "netns", "exec", self.server, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"),
                *("--port=0", "--interface=srv0", "--bind-interfaces", f"--dhcp-range=10.99.0.50,10.99.0.60,{lease}"),
                *("--dhcp-option=3,10.99.0.1", "--no-ping", f"--dhcp-leasefile={self.folder}/leases", "--log-dhcp"),
                *("--pid-file=", "--user=root", f"--log-facility={self.folder}/dnsmasq.log"),
            ]
        )

    def stop_dnsmasq(self) -> None:
        """Stop lending."""
        if self.dnsmasq is not None:
            self.dnsmasq.terminate()
            self.dnsmasq.wait()
            self.dnsmasq = None

    def agent(self, script: str, timeout_s: float = 60) -> str:
        """Run Python in the PC's namespace and return what it prints."""
        command = ["ip", "netns", "exec", self.pc, sys.executable, "-c", script, str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """The cable, taken down afterwards."""
    pc, server = f"agent-pc-{os.getpid()}", f"agent-srv-{os.getpid()}"
    try:
        for name in (pc, server):
            run("ip", "netns", "add", name)
        run("ip", "link", "add", "eth0", "netns", pc, "address", MAC, "type", "veth", "peer", "srv0", "netns", server)
        run("ip", "-n", server, "addr", "add", "10.99.0.1/24", "dev", "srv0")
        run("ip", "-n", server, "link", "set", "srv0", "up")
        made = Wire(pc, server, tmp_path)
        yield made
        made.stop_dnsmasq()
    finally:
        for name in (pc, server):
            subprocess.run(["ip", "netns", "del", name], check=False)


# A veth has no `device` in sysfs, so the card is named here; everything behind it is the kernel's and the tools' own.
_ASK = """
import json, sys, time
from dataclasses import replace
from pathlib import Path
from appliance.agent import network
from appliance.agent.machine import Limits, Machine
from appliance.wire.agentapi import NicInfo
machine = Machine(state=Path(sys.argv[1]) / "run")
nic = NicInfo("eth0", "52:54:00:aa:01:02")
machine.run(["ip", "link", "set", "eth0", "up"], 5)
network.wait_for_link(machine, nic, Limits(), print)
"""
_ADDRESS = "address = network.ask_dhcp(machine, nic, Limits(dhcp_s=30), lambda text: None)"

_SHOW = f"""{_ASK}{_ADDRESS}
shown = [machine.run(command.split(), 5).output for command in ("ip -4 addr show eth0", "ip route")]
print(json.dumps([str(address.ip), address.prefix, address.server, *shown]))
address.close()
"""

# SIGUSR1 makes udhcpc do what it does when half of the lease is over.
_RENEW = f"""{_ASK}{_ADDRESS}
import signal
lease = machine.state / "lease.eth0"
before, end = lease.stat().st_mtime_ns, time.monotonic() + 10
address.client.send_signal(signal.SIGUSR1)
while lease.stat().st_mtime_ns == before and time.monotonic() < end:
    time.sleep(0.1)
print(lease.stat().st_mtime_ns > before, machine.run(["ip", "-4", "addr", "show", "eth0"], 5).output.count("inet "))
address.close()
"""

_NOBODY = f"""{_ASK}
try:
    network.ask_dhcp(machine, nic, Limits(dhcp_s=3), lambda text: None)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.netns
def test_an_address_comes_from_a_foreign_server_and_without_a_client_identifier(wire: Wire) -> None:
    wire.start_dnsmasq()
    out = wire.agent(_SHOW)
    ip, prefix, server, shown, routes = json.loads(out)
    assert ip.startswith("10.99.0.")
    assert (prefix, server) == (24, "10.99.0.1")
    assert f"inet {ip}/24 brd 10.99.0.255" in shown
    assert "default via 10.99.0.1 dev eth0" in routes
    log = (wire.folder / "dnsmasq.log").read_text()
    assert "vendor class: diecast-agent" in log
    leases = (wire.folder / "leases").read_text().split()
    assert leases[1] == MAC
    assert leases[4] == "*", "dnsmasq knows it by its hardware address only"


@pytest.mark.netns
def test_the_lease_is_renewed_while_the_task_runs(wire: Wire) -> None:
    wire.start_dnsmasq()
    assert wire.agent(_RENEW).split() == ["True", "1"]


@pytest.mark.netns
@pytest.mark.lengthy
def test_the_agent_waits_for_a_port_that_forwards_late(wire: Wire) -> None:
    timer = threading.Timer(5, wire.start_dnsmasq)
    timer.start()
    began = time.monotonic()
    out = wire.agent(_SHOW)
    timer.join()
    assert json.loads(out)[0].startswith("10.99.0.")
    assert time.monotonic() - began < 20


@pytest.mark.netns
def test_no_dhcp_server_ends_in_words(wire: Wire) -> None:
    assert wire.agent(_NOBODY).strip() == (
        "Unavailable No DHCP server gave 52:54:00:aa:01:02 an address within 3 s. "
        "Check that the box's dhcp service runs, that its range has room, and that the switch port forwards."
    )
