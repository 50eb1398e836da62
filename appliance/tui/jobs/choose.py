"""Pages that ask by a list: one of several things, a version of an image, and what is under way already."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from textual.widget import Widget

from appliance.model import Host, ImageVersion, Task
from appliance.store.hosts import natural
from appliance.tui import words
from appliance.tui.i18n import N_
from appliance.tui.jobs.steps import JobScreen, Page
from appliance.tui.screens.base import ConsoleScreen
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text, wrap
from appliance.tui.widgets.rowlist import Column, RowList

J = TypeVar("J", bound=JobScreen)


def paragraphs(sentences: Sequence[str], width: int, role: str = "") -> list[Line]:
    """Sentences as wrapped lines, indented by one cell."""
    found: list[Line] = []
    for sentence in sentences:
        if not sentence:
            found.append(EMPTY_LINE)
        found += [((f" {part}", role),) for part in wrap(clean(sentence), max(20, width - 2))] if sentence else []
    return found


class Paragraphs(Text):
    """Sentences above or below a control, as high as they are long."""

    def __init__(self, *, id: str | None = None, gap: bool = True) -> None:
        super().__init__(id=id, classes="gap" if gap else None)
        self.can_focus = False
        self.styles.height = 1

    def tell(self, lines: Sequence[Line]) -> None:
        """Show lines, and be as high as they are."""
        wanted = max(1, len(lines))
        if self.styles.height is None or self.styles.height.value != wanted:
            self.styles.height = wanted
        self.put(list(lines))


class ListPage(Page[J]):
    """Choose one row. Enter on it answers the question."""

    EMPTY: ClassVar[str] = N_("There is nothing to choose.")
    MARKS: ClassVar[bool] = False

    _any_row = True

    def columns(self) -> list[Column[Any]]:
        """As the list shows rows."""
        return [
            Column[Any](N_("Name"), lambda item: item.label, 30, rank=0, most=50),
            Column[Any](N_("What"), lambda item: item.hint, 20, most=60, role=lambda item: "dim"),
        ]

    def key_of(self, row: Any) -> Hashable:
        """The lasting name of a row."""
        return row.key  # type: ignore[no-any-return]

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        """The rows; the same object while nothing has changed, or a new one that is cheap."""
        raise NotImplementedError

    def said(self, snapshot: Snapshot, width: int) -> Sequence[Line]:
        """Some lines above the list."""
        return ()

    def first(self) -> Hashable:
        """The row to begin at."""
        return None

    def widgets(self) -> Iterable[Widget]:
        yield Paragraphs(id="said")
        titles = any(column.title for column in self.columns()) and self.TITLES
        yield RowList[Any](self.columns(), self.key_of, empty=self.EMPTY, marks=self.MARKS, titles=titles, id="choices")

    TITLES: ClassVar[bool] = True

    def opened(self) -> None:
        self.show(self.snapshot)
        if self.first() is not None:
            self.list.go_to(self.first())
        self._focus()

    def _focus(self) -> None:
        """The list has the keys; while it has no row at all, Enter is the page's."""
        self.job.set_focus(self.list if self._any_row else None)

    def show(self, snapshot: Snapshot) -> None:
        head = self.job.query_one("#said", Paragraphs)
        lines = self.said(snapshot, self.job.size.width)
        head.display = bool(lines)
        head.tell(lines)
        rows = self.rows(snapshot)
        had, self._any_row = self._any_row, bool(rows)
        self.list.put(rows)
        if had is not self._any_row:
            self._focus()

    @property
    def list(self) -> RowList[Any]:
        """The widget."""
        return self.job.query_one("#choices", RowList)

    def main_list(self) -> RowList[Any]:
        return self.list


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version to be chosen, or (with a key of its own) a job that is under way."""

    key: Hashable
    name: str
    captured: str = ""
    disk: str = ""
    used: str = ""
    notes: str = ""


class VersionPage(ListPage[J]):
    """Which version of which image. Newest of each image first, by name. Answer: `version`, its id."""

    NAME = "image"
    TITLE = N_("Which image?")
    ABOUT = N_("Each line is a version of an image, its newest one first. Jobs that are under way stand on top.")
    EMPTY = N_("There is no image yet: capture a master first, with c.")

    def columns(self) -> list[Column[Any]]:
        return [
            Column[VersionRow](N_("Image"), lambda row: row.name, 24, rank=0, most=40),
            Column[VersionRow](N_("Captured"), lambda row: row.captured, 26, rank=1, most=30),
            Column[VersionRow](N_("Disk"), lambda row: row.disk, 8, rank=1, right=True),
            Column[VersionRow](N_("Used"), lambda row: row.used, 8, rank=3, right=True),
            Column[VersionRow](N_("Notes"), lambda row: row.notes, 12, rank=2, most=60),
        ]

    def rows(self, snapshot: Snapshot) -> Sequence[VersionRow]:
        return [*self.under_way(snapshot), *(_row(version, snapshot) for version in in_order(snapshot.versions))]

    def under_way(self, snapshot: Snapshot) -> list[VersionRow]:
        """Jobs of this kind that can be watched."""
        return []

    def first(self) -> Hashable:
        chosen = self.answers.get("version")
        return chosen or next((row.key for row in self.list.rows if isinstance(row.key, str)), None)

    def answer(self) -> str:
        version = self.snapshot.version_by_id.get(self.answers.get("version", ""))
        return "" if version is None else f"{version.image_name}@{version.number}"

    async def row_opened(self, row: VersionRow) -> None:
        if isinstance(row.key, str):
            self.answers["version"] = row.key
            await self.job.forward()
        else:
            await self.take_up(row.key)

    async def take_up(self, key: Any) -> None:
        """Watch what is under way."""

    async def enter(self) -> None:
        """No row: nothing to go on with."""


def in_order(versions: Sequence[ImageVersion]) -> list[ImageVersion]:
    """By name, each image's newest first."""
    return sorted(versions, key=lambda version: (natural(version.image_name), -version.number))


def _row(version: ImageVersion, snapshot: Snapshot) -> VersionRow:
    return VersionRow(
        version.id,
        f"{version.image_name}@{version.number}",
        words.moment(version.created, snapshot.at),
        words.size(version.disk_bytes),
        words.size(version.used_bytes),
        version.notes or version.master_name,
    )


def selected_hosts(screen: ConsoleScreen | None) -> list[Host]:
    """The hosts that are chosen on a screen: marked ones, or the one at the cursor."""
    rows = screen.main_list() if screen is not None and screen.is_there else None
    if screen is None or rows is None:
        return []
    found = [_host_of(row, screen.snapshot) for row in rows.chosen]
    return list({host.id: host for host in found if host is not None}.values())


def marked_hosts(screen: ConsoleScreen | None) -> list[Host]:
    """As `selected_hosts`, but only where somebody has marked rows."""
    rows = screen.main_list() if screen is not None and screen.is_there else None
    return selected_hosts(screen) if rows is not None and rows.marked else []


def selected_version(screen: ConsoleScreen | None) -> ImageVersion | None:
    """The image or version at a screen's cursor."""
    rows = screen.main_list() if screen is not None and screen.is_there else None
    row = rows.row if rows is not None else None
    if screen is None or row is None or isinstance(row, Host):
        return None
    for candidate in (row, getattr(row, "version", None)):
        if isinstance(candidate, ImageVersion):
            return candidate
    name = getattr(getattr(row, "image", row), "name", None)
    if not any(image.name == name for image in screen.snapshot.images):
        return None
    return next((version for version in screen.snapshot.versions if version.image_name == name), None)


def _host_of(row: object, snapshot: Snapshot) -> Host | None:
    if isinstance(row, Task):
        return snapshot.host_by_id.get(row.host_id) if row.host_id is not None else None
    found = row if isinstance(row, Host) else getattr(row, "host", None)
    return snapshot.host_by_id.get(found.id) if isinstance(found, Host) else None
