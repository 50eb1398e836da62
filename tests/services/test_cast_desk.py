"""What passes between store and sending thread: plans when something changed, figures, a store in trouble."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from appliance.engine.castlist import cast_chunks
from appliance.engine.chunkstore import ChunkStore
from appliance.errors import Unavailable
from appliance.events import CastState
from appliance.model import ImageVersion, Task
from appliance.services import castd
from appliance.services.cast_live import Plan
from appliance.services.castd import Caster, Desk, Figures, make_clock
from appliance.store import Store
from tests.services.cast_room import add_version, random_image
from tests.services.http_support import settings_in

SETTINGS = settings_in(Path())


class EarOfCaster:
    """Remembers the plans that a `Caster` would get, and has its figures."""

    def __init__(self) -> None:
        self.plans: list[tuple[Plan, ...]] = []
        self.figures: Figures = ()

    def obey(self, plans: tuple[Plan, ...]) -> None:
        self.plans.append(plans)


@dataclasses.dataclass
class Office:
    """A desk with a store, an image store and the other side."""

    store: Store
    chunks: ChunkStore
    version: ImageVersion
    ear: EarOfCaster
    desk: Desk

    def task(self, cast_id: int, name: str = "PC1") -> Task:
        host = self.store.hosts.add(name, [f"52:54:00:ca:01:{len(self.store.hosts.list()):02x}"])
        return self.store.tasks.deploy(host, self.version, cast_id=cast_id)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.setattr(castd, "SECOND_S", 0.0)  # every round is a second
    chunks, ear = ChunkStore(tmp_path / "images"), EarOfCaster()
    with Store.open(tmp_path / "diecast.sqlite") as store:
        version = add_version(store, chunks, random_image(1, 5))
        yield Office(store, chunks, version, ear, Desk(store, chunks, cast("Caster", ear)))


def test_the_plan_follows_the_store_and_nothing_is_said_twice(office: Office) -> None:
    room = office.store.casts.open(office.version, groups=SETTINGS.cast.groups)
    task = office.task(room.id)
    office.desk.round()
    office.desk.round()
    assert [[plan.cast.id for plan in plans] for plans in office.ear.plans] == [[room.id]]
    (plan,) = office.ear.plans[-1]
    manifest = office.chunks.read_manifest(office.version.id)
    assert list(plan.ids) == cast_chunks(manifest, lambda name: office.chunks.read_index(office.version.id, name))
    assert (plan.seats, plan.expected) == ((), 1)
    office.store.tasks.checked_in(task.id, "10.77.0.9", "52:54:00:ca:01:01")
    office.desk.round()
    assert [seat.task_id for seat in office.ear.plans[-1][0].seats] == [task.id]
    office.store.casts.stop(room.id)
    office.desk.round()
    assert office.ear.plans[-1] == ()


def test_figures_are_written_when_they_have_changed(office: Office) -> None:
    room = office.store.casts.open(office.version, groups=SETTINGS.cast.groups)
    office.task(room.id)
    office.ear.figures = ((dataclasses.replace(room, sent_bytes=7), []),)
    office.desk.round()
    assert office.store.casts.get(room.id).sent_bytes == 7
    before = office.store.data_version()
    office.desk.round()
    assert office.store.data_version() == before
    office.desk.leave()
    assert office.store.casts.get(room.id).sent_bytes == 7


def test_a_cast_ends_with_its_last_task(office: Office) -> None:
    room = office.store.casts.open(office.version, groups=SETTINGS.cast.groups)
    task = office.task(room.id)
    office.desk.round()
    office.store.tasks.cancel(task.id)
    office.desk.round()
    assert office.store.casts.get(room.id).state is CastState.ENDED
    assert office.ear.plans[-1] == ()


def test_a_store_in_trouble_is_told_of_once_and_casts_go_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trouble() -> int:
        raise Unavailable("The store was held by another process for 15 s.")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR):
        patch.setattr(office.store, "data_version", trouble)
        office.desk.round()
        office.desk.round()
    assert [record.message for record in caplog.records] == ["The store was held by another process for 15 s."]
    assert office.ear.plans == []
    office.desk.round()
    assert office.ear.plans == [()]


def test_a_clock_never_goes_back_behind_an_earlier_one() -> None:
    """PROBE stamps ascend although the box was restarted in between, and its monotonic clock with it."""
    before = make_clock(lambda: 1_000_000.0, lambda: 5000.0)()
    assert make_clock(lambda: 1_000_060.0, lambda: 3.0)() - before == pytest.approx(60)
