"""System: the services, their log, disks, backups, settings, operators, the audit trail, and the doctor.

One list at a time; Tab goes from one to the next. The lines below tell of what is at the cursor.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult

from appliance.tui.i18n import N_, _
from appliance.tui.screens.audit import AuditPart
from appliance.tui.screens.logs import LogPart, Written
from appliance.tui.screens.operators import OperatorsPart
from appliance.tui.screens.parts import Part, PartsScreen
from appliance.tui.screens.settings import SettingsPart
from appliance.tui.screens.system_backups import BackupsPart
from appliance.tui.screens.system_disks import DisksPart
from appliance.tui.screens.system_doctor import DoctorPart
from appliance.tui.screens.system_part import SystemPart
from appliance.tui.screens.system_services import ServicesPart
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, Text, cut, spread, width_of
from appliance.tui.widgets.status import OneLine, rule

_DETAIL = 5  # lines below the list


class SystemScreen(PartsScreen):
    """See the module."""

    NAME = "system"
    ABOUT = N_(
        "The box itself: services with their health, their log, disks, backups, settings, operators, the audit trail,"
        " and the doctor, who says what is wrong and what to do. Tab goes from one to the next. Language and colours:"
        " ^L and ^T, for yourself; for the box they are settings."
    )
    PARTS = (ServicesPart, LogPart, DisksPart, SettingsPart, OperatorsPart, AuditPart, BackupsPart, DoctorPart)
    DEFAULT_CSS = f"SystemScreen > #detail {{ height: {_DETAIL}; }}"

    def body(self) -> ComposeResult:
        yield from super().body()
        yield OneLine(lambda width: rule(width), id="detail-rule")
        detail = Text(id="detail")
        detail.can_focus = False
        yield detail

    def show(self, snapshot: Snapshot) -> None:
        super().show(snapshot)
        self._show_detail()

    def _show_detail(self) -> None:
        detail, row = self.query_one("#detail", Text), self.part.table.row
        assert isinstance(self.part, SystemPart)
        width = max(40, self.size.width)
        lines = self.part.detail(row, width) if row is not None else self.part.instead(width)
        detail.put(lines[:_DETAIL])

    def _parts_line(self, width: int) -> Line:
        """Titles without numbers, of which eight would not fit; close together where the note needs their room."""
        note = clean(self.part.note())
        lines: list[Line] = [
            tuple((f" {_(part.TITLE)}{after}", "tab" if part is self.part else "dim") for part in self.parts)
            for after in (" ", "")
        ]
        line = next((line for line in lines if note and len(note) + 2 <= width - width_of(line)), None)
        return cut(lines[0], width) if line is None else spread(line, ((f"{note} ", "strong"),), width)

    # -- coming and going

    def change_part(self, part: Part) -> None:
        before = self.part
        super().change_part(part)
        if part is not before:
            assert isinstance(before, SystemPart)
            assert isinstance(part, SystemPart)
            before.left()
            part.entered()

    def on_screen_resume(self) -> None:
        assert isinstance(self.part, SystemPart)
        self.part.entered()
        super().on_screen_resume()

    def on_screen_suspend(self) -> None:
        assert isinstance(self.part, SystemPart)
        if self.console.base_screen is not self:
            self.part.left()
        super().on_screen_suspend()

    def on_unmount(self) -> None:
        for part in self.parts:
            assert isinstance(part, SystemPart)
            part.left()

    def show_log(self, services: Sequence[str]) -> None:
        """The log of these services."""
        part = self.named_part(LogPart.NAME)
        assert isinstance(part, LogPart)
        part.only(services)
        self.change_part(part)

    # -- messages

    def on_written(self, event: Written) -> None:
        part = self.named_part(LogPart.NAME)
        assert isinstance(part, LogPart)
        part.written(event.follower, event.lines)

    def on_row_list_moved(self) -> None:
        super().on_row_list_moved()
        self._show_detail()

    def action_find_done(self) -> None:
        super().action_find_done()
        assert isinstance(self.part, SystemPart)
        self.part.searched(self.query_one("#find").value)  # type: ignore[attr-defined]
