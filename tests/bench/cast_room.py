"""A whole room by cast: 32 PCs beside one, late ones, loss, dead ones, a slow disk, two images, disks nearly right.

On the bed (`cast_bed`): the real service, real datagrams on one bridge, the agent's code as PCs, the Debian master
disk. The rates are what two cores carry for so many PCs; what needs more of them is added from the simulator. Where a
time is set beside another, that is our own undisturbed room of the same run.
"""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from appliance.engine.castlist import Places
from appliance.engine.chunkstore import ChunkStore
from tests.bench.cast_bed_payload import reordered_disk
from tests.bench.cast_room_lab import Lab, Outcome, Pc, laboratory
from tests.cast.simulator import bench_rooms, simulate
from tests.services.dhcp_wires import sh

_MANY, _SOME = 32, 16
_CALM_MBIT, _SOME_MBIT = 64, 128  # 8 MB/s each for many, and for some that repair much; 16 MB/s for some
_DISKS = 2  # PCs of each room that write image files
_DEAD = 4
_SLOW_MB_S = 10.0
_DIFFERS = 0.02
_SIMULATED_CHUNKS = 2000
_WHO = f"{_SOME} PCs at {_SOME_MBIT / 8:.0f} MB/s"
_WHO_CALMLY = f"{_SOME} PCs at {_CALM_MBIT / 8:.0f} MB/s"


def run(workdir: Path) -> list[dict[str, Any]]:
    """Eight entries, in about five minutes."""
    with laboratory(workdir, _SOME_MBIT) as lab:
        calm = lab.hold([Pc(disk=True)], _CALM_MBIT)
        alone = lab.hold([Pc(disk=True)], _SOME_MBIT)
        return [
            _many(lab, calm),
            _late(lab, alone),
            _loss_1pct(lab, calm),
            _loss_10pct(lab, calm),
            _dead(lab, calm),
            _slow(lab, alone),
            _two_images(lab),
            _redeploy(lab),
        ]


def _room(size: int) -> list[Pc]:
    """PCs that are alike, some of them with image files."""
    return [Pc(disk=place < _DISKS) for place in range(size)]


def _entry(name: str, ours: float, peer: float, unit: str, detail: str, ratio: float | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(ours, 3),
        "peer": round(peer, 3),
        "ratio": round(ours / peer if ratio is None else ratio, 4),
        "unit": unit,
        "detail": detail,
    }


def _told(lab: Lab, outcome: Outcome) -> str:
    """What belongs to every room's detail."""
    images = sum(outcome.sent) / lab.payload.file_bytes
    return (
        f"sent {images:.3f} images of {lab.payload.file_bytes / 1e6:.0f} MB, {outcome.nfs_bytes / 1e6:.1f} MB by NFS, "
        f"CPU {100 * outcome.cpu_share:.0f} % of the machine"
    )


def _many(lab: Lab, calm: Outcome) -> dict[str, Any]:
    many = lab.hold(_room(_MANY), _CALM_MBIT)
    rooms = bench_rooms(_MANY, _SIMULATED_CHUNKS)
    simulated = simulate(rooms["32_vs_1"]).mean / simulate(rooms["1"]).mean
    detail = (
        f"{_MANY} PCs and 1 at {_CALM_MBIT / 8:.0f} MB/s; {_told(lab, many)}; "
        f"simulator at 100 MB/s: ratio {simulated:.3f}"
    )
    return _entry("cast_32_vs_1", many.mean(), calm.mean(), "s", detail)


def _late(lab: Lab, alone: Outcome) -> dict[str, Any]:
    one_cast = alone.mean()
    pcs = [replace(pc, at_s=one_cast * place / _SOME) for place, pc in enumerate(_room(_SOME))]
    outcome = lab.hold(pcs, _SOME_MBIT)
    detail = (
        f"{_WHO} that came over {one_cast:.1f} s, {len(outcome.ended())} verified; mean from a PC's own arrival; "
        f"peer: one alone; {_told(lab, outcome)}"
    )
    return _entry("cast_late", outcome.mean(), one_cast, "s", detail)


def _loss_1pct(lab: Lab, calm: Outcome) -> dict[str, Any]:
    outcome = lab.hold([replace(pc, loss=0.01) for pc in _room(_SOME)], _CALM_MBIT)
    detail = f"{_WHO_CALMLY}, each loses 1 % of its own; peer: one alone without loss; {_told(lab, outcome)}"
    return _entry("cast_loss_1pct", outcome.mean(), calm.mean(), "s", detail)


def _loss_10pct(lab: Lab, calm: Outcome) -> dict[str, Any]:
    outcome = lab.hold([replace(pc, loss=0.10) for pc in _room(_SOME)], _CALM_MBIT)
    detail = (
        f"verified of {_WHO_CALMLY}, each loses 10 % of its own; {outcome.mean():.1f} s, "
        f"one alone without loss {calm.mean():.1f}; {_told(lab, outcome)}"
    )
    return _entry("cast_loss_10pct", len(outcome.ended()), _SOME, "PCs", detail)


def _dead(lab: Lab, calm: Outcome) -> dict[str, Any]:
    half = calm.mean() / 2
    pcs = [replace(pc, dies=place >= _SOME - _DEAD) for place, pc in enumerate(_room(_SOME))]
    outcome = lab.hold(pcs, _CALM_MBIT, dies_at_s=half)
    took, undisturbed = outcome.mean(), calm.mean()
    detail = (
        f"s that {_SOME - _DEAD} of {_WHO_CALMLY} lose when {_DEAD} are switched off after {half:.1f} s; peer: "
        f"one alone, undisturbed; ratio: {took:.2f} s beside that; {_told(lab, outcome)}"
    )
    return _entry("cast_dead_receiver", took - undisturbed, undisturbed, "s", detail, ratio=took / undisturbed)


def _slow(lab: Lab, alone: Outcome) -> dict[str, Any]:
    others = range(_SOME // 2 - 1)
    outcome = lab.hold([*_room(len(others)), Pc(disk_mb_s=_SLOW_MB_S)], _SOME_MBIT)
    slow = outcome.ended([len(others)])[0]
    detail = (
        f"{len(others)} PCs at {_SOME_MBIT / 8:.0f} MB/s beside one with a disk of {_SLOW_MB_S:.0f} MB/s, which ended "
        f"after {slow.seconds:.1f} s ({', '.join(slow.modes)}); peer: one alone, undisturbed; {_told(lab, outcome)}"
    )
    return _entry("cast_slow_receiver", outcome.mean(others), alone.mean(), "s", detail)


def _two_images(lab: Lab) -> dict[str, Any]:
    half = _SOME // 2
    pcs = [replace(pc, cast=int(place >= half)) for place, pc in enumerate(_room(_SOME))]
    outcome = lab.hold(pcs, _SOME_MBIT, payloads=(lab.payload, reordered_disk()))
    times = sorted([outcome.mean(range(half)), outcome.mean(range(half, _SOME))])
    first, second = outcome.together
    detail = (
        f"two casts of {half} PCs share {_SOME_MBIT / 8:.0f} MB/s; slower beside faster; last seen both at work they "
        f"had sent {first / 1e6:.1f} and {second / 1e6:.1f} MB; {_told(lab, outcome)}"
    )
    return _entry("cast_two_images", times[1], times[0], "s", detail)


def _redeploy(lab: Lab) -> dict[str, Any]:
    half = _SOME // 2
    union: set[int] = set()
    places, rng = Places(lab.version), random.Random(1)
    single = [chunk for chunk in range(len(places.ids)) if len(places.ordinals(chunk)) == 1]
    for place in range(half):
        chosen = rng.sample(single, max(1, round(_DIFFERS * places.windows)))
        union.update(chosen)
        sh("cp", "--sparse=always", str(lab.reference), str(lab.disk(place)))
        with lab.disk(place).open("r+b") as disk:
            for chunk in chosen:
                region, _, window = places.window(places.ordinals(chunk)[0])
                disk.seek(region.offset + window.number * lab.version.manifest.window_bytes + window.extents[0][0])
                disk.write(rng.randbytes(window.extents[0][1]))
    store = ChunkStore(lab.payload.images)
    missing = sum(store.path(places.ids[chunk]).stat().st_size for chunk in union)
    outcome = lab.hold([Pc(disk=True)] * half, _SOME_MBIT)
    detail = (
        f"MB sent to {half} PCs whose disks differ in {100 * _DIFFERS:.0f} % of the windows, each in others; peer: "
        f"files of the {len(union)} chunks that anybody lacks; mean {outcome.mean():.1f} s; {_told(lab, outcome)}"
    )
    return _entry("cast_redeploy", sum(outcome.sent) / 1e6, missing / 1e6, "MB", detail)
