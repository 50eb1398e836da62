"""Casts: the open and the last ones on top, the figures of the one at the cursor, and its room, one cell a PC.

Tab goes from the list to the room and back. In the room keys act on the PCs chosen, in the list on the cast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult

from appliance.events import CastState
from appliance.model import Cast, CastMember
from appliance.store import Store
from appliance.tui import keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.base import NumberedScreen
from appliance.tui.screens.casts_cells import Cell, cells, figures, in_full, share_of, state_role, state_text
from appliance.tui.screens.casts_grid import RoomGrid
from appliance.tui.screens.casts_join import JoinScreen
from appliance.tui.screens.tasks import TaskPage
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.bar import bar
from appliance.tui.widgets.dialogs import Confirm, Form
from appliance.tui.widgets.forms import Field
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, Text, cut
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine, rule

ALL, UNFINISHED, TROUBLE = "all", "unfinished", "trouble"
VIEWS: tuple[tuple[str, str], ...] = (
    (ALL, N_("all PCs")),
    (UNFINISHED, N_("PCs that are not done")),
    (TROUBLE, N_("PCs in trouble, or by NFS")),
)
_NO_PC = N_("No PC takes part yet. j lets some join.")
_NOT_SO = N_("Nothing here matches what you look for.")  # of those that take part
_MOST_FIGURES = 6  # lines
_MOST_MBIT = 100_000


class CastsScreen(NumberedScreen):
    """See the module."""

    NAME = "casts"
    ABOUT = N_(
        "A cast writes a room at once by multicast. Its PCs may come and go at any time; whoever hears no multicast, or"
        " is too slow, goes on by NFS, and its cell says why. Tab leads into the room, s sorts it by name, progress or"
        " trouble, Enter shows a PC's task."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Open"), N_("Into the room; in the room the task of a PC")),
        keys.named("join", N_("Join"), N_("Let more hosts join the cast: their disks are overwritten")),
        keys.named("begin", N_("Begin"), N_("Begin now: wait for no more PCs")),
        keys.named("limit", N_("Limit"), N_("Limit the rate of the cast")),
        keys.named("prefer", N_("Prefer"), N_("Serve the PCs chosen before all others, or no more so")),
        keys.named("remove", N_("Drop"), N_("Drop the PCs chosen: they go on by NFS; or take them back")),
        keys.named("stop", N_("Stop"), N_("Stop the cast: its PCs go on by NFS")),
        keys.named("show", N_("Which"), N_("Show all PCs, those not done, or those in trouble")),
        *keys.take("pane"),
    )
    DEFAULT_CSS = """
    CastsScreen > #casts { height: 4; }
    CastsScreen > #figures { height: 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._view = ALL
        self._last: RowList[Any] | None = None
        self._made_of: tuple[Any, ...] = ()
        self._cells: list[Cell] = []
        self._ended: dict[int, tuple[CastMember, ...]] = {}  # members of ended casts, read when they are looked at
        self._asked_for: tuple[Any, ...] = ()

    def body(self) -> ComposeResult:
        yield RowList[Cast](
            self._columns(),
            lambda cast: cast.id,
            empty=N_("There was no cast yet. d deploys to a room, by cast."),
            id="casts",
        )
        yield OneLine(self._title, id="room-title")
        yield Text(id="figures")
        yield RoomGrid(id="room")
        yield OneLine(self._cell_line, id="cell")

    def _columns(self) -> list[Column[Cast]]:
        def progress(cast: Cast, width: int) -> Line:
            share = share_of(self._members(cast))
            return (*bar(share, width - 6), (f" {words.percent(share)}", ""))

        def there(cast: Cast) -> str:
            return f"{cast.present}/{len(self._members(cast))}" if cast.state is CastState.OPEN else "-"

        def since(cast: Cast) -> str:
            return words.moment(cast.ended or cast.created, self.snapshot.at)

        def rate(cast: Cast) -> str:
            return words.rate(cast.rate_bytes_s) if cast.rate_bytes_s else ""

        return [
            Column(N_("ID"), lambda cast: str(cast.id), 4, rank=0, right=True, sort=lambda cast: cast.id),
            Column(N_("Image"), self._version_name, 14, rank=0, most=30),
            Column(N_("State"), state_text, 12, rank=0, most=16, role=state_role),
            Column(N_("There"), there, 7, rank=1, right=True, sort=lambda cast: cast.present),
            Column(
                N_("Progress"),
                lambda cast: words.percent(share_of(self._members(cast))),
                14,
                rank=2,
                most=40,
                draw=progress,
                sort=lambda cast: share_of(self._members(cast)),
            ),
            Column(N_("Rate"), rate, 9, rank=1, right=True, sort=lambda cast: cast.rate_bytes_s),
            Column(N_("Sent"), lambda cast: words.size(cast.sent_bytes), 8, rank=4, right=True),
            Column(N_("Since"), since, 16, rank=3, sort=lambda cast: cast.ended or cast.created),
            Column(N_("Group"), lambda cast: str(cast.group), 15, rank=5),
        ]

    def _version_name(self, cast: Cast) -> str:
        version = self.snapshot.version_by_id.get(cast.version_id)
        return f"{version.image_name}@{version.number}" if version else cast.image_name

    # -- drawing

    @property
    def casts(self) -> RowList[Cast]:
        """The list."""
        return self.query_one("#casts", RowList)

    @property
    def room(self) -> RoomGrid:
        """The grid."""
        return self.query_one("#room", RoomGrid)

    def first_focus(self) -> str:
        return "#casts"

    def main_list(self) -> RowList[Any]:
        return self.room if self._last is self.room else self.casts

    def go_to(self, kind: str, key: Any) -> None:
        self.casts.focus()
        self.casts.go_to(key)

    def retranslated(self) -> None:
        self._made_of = ()

    def _members(self, cast: Cast) -> Sequence[CastMember]:
        return self.snapshot.members.get(cast.id) or self._ended.get(cast.id, ())

    def show(self, snapshot: Snapshot) -> None:
        height = max(1, min(len(snapshot.casts), self.size.height // 6)) + 1
        if self.casts.styles.height is None or self.casts.styles.height.value != height:
            self.casts.styles.height = height
        self.casts.put(snapshot.casts)
        self._show_room()

    def _show_room(self) -> None:
        snapshot, cast = self.snapshot, self.casts.row
        members = self._members(cast) if cast is not None else ()
        self._read_ended(cast)
        made_of = (members, snapshot.open_tasks, snapshot.ended_tasks, snapshot.host_by_id)
        if not self._made_of or not all(a is b for a, b in zip(made_of, self._made_of, strict=True)):
            self._made_of = made_of
            self._cells = cells(snapshot, members)
        waits = cast is not None and cast.state is CastState.OPEN
        self.room.empty = _NOT_SO if self._cells else _NO_PC if waits else ""
        self.room.put(self._in_view())
        self._show_figures(cast, members)
        for selector in ("#room-title", "#cell"):
            self.query_one(selector, OneLine).renew()

    def _in_view(self) -> list[Cell]:
        if self._view == UNFINISHED:
            return [cell for cell in self._cells if cell.is_open]
        if self._view == TROUBLE:
            return [cell for cell in self._cells if cell.in_trouble]
        return self._cells

    def _show_figures(self, cast: Cast | None, members: Sequence[CastMember]) -> None:
        text = self.query_one("#figures", Text)
        ceiling = self.console.settings.cast.rate_mbit
        lines = figures(self.snapshot, cast, members, ceiling, self.size.width) if cast is not None else []
        lines = lines[:_MOST_FIGURES]
        if text.styles.height is None or text.styles.height.value != len(lines):
            text.styles.height = len(lines)
        text.can_focus = False
        text.put(lines)

    def _read_ended(self, cast: Cast | None) -> None:
        """PCs of a cast that has ended are not in the snapshot; they may go on by NFS."""
        if cast is None or cast.state is CastState.OPEN:
            return
        wanted = (cast.id, self.snapshot.ended_tasks, self.snapshot.open_tasks)
        if self._asked_for and all(a is b for a, b in zip(wanted, self._asked_for, strict=True)):
            return
        self._asked_for = wanted
        number = cast.id

        def then(found: list[CastMember]) -> None:
            if tuple(found) != self._ended.get(number):
                self._ended[number] = tuple(found)
                self.casts.renew()
                self._show_room()

        self.session.fetch(lambda store: store.casts.members(number), then, group="cast-members")

    def _title(self, width: int) -> Line:
        cast = self.casts.row
        if cast is None:
            return rule(width)
        text = _("{image} to {pcs}").format(image=self._version_name(cast), pcs=words.pcs(len(self._cells)))
        if self._view != ALL:
            text += f": {_(dict(VIEWS)[self._view])}, {words.number(len(self.room.rows))}"
        return rule(width, text, "head")

    def _cell_line(self, width: int) -> Line:
        cell = self.room.row
        return cut(((f" {clean(in_full(cell))}", cell.role),), width) if cell is not None else ()

    def on_row_list_moved(self, event: RowList.Moved) -> None:
        if event.rows is self.casts:
            self._show_room()
        else:
            self.query_one("#cell", OneLine).renew()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, RowList):
            self._last = event.widget

    # -- actions on the cast

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        if event.rows is self.casts:
            self.room.focus()
        else:
            self.console.push_screen(TaskPage(event.row.member.task_id))

    def _open_cast(self) -> Cast | None:
        """The cast at the cursor if it is open; else it is said that it is not."""
        cast = self.casts.row
        if cast is None:
            self.console.say(_("There is no cast at the cursor."))
        elif cast.state is not CastState.OPEN:
            self.console.say(_("Cast {number} has ended.").format(number=cast.id))
        else:
            return cast
        return None

    def do_show(self) -> None:
        names = [name for name, _title in VIEWS]
        self._view = names[(names.index(self._view) + 1) % len(names)]
        self.room.put(self._in_view())
        self._show_room()

    def do_begin(self) -> None:
        cast = self._open_cast()
        if cast is None:
            return
        if cast.begun or not (cast.wait_for or cast.wait_seconds):
            self.console.say(_("It waits for nobody."))
            return
        number = cast.id
        text = _("Cast {number} waits for nobody any more.").format(number=number)
        self.session.do("cast begin", f"cast {number}", lambda store: store.casts.begin(number), said=text)

    def do_limit(self) -> None:
        cast = self._open_cast()
        if cast is None:
            return
        number, ceiling = cast.id, self.console.settings.cast.rate_mbit

        def check(text: str) -> str:
            if text.isascii() and text.isdecimal() and int(text) <= _MOST_MBIT:
                return ""
            return _("Write a whole number of Mbit/s; 0 takes the limit away.")

        def save(form: Form, values: dict[str, Any]) -> None:
            mbit = int(values["mbit"].strip())
            shown = f"{mbit} Mbit/s" if mbit else f"the ceiling of all casts, {ceiling} Mbit/s"
            self.session.do(
                "cast limit",
                f"cast {number}: {shown}",
                lambda store: store.casts.limit(number, mbit),
                then=lambda _cast: _close(form, values),
                failed=form.refuse,
            )

        hint = _("0: only the ceiling of all casts together, {mbit} Mbit/s.").format(mbit=words.number(ceiling))
        field = Field("mbit", _("Mbit/s"), value=str(cast.rate_mbit), hint=hint, check=check)
        self.app.push_screen(Form(_("Limit cast {number}").format(number=number), [field], save=save))

    def do_stop(self) -> None:
        cast = self._open_cast()
        if cast is None:
            return
        number, image = cast.id, cast.image_name
        left = sum(cell.is_open for cell in self._cells)
        lines = [
            _("{pcs} are not done. They go on by NFS, each by itself: for a room that takes far longer.").format(
                pcs=words.pcs(left)
            ),
            _("To stop their tasks too, cancel them on the screen Tasks."),
        ]

        def stop(yes: bool | None) -> None:
            if yes:
                said = _("Stopped cast {number}; PCs that are not done go on by NFS.").format(number=number)
                self.session.do(
                    "cast stop", f"cast {number}: {image}", lambda store: store.casts.stop(number), said=said
                )

        self.app.push_screen(Confirm(_("Stop cast {number}?").format(number=number), lines, word=str(number)), stop)

    def do_join(self) -> None:
        cast = self._open_cast()
        if cast is not None:
            self.console.push_screen(JoinScreen(cast, self._version_name(cast)))

    # -- actions on PCs

    def _chosen(self) -> tuple[Cast, list[Cell]] | None:
        """The open cast and its PCs chosen in the room that are not done."""
        cast = self._open_cast()
        if cast is None:
            return None
        found = [cell for cell in self.room.chosen if cell.is_open]
        if self._last is not self.room and not self.room.marked:
            self.room.focus()
            self.console.say(_("Choose PCs in the room first."))
            return None
        if not found:
            self.console.say(_("None of them is unfinished."))
            return None
        return cast, found

    def do_prefer(self) -> None:
        """All of them, or where all are preferred already, none of them any more."""
        chosen = self._chosen()
        if chosen is None:
            return
        cast, found = chosen
        on = not all(cell.member.preferred for cell in found)
        said = N_("{pcs} served before all others.") if on else N_("{pcs} served like all others.")
        self._each("cast prefer", cast, found, on, _prefer, said)

    def do_remove(self) -> None:
        """Drop all of them, or where all are dropped already, take them back."""
        chosen = self._chosen()
        if chosen is None:
            return
        cast, found = chosen
        on = not all(cell.member.dropped for cell in found)
        said = N_("{pcs} dropped: they go on by NFS.") if on else N_("{pcs} taken back.")
        self._each("cast drop", cast, found, on, _drop, said)

    def _each(self, action: str, cast: Cast, found: list[Cell], on: bool, verb: Any, said: str) -> None:
        number = cast.id

        def done(count: int) -> None:
            self.room.unmark()
            if count:
                self.console.say(_(said).format(pcs=words.pcs(count)))

        self.session.do_each(
            action,
            found,
            lambda cell: f"cast {number}: {cell.name}{'' if on else ' no more'}",
            lambda store, cell: verb(store, number, cell.member.task_id, on),
            then=done,
        )


def _prefer(store: Store, number: int, task_id: int, on: bool) -> None:
    store.casts.prefer(number, task_id, on)


def _drop(store: Store, number: int, task_id: int, on: bool) -> None:
    store.casts.drop(number, task_id, on)


def _close(form: Form, values: dict[str, Any]) -> None:
    form.dismiss(values)
