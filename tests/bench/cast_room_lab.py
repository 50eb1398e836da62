"""A room on the cast bed, and what one cast to it came to: who ended when, what was sent, whether the disks are right.

Most PCs decompress, hash and drop; those with `disk` go the agent's whole way onto an image file, which `cmp` then
compares with a disk that was restored by the chunk folder alone (as by NFS).
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.engine.chunkstore import ChunkStore
from appliance.engine.restore import restore
from appliance.engine.target import RestoreOptions
from appliance.engine.version import Version
from appliance.model import Cast, ImageVersion
from tests.bench.cast_bed import Bed, Receiver, Result, machine_cpu_s
from tests.bench.cast_bed_payload import Payload, system_disk
from tests.engine.kit import StoreSource, loaded, never, quiet

_MEMORY = Path("/dev/shm")
_MEMORY_LEFT = 4 << 30
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Pc:
    """One PC of a room."""

    at_s: float = 0.0  # when it joins
    disk: bool = False  # onto an image file
    loss: float = 0.0
    disk_mb_s: float = 0.0  # plain; 0: as fast as it goes
    dies: bool = False  # switched off at `dies_at_s` of `Lab.hold`
    cast: int = 0  # which of the payloads it gets


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one room. `results` has None for PCs that were switched off."""

    results: tuple[Result | None, ...]
    sent: tuple[int, ...]  # bytes, of each cast
    together: tuple[int, ...]  # bytes each cast had sent when all were last seen at work
    cpu_share: float  # of the whole machine, from the first PC's begin to the last one's end

    def ended(self, places: Sequence[int] | None = None) -> list[Result]:
        """Of those places (all), the ones that were not switched off."""
        chosen = self.results if places is None else [self.results[place] for place in places]
        return [result for result in chosen if result is not None]

    def mean(self, places: Sequence[int] | None = None) -> float:
        """Mean time of a PC from its own arrival, s."""
        return statistics.fmean(result.seconds for result in self.ended(places))

    @property
    def nfs_bytes(self) -> int:
        """What did not come by cast."""
        return sum(result.nfs_bytes for result in self.ended())


@dataclass
class Lab:
    """The bed with the service running, the payload, and a disk that is right."""

    bed: Bed
    payload: Payload
    version: Version
    scratch: Path
    reference: Path
    _images: dict[str, ImageVersion]

    def hold(
        self, pcs: Sequence[Pc], rate_mbit: int, *, dies_at_s: float = 0.0, payloads: Sequence[Payload] = ()
    ) -> Outcome:
        """Hold a cast (one of each of `payloads`) for these PCs, limited to `rate_mbit`. It begins when every PC is
        there, unless some are to come late. Raises `RuntimeError` unless every PC that lives ends with all right."""
        payloads = payloads or (self.payload,)
        casts = [self._open(payload, pcs, number, rate_mbit) for number, payload in enumerate(payloads)]
        receivers = []
        for place, pc in enumerate(pcs):
            self.bed.lose(place, pc.loss)
            target = self.disk(place) if pc.disk else None
            options = {"disk_mb_s": pc.disk_mb_s} if pc.disk_mb_s else {}
            receivers.append(self.bed.receiver(place, casts[pc.cast], payloads[pc.cast], target=target, **options))
        with self._watched(casts) as together:
            results, cpu_share = self._wait(receivers, pcs, dies_at_s)
        sent = tuple(self.bed.sent(cast) for cast in casts)
        for cast in casts:
            self.bed.end(cast)
        for place, pc in enumerate(pcs):
            self.bed.lose(place, 0)
            if pc.disk and not pc.dies:
                self._compare(place)
        return Outcome(tuple(results), sent, tuple(together), cpu_share)

    def disk(self, place: int) -> Path:
        """The image file of a place."""
        return self.scratch / f"disk-{place}.img"

    def _open(self, payload: Payload, pcs: Sequence[Pc], number: int, rate_mbit: int) -> Cast:
        if payload.name not in self._images:
            self._images[payload.name] = self.bed.add(payload)
        mine = [pc for pc in pcs if pc.cast == number]
        together = len(mine) if not any(pc.at_s for pc in mine) else 0
        cast = self.bed.cast(self._images[payload.name], together, 60)
        return self.bed.store.casts.limit(cast.id, rate_mbit)

    def _wait(
        self, receivers: Sequence[Receiver], pcs: Sequence[Pc], dies_at_s: float
    ) -> tuple[list[Result | None], float]:
        for receiver in receivers:
            receiver.wait_ready()
        cpu, began = machine_cpu_s(), time.monotonic()
        self.bed.begin(receivers, [pc.at_s for pc in pcs])
        doomed = [receiver for receiver, pc in zip(receivers, pcs, strict=True) if pc.dies]
        if doomed:
            time.sleep(max(began + dies_at_s - time.monotonic(), 0))
            for receiver in doomed:
                receiver.kill()
        results = [None if pc.dies else receiver.result() for receiver, pc in zip(receivers, pcs, strict=True)]
        share = (machine_cpu_s() - cpu) / (time.monotonic() - began)
        return results, share / (os.cpu_count() or 1)

    @contextmanager
    def _watched(self, casts: Sequence[Cast]) -> Iterator[list[int]]:
        """Notes what each cast has sent as long as all are at work; their figures are written together."""
        together, over = [0] * len(casts), threading.Event()

        def watch() -> None:
            while not over.wait(_POLL_S):
                found = [self.bed.store.casts.get(cast.id) for cast in casts]
                if all(cast.present and cast.sent_bytes for cast in found):
                    together[:] = [cast.sent_bytes for cast in found]

        thread = threading.Thread(target=watch)
        if len(casts) > 1:
            thread.start()
        try:
            yield together
        finally:
            over.set()
            if thread.ident is not None:
                thread.join()

    def _compare(self, place: int) -> None:
        disk = self.disk(place)
        done = subprocess.run(["cmp", disk, self.reference], capture_output=True, text=True, check=False)
        disk.unlink()
        if done.returncode:
            raise RuntimeError(f"the disk of PC {place} is wrong: {done.stdout}{done.stderr}")


@contextmanager
def laboratory(workdir: Path, rate_mbit: int) -> Iterator[Lab]:
    """A bed with the service running, with `rate_mbit` as the ceiling of all casts."""
    payload = system_disk()
    chunks = ChunkStore(payload.images)
    version = loaded(chunks, payload.version_id)
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_LEFT
    scratch = (_MEMORY if in_memory else workdir) / f"{workdir.name}-disks"
    scratch.mkdir()
    try:
        reference = scratch / "reference.img"
        with reference.open("wb") as file:
            file.truncate(version.manifest.disk.size_bytes)
        restore(version, reference, StoreSource(chunks), RestoreOptions(2), quiet, never)
        with Bed(workdir / "bed", rate_mbit) as bed:
            images = {payload.name: bed.add(payload)}
            bed.start()
            yield Lab(bed, payload, version, scratch, reference, images)
    finally:
        shutil.rmtree(scratch)
