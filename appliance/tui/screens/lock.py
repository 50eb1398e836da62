"""The lock: an operator's name and password before anything is shown. At the start, and after idle minutes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from appliance.errors import ApplianceError
from appliance.model import Operator
from appliance.tui import sentences
from appliance.tui.i18n import N_, _
from appliance.tui.widgets.dialogs import Dialog, words
from appliance.tui.widgets.forms import SECRET, Field, FormRows

if TYPE_CHECKING:
    from appliance.tui.app import ConsoleApp


class LockScreen(Dialog[Operator]):
    """Hides everything below it. Gives the operator who signed in; Esc does not lead past it."""

    DEFAULT_CSS = "LockScreen, LockScreen:ansi { background: ansi_default; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+c,ctrl+q", "leave", show=False),
        Binding("ctrl+l", "language", show=False),
        Binding("ctrl+t", "theme", show=False),
    ]
    KEYS: ClassVar[tuple[tuple[str, str], ...]] = (
        (N_("Enter"), N_("Sign in")),
        (N_("Esc"), N_("Leave the console")),
        ("^L", N_("Language")),
    )

    def __init__(self, box: str, name: str = "") -> None:
        """`name` is offered as the operator's."""
        super().__init__(f"Diecast {box}")
        self._who = name
        self._busy = False

    def body(self) -> ComposeResult:
        yield words([_("Locked. Who are you?")])
        yield FormRows(
            [
                Field("name", _("Operator"), value=self._who),
                Field("password", _("Password"), SECRET),
            ]
        )

    def on_mount(self) -> None:
        if self._who:
            self.query_one("#field-password").focus()

    async def on_form_rows_submitted(self, event: FormRows.Submitted) -> None:
        if self._busy:
            return
        self._busy = True
        console: ConsoleApp = self.app  # type: ignore[assignment]
        name, password = event.values["name"].strip(), event.values["password"]
        rows = self.query_one(FormRows)
        rows.complain({"": _("One moment ...")})

        async def check() -> None:
            try:
                found = await asyncio.to_thread(lambda: console.model.store.operators.check(name, password))
            except ApplianceError as error:
                rows.complain({"": sentences.explain(error)})
            else:
                if found is not None:
                    self.dismiss(found)
                    return
                rows.set_value("password", "")
                rows.complain({"password": _("That name and password do not belong together.")})
            self._busy = False

        self.run_worker(check(), exclusive=True)

    def action_leave(self) -> None:
        self.app.exit()

    def action_language(self) -> None:
        console: ConsoleApp = self.app  # type: ignore[assignment]
        console.next_language(keep=False)
        self.refresh(recompose=True)

    def action_theme(self) -> None:
        console: ConsoleApp = self.app  # type: ignore[assignment]
        console.next_theme()
