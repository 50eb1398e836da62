"""Lists of hosts in files: export, and import after a look at what each row would do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult

from appliance import hosts_csv, hosts_import
from appliance.errors import ApplianceError, NotFound, Unavailable, UsageError
from appliance.hosts_import import Action, Known, Step
from appliance.model import Host
from appliance.store import Store
from appliance.tui import keys, sentences, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.base import ConsoleScreen, OverScreen
from appliance.tui.screens.hosts_forms import LABELS
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm, Form, Reading
from appliance.tui.widgets.forms import CHOICE, FLAG, Field
from appliance.tui.widgets.lines import Line, wrap
from appliance.tui.widgets.rowlist import Column, RowList
from appliance.tui.widgets.status import OneLine

_ACTIONS: dict[Action, tuple[str, str]] = {  # words and role
    Action.ADD: (N_("● add"), "ok"),
    Action.CHANGE: (N_("▸ change"), "busy"),
    Action.SAME: (N_("─ as it is"), "dim"),
    Action.REFUSE: (N_("▲ refused"), "bad"),
}
_AFTER: dict[Action, str] = {
    Action.ADD: N_("● added"),
    Action.CHANGE: N_("▸ changed"),
    Action.SAME: N_("─ as it was"),
    Action.REFUSE: N_("▲ refused"),
}
_COUNTS: dict[Action, str] = {
    Action.ADD: N_("{n} to add"),
    Action.CHANGE: N_("{n} to change"),
    Action.SAME: N_("{n} as they are"),
    Action.REFUSE: N_("{n} refused"),
}
_DONE: dict[Action, str] = {
    Action.ADD: N_("{n} added"),
    Action.CHANGE: N_("{n} changed"),
    Action.SAME: N_("{n} as they were"),
    Action.REFUSE: N_("{n} refused"),
}
ALL, SHOWN, MARKED = "all", "shown", "marked"
_last_path = ""  # offered again


def _offered() -> str:
    return _last_path or str(Path.home() / "hosts.csv")


def _path(text: str) -> Path:
    """What was typed, as a file of ours. Raises `UsageError`."""
    path = Path(text.strip()).expanduser()
    if not path.is_absolute() or path.suffix.lower() not in (".csv", ".txt"):
        raise UsageError("A whole path is needed, such as /media/usb/hosts.csv.", hint="It must end in .csv or .txt.")
    return path


def _check(text: str) -> str:
    _path(text)
    return ""


def _keep(text: str) -> None:
    global _last_path
    _last_path = text.strip()


# -- export -----------------------------------------------------------------------------------------------------------


def ask_export(screen: ConsoleScreen, shown: Sequence[Host], marked: Sequence[Host]) -> None:
    """Ask which hosts go where, and write them."""
    everyone = screen.snapshot.hosts
    choices = [(ALL, _("all: {n}").format(n=words.number(len(everyone))))]
    if len(shown) != len(everyone):
        choices.append((SHOWN, _("those shown: {n}").format(n=words.number(len(shown)))))
    if marked:
        choices.append((MARKED, _("those marked: {n}").format(n=words.number(len(marked)))))
    fields = [
        Field("path", _("File on this box"), value=_offered(), check=_check, hint=_("It must end in .csv or .txt.")),
        Field("which", _("Hosts"), CHOICE, value=choices[-1][0], choices=tuple(choices)),
        Field("excel", _("For a spreadsheet"), FLAG, value=False, hint=_("With semicolons, as European ones want it.")),
    ]
    hosts = {ALL: everyone, SHOWN: shown, MARKED: marked}

    def save(form: Form, values: dict[str, Any]) -> None:
        path = _path(values["path"])
        _keep(values["path"])

        def write() -> None:
            _write(screen, form, path, hosts[values["which"]], excel=values["excel"])

        def sure(yes: bool | None) -> None:
            if yes:
                write()
            else:
                form.complain({"path": _("There is such a file already.")})

        if path.exists():
            lines = [str(path), _("What is in it now is lost.")]
            screen.app.push_screen(Confirm(_("Overwrite this file?"), lines), sure)
        else:
            write()

    screen.app.push_screen(Form(_("Export hosts"), fields, save=save))


def _write(screen: ConsoleScreen, form: Form, path: Path, hosts: Sequence[Host], *, excel: bool) -> None:
    def work(store: Store) -> int:
        addresses = {item.mac: item.address for item in store.leases.reservations()}
        try:
            path.write_bytes(hosts_csv.write(hosts, addresses, excel=excel))
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror}.") from error
        return len(hosts)

    def done(count: int) -> None:
        form.dismiss({})
        screen.console.say(_("Wrote {hosts} to {path}.").format(hosts=words.hosts(count), path=path))

    screen.session.do("host export", f"{len(hosts)} to {path}", work, then=done, failed=form.refuse)


# -- import -----------------------------------------------------------------------------------------------------------


def ask_import(screen: ConsoleScreen) -> None:
    """Ask for a file, read it, and show what its rows would do."""
    hint = _(
        "A CSV file with a row of column names, or FOG's export of hosts. Nothing is written before you have seen it."
    )
    fields = [
        Field("path", _("File on this box"), value=_offered(), check=_check, hint=hint),
        Field(
            "update", _("Change known hosts"), FLAG, value=True, hint=_("Where the list says something else of them.")
        ),
    ]

    def save(form: Form, values: dict[str, Any]) -> None:
        path = _path(values["path"])
        _keep(values["path"])

        def found(sheet_and_steps: tuple[hosts_csv.Sheet, list[Step]]) -> None:
            form.dismiss(values)
            screen.app.push_screen(ImportPage(path, *sheet_and_steps))

        screen.session.fetch(
            lambda store: _planned(store, path, update=values["update"]), found, failed=form.refuse, group="import"
        )

    screen.app.push_screen(Form(_("Import hosts"), fields, save=save))


def _planned(store: Store, path: Path, *, update: bool) -> tuple[hosts_csv.Sheet, list[Step]]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"There is no file {path}.") from None
    except OSError as error:
        raise Unavailable(f"{path} cannot be read: {error.strerror}.") from error
    sheet = hosts_csv.read(data)
    return sheet, hosts_import.plan(sheet, Known.of(store), update=update)


class ImportPage(OverScreen):
    """What each row of a list would do; written only when the operator says so."""

    ABOUT = N_(
        "What each row of the list would do: add a host, change one, nothing, or why it is refused. Nothing is written"
        " before you press t. Rows are taken one by one, each whole or not at all."
    )
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("open", N_("Why"), N_("The whole of what is said of a row")),
        keys.named("start", N_("Write"), N_("Add and change the hosts as shown")),
        keys.named("show", N_("Which"), N_("Show all rows, or only the refused ones")),
        *keys.take("find"),
    )

    def __init__(self, path: Path, sheet: hosts_csv.Sheet, steps: list[Step]) -> None:
        super().__init__()
        self._path = path
        self._sheet = sheet
        self._steps = steps
        self._shown: list[Step] = steps
        self._refused_only = False
        self._written = -1  # rows so far; -1: not begun
        self._ended = False

    def body(self) -> ComposeResult:
        yield OneLine(self._title, id="import-title")
        yield OneLine(self._summary, id="import-summary")
        yield RowList[Step](self._columns(), _line_of, empty=N_("No row is left."), id="rows")

    def _columns(self) -> list[Column[Step]]:
        def what(step: Step) -> str:
            return _(_AFTER[step.action] if self._ended else _ACTIONS[step.action][0])

        return [
            Column(N_("Line"), lambda step: str(step.line), 5, rank=0, right=True, sort=lambda step: step.line),
            Column(N_("Host"), lambda step: step.name or "-", 14, rank=0),
            Column(N_("What"), what, 11, rank=0, role=lambda step: _ACTIONS[step.action][1]),
            Column(N_("Why"), why, 30, rank=0, most=150),
        ]

    def first_focus(self) -> str:
        return "#rows"

    def main_list(self) -> RowList[Step]:
        return self.query_one("#rows", RowList)

    def show(self, snapshot: Snapshot) -> None:
        self.main_list().put(self._shown)
        self.query_one("#import-title", OneLine).renew()
        self.query_one("#import-summary", OneLine).renew()

    def own_keys(self) -> list[Key]:
        return [key for key in super().own_keys() if key.name != "start" or self._written < 0]

    def _title(self, width: int) -> Line:
        text = f" {_('Import of {path}').format(path=self._path)}"
        if self._sheet.kind is hosts_csv.Kind.FOG:
            text += "  " + _("FOG's list: names, MACs, descriptions, disks and rooms are taken")
        if self._sheet.ignored:
            text += "  " + _("columns not known: {names}").format(names=", ".join(self._sheet.ignored))
        return ((text[:width], "title"),)

    def _summary(self, width: int) -> Line:
        if self._written >= 0 and not self._ended:
            text = _("Writing {n} of {total} ...").format(
                n=words.number(self._written), total=words.number(len(self._steps))
            )
            return ((f" {text}", "strong"),)
        counts = Counter(step.action for step in self._steps)
        texts = _DONE if self._ended else _COUNTS
        pieces = [(" ", "")]
        for action, text in texts.items():
            if counts[action]:
                pieces.append((_(text).format(n=words.number(counts[action])) + "   ", _ACTIONS[action][1]))
        return tuple(pieces)

    # -- actions

    def on_row_list_opened(self, event: RowList.Opened) -> None:
        step: Step = event.row
        title = _("Line {n}: {name}").format(n=step.line, name=step.name or "-")
        what = _(_AFTER[step.action] if self._ended else _ACTIONS[step.action][0])
        text = [(what, _ACTIONS[step.action][1]), *((part, "") for part in wrap(why(step), 68))]
        self.app.push_screen(Reading(title, [(piece,) for piece in text]))

    def do_show(self) -> None:
        self._refused_only = not self._refused_only
        self._arrange()

    def _arrange(self) -> None:
        self._shown = [step for step in self._steps if step.action is Action.REFUSE or not self._refused_only]
        self.show(self.snapshot)

    def do_start(self) -> None:
        if self._written >= 0:
            return
        self._written = 0
        ticking = self.set_interval(0.5, lambda: self.query_one("#import-summary", OneLine).renew())

        def work(store: Store) -> list[Step]:
            done = []
            for step in self._steps:
                done.append(hosts_import.carry_out(store, step))
                self._written += 1
            return done

        def written(steps: list[Step]) -> None:
            ticking.stop()
            self._steps, self._ended = steps, True
            self._arrange()
            self.renew_frame()
            self.console.say(_("The list is written."))

        def failed(error: ApplianceError) -> None:
            ticking.stop()
            self._written = -1
            self.console.say(sentences.explain(error), "alarm")

        self.session.do("host import", self._detail, work, then=written, failed=failed)

    def _detail(self, steps: Sequence[Step]) -> str:
        counts = Counter(step.action for step in steps)
        return f"{self._path}: " + ", ".join(f"{count} {action}" for action, count in sorted(counts.items()))


def why(step: Step) -> str:
    """The fields that a row changes, or what else there is to say of it."""
    if step.action is Action.CHANGE:
        return ", ".join(_(LABELS[name]) for name in step.values)
    return sentences.translate(step.why)


def _line_of(step: Step) -> Hashable:
    return step.line
