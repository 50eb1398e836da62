"""Figures of casts in `/metrics`, with the store as their source."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from appliance.config import Cast as CastSettings
from appliance.engine.chunkstore import ChunkStore
from appliance.model import Cast, ImageVersion
from appliance.services import metrics
from appliance.store import Store
from tests.services.cast_room import add_version, random_image
from tests.services.http_support import settings_in

GROUPS = IPv4Network("239.192.68.0/29")


@dataclasses.dataclass
class Box:
    """A store with one version."""

    folder: Path
    store: Store
    version: ImageVersion

    def cast(self, statuses: dict[str, int] | None = None) -> Cast:
        """An open cast with so many PCs of each status, as the cast service writes it."""
        cast = self.store.casts.open(self.version, groups=GROUPS)
        for status, number in (statuses or {}).items():
            for _ in range(number):
                count = len(self.store.hosts.list())
                host = self.store.hosts.add(f"PC{count}", [f"52:54:00:ca:00:{count:02x}"])
                task = self.store.tasks.deploy(host, self.version, cast_id=cast.id)
                (member,) = (m for m in self.store.casts.members(cast.id) if m.task_id == task.id)
                self.store.casts.record([(cast, [dataclasses.replace(member, status=status)])])
        return cast

    def text(self) -> str:
        """What `/metrics` says; a ceiling of 800 Mbit/s for all casts."""
        settings = settings_in(self.folder, cast=CastSettings(rate_mbit=800))
        size = metrics.FolderSize(settings.paths.images / "chunks")
        return metrics.render(metrics.collect(self.store, metrics.Counters(), size, settings))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    with Store.open(tmp_path / "diecast.sqlite") as store:
        yield Box(tmp_path, store, add_version(store, ChunkStore(tmp_path / "images"), random_image(1, 2)))


def samples(text: str, name: str) -> dict[str, str]:
    """Labels -> value, of one metric."""
    return dict(re.findall(rf"^diecast_{name}\{{(.*)\}} (\S+)$", text, re.MULTILINE))


def test_a_cast_shows_what_it_sends_how_fast_and_what_is_asked_for(box: Box) -> None:
    cast = box.cast()
    told = dataclasses.replace(cast, sent_bytes=1000, parity_bytes=100, rate_bytes_s=5e6, wanted=17)
    box.store.casts.record([(told, [])])
    text = box.text()
    assert samples(text, "cast_info") == {'cast="1",image="win11",group="239.192.68.1"': "1"}
    assert samples(text, "cast_sent_bytes_total") == {'cast="1",kind="payload"': "900", 'cast="1",kind="repair"': "100"}
    assert samples(text, "cast_rate_bytes_per_second") == {'cast="1"': "5000000"}
    assert samples(text, "cast_wanted_chunks") == {'cast="1"': "17"}


@pytest.mark.parametrize(("limit", "ceiling"), [(0, 100_000_000), (400, 50_000_000), (900, 100_000_000)])
def test_the_ceiling_is_the_limit_of_the_cast_or_that_of_all(box: Box, limit: int, ceiling: int) -> None:
    box.store.casts.limit(box.cast().id, limit)
    assert samples(box.text(), "cast_ceiling_bytes_per_second") == {'cast="1"': str(ceiling)}


def test_pcs_are_counted_by_state_and_every_state_is_there(box: Box) -> None:
    reasons = {"by NFS: one": 1, "by NFS: multicast does not arrive there": 1, "by NFS: its disk takes less": 1}
    box.cast({"by multicast": 3, "by multicast, slower than the others": 2, "": 1, "has left": 1, **reasons})
    found = samples(box.text(), "cast_pcs")
    assert {labels: number for labels, number in found.items() if number != "0"} == {
        'cast="1",state="multicast"': "3",
        'cast="1",state="slow"': "2",
        'cast="1",state="absent"': "1",
        'cast="1",state="left"': "1",
        'cast="1",state="nfs"': "3",
    }
    assert {re.sub('.*state="(.*)"', r"\1", labels) for labels in found} == {
        "complete", "left", "nfs", "silent", "waiting", "slow", "multicast", "absent", "ended",
    }  # fmt: skip


def test_a_pc_whose_task_has_ended_counts_as_ended_whatever_was_heard_last(box: Box) -> None:
    box.cast({"by multicast": 2})
    box.store.tasks.cancel(box.store.tasks.list()[0].id)
    found = samples(box.text(), "cast_pcs")
    assert (found['cast="1",state="multicast"'], found['cast="1",state="ended"']) == ("1", "1")


def test_what_was_dropped_is_counted_by_reason(box: Box) -> None:
    told = dataclasses.replace(box.cast(), forged=1, refused=2, replayed=3)
    box.store.casts.record([(told, [])])
    assert samples(box.text(), "cast_dropped_messages_total") == {
        'cast="1",reason="forged"': "1",
        'cast="1",reason="foreign"': "2",
        'cast="1",reason="replayed"': "3",
    }


def test_only_open_casts_are_shown_so_that_the_list_of_series_does_not_grow(box: Box) -> None:
    for _ in range(20):
        box.store.casts.stop(box.cast().id)
    assert 'cast="' not in box.text()
    box.cast()
    assert set(re.findall(r'cast="(\d+)"', box.text())) == {"21"}


def test_every_metric_has_its_help_its_type_and_a_number(box: Box) -> None:
    box.cast({"by multicast": 1})
    lines = box.text().splitlines()
    declared = {line.split()[2]: line.split()[3] for line in lines if line.startswith("# TYPE")}
    assert {line.split()[2] for line in lines if line.startswith("# HELP")} == declared.keys()
    for line in lines:
        if not line.startswith("#"):
            name = line.split("{")[0].split()[0]
            float(line.rsplit(" ", 1)[1])
            assert (declared[name] == "counter") == name.endswith("_total")


def test_a_chunk_that_gets_its_name_while_the_folder_is_measured_hides_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b.new", "c"):
        (tmp_path / name).write_bytes(b"four")

    @contextmanager
    def vanishing(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        (tmp_path / "b.new").unlink()
        yield found

    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", vanishing)
    assert metrics.FolderSize(tmp_path).measure() == (2, 8)
