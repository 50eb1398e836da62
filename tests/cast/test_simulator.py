"""The bench entries' scenarios, small, in the simulator: the bounds that the real ones have to hold."""

import statistics
from dataclasses import replace

import pytest

from tests.cast.simulator import MIB, Outcome, Pc, Room, Simulation, alike, bench_rooms, simulate

ROOMS = bench_rooms(receivers=8, chunks=400)
ALONE = simulate(ROOMS["1"]).mean


def ended(out: Outcome) -> Outcome:
    assert out.unfinished == 0
    return out


def test_one_pc_goes_at_the_links_rate() -> None:
    ideal = ROOMS["1"].chunks * ROOMS["1"].file_bytes / ROOMS["1"].ceiling
    assert 1.12 * ideal > ALONE


def test_many_take_the_time_of_one_and_every_chunk_is_sent_once() -> None:
    out = ended(simulate(ROOMS["32_vs_1"]))
    assert out.mean <= 1.05 * ALONE
    assert out.sent_ratio == 1.0


def test_late_comers_cost_one_more_round_and_no_time() -> None:
    out = ended(simulate(ROOMS["late"]))
    assert out.mean <= 1.1 * ALONE
    assert out.sent_ratio <= 2.1


def test_one_percent_of_loss_costs_little_time_and_few_frames() -> None:
    calm = simulate(ROOMS["32_vs_1"])
    out = ended(simulate(ROOMS["loss_1pct"]))
    assert max(out.seconds) <= 1.25 * max(calm.seconds)  # 0.2 s of rounds at the end weigh more in a short run
    assert out.sent_ratio <= 1.06
    assert out.nfs_bytes == 0


@pytest.mark.parametrize("name", ["loss_10pct", "loss_10pct_alone"])
def test_ten_percent_of_loss_is_survived_with_little_more_than_what_was_lost(name: str) -> None:
    room = replace(ROOMS[name], chunks=150)
    out = ended(simulate(room))
    assert out.sent_ratio <= 1.25
    assert out.nfs_bytes <= 5 * room.file_bytes


def test_dead_receivers_delay_nobody() -> None:
    out = ended(simulate(ROOMS["dead"]))
    assert max(out.seconds) <= max(simulate(ROOMS["32_vs_1"]).seconds) + 0.1


def test_a_receiver_that_is_switched_off_and_on_again_ends_too() -> None:
    pcs = [*alike(7), Pc(dies_s=1.0, returns_s=3.0)]
    out = ended(simulate(replace(ROOMS["dead"], pcs=tuple(pcs))))
    assert len(out.seconds) == 8
    assert statistics.median(out.seconds) <= ALONE + 0.1


def test_a_slow_receiver_delays_the_others_by_at_most_5_percent() -> None:
    simulation = Simulation(ROOMS["slow"])
    out = ended(simulation.run())
    assert sorted(out.ended_at)[-2] <= 1.05 * max(simulate(ROOMS["32_vs_1"]).seconds)
    alone_slow = ROOMS["slow"].chunks * MIB / 10e6
    assert max(out.ended_at) <= 1.1 * alone_slow


def test_two_casts_share_the_link_evenly() -> None:
    out = ended(simulate(ROOMS["two_images"]))
    first, second = out.cast_ended_at.values()
    assert max(first, second) / min(first, second) <= 1.1
    assert out.sent_ratio == 1.0


def test_a_redeploy_sends_the_union_of_what_is_missing() -> None:
    out = ended(simulate(ROOMS["redeploy"]))
    assert out.sent_ratio <= 1.2


def test_a_room_of_slow_disks_is_not_flooded() -> None:
    room = Room(alike(4, Pc(disk_bytes_s=40e6)), chunks=400, buffer_bytes=64 * MIB)
    out = ended(simulate(room))
    assert out.sent_ratio <= 1.25
    assert out.mean <= 1.2 * room.chunks * room.plain_bytes / 40e6


@pytest.mark.lengthy
def test_a_room_of_uneven_disks_takes_little_longer_than_each_alone() -> None:
    """16 disks of 103 to 154 MB/s: what the slow ones leave is nearly the same, and is sent twice rather than all."""
    disks = [103e6 + 51e6 * n / 15 for n in range(16)]
    pcs = tuple(Pc(disk_bytes_s=disk, loss=0.001) for disk in disks)
    room = Room(pcs, chunks=5000, ceiling=112e6, buffer_bytes=26 * MIB)
    out = ended(simulate(room))
    alone = [room.chunks * MIB / disk for disk in disks]
    assert out.mean <= 1.1 * statistics.mean(alone)
    assert max(out.seconds) <= 1.03 * max(alone)
    assert out.sent_ratio <= 1.45


def test_deaf_receivers_end_by_nfs() -> None:
    room = replace(ROOMS["32_vs_1"], chunks=100, pcs=(*alike(3), Pc(deaf=True)))
    out = ended(simulate(room))
    assert out.nfs_bytes == 100 * room.file_bytes
    assert sorted(out.seconds)[-2] <= ALONE
