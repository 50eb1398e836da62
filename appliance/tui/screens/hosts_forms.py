"""The form of a host: add one, edit one, register a PC that was seen booting.

What is typed is never lost: an error of the store stands beside it. When somebody else has changed the host meanwhile,
the form says which fields and what they hold now; a field that was not touched here takes the new value, one that was
touched keeps what was typed, and Enter saves it knowingly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from appliance.errors import ApplianceError, Conflict
from appliance.events import LocalBoot, UefiLoader
from appliance.host_fields import parse_address, parse_macs, parse_uuid
from appliance.model import Host, Reservation, Sighting, check_name
from appliance.store import Store
from appliance.tui import words
from appliance.tui.i18n import N_, _
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Form
from appliance.tui.widgets.forms import CHOICE, FLAG, Field

if TYPE_CHECKING:
    from appliance.tui.screens.base import ConsoleScreen

LABELS: dict[str, str] = {
    "name": N_("Name"),
    "macs": N_("MAC addresses"),
    "uuid": N_("SMBIOS UUID"),
    "room": N_("Room"),
    "address": N_("Reserved address"),
    "disk": N_("Disk to use"),
    "local_boot": N_("Start of its own disk"),
    "uefi_loader": N_("Loader under UEFI"),
    "sealed": N_("Sealed"),
    "notes": N_("Notes"),
}
_HINTS: dict[str, str] = {
    "name": N_("Letters, digits, - and _; also its name on the network."),
    "macs": N_("The card it boots from first; several with a blank between them."),
    "uuid": N_("May stay empty. The agent fills it in when the PC registers by itself."),
    "address": N_("An IPv4 address that only this PC gets. Empty: one from the range."),
    "disk": N_("Path, serial number, WWN or model. Empty: its only fixed disk."),
    "local_boot": N_("By its firmware where BitLocker would notice our loader."),
    "uefi_loader": N_("iPXE loads faster, but not with Secure Boot."),
    "sealed": N_("Sealed: generalised by Sysprep; not started from its own disk before it is captured."),
}


# -- values -----------------------------------------------------------------------------------------------------------


_PARSERS: dict[str, Callable[[str], Any]] = {
    "name": lambda text: check_name(text, "a host"),
    "macs": parse_macs,
    "uuid": parse_uuid,
    "address": parse_address,
    "local_boot": LocalBoot,
    "uefi_loader": UefiLoader,
}


def parsed(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows of a form say, as a host has it. Raises `UsageError`."""
    return {
        name: value if isinstance(value, bool) else _PARSERS.get(name, str)(value.strip())
        for name, value in values.items()
    }


def _check(name: str) -> Callable[[str], str] | None:
    parse = _PARSERS.get(name)
    if parse is None or name in ("local_boot", "uefi_loader"):
        return None

    def check(text: str) -> str:
        parse(text)
        return ""

    return check


def texts_of(host: Host, address: IPv4Address | None) -> dict[str, str | bool]:
    """A host's values as the rows of its form show them."""
    return {
        "name": host.name,
        "macs": " ".join(host.macs),
        "uuid": str(host.uuid or ""),
        "room": host.room,
        "address": str(address or ""),
        "disk": host.disk,
        "local_boot": str(host.local_boot),
        "uefi_loader": str(host.uefi_loader),
        "sealed": host.sealed,
        "notes": host.notes,
    }


def fields(texts: Mapping[str, str | bool], rooms: Sequence[str]) -> list[Field]:
    """The rows of the form."""
    choices = {
        "local_boot": tuple((str(value), _(text)) for value, text in words.LOCAL_BOOT.items()),
        "uefi_loader": tuple((str(value), _(text)) for value, text in words.LOADERS.items()),
    }
    found = []
    for name, label in LABELS.items():
        kind = CHOICE if name in choices else FLAG if name == "sealed" else "text"
        hint = _(_HINTS.get(name, ""))
        if name == "room":
            hint = room_hint(rooms)
        found.append(Field(name, _(label), kind, texts[name], hint, choices.get(name, ()), _check(name)))
    return found


def room_names(snapshot: Snapshot) -> list[str]:
    """The rooms there are."""
    return [room.name for room in snapshot.rooms]


def room_hint(rooms: Sequence[str]) -> str:
    """Which rooms can be named."""
    return _("One of: {rooms}. Empty: none.").format(rooms=", ".join(rooms)) if rooms else _("There is none yet.")


def reserved_for(reservations: Sequence[Reservation], macs: Sequence[str]) -> Reservation | None:
    """The first address that is reserved for one of these cards."""
    by_mac = {item.mac: item for item in reservations}
    return next((by_mac[mac] for mac in macs if mac in by_mac), None)


# -- adding -----------------------------------------------------------------------------------------------------------


def add(
    screen: ConsoleScreen,
    *,
    title: str = "",
    texts: Mapping[str, str | bool] | None = None,
    then: Callable[[Host], None],
) -> None:
    """Ask for a new host and add it. `texts` are offered."""
    empty = texts_of(Host(0, "", ()), None)

    def save(form: Form, values: dict[str, Any]) -> None:
        wanted = parsed(values)

        def done(host: Host) -> None:
            form.dismiss(values)
            if wanted["uuid"] is not None and host.uuid is None:
                text = _("Added {name}, without its UUID: many boards share that one.")
                screen.console.say(text.format(name=host.name))
            then(host)

        screen.session.do(
            "host add",
            lambda host: host.name,
            lambda store: store.hosts.add(**wanted),
            said=lambda host: _("Added {name}.").format(name=host.name),
            then=done,
            failed=form.refuse,
        )

    shown = fields({**empty, **(texts or {})}, room_names(screen.snapshot))
    screen.app.push_screen(Form(title or _("A new host"), shown, save=save))


def register(screen: ConsoleScreen, sighting: Sighting, then: Callable[[Host], None]) -> None:
    """Make a PC that was seen booting a host: its MAC and UUID stand there, and the next free name."""
    pattern = screen.console.settings.tasks.name_pattern

    def offer(name: str) -> None:
        texts: dict[str, str | bool] = {"name": name, "macs": sighting.mac, "uuid": str(sighting.uuid or "")}
        add(screen, title=_("Register {mac}").format(mac=sighting.mac), texts=texts, then=then)

    screen.session.fetch(lambda store: store.hosts.next_name(pattern), offer, group="next-name")


def register_all(screen: ConsoleScreen, sightings: Sequence[Sighting], then: Callable[[], None]) -> None:
    """Make several PCs hosts, named from one pattern."""
    hint = room_hint(room_names(screen.snapshot))
    shown = [
        Field("pattern", _("Names"), value=screen.console.settings.tasks.name_pattern, hint=_("{nn} counts up.")),
        Field("room", _("Room"), hint=hint),
    ]

    def save(form: Form, values: dict[str, Any]) -> None:
        cards = [(sighting.mac, sighting.uuid) for sighting in sightings]
        pattern, room = values["pattern"].strip(), values["room"].strip()

        def done(made: list[Host]) -> None:
            form.dismiss(values)
            then()

        screen.session.do(
            "host add",
            _names,
            lambda store: store.hosts.add_named(pattern, cards, room),
            said=lambda made: _("Registered {names}.").format(names=_names(made)),
            then=done,
            failed=form.refuse,
        )

    screen.app.push_screen(Form(_("Register {pcs}").format(pcs=words.pcs(len(sightings))), shown, save=save))


def _names(hosts: Sequence[Host]) -> str:
    return ", ".join(host.name for host in hosts)


# -- editing ----------------------------------------------------------------------------------------------------------


class Editor:
    """One host being edited: what it was when it was shown, and what the form has made of it."""

    def __init__(self, screen: ConsoleScreen, host: Host) -> None:
        self._screen = screen
        self._base = host
        self._reserved = reserved_for(screen.snapshot.reservations, host.macs)

    def open(self) -> None:
        """Show the form."""
        rooms = room_names(self._screen.snapshot)
        title = _("Edit {name}").format(name=self._base.name)
        self._screen.app.push_screen(Form(title, fields(self._texts(), rooms), save=self._save))

    def _texts(self) -> dict[str, str | bool]:
        return texts_of(self._base, self._reserved.address if self._reserved else None)

    def _changes(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What differs from the host as it was shown."""
        before, wanted = parsed(self._texts()), parsed(values)
        return {name: value for name, value in wanted.items() if value != before[name]}

    def _save(self, form: Form, values: dict[str, Any]) -> None:
        changes = self._changes(values)
        if not changes:
            form.dismiss(values)
            self._screen.console.say(_("Nothing was changed."))
            return
        base, shown = self._base, self._reserved.address if self._reserved else None

        def done(host: Host) -> None:
            form.dismiss(values)

        self._screen.session.do(
            "host edit",
            f"{base.name}: {', '.join(sorted(changes))}",
            lambda store: store.hosts.edit(base.name, base=base, shown=shown, **changes),
            said=lambda host: _("Changed {name}.").format(name=host.name),
            then=done,
            failed=lambda error: self._failed(form, error),
        )

    def _failed(self, form: Form, error: ApplianceError) -> None:
        if not isinstance(error, Conflict):
            form.refuse(error)
            return

        def look(store: Store) -> tuple[Host, Reservation | None]:
            host = store.hosts.by_id(self._base.id)
            return host, reserved_for(store.leases.reservations(), host.macs)

        self._screen.session.fetch(look, lambda found: self._tell(form, error, *found), failed=form.refuse)

    def _tell(self, form: Form, error: ApplianceError, host: Host, reserved: Reservation | None) -> None:
        """Say what somebody else has changed, field by field; go on from there."""
        before = self._texts()
        self._base, self._reserved = host, reserved
        theirs = {name: value for name, value in self._texts().items() if value != before[name]}
        if not theirs:  # another conflict: a name or a MAC that another host has
            form.refuse(error)
            return
        problems, mine = {}, form.values
        for name, value in theirs.items():
            shown = (_("yes") if value else _("no")) if isinstance(value, bool) else value or _("(empty)")
            if mine[name] == before[name]:
                form.set_value(name, ("yes" if value else "no") if isinstance(value, bool) else value)
                problems[name] = _("Somebody else changed this to: {value}").format(value=shown)
            else:
                text = _("Somebody else changed this to: {value}. Yours is still here; Enter saves it.")
                problems[name] = text.format(value=shown)
        names = ", ".join(_(LABELS[name]) for name in theirs)
        problems[""] = _("Changed by somebody else meanwhile: {fields}. Enter saves what stands here now.").format(
            fields=names
        )
        form.complain(problems)


def edit(screen: ConsoleScreen, host: Host) -> None:
    """Edit a host."""
    Editor(screen, host).open()
