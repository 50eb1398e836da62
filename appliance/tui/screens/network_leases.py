"""Addresses on the network screen: what is lent, what is reserved, and cards that identify nobody."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from appliance.errors import UsageError
from appliance.host_fields import parse_address
from appliance.model import Lease, Reservation, normalise_mac
from appliance.store import Store
from appliance.tui import keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.network_rows import Owners
from appliance.tui.screens.parts import Part
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm, Form, Item
from appliance.tui.widgets.forms import Field
from appliance.tui.widgets.rowlist import Column

LENT, DECLINED, EXPIRED = "lent", "declined", "expired"
_STATES: dict[str, tuple[str, str]] = {  # words and role
    LENT: (N_("lent"), "ok"),
    DECLINED: (N_("declined"), "warn"),
    EXPIRED: (N_("expired"), "dim"),
}


def state_of(lease: Lease, now: datetime) -> str:
    """How a lease is."""
    if lease.expires <= now:
        return EXPIRED
    return DECLINED if lease.declined else LENT


# -- leases -----------------------------------------------------------------------------------------------------------


class LeasesPart(Part):
    """Addresses that are lent. Only their clients give them back: there is nothing to release here."""

    NAME = "leases"
    TITLE = N_("Leases")
    MARKS = False
    EMPTY = N_("No address is lent.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("add", N_("Reserve"), N_("Reserve the address at the cursor for its PC")),
        keys.named("show", N_("Show"), N_("Choose what is shown, expired leases too")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._with_expired = False

    def columns(self) -> list[Column[Any]]:
        owners = Owners()

        def name(lease: Lease) -> str:
            host = owners.by_mac(self.snapshot, lease.mac)
            return host.name if host else lease.hostname or "-"

        def state(lease: Lease) -> str:
            return _(_STATES[state_of(lease, self.snapshot.at)][0])

        def role(lease: Lease) -> str:
            return _STATES[state_of(lease, self.snapshot.at)][1]

        def expires(lease: Lease) -> str:
            return words.moment(lease.expires, self.snapshot.at)

        return [
            Column[Lease](
                N_("Address"), lambda lease: str(lease.address), 15, rank=0, sort=lambda lease: lease.address
            ),
            Column[Lease]("MAC", lambda lease: lease.mac, 17, rank=1),
            Column[Lease](N_("Name"), name, 14, rank=0, most=30),
            Column[Lease](N_("Expires"), expires, 16, rank=2, sort=lambda lease: lease.expires),
            Column[Lease](N_("State"), state, 8, rank=1, most=18, role=role),
            Column[Lease](N_("It calls itself"), lambda lease: lease.hostname, 14, rank=4, most=30),
            Column[Lease](N_("Client"), lambda lease: lease.client_key, 24, rank=5, most=60),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.address)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        if self._with_expired:
            return snapshot.leases
        return [lease for lease in snapshot.leases if lease.expires > snapshot.at]

    def note(self) -> str:
        return _("expired ones too") if self._with_expired else ""

    def choices(self) -> list[Item]:
        return [
            Item((self.NAME, False), _(self.TITLE)),
            Item((self.NAME, True), _("Leases, expired ones too")),
        ]

    def choose(self, what: Any) -> None:
        self._with_expired = what is True

    def do_add(self) -> None:
        lease: Lease | None = self.table.row
        if lease is None:
            self.console.say(_("There is no lease at the cursor."))
            return
        ask_reservation(self, _("A new reservation"), lease.mac, str(lease.address))


# -- reservations -----------------------------------------------------------------------------------------------------


class ReservationsPart(Part):
    """Addresses that belong to one card."""

    NAME = "reservations"
    TITLE = N_("Reserved")
    EMPTY = N_("No address is reserved. a reserves one.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("add", N_("Add"), N_("Reserve an address for a PC")),
        keys.named("edit", N_("Edit"), N_("Change a reserved address or whose it is")),
        keys.named("remove", N_("Remove"), N_("Free the reserved addresses chosen")),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def columns(self) -> list[Column[Any]]:
        owners = Owners()

        def name(kept: Reservation) -> str:
            host = owners.by_mac(self.snapshot, kept.mac)
            return host.name if host else "-"

        def lent(kept: Reservation) -> str:
            return words.moment(_expiry(self.snapshot, kept), self.snapshot.at)

        return [
            Column[Reservation](
                N_("Address"), lambda kept: str(kept.address), 15, rank=0, sort=lambda kept: kept.address
            ),
            Column[Reservation]("MAC", lambda kept: kept.mac, 17, rank=0),
            Column[Reservation](N_("Host"), name, 16, rank=0, most=30),
            Column[Reservation](N_("Lent until"), lent, 16, rank=1),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.mac)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return snapshot.reservations

    def do_add(self) -> None:
        ask_reservation(self, _("A new reservation"), "", "")

    def do_edit(self) -> None:
        kept: Reservation | None = self.table.row
        if kept is not None:
            ask_reservation(
                self, _("Reservation of {address}").format(address=kept.address), kept.mac, str(kept.address), kept
            )

    def do_remove(self) -> None:
        chosen: list[Reservation] = self.table.chosen
        if not chosen:
            return

        def sure(yes: bool | None) -> None:
            if yes:
                self.session.do_each(
                    "reservation remove",
                    chosen,
                    lambda kept: f"{kept.address} of {kept.mac}",
                    lambda store, kept: store.leases.unreserve(kept.mac),
                    then=lambda count: self.table.unmark(),
                )

        lines = [", ".join(f"{kept.address} ({kept.mac})" for kept in chosen[:8])]
        lines.append(_("Their PCs get an address from the range, once their lease ends."))
        self.screen.app.push_screen(Confirm(_("Free what is reserved?"), lines), sure)


def _expiry(snapshot: Snapshot, kept: Reservation) -> datetime | None:
    now = snapshot.at
    return next((x.expires for x in snapshot.leases if x.address == kept.address and x.expires > now), None)


@dataclass(frozen=True, slots=True)
class _Wish:
    """What the form says."""

    whose: str
    address: str
    old: Reservation | None

    def do(self, store: Store) -> Reservation:
        """Reserve it, in place of the old one. Raises as the store does; then nothing has changed."""
        mac = mac_of(store, self.whose)
        address = parse_address(self.address)
        if address is None:
            raise UsageError("No address is given.", hint="Write it as 10.20.4.9.")
        return store.leases.change(self.old, mac, address)


def mac_of(store: Store, whose: str) -> str:
    """A MAC as it is, or the first one of the host of that name. Raises `NotFound`, `UsageError`."""
    try:
        return normalise_mac(whose)
    except UsageError:
        host = store.hosts.get(whose)
        if not host.macs:
            raise UsageError(f"{host.name} has no MAC to reserve an address for.", hint="Name a MAC address.") from None
        return host.macs[0]


def ask_reservation(part: Part, title: str, whose: str, address: str, old: Reservation | None = None) -> None:
    """Ask for a PC and an address, and reserve it."""
    fields = [
        Field("whose", _("Host or MAC"), value=whose, hint=_("A host, whose first card counts, or any MAC address.")),
        Field("address", _("Address"), value=address, hint=_("An IPv4 address of the subnet, in the range or not.")),
    ]

    def save(form: Form, values: dict[str, Any]) -> None:
        wish = _Wish(values["whose"].strip(), values["address"].strip(), old)

        def done(kept: Reservation) -> None:
            form.dismiss(values)
            part.console.say(_said(part, kept), "notice" if _is_lent(part, kept) else "alarm")

        part.session.do(
            "reservation add" if old is None else "reservation edit",
            lambda kept: f"{kept.address} for {kept.mac}",
            wish.do,
            then=done,
            failed=form.refuse,
        )

    part.screen.app.push_screen(Form(title, fields, save=save))


def _is_lent(part: Part, kept: Reservation) -> bool:
    """Whether the DHCP service will ever lend it: an address outside of all subnets it will not."""
    subnets = getattr(part.screen, "settings", part.console.settings).dhcp.subnet
    return not subnets or any(kept.address in subnet.network for subnet in subnets)


def _said(part: Part, kept: Reservation) -> str:
    if not _is_lent(part, kept):
        return _("{address} is in none of the subnets: it is reserved, but never lent.").format(address=kept.address)
    return _("{address} is reserved for {mac}.").format(address=kept.address, mac=kept.mac)


# -- shared docks -----------------------------------------------------------------------------------------------------


class DocksPart(Part):
    """Cards of shared docks and dongles: many PCs boot by them, so they identify none."""

    NAME = "docks"
    TITLE = N_("Docks")
    EMPTY = N_("No shared dock is listed. a adds the MAC of one.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("add", N_("Add"), N_("Declare a card a shared dock's, which identifies no PC")),
        keys.named("remove", N_("Remove"), N_("Let the cards chosen identify a PC again")),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def columns(self) -> list[Column[Any]]:
        return [Column[str](N_("MAC of a shared dock"), lambda mac: mac, 22, rank=0)]

    def key(self, row: Any) -> Hashable:
        return str(row)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return snapshot.docks

    def do_add(self) -> None:
        def save(form: Form, values: dict[str, Any]) -> None:
            mac = normalise_mac(values["mac"])
            self.session.do(
                "host dock add",
                mac,
                lambda store: store.hosts.add_dock_mac(mac),
                said=_("{mac} identifies no PC any more.").format(mac=mac),
                then=lambda _nothing: _close(form),
                failed=form.refuse,
            )

        field = Field("mac", "MAC", check=_is_mac, hint=_("It stands on the dock, or among the unknown PCs."))
        self.screen.app.push_screen(Form(_("A shared dock"), [field], save=save))

    def do_remove(self) -> None:
        self.session.do_each(
            "host dock remove",
            self.table.chosen,
            lambda mac: mac,
            lambda store, mac: store.hosts.remove_dock_mac(mac),
            then=lambda count: self.table.unmark(),
        )


def _is_mac(text: str) -> str:
    normalise_mac(text)
    return ""


def _close(form: Form) -> None:
    form.dismiss({})
