"""The DHCP service as a process in a test's namespace, and foreign clients beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from appliance.model import Lease
from appliance.store import Store
from tests.services.dhcp_wires import BOX, Wires

ROOT = Path(__file__).resolve().parents[2]
_START_S = 30

# What a client shows of its lease, and the address it sets. udhcpc and dhclient name things differently.
_UDHCPC_SCRIPT = """#!/bin/sh
[ "$1" = deconfig ] && ip addr flush dev "$interface"
[ "$1" = bound ] && ip addr add "$ip/$mask" dev "$interface"
echo "event=$1 ip=$ip router=$router dns=$dns domain=$domain ntp=$ntpsrv server=$serverid lease=$lease"
"""
_DHCLIENT_SCRIPT = """#!/bin/sh
case "$reason" in
    BOUND|REBOOT) ip addr replace "$new_ip_address/16" dev "$interface" ;;
    RELEASE|EXPIRE|PREINIT) ip addr flush dev "$interface" ;;
esac
echo "reason=$reason ip=$new_ip_address server=$new_dhcp_server_identifier"
"""


def settings_toml(state: Path, mode: str = "full", *, force: bool = False, extra: str = "", more: str = "") -> str:
    """A settings file: 10.77.0.0/16, range .1.10 to .1.12 unless `more` has other subnets."""
    subnet = """
[[dhcp.subnet]]
network = "10.77.0.0/16"
range_first = "10.77.1.10"
range_last = "10.77.1.12"
router = "10.77.0.254"
dns = ["10.77.0.2"]
domain = "lab.example"
"""
    return f"""
[paths]
state = "{state}"
[network]
interfaces = ["{BOX}"]
[dhcp]
mode = "{mode}"
force = {str(force).lower()}
{extra}
{subnet}{more}
"""


class DhcpBox:
    """Our service. `start` returns when it is ready; `output` is what it printed."""

    def __init__(self, wires: Wires, folder: Path, toml: str = "") -> None:
        self._wires, self._folder = wires, folder
        self.state = folder / "state"
        self._config = folder / "diecast.toml"
        self._config.write_text(toml or settings_toml(self.state, force=True))
        self._log = folder / "dhcp.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def output(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def start(self) -> None:
        before = self.output.count("dhcp is ready")
        self.spawn()
        assert self._process is not None
        deadline = time.monotonic() + _START_S
        while self.output.count("dhcp is ready") == before:
            assert self._process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def spawn(self) -> None:
        command = [*self._wires.box, sys.executable, "-m", "appliance", "--config", str(self._config), "serve", "dhcp"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)

    def wait(self) -> int:
        """Wait until it ends by itself; returns its status."""
        assert self._process is not None
        return self._process.wait(_START_S)

    def kill9(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(15)
            finally:
                self.kill9()

    def waits_for(self, text: str, seconds: float = 15) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < deadline, f"{text!r} is not in:\n{self.output}"
            time.sleep(0.05)

    def leases(self) -> list[Lease]:
        with Store.open(self.state / "diecast.sqlite") as store:
            return store.leases.all()


def script(folder: Path, text: str) -> str:
    path = folder / f"script-{abs(hash(text))}"
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def udhcpc(station: list[str], folder: Path, *words: str) -> str:
    """Run busybox's client until it has a lease or gave up (three tries in six seconds); returns its output."""
    command = [*station, "busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "3", "-T", "2"]
    command += ["-s", script(folder, _UDHCPC_SCRIPT), "-p", str(folder / "udhcpc.pid"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


def dhclient(station: list[str], folder: Path, *words: str) -> str:
    """Run ISC's client; it goes to the background once it has a lease."""
    command = [*station, "dhclient", "-1", "-v", "-sf", script(folder, _DHCLIENT_SCRIPT), "-cf", "/dev/null"]
    command += ["-lf", str(folder / "dhclient.leases"), "-pf", str(folder / "dhclient.pid"), *words, "eth0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr


class Dnsmasq:
    """A foreign DHCP server (or relay) in a station."""

    def __init__(self, station: list[str], folder: Path, *words: str) -> None:
        command = [*station, "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
        command += [
            "--log-dhcp",
            f"--dhcp-leasefile={folder / 'dnsmasq.leases'}",
            f"--pid-file={folder / 'dnsmasq.pid'}",
        ]
        self._log = folder / "dnsmasq.log"
        with self._log.open("wb") as log:
            command.append(f"--log-facility={self._log}")
            self._process = subprocess.Popen([*command, *words], stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while "started" not in self._log.read_text():
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.terminate()
        self._process.wait(10)
