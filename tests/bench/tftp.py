"""`tftp_100_clients_s`: the time in which 100 clients that start at once fetch a loader, beside dnsmasq.

Both servers run alone, one after the other, in a network namespace of the bench's own, on port 69, over loopback, with
the same file and the same clients: 100 curl processes with the block size that firmware asks for. Ours is the service
as `diecast serve tftp` runs it, with a store to record who fetched what. Rounds alternate, and the median counts,
so that a busy moment of the machine hits neither alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.kit import running

CLIENTS = 100
ROUNDS = 5  # of each server
LOADER_BYTES = 1_000_000  # about Debian's signed shim
BLKSIZE = 1468  # bytes, what UEFI firmware asks for on Ethernet
START_TIMEOUT_S = 20.0
_ADDRESS = "127.0.0.1"
_NAME = "shimx64.efi"


def run(workdir: Path) -> list[dict[str, Any]]:
    """Measure and return one entry. Needs root. Raises `RuntimeError` when a client does not get the whole file."""
    workdir.mkdir(parents=True, exist_ok=True)
    boot = _boot_folder(workdir)
    namespace = f"diecast-tftp-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        within = ["ip", "netns", "exec", namespace]
        ours, peer = [], []
        for _ in range(ROUNDS):
            ours.append(_round(within, lambda: _ours(within, workdir, boot), workdir))
            peer.append(_round(within, lambda: _dnsmasq(within, boot), workdir))
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
    detail = (
        f"{CLIENTS} curl, {LOADER_BYTES} bytes each, blksize {BLKSIZE}, median of {ROUNDS}; peer dnsmasq --tftp-max=200"
    )
    return [_entry(statistics.median(ours), statistics.median(peer), detail)]


def _entry(ours: float, peer: float, detail: str) -> dict[str, Any]:
    return {
        "name": "tftp_100_clients_s",
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer, 3),
        "unit": "s",
        "detail": detail,
    }


def _boot_folder(workdir: Path) -> Path:
    boot = workdir / "boot"
    boot.mkdir(exist_ok=True)
    content = hashlib.shake_128(b"loader").digest(LOADER_BYTES)
    (boot / _NAME).write_bytes(content)
    catalog = {_NAME: {"sha256": hashlib.sha256(content).hexdigest(), "size": LOADER_BYTES}}
    (boot / "catalog.json").write_text(json.dumps(catalog))
    return boot


def _ours(within: list[str], workdir: Path, boot: Path) -> Any:
    config = workdir / "diecast.toml"
    config.write_text(
        f'[paths]\nstate = "{workdir}/state"\nboot = "{boot}"\nrun = "{workdir}/run"\n'
        '[network]\ninterfaces = ["lo"]\n[dhcp]\nmode = "off"\n'
    )
    command = [*within, sys.executable, "-m", "tests.services.run_service", str(config), "tftp"]
    return running(command, workdir / "ours.log")


def _dnsmasq(within: list[str], boot: Path) -> Any:
    options = ["--no-daemon", "--port=0", "--conf-file=/dev/null", "--user=root", "--enable-tftp", "--tftp-max=200"]
    where = [f"--tftp-root={boot}", f"--listen-address={_ADDRESS}", "--bind-interfaces"]
    return running([*within, "dnsmasq", *options, *where], boot.parent / "dnsmasq.log")


def _round(within: list[str], server: Callable[[], Any], workdir: Path) -> float:
    url = f"tftp://{_ADDRESS}/{_NAME}"
    one = f"curl -sS --tftp-blksize {BLKSIZE} {url} -o {workdir}/got-$number &"
    all_at_once = f"for number in $(seq {CLIENTS}); do {one} done; wait"
    with server():
        _wait_until_it_serves(within, url)
        began = time.monotonic()
        subprocess.run([*within, "sh", "-c", all_at_once], check=True)
        seconds = time.monotonic() - began
    expected = (workdir / "boot" / _NAME).read_bytes()
    whole = 0
    for target in workdir.glob("got-*"):
        whole += target.read_bytes() == expected
        target.unlink()
    if whole != CLIENTS:
        raise RuntimeError(f"{CLIENTS - whole} of {CLIENTS} TFTP clients did not get the whole file")
    return seconds


def _wait_until_it_serves(within: list[str], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if subprocess.run([*within, "curl", "-s", "-m", "2", url, "-o", "/dev/null"], check=False).returncode == 0:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the TFTP server did not serve within {START_TIMEOUT_S:.0f} s")
