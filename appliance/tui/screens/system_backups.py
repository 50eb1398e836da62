"""Backups: those on the target, making one now, reading one again, and the plan by which a timer makes them.

Restoring is not here: it puts another store in the place of the one that this console has open, so services and
consoles must be stopped first; the lines below the list name the command.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar

from appliance.backup import plan
from appliance.backup.plan import Last, Plan
from appliance.errors import ApplianceError
from appliance.store import Store
from appliance.tui import child, keys, sentences, words
from appliance.tui.i18n import N_, _, ngettext
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Form
from appliance.tui.widgets.forms import CHOICE, Field
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

_LIST_S = 120.0  # another host may have to wake its disk
_LONGEST_S = 24 * 3600.0
_NAME = "%Y%m%dT%H%M%SZ"


@dataclass(frozen=True, slots=True)
class BackupRow:
    """One backup on the target. Numbers are unknown where what it says of itself cannot be read."""

    name: str
    at: datetime | None = None
    box: str = "-"
    store_bytes: int | None = None
    versions: int | None = None  # None: without images
    lacking: int = 0  # versions that were damaged in the box
    problem: str = ""
    verdict: str = ""  # sound | DAMAGED | reading: as this console found it
    faults: tuple[str, ...] = ()


def row_of(found: dict[str, Any]) -> BackupRow:
    """One entry of `diecast backup list --json`."""
    backup = found.get("backup")
    if not isinstance(backup, dict):
        return BackupRow(str(found["name"]), problem=str(found.get("problem", "")))
    return BackupRow(
        str(found["name"]),
        datetime.strptime(f"{found['name']}+0000", f"{_NAME}%z"),
        str(backup["box"]),
        int(backup["store"]["bytes"]),
        len(backup["versions"]) if backup["images"] else None,
        len(backup["lacking"]),
    )


class BackupsPart(SystemPart):
    """See the module."""

    NAME = "backups"
    TITLE = N_("Backups")
    EMPTY = N_("No backup is on the target. t makes one.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("start", N_("Back up"), N_("Make a backup now; services and PCs go on"), need=keys.ADMIN),
        keys.named("verify", N_("Verify"), N_("Read all of the backup at the cursor and compare every hash"), need=""),
        keys.named("edit", N_("Plan"), N_("Where to, when, and how many are kept"), need=keys.ADMIN),
        keys.named("again", N_("Look"), N_("Look again what is on the target"), need=""),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._rows: list[BackupRow] = []
        self._plan = Plan()
        self._last: Last | None = None
        self._why: ApplianceError | None = None
        self._looked = False
        self._busy = ""  # what is being done

    def columns(self) -> list[Column[Any]]:
        def made(row: BackupRow) -> str:
            return words.moment(row.at, self.snapshot.at) if row.at else row.name

        def size(row: BackupRow) -> str:
            return "-" if row.store_bytes is None else words.size(row.store_bytes)

        def images(row: BackupRow) -> str:
            if row.store_bytes is None:
                return "-"
            return _("no") if row.versions is None else _versions(row.versions)

        return [
            Column[BackupRow](N_("Made"), made, 16, rank=0, sort=lambda row: row.name),
            Column[BackupRow](N_("Box"), lambda row: row.box, 10, rank=1, most=20),
            Column[BackupRow](N_("Store"), size, 9, rank=1, right=True, sort=lambda row: row.store_bytes or 0),
            Column[BackupRow](N_("Images"), images, 12, rank=0, most=16, sort=lambda row: row.versions or 0),
            Column[BackupRow](N_("Remark"), _remark, 20, rank=0, most=80, role=_role),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.name)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return self._rows

    def note(self) -> str:
        return self._busy

    def entered(self) -> None:
        if not self._looked:
            self._look()

    def detail(self, row: Any, width: int) -> list[Line]:
        lines = self._plan_lines(width)
        if row.faults or row.problem:
            text = " ".join(map(sentences.translate, row.faults)) or sentences.translate(row.problem)
            lines = told(_("Remark"), text, width, "bad" if row.faults else "warn")[:2] + lines
        restore = _("At the command line, with the services stopped: {command}")
        command = f"diecast backup restore {row.name}"
        return lines + told(_("Restore"), restore.format(command=command), width)

    def instead(self, width: int) -> list[Line]:
        lines = told(_("Remark"), sentences.explain(self._why), width, "warn") if self._why else []
        return lines + self._plan_lines(width)

    def _plan_lines(self, width: int) -> list[Line]:
        now, last = self._plan, self._last
        when = _("only when asked") if now.hour is None else _("daily at {hour}:00").format(hour=now.hour)
        kept = ngettext("{n} is kept", "{n} are kept", now.keep).format(n=now.keep)
        images = _("with images") if now.images else _("without images")
        text = f"{now.target or _('no target; e sets one')}; {when}, {kept}, {images}"
        lines = told(_("Plan"), text, width)
        if last is not None:
            went = f"{words.moment(last.at, self.snapshot.at)}: {sentences.translate(last.words)}"
            lines += told(_("Last run"), went, width, "" if last.ok else "bad")
        return lines

    # -- looking

    def _look(self) -> None:
        """Read the plan, then what is on the target."""
        self._looked = True

        def then(found: tuple[Plan, Last | None]) -> None:
            self._plan, self._last = found
            if self._plan.target:
                self._ask()
            else:
                self._rows, self._why = [], None
            self.renew()

        self.session.fetch(lambda store: (plan.read(store), plan.last(store)), then, group="backup-plan")

    def _ask(self) -> None:
        def then(found: list[dict[str, Any]]) -> None:
            known = {row.name: row for row in self._rows}
            rows = [row_of(one) for one in found]
            self._rows = [
                replace(row, verdict=known[row.name].verdict, faults=known[row.name].faults)
                if row.name in known
                else row
                for row in rows
            ]
            self._why = None
            self.renew()

        def failed(error: ApplianceError) -> None:
            self._rows, self._why = [], error
            self.renew()

        arguments = ("backup", "list", "--json")
        child.start(self.console, *arguments, then=then, failed=failed, group="backup-list", timeout_s=_LIST_S)

    # -- actions

    def do_again(self) -> None:
        self._look()

    def do_start(self) -> None:
        if self._is_busy():
            return
        if not self._plan.target:
            self.console.say(_("No target is set yet: e sets one."), "alarm")
            return
        new = _(
            "Where no backup is yet. Else one that should have backups and has none is refused: it may be unmounted."
        )
        fields = [
            _yes_no("images", _("With images"), yes=self._plan.images),
            _yes_no("first", _("A new disk"), yes=False, hint=new),
        ]
        lines = [_("To {target}. Services and PCs go on meanwhile.").format(target=self._plan.target)]

        def begin(values: dict[str, Any] | None) -> None:
            if values is not None:
                self._run("--images" if values["images"] == plan.YES else "--no-images", first=values["first"])

        self.screen.app.push_screen(Form(_("Back up now"), fields, lines=lines), begin)

    def _run(self, images: str, *, first: str) -> None:
        self._set_busy(_("making a backup ..."))

        def then(report: dict[str, Any]) -> None:
            self._set_busy("")
            name = str(report["backup"]["name"])
            self.console.say(_("Backup {name} is made.").format(name=name))
            self._look()

        options = ["--first"] if first == plan.YES else []
        arguments = ("backup", "run", "--json", images, *options)
        child.start(self.console, *arguments, then=then, failed=self._failed, group="backup-run", timeout_s=_LONGEST_S)

    def do_verify(self) -> None:
        row: BackupRow | None = self.table.row
        if row is None:
            self.console.say(_("There is no backup at the cursor."))
            return
        if self._is_busy():
            return
        name = row.name
        self._mark(name, "reading")
        self._set_busy(_("reading {name} ...").format(name=name))

        def then(verdict: dict[str, Any]) -> None:
            faults = tuple(map(str, verdict["problems"]))
            self._mark(name, "DAMAGED" if faults else "sound", faults)
            self._set_busy("")
            text = _("Backup {name} is DAMAGED.") if faults else _("Backup {name} is whole.")
            self.console.say(text.format(name=name), "alarm" if faults else "")

        def failed(error: ApplianceError) -> None:
            self._mark(name, "")
            self._failed(error)

        arguments = ("backup", "verify", name, "--chunks", "--json")
        child.start(self.console, *arguments, then=then, failed=failed, group="backup-run", timeout_s=_LONGEST_S)

    def _failed(self, error: ApplianceError) -> None:
        self._set_busy("")
        self.console.say(sentences.explain(error), "alarm")
        self._look()

    def _is_busy(self) -> bool:
        if self._busy:
            self.console.say(_("Wait: {what}").format(what=self._busy), "alarm")
        return bool(self._busy)

    def _set_busy(self, what: str) -> None:
        self._busy = what
        self.renew()

    def _mark(self, name: str, verdict: str, faults: tuple[str, ...] = ()) -> None:
        self._rows = [replace(row, verdict=verdict, faults=faults) if row.name == name else row for row in self._rows]
        self.renew()

    def do_edit(self) -> None:
        now = self._plan
        before = {
            "target": now.target,
            "hour": plan.OFF if now.hour is None else str(now.hour),
            "keep": str(now.keep),
            "images": plan.YES if now.images else plan.NO,
        }
        where = _("A folder such as /media/diecast, or user@host:/folder, which ssh reaches without a password.")
        hours = tuple((hour, _("only when asked") if hour == plan.OFF else f"{hour}:00") for hour in plan.HOURS)
        fields = [
            Field("target", _("Target"), value=now.target, hint=where),
            Field("hour", _("Daily at"), CHOICE, before["hour"], choices=hours),
            Field("keep", _("Kept"), value=str(now.keep), hint=_("Older ones are removed after each run.")),
            _yes_no("images", _("With images"), yes=now.images),
        ]

        def save(form: Form, values: dict[str, Any]) -> None:
            wanted = {name: str(values[name]).strip() for name in before}
            changed = {_SETTING[name]: wanted[name] for name in before if wanted[name] != before[name]}
            if not changed:
                form.dismiss(values)
                return

            def work(store: Store) -> None:
                for name, value in changed.items():
                    store.settings.set(name, value)

            def kept(_nothing: None) -> None:
                form.dismiss(values)
                self._look()

            detail = ", ".join(f"{name} = {value}" for name, value in changed.items())
            self.session.do("setting set", detail, work, then=kept, failed=form.refuse, need=keys.ADMIN)

        self.screen.app.push_screen(Form(_("Backups: where to and when"), fields, check=_wrong, save=save))


# Row of the form -> setting.
_SETTING = {"target": plan.TARGET, "hour": plan.HOUR, "keep": plan.KEEP, "images": plan.IMAGES}


def _yes_no(name: str, label: str, *, yes: bool, hint: str = "") -> Field:
    choices = ((plan.YES, _("yes")), (plan.NO, _("no")))
    return Field(name, label, CHOICE, plan.YES if yes else plan.NO, hint=hint, choices=choices)


def _wrong(values: dict[str, Any]) -> dict[str, str]:
    """What the plan cannot be."""
    found = {}
    target = values["target"].strip()
    if target and not plan.allows(plan.TARGET, target):
        found["target"] = _("Write a folder, or one of another host: user@host:/folder.")
    if not plan.allows(plan.KEEP, values["keep"].strip()):
        found["keep"] = _("Write a number from 1 to {most}.").format(most=plan.MOST_KEPT)
    return found


_VERDICTS: dict[str, str] = {
    "reading": N_("▸ being read"),
    "sound": N_("● sound"),
    "DAMAGED": N_("▲ DAMAGED"),
}
_ROLES = {"reading": "busy", "sound": "ok", "DAMAGED": "bad"}


def _remark(row: BackupRow) -> str:
    if row.verdict:
        return _(_VERDICTS[row.verdict])
    text = ngettext("without {n} damaged version", "without {n} damaged versions", row.lacking).format(n=row.lacking)
    return text if row.lacking else sentences.translate(row.problem)


def _versions(count: int) -> str:
    return ngettext("{n} version", "{n} versions", count).format(n=count)


def _role(row: BackupRow) -> str:
    return _ROLES.get(row.verdict, "warn")
