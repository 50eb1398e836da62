"""Letting more hosts join a cast that runs: choose them, see what is lost, type their number."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from appliance.model import Cast, Host
from appliance.store import Store
from appliance.tui import keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.base import OverScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine, rule

_NAMED = 8  # hosts that are listed before they are overwritten


class JoinScreen(OverScreen):
    """The hosts that can join: those without a task that are not sealed."""

    ABOUT = N_(
        "Hosts that can join the cast: those without an unfinished task that are not sealed. Mark them with Space, find"
        " them with /, then Enter. Nothing is lost before you have typed their number."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Join"), N_("Let the hosts chosen join; asks first"), need=keys.OPERATOR),
        *keys.take("mark", "mark_all", "find"),
    )

    def __init__(self, cast: Cast, version_name: str) -> None:
        super().__init__()
        self._cast = cast
        self._version_name = version_name
        self._made_of: tuple[object, ...] = ()
        self._hosts: list[Host] = []

    def body(self) -> ComposeResult:
        yield OneLine(self._title, id="join-title")
        yield RowList[Host](
            self._columns(),
            lambda host: host.id,
            empty=N_("No host is free to join."),
            marks=True,
            id="hosts",
        )

    def _columns(self) -> list[Column[Host]]:
        return [
            Column(N_("Name"), lambda host: host.name, 16, rank=0, most=30),
            Column(N_("Room"), lambda host: host.room or "-", 12, rank=0, most=24),
            Column(N_("Holds"), lambda host: self.snapshot.version_name(host.version_id) or "-", 16, rank=1, most=30),
            Column(N_("Firmware"), words.firmware, 8, rank=2),
            Column(N_("Seen"), lambda host: words.ago(host.last_seen, self.snapshot.at), 8, rank=1, right=True),
            Column(N_("Notes"), lambda host: host.notes, 16, rank=3, most=60),
        ]

    def _title(self, width: int) -> Line:
        text = _("Who shall join cast {number}, {image}?").format(number=self._cast.id, image=self._version_name)
        marked = len(self.main_list().marked)
        if marked:
            text += " " + _("{n} marked").format(n=words.number(marked))
        return rule(width, text, "head")

    def first_focus(self) -> str:
        return "#hosts"

    def main_list(self) -> RowList[Host]:
        return self.query_one("#hosts", RowList)

    def show(self, snapshot: Snapshot) -> None:
        made_of = (snapshot.hosts, snapshot.open_tasks)
        if not self._made_of or not all(a is b for a, b in zip(made_of, self._made_of, strict=True)):
            self._made_of = made_of
            self._hosts = [host for host in snapshot.hosts if not host.sealed and host.id not in snapshot.task_of_host]
        self.main_list().put(self._hosts)
        self.query_one("#join-title", OneLine).renew()

    def on_row_list_moved(self) -> None:
        self.query_one("#join-title", OneLine).renew()

    def on_row_list_opened(self) -> None:
        hosts = self.main_list().chosen
        lines = [_("Everything on the disk of {pcs} will be overwritten:").format(pcs=words.pcs(len(hosts)))]
        lines.append(", ".join(host.name for host in hosts[:_NAMED]))
        if len(hosts) > _NAMED:
            lines.append(_("and {n} more").format(n=words.number(len(hosts) - _NAMED)))
        lines.append(_("They begin when they boot from the network."))
        title = _("Write {image} onto {pcs}?").format(image=self._version_name, pcs=words.pcs(len(hosts)))
        self.app.push_screen(
            Confirm(title, lines, word=str(len(hosts))), lambda yes: self._join(hosts) if yes else None
        )

    def _join(self, hosts: list[Host]) -> None:
        number, version_id, name = self._cast.id, self._cast.version_id, self._version_name

        def verb(store: Store, host: Host) -> None:
            store.tasks.deploy(host, store.images.version(version_id), cast_id=number)

        def done(count: int) -> None:
            if count:
                text = _("{pcs} take part in cast {number}.").format(pcs=words.pcs(count), number=number)
                self.console.say(text)
                if self.is_attached:
                    self.dismiss(None)

        self.session.do_each("deploy", hosts, lambda host: f"{name} to {host.name}, cast {number}", verb, then=done)
