"""Pages of the first start: the image disk, the first operator, and the test of every service."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar

from textual.widget import Widget

from appliance.errors import ApplianceError
from appliance.events import Role
from appliance.model import Operator, check_name
from appliance.store import Store
from appliance.system import units
from appliance.tui import box_disk, child, keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.jobs.choose import paragraphs
from appliance.tui.jobs.steps import Page
from appliance.tui.jobs.wizard_job import WizardJob
from appliance.tui.keys import Key
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.forms import SECRET, Field, FormRows
from appliance.tui.widgets.glyphs import clean, fit
from appliance.tui.widgets.lines import EMPTY_LINE, Line, Text, wrap

_ROOMY = 100_000_000_000  # bytes: two or three images of a usual master
_LEVELS = {"ok": ("●", "ok", N_("ok")), "warning": ("▲", "warn", N_("warning")), "problem": ("■", "bad", N_("problem"))}


class DiskPage(Page[WizardJob]):
    """Where images go: said, and another disk taken on demand."""

    NAME = "disk"
    TITLE = N_("Where do images go?")
    ABOUT = N_("The disk that captures are written to. e takes another one of this machine, which is formatted for it.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("edit", N_("Another disk"), N_("Take another disk for images"), need=keys.ADMIN),
    )

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="disk")

    def opened(self) -> None:
        self.job.set_focus(self.job.query_one("#disk", Text))

    def show(self, snapshot: Snapshot) -> None:
        disk, folder = snapshot.gauges.disk, self.console.settings.paths.images
        width = self.job.size.width
        text = _("Images lie in {folder}.").format(folder=folder)
        size = _("{free} are free, of {total}.").format(
            free=words.size(disk.free_bytes), total=words.size(disk.total_bytes)
        )
        lines = [*paragraphs([text], width), *paragraphs([size], width, "strong")]
        if disk.free_bytes < _ROOMY:
            lines += paragraphs([_("That is little: one Windows image takes 20 to 40 GB.")], width, "warn")
        told = _(
            "Enter leaves them there. e takes another disk of this machine: it is formatted, and images are moved."
        )
        self.job.query_one("#disk", Text).put([*lines, EMPTY_LINE, *paragraphs([told], width)])

    def do_edit(self) -> None:
        box_disk.choose(self.console, lambda: self.job.show(self.snapshot) if self.job.is_there else None)

    def answer(self) -> str:
        return str(self.console.settings.paths.images)


class OperatorPage(Page[WizardJob]):
    """Answers: `operator`, the name of the first admin. The password goes into the store only, as a hash."""

    NAME = "operator"
    TITLE = N_("Who are you?")
    ABOUT = N_("The first operator is an admin. From then on the console asks who sits at it.")

    def applies(self) -> bool:
        return not self.answers.get("operator")

    def widgets(self) -> Iterable[Widget]:
        yield FormRows(
            [
                Field("name", _("Your name"), hint=_("Letters and digits, as you sign in."), check=_name),
                Field("password", _("Password"), SECRET, hint=_("At least 8 characters."), check=_long_enough),
                Field("again", _("Password once more"), SECRET),
            ]
        )

    def __init__(self, job: WizardJob) -> None:
        super().__init__(job)
        self._busy = False

    def opened(self) -> None:
        self._busy = False

    def answer(self) -> str:
        name = self.answers.get("operator")
        return _("{name}, admin").format(name=name) if name else ""

    async def submitted(self, values: dict[str, Any]) -> None:
        rows = self.job.query_one(FormRows)
        if values["password"] != values["again"]:
            rows.set_value("again", "")
            rows.complain({"again": _("The two passwords are not the same.")})
            return
        if self._busy:
            return
        self._busy = True
        rows.complain({"": _("One moment ...")})
        name, password, language = values["name"].strip(), values["password"], self.session.language

        def work(store: Store) -> Operator:
            store.operators.add(name, Role.ADMIN, password)
            return store.operators.set_language(name, language)

        def failed(error: ApplianceError) -> None:
            self._busy = False
            rows.complain({"name": sentences.explain(error)})

        self.session.do("operator add", f"{name}: admin", work, then=self._added, failed=failed, need=keys.ADMIN)
        if self.session.may(keys.ADMIN):
            self._busy = False

    def _added(self, operator: Operator) -> None:
        self.answers["operator"] = operator.name
        self.session.sign_in(operator)
        self.job.call_later(self.job.forward)


def _name(text: str) -> str:
    check_name(text, "an operator")
    return ""


def _long_enough(text: str) -> str:
    return "" if len(text) >= 8 else _("At least 8 characters.")


class TestPage(Page[WizardJob]):
    """Restarts the services, so that they take the settings, and shows what works and what does not."""

    NAME = "test"
    TITLE = N_("Does it work?")
    ABOUT = N_("Every service with its sign of life, and what the box found wrong with settings, network and disks.")
    NEXT = N_("Finish")
    KEYS: ClassVar[tuple[Key, ...]] = (keys.named("again", N_("Test again"), N_("Restart and test again"), need=""),)

    def widgets(self) -> Iterable[Widget]:
        yield Text(id="findings")

    def __init__(self, job: WizardJob) -> None:
        super().__init__(job)
        self._findings: list[dict[str, str]] = []
        self._doing = ""
        self._restart: tuple[str, str] = ("", "")

    def opened(self) -> None:
        self._doing = ""
        self.job.set_focus(self.job.query_one("#findings", Text))
        self.do_again()

    def do_again(self) -> None:
        if not self._doing and not self.session.may(keys.ADMIN):
            self.job.background(self._test, "setup-test")

    async def _test(self) -> None:
        self._tell(_("Restarting the services ..."))
        self._restart = await asyncio.to_thread(restarted)
        self._tell(_("Testing ..."))
        try:
            self._findings = await child.ask(self.console, "doctor", "--json")
        except ApplianceError as error:
            self._findings = [{"level": "problem", "area": "doctor", "text": error.message, "remedy": error.hint}]
        self._tell("")

    def _tell(self, doing: str) -> None:
        self._doing = doing
        if self.job.page is self and self.job.is_there:
            self.show(self.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        width = self.job.size.width
        lines: list[Line] = []
        pieces: list[tuple[str, str]] = [(" " + _("Services") + "  ", "title")]
        for service in snapshot.services:
            pieces += [(f"{service.name} ", ""), (_(words.HEALTH[service.state]) + "  ", _role(service.state))]
        lines.append(tuple(pieces) if snapshot.services else (pieces[0], (_("none has ever run"), "warn")))
        text, role = self._restart
        lines += paragraphs([text], width, role) if text else []
        lines += [((f" {self._doing}", "busy"),)] if self._doing else [EMPTY_LINE]
        for finding in sorted(self._findings, key=lambda each: list(_LEVELS).index(each["level"]), reverse=True):
            lines += finding_lines(finding, width)
        self.job.query_one("#findings", Text).put(lines)

    async def enter(self) -> None:
        if not self._doing:
            self.job.finish()


def _role(state: Any) -> str:
    return words.HEALTH_ROLES[state]


def restarted() -> tuple[str, str]:
    """Restart the services where systemd runs them; what came of it in a sentence, with its role."""
    if not units.systemd_runs():
        return _("No systemd restarts services here: end diecast serve with Ctrl-C and start it again."), "warn"
    try:
        names = units.act(units.Verb.RESTART, ())
    except ApplianceError as error:
        return sentences.explain(error), "bad"
    return _("Restarted: {names}.").format(names=", ".join(names)), "ok"


def finding_lines(finding: dict[str, str], width: int) -> list[Line]:
    """`● network   Interface eth1 has 10.20.4.1/22.`, its remedy below it."""
    shape, role, _word = _LEVELS[finding["level"]]
    head = f" {shape} {fit(finding['area'], 9)} "
    room = max(20, width - len(head) - 2)
    found: list[Line] = []
    for number, part in enumerate(wrap(clean(sentences.translate(finding["text"])), room)):
        found.append(((head if number == 0 else " " * len(head), role), (part, "")))
    for part in wrap(clean(sentences.translate(finding["remedy"])), room - 3) if finding["remedy"] else []:
        found.append(((" " * len(head) + "-> ", "dim"), (part, "strong")))
    return found
