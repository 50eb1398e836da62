"""Rooms, the second list of the hosts screen: make, rename, remove; Enter shows the hosts that stand there."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, ClassVar

from appliance.model import Room
from appliance.store.hosts import natural
from appliance.tui import keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens import hosts_actions
from appliance.tui.screens.hosts_rows import ROOM, View
from appliance.tui.screens.parts import Part
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm, Form
from appliance.tui.widgets.forms import Field
from appliance.tui.widgets.rowlist import Column


class RoomsPart(Part):
    """See the module."""

    NAME = "rooms"
    TITLE = N_("Rooms")
    EMPTY = N_("There is no room. a makes one; g on hosts puts them into it.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Hosts"), N_("Show the hosts that stand there")),
        keys.named("add", N_("Add"), N_("Make a room")),
        keys.named("edit", N_("Rename"), N_("Change a room's name or notes")),
        keys.named("remove", N_("Remove"), N_("Remove rooms; their hosts stay, in no room")),
        keys.named("wake", N_("Wake"), N_("Wake every PC of the rooms chosen")),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def columns(self) -> list[Column[Any]]:
        return [
            Column[Room](N_("Room"), lambda room: room.name, 16, rank=0, most=40, sort=lambda room: natural(room.name)),
            Column[Room](
                N_("PCs"), lambda room: words.number(room.hosts), 6, rank=0, right=True, sort=lambda room: room.hosts
            ),
            Column[Room](N_("Notes"), lambda room: room.notes, 20, rank=1, most=80),
        ]

    def key(self, row: Any) -> Hashable:
        return int(row.id)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return snapshot.rooms

    def opened(self, row: Any) -> None:
        hosts = self.screen.named_part("hosts")
        hosts.choose(View(ROOM, row.name))
        self.screen.change_part(hosts)

    def do_add(self) -> None:
        self._ask(_("A new room"), "", "", lambda name, notes: self._add(name, notes))

    def do_edit(self) -> None:
        room = self.table.row
        if room is not None:
            title = _("Room {name}").format(name=room.name)
            self._ask(title, room.name, room.notes, lambda name, notes: self._edit(room, name, notes))

    def _add(self, name: str, notes: str) -> tuple[str, str, Callable[..., Room]]:
        return "room add", name, lambda store: store.rooms.add(name, notes)

    def _edit(self, room: Room, name: str, notes: str) -> tuple[str, str, Callable[..., Room]]:
        detail = room.name if name == room.name else f"{room.name}: now {name}"
        return "room edit", detail, lambda store: store.rooms.edit(room.name, name=name, notes=notes)

    def _ask(self, title: str, name: str, notes: str, verb: Callable[[str, str], Any]) -> None:
        def save(form: Form, values: dict[str, str]) -> None:
            action, detail, work = verb(values["name"].strip(), values["notes"].strip())

            def done(room: Room) -> None:
                form.dismiss(values)
                self.console.say(_("Room {name} is kept.").format(name=room.name))

            self.session.do(action, detail, work, then=done, failed=form.refuse)

        shown = [Field("name", _("Name"), value=name), Field("notes", _("Notes"), value=notes)]
        self.screen.app.push_screen(Form(title, shown, save=save))

    def do_remove(self) -> None:
        rooms: list[Room] = self.table.chosen
        if not rooms:
            return
        count = sum(room.hosts for room in rooms)
        lines = [
            ", ".join(room.name for room in rooms),
            _("{hosts} stay, in no room.").format(hosts=words.hosts(count)),
        ]

        def sure(yes: bool | None) -> None:
            if yes:
                self.session.do_each(
                    "room remove",
                    rooms,
                    lambda room: room.name,
                    lambda store, room: store.rooms.remove(room.name),
                    then=lambda _count: self.table.unmark(),
                )

        title = _("Remove {n} rooms?").format(n=len(rooms)) if len(rooms) > 1 else _("Remove this room?")
        self.screen.app.push_screen(Confirm(title, lines), sure)

    def do_wake(self) -> None:
        names = {room.name for room in self.table.chosen}
        hosts = [host for host in self.snapshot.hosts if host.room in names]
        hosts_actions.wake(self.screen, hosts, self.table.unmark)
