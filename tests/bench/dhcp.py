"""DHCP exchanges per second beside dnsmasq, under the same load: `dhcp_dora_per_s` and `dhcp_lost`.

perfdhcp (Kea) plays a relay full of clients: DISCOVER, OFFER, REQUEST, ACK, every exchange with a MAC of its own, sent
at a fixed rate whether answers come or not. The figure is the highest rate at which no exchange was lost, each rate
tried on a server that was just started with an empty range of 60 000 addresses. Lost is what is not answered within
3 s, after which a client sends again at the earliest (RFC 2131 section 4.1).

Ours runs as shipped: every lease in SQLite (WAL, synchronous=FULL) before its ACK, conflict probe on. dnsmasq writes
its lease file, with --no-ping, and without a log line for each message (--quiet-dhcp).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.kit import running
from tests.services.dhcp_wires import BOX, Wires, sh

ROOT = Path(__file__).resolve().parents[2]

SERVER = "10.77.0.1"
FIRST, LAST = "10.77.1.0", "10.77.235.0"
RATES = (125, 250, 375, 500, 750, 1000, 1250, 1500, 1750, 2000, 2500, 3000)
SECONDS = 5
PATIENCE_S = 3
STEADY_RATE = 500  # exchanges per second at which nothing may be lost
STEADY_SECONDS = 15

_START_S = 20
_COUNTS = re.compile(r"sent packets: (\d+)\s+received packets: (\d+)")

_SETTINGS = """
[paths]
state = "{state}"
[network]
interfaces = ["{interface}"]
[dhcp]
mode = "full"
force = true
[[dhcp.subnet]]
network = "10.77.0.0/16"
range_first = "{first}"
range_last = "{last}"
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What perfdhcp counted."""

    rate: int
    seconds: int
    discovers: int
    acks: int

    @property
    def lost(self) -> int:
        """Exchanges that were begun and not finished."""
        return self.discovers - self.acks

    @property
    def per_s(self) -> float:
        """Finished exchanges per second of sending."""
        return self.acks / self.seconds


Server = Callable[[Wires, Path], "list[str]"]


def ours(wires: Wires, folder: Path) -> list[str]:
    """The command of our server with an empty store."""
    config = folder / "diecast.toml"
    config.write_text(_SETTINGS.format(state=folder / "state", interface=BOX, first=FIRST, last=LAST))
    return [sys.executable, "-m", "appliance", "--config", str(config), "serve", "dhcp"]


def dnsmasq(wires: Wires, folder: Path) -> list[str]:
    """The command of dnsmasq with an empty lease file."""
    return [
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=0",
        "--no-ping",
        "--quiet-dhcp",
        "--dhcp-authoritative",
        "--bind-interfaces",
        f"--interface={BOX}",
        f"--dhcp-range={FIRST},{LAST},255.255.0.0,1h",
        "--dhcp-lease-max=100000",
        f"--dhcp-leasefile={folder / 'leases'}",
        f"--pid-file={folder / 'pid'}",
        "--user=root",
    ]


def run(workdir: Path) -> list[dict[str, Any]]:
    """Measure both servers; returns the two entries of `bench.json`. Raises `RuntimeError` when it cannot measure."""
    with Wires(box_address=f"{SERVER}/16") as wires:
        clients = wires.add_station("clients", "10.77.0.2/16")
        steady = trial(wires, clients, workdir / "steady", ours, STEADY_RATE, STEADY_SECONDS)
        mine = best(wires, clients, workdir / "ours", ours)
        peer = best(wires, clients, workdir / "dnsmasq", dnsmasq)
    if peer.per_s == 0:
        raise RuntimeError("dnsmasq lost exchanges at every rate: nothing to compare with.")
    how = "perfdhcp as relay, distinct MACs, highest rate without a loss; ours durable (SQLite WAL) and probed"
    return [
        _entry("dhcp_dora_per_s", mine.per_s, peer.per_s, "1/s", f"{how}; dnsmasq --no-ping; {SECONDS} s a rate"),
        _entry(
            "dhcp_lost",
            steady.lost,
            None,
            "exchanges",
            f"of {steady.discovers} at {STEADY_RATE}/s in {STEADY_SECONDS} s",
        ),
    ]


def _entry(name: str, mine: float, peer: float | None, unit: str, detail: str) -> dict[str, Any]:
    ratio = None if not peer else round(mine / peer, 3)
    value = round(mine, 1)
    return {
        "name": name,
        "ours": value,
        "peer": peer and round(peer, 1),
        "ratio": ratio,
        "unit": unit,
        "detail": detail,
    }


def best(wires: Wires, clients: list[str], folder: Path, server: Server) -> Load:
    """The highest of `RATES` that lost nothing: climb until two in a row fail, for one hiccup ends no climb."""
    found = Load(0, SECONDS, 0, 0)
    failures = 0
    for rate in RATES:
        load = trial(wires, clients, folder, server, rate, SECONDS)
        if load.lost == 0 and load.acks > 0:
            found, failures = load, 0
        else:
            failures += 1
        if failures == 2:
            break
    return found


def trial(wires: Wires, clients: list[str], folder: Path, server: Server, rate: int, seconds: int) -> Load:
    """Start a server afresh, put one load on it, stop it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with running([*wires.box, *server(wires, folder)], folder / "server.log"):
        _wait_for_port(wires)
        command = [*clients, "perfdhcp", "-4", "-r", str(rate), "-R", "60000", "-p", str(seconds)]
        command += [
            "-d",
            str(PATIENCE_S),
            "-W",
            str(PATIENCE_S * 1_000_000),
            "-b",
            "mac=00:0c:29:00:00:00",
            "-l",
            "eth0",
            SERVER,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 60, check=False)
    (folder / "perfdhcp.txt").write_text(done.stdout + done.stderr)
    counts = _COUNTS.findall(done.stdout)
    if len(counts) < 2:
        raise RuntimeError(f"perfdhcp said nothing that can be counted: {(done.stdout + done.stderr)[-500:]}")
    return Load(rate, seconds, discovers=int(counts[0][0]), acks=int(counts[1][1]))


def _wait_for_port(wires: Wires) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        sockets = sh(*wires.box, "cat", "/proc/net/udp")
        if ":0043 " in sockets:  # port 67
            time.sleep(0.3)
            return
        time.sleep(0.1)
    raise RuntimeError(f"The server did not open port 67 within {_START_S} s.")


if __name__ == "__main__":
    import json

    print(json.dumps(run(ROOT / "build" / "bench" / "dhcp"), indent=1))
