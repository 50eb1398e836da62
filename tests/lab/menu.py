"""The lab's menu: the virtual PCs, their buttons and cables, and what they show. `python -m tests.lab.menu SOCKET`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Event, Key

from appliance.tui import theme
from appliance.tui.widgets.glyphs import clean
from appliance.tui.widgets.lines import Line, Text
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine, rule
from tests.lab.desk import Row, Visitor

_LOOK_S = 1.0
_SHOWN: tuple[tuple[str, str], ...] = (
    ("o", "Power on"),
    ("d", "On from its disk"),
    ("x", "Pull the plug"),
    ("c", "Cable out, in"),
    ("k", "Keyboard"),
)
# Keys at a PC, as QEMU names them; letters and digits are called what they are.
_QEMU = {"enter": "ret", "space": "spc", "backspace": "backspace", "minus": "minus"}
_ARROWS = frozenset({"up", "down", "left", "right", "home", "end", "tab"})


class LabMenu(App[None], inherit_bindings=False):
    """See the module."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "RowList { height: 9; } Screen { background: ansi_default; color: ansi_default; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "verb('on', 'network')", show=False),
        Binding("d", "verb('on', 'disk')", show=False),
        Binding("x", "verb('off')", show=False),
        Binding("c", "cable", show=False),
        Binding("k", "keyboard", show=False),
    ]

    def __init__(self, visitor: Visitor) -> None:
        super().__init__()
        self._visitor = visitor
        self._typing = ""  # name of the PC whose keyboard we are
        self._out: set[str] = set()  # names of PCs whose cable is out
        self._said = ""
        for made in theme.textual_themes():
            self.register_theme(made)
        self.theme = theme.NORMAL

    def compose(self) -> ComposeResult:
        yield OneLine(self._head)
        yield OneLine(lambda width: rule(width))
        columns: list[Column[Row]] = [
            Column("PC", lambda row: row.name, 12, rank=0, most=20),
            Column("Power", self._power, 14, rank=0, role=lambda row: "ok" if row.on else "dim"),
            Column("Firmware, disk", lambda row: row.made_of, 26, rank=1),
            Column("MAC", lambda row: row.mac, 17, rank=2),
        ]
        yield RowList(columns, lambda row: row.name, empty="The lab is being built.", id="pcs")
        yield OneLine(lambda width: rule(width, self._title(), "head"), id="title")
        yield Text(id="screen")
        yield OneLine(lambda width: rule(width, self._said, "alarm"), id="said")
        yield OneLine(self._keys, id="keys")

    def on_mount(self) -> None:
        self.query_one("#screen").can_focus = False
        self._list.focus()
        self.set_interval(_LOOK_S, self.look)
        self.call_later(self.look)

    @property
    def _list(self) -> RowList[Row]:
        return self.query_one("#pcs", RowList)

    def _head(self, width: int) -> Line:
        return ((" Virtual lab", "title"), ("   The PCs of the room: you are who stands beside them.", ""))

    def _power(self, row: Row) -> str:
        return ("● on" if row.on else "■ off") + (", no cable" if row.name in self._out else "")

    def _title(self) -> str:
        row = self._list.row
        return "" if row is None else f"what {row.name} shows"

    def _keys(self, width: int) -> Line:
        if self._typing:
            return ((f" What you type goes to {self._typing}", "strong"), ("   ", ""), ("Esc", "key"), (" Enough", ""))
        pieces: list[tuple[str, str]] = [(" ", "")]
        for key, label in _SHOWN:
            pieces += [(key, "key"), (f" {label}  ", "")]
        return tuple(pieces)

    async def look(self) -> None:
        """Ask for the PCs, and show them."""
        try:
            rows = await asyncio.to_thread(self._visitor.pcs)
        except OSError:
            self.exit()
            return
        self._out &= {row.name for row in rows if row.on}
        self._list.put(rows)
        self._show_screen()

    def _show_screen(self) -> None:
        row = self._list.row
        lines: list[Line] = [((clean(line), ""),) for line in row.lines] if row is not None else []
        self.query_one("#screen", Text).put(lines, at_end=True)
        for line in self.query(OneLine):
            line.renew()

    def on_row_list_moved(self) -> None:
        self._show_screen()

    async def action_verb(self, verb: str, *words: str) -> None:
        """Do something with the PC at the cursor."""
        row = self._list.row
        if row is not None:
            await self._do(verb, row.name, *words)

    async def action_cable(self) -> None:
        """Pull or plug the cable of the PC at the cursor."""
        row = self._list.row
        if row is None:
            return
        if not row.on:
            self._tell(f"{row.name} is off.")
            return
        self._out ^= {row.name}
        await self._do("cable", row.name, "out" if row.name in self._out else "in")

    def action_keyboard(self) -> None:
        """From now on be the keyboard of the PC at the cursor."""
        row = self._list.row
        if row is not None and row.on:
            self._typing = row.name
            self.set_focus(None)
            self._show_screen()

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and self._typing:
            await self._press(event.key)
            return
        await super().on_event(event)

    async def _press(self, key: str) -> None:
        if key == "escape":
            self._typing = ""
            self._list.focus()
            self._show_screen()
        elif key in _QEMU or key in _ARROWS or (len(key) == 1 and key.isalnum()):
            await self._do("press", self._typing, _QEMU.get(key, key.lower()))

    async def _do(self, verb: str, name: str, *words: str) -> None:
        try:
            self._tell(await asyncio.to_thread(self._visitor.do, verb, name, *words))
        except OSError as error:
            self._tell(str(error))
        await self.look()

    def _tell(self, text: str) -> None:
        self._said = text
        self.query_one("#said", OneLine).renew()


if __name__ == "__main__":
    LabMenu(Visitor(Path(sys.argv[1]))).run()
