"""Hosts: the PCs that are known, the rooms they stand in, and the unknown ones that booted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from appliance.model import Host
from appliance.tui import keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens import hosts_actions, hosts_files, hosts_forms
from appliance.tui.screens.host_page import HostPage
from appliance.tui.screens.hosts_rows import ALL, ROOM, HostLine, HostLines, View, columns, views
from appliance.tui.screens.hosts_unknown import UnknownPart
from appliance.tui.screens.parts import Part, PartsScreen
from appliance.tui.screens.rooms import RoomsPart
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Item
from appliance.tui.widgets.rowlist import Column


class HostsPart(Part):
    """The PCs that are known."""

    NAME = "hosts"
    TITLE = N_("Hosts")
    EMPTY = N_("There is no host. a adds one, i imports a list; unknown PCs that boot stand under Tab.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("Show the host: what it is, what it does, what it did")),
        keys.named("add", N_("Add"), N_("Add a host")),
        keys.named("edit", N_("Edit"), N_("Edit the host at the cursor")),
        keys.named("show", N_("Show"), N_("Choose which hosts: of a room, sealed, failed, never seen ...")),
        keys.named("group", N_("Room"), N_("Put the chosen hosts into a room, or into none")),
        keys.named("wake", N_("Wake"), N_("Wake the chosen hosts over the network")),
        keys.named("seal", N_("Seal"), N_("Seal the chosen hosts, or lift their seal")),
        keys.named("remove", N_("Remove"), N_("Forget the chosen hosts")),
        keys.named("log", N_("Log"), N_("The task at work on the host, or its last one, with the PC's log")),
        keys.named("import_list", N_("Import"), N_("Import hosts from a CSV file: ours, or FOG's export")),
        keys.named("export", N_("Export"), N_("Export hosts into a CSV file"), need=keys.OPERATOR),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self.view = View()
        self._lines = HostLines()

    def columns(self) -> list[Column[Any]]:
        return columns(lambda: self.snapshot)

    def key(self, row: Any) -> Hashable:
        return int(row.host.id)

    def rows(self, snapshot: Snapshot) -> Sequence[HostLine]:
        if self.view.name == ROOM and all(room.name != self.view.room for room in snapshot.rooms):
            self.view = View(ALL)  # the room was renamed or removed
        return self._lines.of(snapshot, self.view)

    def count(self, snapshot: Snapshot) -> int:
        return len(snapshot.hosts)

    def note(self) -> str:
        what = self.view.words()
        shown, everyone = len(self.table.rows), len(self.snapshot.hosts)
        if not what and shown == everyone:
            return ""
        return _("{what}: {n}").format(what=what or _("found"), n=words.number(shown))

    def opened(self, row: Any) -> None:
        self.console.push_screen(HostPage(row.host.id))

    def choices(self) -> list[Item]:
        found = [Item((self.NAME, view), text, _("hosts")) for view, text in views()]
        rooms = self.snapshot.rooms
        found += [Item((self.NAME, View(ROOM, room.name)), room.name, _("room")) for room in rooms]
        return found

    def choose(self, what: Any) -> None:
        self.view = what

    def go_to(self, host_id: int) -> None:
        """Put the cursor on a host, with all shown when view or filter hide it."""
        if not self.table.go_to(host_id):
            self.screen.action_find_nothing()
            self.table.find("")
            self.view = View(ALL)
            self.table.put(self.rows(self.snapshot))
            self.table.go_to(host_id)

    @property
    def chosen(self) -> list[Host]:
        """The marked hosts, or the one at the cursor."""
        return [line.host for line in self.table.chosen]

    # -- actions

    def do_add(self) -> None:
        room = self.view.room if self.view.name == ROOM else ""
        hosts_forms.add(self.screen, texts={"room": room}, then=lambda host: None)

    def do_edit(self) -> None:
        if self.table.row is not None:
            hosts_forms.edit(self.screen, self.table.row.host)

    def do_remove(self) -> None:
        hosts_actions.remove(self.screen, self.chosen, self.table.unmark)

    def do_wake(self) -> None:
        hosts_actions.wake(self.screen, self.chosen, self.table.unmark)

    def do_seal(self) -> None:
        hosts_actions.seal(self.screen, self.chosen, self.table.unmark)

    def do_group(self) -> None:
        hosts_actions.assign(self.screen, self.chosen, self.table.unmark)

    def do_log(self) -> None:
        line = self.table.row
        task = None if line is None else line.task or line.last
        if task is None:
            self.console.say(_("It has had no task lately."))
        else:
            from appliance.tui.screens.tasks import TaskPage

            self.console.push_screen(TaskPage(task.id, at_log=True))

    def do_import_list(self) -> None:
        hosts_files.ask_import(self.screen)

    def do_export(self) -> None:
        marked = [line.host for line in self.table.chosen] if self.table.marked else []
        hosts_files.ask_export(self.screen, [line.host for line in self.table.rows], marked)


class HostsScreen(PartsScreen):
    """See the module."""

    NAME = "hosts"
    ABOUT = N_(
        "The PCs that are known. Space marks several, * all that are shown; what you do then is done to the marked"
        " ones, else to the one at the cursor. Tab leads to the rooms and to unknown PCs that booted, which Enter"
        " registers. / finds, u chooses what is shown."
    )
    PARTS = (HostsPart, RoomsPart, UnknownPart)

    def go_to(self, kind: str, key: Any) -> None:
        part = self.parts[0]
        assert isinstance(part, HostsPart)
        self.change_part(part)
        self.show(self.snapshot)
        part.go_to(key)

    def do_capture(self) -> None:
        self.console.open_job("capture", self._names(at_cursor=True))

    def do_deploy(self) -> None:
        self.console.open_job("deploy", self._names(at_cursor=False))

    def _names(self, *, at_cursor: bool) -> tuple[str, ...]:
        """The hosts that a guided job begins with: those chosen, or all of the rooms chosen.

        What overwrites disks does not begin with a host that only the cursor stands on (`at_cursor`).
        """
        part = self.part
        if isinstance(part, HostsPart):
            return tuple(host.name for host in part.chosen) if at_cursor or part.table.marked else ()
        if isinstance(part, RoomsPart):
            rooms = {room.name for room in part.table.chosen}
            return tuple(host.name for host in self.snapshot.hosts if host.room in rooms)
        return ()
