"""`http_initrd_mb_per_s` and `initrd_mb`: how fast a room of PCs gets its initrd, beside nginx, and how large it is.

Both servers run alone, one after the other, in a network namespace of the bench's own, over loopback, with the same
file and the same clients: curl processes that start at once and throw away what they get. Ours is the service as
`diecast serve http` runs it; nginx has Debian's settings (a worker for each core, sendfile, tcp_nopush). Rounds
alternate, and the median counts, so that a busy moment of the machine hits neither alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tests.bench.kit import running

CLIENTS = 16
DOWNLOADS = 4  # of each client, on one connection
ROUNDS = 5  # of each server
STAND_IN_BYTES = 60_000_000  # where no agent image was built: as large as it may be
START_TIMEOUT_S = 20.0
PORTS = {"ours": 8080, "nginx": 8081}
_BUILT = Path(__file__).parents[2] / "build" / "boot"

_NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log;
worker_processes auto;
events {{ worker_connections 768; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    types_hash_max_size 2048;
    default_type application/octet-stream;
    client_body_temp_path {folder}/tmp;
    proxy_temp_path {folder}/tmp;
    fastcgi_temp_path {folder}/tmp;
    uwsgi_temp_path {folder}/tmp;
    scgi_temp_path {folder}/tmp;
    server {{ listen 127.0.0.1:{port}; root {folder}/www; }}
}}
"""


def run(workdir: Path) -> list[dict[str, Any]]:
    """Measure and return the entries. Needs root. Raises `RuntimeError` when a client does not get the whole file."""
    workdir = workdir.resolve()  # nginx takes relative names from a folder of its own
    workdir.mkdir(parents=True, exist_ok=True)
    boot = _boot_folder(workdir)
    size = (boot / "initrd.img").stat().st_size
    namespace = f"diecast-http-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", namespace], check=True)
    try:
        subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
        within = ["ip", "netns", "exec", namespace]
        rates: dict[str, list[float]] = {"ours": [], "nginx": []}
        for _ in range(ROUNDS):
            rates["ours"].append(_round(within, _ours(within, workdir, boot), PORTS["ours"], size))
            rates["nginx"].append(_round(within, _nginx(within, workdir, boot), PORTS["nginx"], size))
        served = {name: _served_bytes(within, workdir, boot, name) for name in ("vmlinuz", "initrd.img")}
    finally:
        subprocess.run(["ip", "netns", "delete", namespace], check=True)
    return [_rate_entry(rates, size), _size_entry(served)]


def _rate_entry(rates: dict[str, list[float]], size: int) -> dict[str, Any]:
    ours, peer = statistics.median(rates["ours"]), statistics.median(rates["nginx"])
    return {
        "name": "http_initrd_mb_per_s",
        "ours": round(ours, 1),
        "peer": round(peer, 1),
        "ratio": round(ours / peer, 3),
        "unit": "MB/s",
        "detail": f"{CLIENTS} curl at once, {DOWNLOADS} times {size} bytes each, median of {ROUNDS}; peer nginx",
    }


def _size_entry(served: dict[str, int]) -> dict[str, Any]:
    built = "built agent image" if (_BUILT / "initrd.img").is_file() else "stand-in: no agent image was built"
    return {
        "name": "initrd_mb",
        "ours": round(sum(served.values()) / 1e6, 2),
        "peer": None,
        "ratio": None,
        "unit": "MB",
        "detail": f"kernel {served['vmlinuz']} and initrd {served['initrd.img']} bytes as served by HTTP; {built}",
    }


def _boot_folder(workdir: Path) -> Path:
    """Kernel and initrd as they were built, or stand-ins of the largest size allowed."""
    if (_BUILT / "initrd.img").is_file() and (_BUILT / "vmlinuz").is_file():
        return _BUILT
    boot = workdir / "boot"
    boot.mkdir(exist_ok=True)
    (boot / "initrd.img").write_bytes(hashlib.shake_128(b"initrd").digest(STAND_IN_BYTES))
    (boot / "vmlinuz").write_bytes(b"")
    return boot


def _ours(within: list[str], workdir: Path, boot: Path) -> AbstractContextManager[None]:
    config = workdir / "diecast.toml"
    config.write_text(
        f'[paths]\nstate = "{workdir}/state"\nimages = "{workdir}/images"\nboot = "{boot}"\nrun = "{workdir}/run"\n'
        f'[network]\ninterfaces = ["lo"]\n[dhcp]\nmode = "off"\n[http]\nport = {PORTS["ours"]}\n'
    )
    command = [*within, sys.executable, "-m", "appliance", "--config", str(config), "serve", "http"]
    return running(command, workdir / "ours.log")


def _nginx(within: list[str], workdir: Path, boot: Path) -> AbstractContextManager[None]:
    www = workdir / "www" / "boot"
    www.mkdir(parents=True, exist_ok=True)
    (workdir / "tmp").mkdir(exist_ok=True)
    if not (www / "initrd.img").exists():
        shutil.copyfile(boot / "initrd.img", www / "initrd.img")
    config = workdir / "nginx.conf"
    config.write_text(_NGINX.format(folder=workdir, port=PORTS["nginx"]))
    # Its workers would run as a user who may not be let into the folder.
    return running([*within, "nginx", "-g", "user root;", "-c", str(config)], workdir / "nginx.log")


def _round(within: list[str], server: AbstractContextManager[None], port: int, size: int) -> float:
    """MB/s of all clients together."""
    url = f"http://127.0.0.1:{port}/boot/initrd.img"
    one = "curl -sS -w '%{size_download}\\n' " + f"-o /dev/null {url} " * DOWNLOADS
    with server:
        _wait_until(lambda: _answers(within, url))
        began = time.monotonic()
        clients = [
            subprocess.Popen([*within, "sh", "-c", one], stdout=subprocess.PIPE, text=True) for _ in range(CLIENTS)
        ]
        outputs = [client.communicate()[0] for client in clients]
        seconds = time.monotonic() - began
    whole = sum(output.split().count(str(size)) for output in outputs)
    if whole != CLIENTS * DOWNLOADS:
        raise RuntimeError(f"{CLIENTS * DOWNLOADS - whole} of {CLIENTS * DOWNLOADS} downloads were not whole")
    return CLIENTS * DOWNLOADS * size / seconds / 1e6


def _served_bytes(within: list[str], workdir: Path, boot: Path, name: str) -> int:
    """What a PC that boots really gets of a file, by its own path."""
    url = f"http://127.0.0.1:{PORTS['ours']}/boot/m/52-54-00-aa-01-02/{name}"
    with _ours(within, workdir, boot):
        _wait_until(lambda: _answers(within, url))
        got = subprocess.run(
            [*within, "curl", "-sSf", "-o", "/dev/null", "-w", "%{size_download}", url],
            check=True,
            capture_output=True,
            text=True,
        )
    return int(got.stdout)


def _answers(within: list[str], url: str) -> bool:
    return subprocess.run([*within, "curl", "-sfI", "-m", "2", url, "-o", "/dev/null"], check=False).returncode == 0


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if true():
            return
        time.sleep(0.1)
    raise RuntimeError(f"the HTTP server did not serve within {START_TIMEOUT_S:.0f} s")
