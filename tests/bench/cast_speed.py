"""`cast_throughput_2` and `cast_cpu_s_per_gb`: chunks to two PCs by our cast, and by udpcast.

Transport only: the chunks cannot be compressed, and nothing is written. Ours decompresses (zstd stores them as they
are) and hashes each chunk and drops it; udp-receiver writes to /dev/null and checks nothing. Both go over the same
bridge, segmentation offload off and receive offload on (`tests.bench.cast_bed`), their senders at the priority of our
unit. Rounds alternate, medians count; udpcast may choose the quicker of its settings in `_PEERS`.

Ours is timed from the moment the PCs are told to join until the last one has its last chunk; udpcast by its own figure,
which leaves out its rendezvous and its farewell. CPU time is that of sender and receivers, user and system; ours from
that same moment on, udpcast's of whole processes. What the kernel does for datagrams under way counts for whom it
interrupts, with both; so `detail` says what the whole machine spent too.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.engine.chunkstore import ChunkStore
from tests.bench.cast_bed import Bed, machine_cpu_s
from tests.bench.cast_bed_payload import Payload, random_chunks
from tests.services.dhcp_wires import BOX, sh

ROUNDS = 5
PAYLOAD_MIB = 512
RATE_MBIT = 8000  # our ceiling: more than the bridge carries
_PCS = (0, 1)
_PEER_TIMEOUT_S = 60.0
# Also tried, and no quicker: --max-bitrate 1900m and 2000m, --max-slice-size 512 and 1024, --rcvbuf 4M.
_PEERS = {"full-duplex": ["--full-duplex"], "default": []}
_RATE = re.compile(r"\(\s*([\d.]+) Mbps\)")


@dataclass(frozen=True, slots=True)
class Round:
    """One transfer to both PCs."""

    mb_s: float
    cpu_s: float  # sender and receivers
    machine_s: float  # the whole machine, meanwhile
    sent: float = 0.0  # bytes of frames / bytes of chunk files; ours only


def run(workdir: Path) -> list[dict[str, Any]]:
    """Measure and return the entries. Needs root and udpcast. Raises `RuntimeError` when a transfer fails."""
    payload = random_chunks(PAYLOAD_MIB)
    with Bed(workdir / "bed", rate_mbit=RATE_MBIT) as bed:
        bed.add(payload)
        bed.start()
        file = _file_of(bed, payload)
        for words, interface in ((bed.wires.box, BOX), *((bed.place(pc), "eth0") for pc in _PCS)):
            sh(*words, "ip", "route", "add", "224.0.0.0/4", "dev", interface)
        ours: list[Round] = []
        peers: dict[str, list[Round]] = {name: [] for name in _PEERS}
        for _ in range(ROUNDS):
            ours.append(_ours(bed, payload))
            for name, options in _PEERS.items():
                peers[name].append(_udpcast(bed, file, options))
        bed.set_offload(True)
        offloaded = [_ours(bed, payload) for _ in range(3)]
    return _entries(ours, peers, offloaded, payload.file_bytes)


def _entries(
    ours: list[Round], peers: dict[str, list[Round]], offloaded: list[Round], size: int
) -> list[dict[str, Any]]:
    best = max(peers, key=lambda name: _mb_s(peers[name]))
    gb = size / 1e9
    how = f"{PAYLOAD_MIB} MiB of random chunks, median of {ROUNDS}; peer udpcast --min-receivers 2 --nokbd, {best}"
    sent = statistics.median(one.sent for one in ours)
    values = ", ".join(f"{name} {_mb_s(found):.0f}" for name, found in peers.items())
    return [
        _entry(
            "cast_throughput_2", _mb_s(ours), _mb_s(peers[best]), "MB/s",
            f"{how}; ours {_spread(ours)}, peer {_spread(peers[best])} ({values}); frames sent /"
            f" payload {sent:.3f}; ours with segmentation offload {_mb_s(offloaded):.0f}"
            f" ({_spread(offloaded)})",
        ),
        _entry(
            "cast_cpu_s_per_gb", _cpu_s(ours) / gb, _cpu_s(peers[best]) / gb, "s/GB",
            f"{how}; sender and two receivers; whole machine: ours {_machine_s(ours) / gb:.2f}, peer"
            f" {_machine_s(peers[best]) / gb:.2f}; ours with segmentation offload {_cpu_s(offloaded) / gb:.2f}",
        ),
    ]  # fmt: skip


def _entry(name: str, ours: float, peer: float, unit: str, detail: str) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 2),
        "peer": round(peer, 2),
        "ratio": round(ours / peer, 3),
        "unit": unit,
        "detail": detail,
    }


def _mb_s(rounds: list[Round]) -> float:
    return statistics.median(one.mb_s for one in rounds)


def _cpu_s(rounds: list[Round]) -> float:
    return statistics.median(one.cpu_s for one in rounds)


def _machine_s(rounds: list[Round]) -> float:
    return statistics.median(one.machine_s for one in rounds)


def _spread(rounds: list[Round]) -> str:
    return f"{min(one.mb_s for one in rounds):.0f} to {max(one.mb_s for one in rounds):.0f}"


def _ours(bed: Bed, payload: Payload) -> Round:
    """One cast. Raises `RuntimeError` when a chunk was not right or did not come by multicast."""
    cast = bed.cast(bed.store.images.version(payload.version_id))
    pcs = [bed.receiver(pc, cast, payload) for pc in _PCS]
    for pc in pcs:
        pc.wait_ready()
    cpu, machine = bed.sender_cpu_s(), machine_cpu_s()
    began = bed.begin(pcs)
    results = [pc.result() for pc in pcs]
    cpu, machine = bed.sender_cpu_s() - cpu, machine_cpu_s() - machine
    seconds = max(result.ended_at for result in results) - began
    if any(result.bytes != payload.plain_bytes or result.nfs_bytes for result in results):
        raise RuntimeError(f"chunks did not come by the cast: {results}")
    sent = bed.sent(cast) / payload.file_bytes
    bed.end(cast)
    size = payload.file_bytes
    return Round(size / seconds / 1e6, cpu + sum(result.cpu_s for result in results), machine, sent)


def _udpcast(bed: Bed, file: Path, options: list[str]) -> Round:
    """One transfer by udpcast. Raises `RuntimeError` when it fails."""
    receive = ["udp-receiver", "--interface", "eth0", "--nokbd", "--nosync", "--file", "/dev/null"]
    send = [
        "nice",
        "-n",
        "-10",
        "udp-sender",
        "--interface",
        BOX,
        "--file",
        str(file),
        "--min-receivers",
        "2",
        "--nokbd",
    ]
    machine = machine_cpu_s()
    logs = [file.with_name(f"udpcast-{number}.log") for number in range(3)]
    processes = []
    try:
        commands = [*([*bed.place(pc), *receive] for pc in _PCS), [*bed.wires.box, *send, *options]]
        for words, log in zip(commands, logs, strict=True):
            with log.open("wb") as output:
                processes.append(subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output))
        cpu = sum(_ended_cpu_s(process) for process in processes)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                process.wait()
    machine = machine_cpu_s() - machine
    said = [_RATE.findall(log.read_text(errors="replace")) for log in logs[: len(_PCS)]]
    if any(process.returncode for process in processes) or not all(said):
        raise RuntimeError("udpcast failed: " + " ".join(log.read_text(errors="replace")[-500:] for log in logs))
    return Round(min(float(rates[-1]) for rates in said) / 8, cpu, machine)


def _ended_cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Wait for its end; the CPU time of the process."""
    deadline = time.monotonic() + _PEER_TIMEOUT_S
    while time.monotonic() < deadline:
        pid, status, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return used.ru_utime + used.ru_stime
        time.sleep(0.05)
    raise RuntimeError(f"udpcast has not ended after {_PEER_TIMEOUT_S:.0f} s")


def _file_of(bed: Bed, payload: Payload) -> Path:
    """The chunk files one after another, for udp-sender; read a moment ago, so that no disk slows it."""
    file, chunks = bed.folder / "payload.bin", ChunkStore(payload.images)
    with file.open("wb") as out:
        for id in bed.chunk_ids(payload):
            out.write(chunks.get_frame(id))
    return file
