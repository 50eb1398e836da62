"""Group commit: nothing is acknowledged before it is on disk, and many share one write."""

import asyncio
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest

from appliance.errors import Unavailable
from appliance.model import Host, Lease, Reservation
from appliance.services.dhcp_directory import Directory
from appliance.services.dhcp_recorder import Recorder, Seen
from appliance.wire.pxe import PxeClient
from tests.fakes.dhcp import MAC, Books, Clock


def lease(number: int) -> Lease:
    return Lease(IPv4Address(0x0A000000 + number), f"mac:{number}", str(number), datetime(2026, 1, 1, tzinfo=UTC))


class SlowDisk:
    """Takes its time for each write, and remembers what came together."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()  # the first write
        self.writes: list[list[Lease]] = []
        self.removed: list[IPv4Address] = []
        self.sightings: list[str] = []

    def save(self, leases: Iterable[Lease], removed: Iterable[IPv4Address] = ()) -> None:
        self.begun.set()
        assert self.go.wait(10)
        self.writes.append(list(leases))
        self.removed += removed

    def seen(self, mac: str, *_: Any, **__: Any) -> None:
        self.sightings.append(mac)


class BrokenDisk(SlowDisk):
    """Fails the first write."""

    def save(self, leases: Iterable[Lease], removed: Iterable[IPv4Address] = ()) -> None:
        if not self.writes:
            self.writes.append([])
            raise Unavailable("The store is full.")
        super().save(leases, removed)


async def test_what_arrives_during_one_commit_shares_the_next() -> None:
    disk = SlowDisk()
    recorder = Recorder(disk, disk)
    done: list[int] = []
    recorder.commit(lease(0), [], lambda: done.append(0))
    assert await asyncio.to_thread(disk.begun.wait, 10)
    for number in range(1, 50):
        recorder.commit(lease(number), [], lambda number=number: done.append(number))  # type: ignore[misc]
    await asyncio.sleep(0.02)
    assert done == []
    disk.go.set()
    await recorder.close()
    assert done == list(range(50))
    assert [len(write) for write in disk.writes] == [1, 49]


async def test_a_write_that_fails_is_said_acknowledges_nobody_and_stops_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    disk = BrokenDisk()
    disk.go.set()
    recorder = Recorder(disk, disk)
    done: list[str] = []
    recorder.commit(lease(1), [], lambda: done.append("first"))
    async with asyncio.timeout(10):
        while "The store took no leases" not in caplog.text:
            await asyncio.sleep(0.01)
    recorder.commit(lease(1), [], lambda: done.append("again"))
    await recorder.close()
    assert done == ["again"]
    assert "The store took no leases (The store is full.): 1 clients get no answer and will ask again." in caplog.text


async def test_an_address_that_is_given_up_and_lent_again_in_one_write_stays() -> None:
    disk = SlowDisk()
    disk.go.set()
    recorder = Recorder(disk, disk)
    recorder.commit(lease(1), [IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")])
    recorder.commit(lease(2), [])
    await recorder.close()
    assert disk.removed == [IPv4Address("10.0.0.3")]
    assert [item.address for item in disk.writes[0]] == [IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")]


async def test_sightings_are_written_after_the_leases_that_wait_and_hold_none_up() -> None:
    disk = SlowDisk()
    disk.go.set()
    recorder = Recorder(disk, disk)
    for number in range(50):
        recorder.seen(Seen(str(number), "10.0.0.1", None, 7, "x64 UEFI"))
    recorder.commit(lease(1), [], lambda: disk.sightings.append("acknowledged"))
    await asyncio.sleep(0.02)
    recorder.commit(lease(2), [], lambda: disk.sightings.append("acknowledged"))
    await recorder.close()
    assert disk.sightings.index("acknowledged") == 0
    assert sorted(set(disk.sightings) - {"acknowledged"}, key=int) == [str(number) for number in range(50)]
    second = len(disk.sightings) - 1 - disk.sightings[::-1].index("acknowledged")
    assert second < 40, "a lease waited for all sightings"


class BlindDisk(SlowDisk):
    """Cannot write sightings."""

    def seen(self, mac: str, *_: Any, **__: Any) -> None:
        raise Unavailable("The store is locked.")


async def test_sightings_that_cannot_be_written_are_said_and_leases_go_on(caplog: pytest.LogCaptureFixture) -> None:
    disk = BlindDisk()
    disk.go.set()
    recorder = Recorder(disk, disk)
    done: list[str] = []
    recorder.seen(Seen(MAC, "", None, 7, ""))
    recorder.commit(lease(1), [], lambda: done.append("acknowledged"))
    await recorder.close()
    assert done == ["acknowledged"]
    assert "The store took no sightings: The store is locked." in caplog.text


def test_the_store_is_read_again_only_when_it_changed() -> None:
    books, clock = Books(hosts=[Host(1, "pc-01", (MAC,))]), Clock()
    reserved: list[list[Reservation]] = []
    directory = Directory(books, books, books, books.data_version, reserved.append, clock)
    for _ in range(100):
        directory.refresh()
        clock.now += 0.1
    assert books.reads == 1
    assert directory.host_of(MAC, None) is not None
    books.hosts = []
    books.version = 2
    clock.now += 1
    directory.refresh()
    assert directory.host_of(MAC, None) is None
    assert len(reserved) == 2


def test_a_firmware_that_is_nobodys_costs_no_query_and_a_known_one_costs_one() -> None:
    books, clock = Books(hosts=[Host(1, "pc-01", (MAC,))]), Clock()
    directory = Directory(books, books, books, books.data_version, lambda _: None, clock)
    directory.refresh()
    firmware = PxeClient(7, UUID(int=5), is_ipxe=False, is_http=False)
    assert directory.host_of("02:00:00:00:00:99", firmware) is None
    assert books.lookups == 0
    assert [directory.host_of(MAC, firmware) for _ in range(9)] == [books.hosts[0]] * 9
    assert books.lookups == 1


def test_a_changed_host_is_seen_without_asking_who_it_is_and_a_changed_mark_asks_again() -> None:
    books, clock = Books(hosts=[Host(1, "pc-01", (MAC,))]), Clock()
    directory = Directory(books, books, books, books.data_version, lambda _: None, clock)
    firmware = PxeClient(7, UUID(int=5), is_ipxe=False, is_http=False)

    def after(*hosts: Host, docks: tuple[str, ...] = ()) -> Host | None:
        books.hosts, books.docks = [*hosts], [*docks]
        books.version += 1
        clock.now += 60
        directory.refresh()
        return directory.host_of(MAC, firmware)

    assert after(Host(1, "renamed", (MAC,))) == Host(1, "renamed", (MAC,))
    assert after(Host(1, "renamed", (MAC,), sealed=True)) == Host(1, "renamed", (MAC,), sealed=True)
    assert books.lookups == 1
    by_uuid = Host(2, "other", ("02:00:00:00:00:01",), uuid=UUID(int=5))
    assert after(by_uuid) == by_uuid
    assert books.lookups == 2
    assert after(by_uuid, docks=("02:00:00:00:00:01",)) == by_uuid
    assert books.lookups == 3
