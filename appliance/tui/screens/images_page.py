"""One version of an image on a page of its own, and the form for notes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance.errors import ApplianceError
from appliance.model import ImageVersion
from appliance.store import Store
from appliance.tui import child, keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.base import ConsoleScreen, OverScreen
from appliance.tui.screens.images_facts import Usage, facts, name_of, problem_lines, version_lines
from appliance.tui.screens.images_verify import Verifier
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Form
from appliance.tui.widgets.forms import Field
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text

_MOST_NOTES = 500  # characters


def edit_notes(screen: ConsoleScreen, title: str, name: str, notes: str, keep: Callable[[Store, str], object]) -> None:
    """Ask for the notes on something and keep them."""

    def check(text: str) -> str:
        return "" if len(text) <= _MOST_NOTES else _("At most {n} characters.").format(n=_MOST_NOTES)

    def save(form: Form, values: dict[str, Any]) -> None:
        def kept(_result: object) -> None:
            form.dismiss(values)

        typed = str(values["notes"]).strip()
        detail = f"{name}: notes"
        screen.session.do("image edit", detail, lambda store: keep(store, typed), then=kept, failed=form.refuse)

    field = Field("notes", _("Notes"), value=notes, hint=_("For whoever chooses it later."), check=check)
    screen.app.push_screen(Form(title, [field], save=save))


def edit_version_notes(screen: ConsoleScreen, version: ImageVersion) -> None:
    """Ask for the notes on a version and keep them."""
    name = name_of(version)
    title = _("Notes on version {name}").format(name=name)
    edit_notes(screen, title, name, version.notes, lambda store, text: store.images.set_version_notes(name, text))


def stop_verifying(screen: ConsoleScreen, verifier: Verifier) -> None:
    """End what is being read."""
    if verifier.is_busy:
        verifier.stop()
        screen.console.say(_("Verifying was stopped."))
    else:
        screen.console.say(_("Nothing is being verified."))


class VersionPage(OverScreen):
    """One version: facts, the parts of its disk, who has it, what a verification found."""

    ABOUT = N_(
        "One version: where it comes from, what it takes and shares, the parts of its disk, the PCs that have it,"
        " and what a verification found."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("edit", N_("Notes"), N_("Write notes on the version")),
        keys.named("verify", N_("Verify"), N_("Read it again and check every chunk")),
        keys.named("stop", N_("Stop"), N_("Stop verifying")),
    )

    def __init__(self, version: ImageVersion, verifier: Verifier, usage: Callable[[], Usage]) -> None:
        """`verifier` and `usage` are the list's: what it knows is known here."""
        super().__init__()
        self._version = version
        self._verifier = verifier
        self._usage = usage
        self._told: dict[str, Any] | None = None
        self._why = ""

    def own_keys(self) -> list[Key]:
        return [key for key in super().own_keys() if key.name != "stop" or self._verifier.is_busy]

    def body(self) -> ComposeResult:
        yield Text(id="page")

    def first_focus(self) -> str:
        return "#page"

    def on_mount(self) -> None:
        super().on_mount()

        def then(told: Any) -> None:
            self._told = told
            self.renew()

        def failed(error: ApplianceError) -> None:
            self._why = sentences.explain(error)
            self.renew()

        name = name_of(self._version)
        child.start(self.console, "image", "show", name, "--json", then=then, failed=failed, group="image-show")

    def show(self, snapshot: Snapshot) -> None:
        mine = (self._version.image_name, self._version.number)
        found = next((v for v in snapshot.versions if (v.image_name, v.number) == mine), None)
        self._version = found or self._version
        self.renew()

    def renew(self) -> None:
        """Draw what is known now."""
        if not self.is_there:
            return
        page, version = self.query_one("#page", Text), self._version
        width = max(40, page.size.width)
        check = self._verifier.check(version.id)
        lines: list[Line] = [EMPTY_LINE, ((f" {name_of(version)}", "title"),), EMPTY_LINE]
        lines += version_lines(self.snapshot, version, self._usage(), check, width)
        lines += facts([(_("Id"), version.id, "dim")], width)
        lines += problem_lines(check, width)
        lines += [EMPTY_LINE, *self._parts(width)]
        page.put(lines)
        self.renew_frame()

    def _parts(self, width: int) -> list[Line]:
        if self._told is None:
            return facts([(_("Parts"), self._why or _("being read ..."), "warn" if self._why else "dim")], width)
        smallest = words.size(int(self._told["minimum_disk_bytes"]))
        lines = facts([(_("Needs"), _("a disk of {size} or more").format(size=smallest), "")], width)
        lines += [EMPTY_LINE, ((" " + _("Parts of the disk"), "title"),)]
        for part in self._told["regions"]:
            name, kind, label = (clean(str(part[key])) for key in ("name", "filesystem", "label"))
            used, size = words.size(part["used_bytes"]), words.size(part["size_bytes"])
            text = f" {fit(name, 12)} {fit(kind or str(part['kind']), 10)} {fit(label, 18)} "
            lines.append(((text, ""), (_("{used} of {size}").format(used=used, size=size), "")))
        return lines

    def do_edit(self) -> None:
        edit_version_notes(self, self._version)

    def do_verify(self) -> None:
        self._verifier.add([self._version])

    def do_stop(self) -> None:
        stop_verifying(self, self._verifier)
