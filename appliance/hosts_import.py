"""From a list of hosts to the store: first a plan of what each row would do, then row by row, each whole or not at all.

A row speaks of the host of its name. One that is known is changed only when that was asked for; one whose MAC belongs
to another host is refused, never taken for a renaming. The plan is what a dry run shows; carrying it out may still
refuse a row because somebody was faster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from appliance.errors import Conflict, NotFound, UsageError
from appliance.hosts_csv import Row, Sheet, one_line
from appliance.model import Host

if TYPE_CHECKING:
    from appliance.store import Store


class Action(StrEnum):
    """What becomes of a row."""

    ADD = "added"
    CHANGE = "changed"
    SAME = "unchanged"
    REFUSE = "refused"


@dataclass(frozen=True, slots=True)
class Step:
    """One row and what becomes of it."""

    line: int
    name: str
    action: Action
    why: str = ""  # refused: the reason; changed: the fields; else a remark
    values: Mapping[str, Any] = field(default_factory=dict)  # what differs from what is known
    base: Host | None = None  # the host as it was known

    @property
    def words(self) -> str:
        """`added`, `changed: notes, room`, `refused: ...`."""
        return f"{self.action}: {self.why}" if self.why else str(self.action)


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows, as far as a plan needs it."""

    hosts: Sequence[Host] = ()
    addresses: Mapping[str, IPv4Address] = field(default_factory=dict)  # reserved, by MAC
    docks: frozenset[str] = frozenset()

    @classmethod
    def of(cls, store: Store) -> Known:
        """Read it."""
        reserved = {item.mac: item.address for item in store.leases.reservations()}
        return cls(store.hosts.list(), reserved, frozenset(store.hosts.dock_macs()))


def plan(sheet: Sheet, known: Known, *, update: bool) -> list[Step]:
    """What each row would do. With `update`, hosts that are known are changed to what their rows say."""
    planner = _Planner(known, update)
    return [planner.step(row) for row in sheet.rows]


def carry_out(store: Store, step: Step) -> Step:
    """Do one step. Returns it, refused with the reason when the store would not have it. Raises `Unavailable`."""
    if step.action in {Action.SAME, Action.REFUSE}:
        return step
    try:
        if step.base is None:
            store.hosts.add(step.name, make_room=True, **{"macs": (), **step.values})
        else:
            store.hosts.edit(step.base.name, base=step.base, make_room=True, **step.values)
    except (Conflict, UsageError, NotFound) as error:
        return dataclasses.replace(step, action=Action.REFUSE, why=str(error))
    return step


# -- planning ---------------------------------------------------------------------------------------------------------


class _Planner:
    """Goes through the rows of one list; what earlier rows claim is taken for later ones."""

    def __init__(self, known: Known, update: bool) -> None:
        self._update = update
        self._addresses = known.addresses
        self._docks = known.docks
        self._by_name = {host.name.casefold(): host for host in known.hosts}
        self._by_mac = {mac: host for host in known.hosts for mac in host.macs}
        self._reserved_for = {address: mac for mac, address in known.addresses.items()}
        self._claims: dict[Any, int] = {}  # names, MACs and addresses of this list -> the line that has it

    def step(self, row: Row) -> Step:
        if row.problem:
            return Step(row.line, row.name, Action.REFUSE, row.problem)
        values, remark = self._usable(row.values)
        host = self._by_name.get(row.name.casefold())
        why = self._refusal(row, values, host)
        if why:
            return Step(row.line, row.name, Action.REFUSE, why)
        if host is None:
            self._claim(row, values)
            return Step(row.line, row.name, Action.ADD, remark, _without_nothing(values))
        changes = {name: value for name, value in values.items() if not self._is_so(host, values, name)}
        if changes and not self._update:
            words = f"{host.name} is known already with another {_in_words(changes)}. Add --update to change it."
            return Step(row.line, host.name, Action.REFUSE, words)
        self._claim(row, values)
        if not changes:
            return Step(row.line, host.name, Action.SAME, remark, base=host)
        return Step(row.line, host.name, Action.CHANGE, _in_words(changes), changes, host)

    @staticmethod
    def _usable(values: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """The values without a UUID that identifies nobody, and a remark on that."""
        from appliance.store.identity import usable_uuid

        uuid = values.get("uuid")
        if uuid is None or usable_uuid(uuid) is not None:
            return dict(values), ""
        return {name: value for name, value in values.items() if name != "uuid"}, "without its UUID, which many have"

    def _refusal(self, row: Row, values: Mapping[str, Any], host: Host | None) -> str:
        """Why the row cannot be used, in the order in which an operator would mend it."""
        from appliance.store.identity import usable_mac

        macs = values.get("macs", host.macs if host else ())
        address = values.get("address")
        for claim in (row.name.casefold(), *values.get("macs", ()), address):
            if claim is not None and claim in self._claims:
                what = row.name if claim == row.name.casefold() else claim
                return f"Line {self._claims[claim]} has {what} already."
        for mac in values.get("macs", ()):
            owner = self._by_mac.get(mac)
            if owner is not None and owner is not host:
                return (
                    f"{mac} belongs to host {owner.name} already. To rename that: diecast host edit {owner.name} --name"
                )
            if mac in self._docks:
                return f"{mac} is on the list of shared docks and cannot identify a host."
            if not usable_mac(mac, self._docks):
                return f"{mac} is no card's own address."
        if not macs and values.get("uuid", host.uuid if host else None) is None:
            return "It has neither a MAC address nor a sound UUID."
        if address is not None and not macs:
            return "An address is reserved for a MAC, and it has none."
        holder = self._reserved_for.get(address) if address is not None else None
        if holder is not None and holder not in {*macs, *(host.macs if host else ())}:
            return f"{address} is reserved for {holder} already."
        return ""

    def _claim(self, row: Row, values: Mapping[str, Any]) -> None:
        for claim in (row.name.casefold(), *values.get("macs", ()), values.get("address")):
            if claim is not None:
                self._claims[claim] = row.line

    def _is_so(self, host: Host, values: Mapping[str, Any], name: str) -> bool:
        """Whether the host has the value of that name already."""
        value = values[name]
        if name == "address":
            held = {mac: self._addresses[mac] for mac in host.macs if mac in self._addresses}
            stays = set(held) <= set(values.get("macs", host.macs))
            return stays and list(held.values()) == ([] if value is None else [value])
        now = getattr(host, name)
        if name == "room":
            return bool(now.casefold() == value.casefold())
        return bool(one_line(now) == value if name in {"notes", "disk"} else now == value)


_WORDS = {"macs": "MAC", "uuid": "UUID", "local_boot": "local boot", "uefi_loader": "UEFI loader"}


def _in_words(changes: Mapping[str, Any]) -> str:
    return ", ".join(_WORDS.get(name, name) for name in changes)


def _without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    """For a new host: what is empty has no need to be said."""
    return {name: value for name, value in values.items() if value not in (None, "", ())}
