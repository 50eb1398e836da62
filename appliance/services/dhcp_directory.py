"""Who a DHCP client is: hosts and reservations of the store, kept in memory while the store does not change.

A host is looked up for every datagram; the store is asked only when its data version moved, at most four times a
second, so that a burst of a whole room costs no query for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol
from uuid import UUID

from appliance.boot.decide import BootKind, decide
from appliance.boot.firmware import firmware_of
from appliance.events import LocalBoot
from appliance.model import Host, Reservation, Task
from appliance.wire.pxe import PxeClient

_RECHECK_S = 0.25  # an operator's change is seen after so long

_MAX_REMEMBERED = 10_000


class HostBook(Protocol):
    """What is used of `store.hosts`."""

    def dock_macs(self) -> list[str]: ...
    def list(self) -> list[Host]: ...
    def identify(self, macs: Iterable[str], uuid: UUID | None) -> Host | None: ...


class TaskBook(Protocol):
    """What is used of `store.tasks`."""

    def for_host(self, host_id: int) -> Task | None: ...


class ReservationBook(Protocol):
    """What is used of `store.leases` here."""

    def reservations(self) -> list[Reservation]: ...


class Directory:
    """Answers who a MAC is and whether its firmware is to be answered at all."""

    def __init__(
        self,
        hosts: HostBook,
        tasks: TaskBook,
        reservations: ReservationBook,
        data_version: Callable[[], int],
        on_reservations: Callable[[list[Reservation]], None],
        clock: Callable[[], float],
    ) -> None:
        self._hosts, self._tasks, self._reservations = hosts, tasks, reservations
        self._data_version, self._on_reservations, self._clock = data_version, on_reservations, clock
        self._version: int | None = None
        self._checked = float("-inf")
        self._by_mac: dict[str, Host] = {}
        self._by_id: dict[int, Host] = {}
        self._uuids: set[UUID] = set()
        self._marks: object = None  # everything that decides who is who
        self._known_as: dict[tuple[str, UUID | None], int | None] = {}

    def refresh(self) -> None:
        """Read hosts and reservations again if the store has changed."""
        now = self._clock()
        if now - self._checked < _RECHECK_S:
            return
        self._checked = now
        version = self._data_version()  # moves with our own leases too
        if version == self._version:
            return
        hosts = self._hosts.list()
        self._by_id = {host.id: host for host in hosts}
        self._by_mac = {mac: host for host in hosts for mac in host.macs}
        self._uuids = {form for host in hosts if host.uuid for form in (host.uuid, UUID(bytes_le=host.uuid.bytes))}
        marks = ([(host.id, host.macs, host.uuid) for host in hosts], self._hosts.dock_macs())
        if marks != self._marks:
            self._marks, self._known_as = marks, {}
        self._on_reservations(self._reservations.reservations())
        self._version = version
        # A large room's hosts take a while to read: never more than a tenth of the time.
        self._checked = max(now, self._clock() + 9 * (self._clock() - now) - _RECHECK_S)

    def host_of(self, mac: str, pxe: PxeClient | None) -> Host | None:
        """The host with this MAC; for a network boot also the one with its UUID, by the store's rules."""
        if pxe is None:
            return self._by_mac.get(mac)
        if mac not in self._by_mac and pxe.machine_id not in self._uuids:
            return None  # neither mark is anybody's: no rule can make a host of it
        key = (mac, pxe.machine_id)
        if key not in self._known_as:
            if len(self._known_as) >= _MAX_REMEMBERED:
                self._known_as.clear()
            found = self._hosts.identify([mac], pxe.machine_id)
            self._known_as[key] = None if found is None else found.id
        host_id = self._known_as[key]
        return None if host_id is None else self._by_id.get(host_id)

    def is_silent_for(self, host: Host | None, pxe: PxeClient) -> bool:
        """Whether this firmware is to get no answer, so that it goes on to its own disk untouched."""
        if host is None or host.local_boot is not LocalBoot.NO_ANSWER:
            return False
        task = self._tasks.for_host(host.id)
        return decide(host, task, firmware=firmware_of(pxe.arch).kind).kind is BootKind.NO_ANSWER
