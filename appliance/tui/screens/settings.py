"""Settings: each with its value, where that comes from, its default and meaning; changed and taken back by admins.

Those of the box are laid over the settings file (`appliance.overrides`); services take them when they start. Those of
the console (language, colours, lock) count at once.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, ClassVar, get_args, get_origin

from appliance import config_keys, overrides
from appliance.backup import plan
from appliance.config import Settings
from appliance.config_keys import Key as SettingKey
from appliance.store import Store
from appliance.store.notices import IS_SET, SECRETS
from appliance.tui import box_settings, child, keys, sentences, words
from appliance.tui.box_settings import MOST_MINUTES, BoxSetting
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm, Form
from appliance.tui.widgets.forms import CHOICE, SECRET, TEXT, Field
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

SET = "(set)"
DEFAULT, FILE, STORE = "default", "file", "store"
_SOURCES: dict[str, str] = {DEFAULT: N_("default"), FILE: N_("file"), STORE: N_("here")}

# What a value must be, by its type.
_KINDS: dict[Any, str] = {
    bool: N_("yes or no"),
    int: N_("a whole number"),
    float: N_("a number"),
    str: N_("a text"),
    Path: N_("a path"),
    IPv4Address: N_("an IPv4 address"),
    IPv4Network: N_("a subnet such as 10.20.4.0/22"),
}


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting. Values are texts as an operator writes them."""

    name: str
    value: str
    default: str
    source: str
    doc: str  # English; of the console's own a message id
    own: BoxSetting | None = None
    key: SettingKey | None = None
    restart: tuple[str, ...] = ()  # services that run with an older value
    damaged: bool = False
    secret: bool = False  # the value is not known here, only whether there is one

    @property
    def meaning(self) -> str:
        """What it is for."""
        return _(self.doc) if self.own else sentences.translate(self.doc)


def setting_rows(base: Settings, snapshot: Snapshot) -> list[SettingRow]:
    """All settings in the order of the settings file, the console's own last. `base` is what the file says."""
    stored = snapshot.settings
    old = overrides.older_than_changes(stored, snapshot.services)
    rows = []
    for key in config_keys.all_keys():
        restart = tuple(service for service, names in old.items() if key.name in names)
        rows.append(_row(base, key, stored, restart))
    for name, doc in SECRETS.items():
        value = SET if stored.get(IS_SET + name) else ""
        rows.append(SettingRow(name, value, "", STORE if value else DEFAULT, doc, secret=True))
    for own in box_settings.ALL:
        value = stored.get(own.name, "")
        source = STORE if value else DEFAULT
        rows.append(SettingRow(own.name, value or own.default, own.default, source, own.doc, own=own))
    return rows


def _row(base: Settings, key: SettingKey, stored: Mapping[str, str], restart: tuple[str, ...]) -> SettingRow:
    in_file = config_keys.value_of(base, key.name)
    default = config_keys.as_text(key.default)
    text = stored.get(overrides.PREFIX + key.name)
    if text is None:
        source = DEFAULT if in_file == key.default else FILE
        return SettingRow(key.name, config_keys.as_text(in_file), default, source, key.doc, key=key, restart=restart)
    try:
        value = json.loads(text)
    except ValueError:
        return SettingRow(key.name, text, default, STORE, key.doc, key=key, restart=restart, damaged=True)
    shown = config_keys.as_text(tuple(value) if isinstance(value, list) else value)
    return SettingRow(key.name, shown, default, STORE, key.doc, key=key, restart=restart)


def expects(key: SettingKey) -> str:
    """What a value must be, in words."""
    if key.choices:
        return _("one of {choices}").format(choices=", ".join(map(str, key.choices)))
    kinds = get_args(key.kind) or (key.kind,)
    kind = next((_(_KINDS[kind]) for kind in kinds if kind in _KINDS), "")
    if key.limits is not None:
        low, high = (words.number(limit, 1 if limit % 1 else 0) for limit in key.limits)
        return _("{kind} from {low} to {high}").format(kind=kind, low=low, high=high)
    if get_origin(key.kind) is tuple:
        return _("a list, with commas: {kind}").format(kind=kind) if kind else _("a list of tables, as JSON")
    return kind + (_(", or nothing") if type(None) in kinds else "")


class SettingsPart(SystemPart):
    """See the module."""

    NAME = "settings"
    TITLE = N_("Settings")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("edit", N_("Edit"), N_("Change the setting at the cursor"), need=keys.ADMIN),
        keys.named(
            "remove",
            N_("Take back"),
            N_("Take the setting at the cursor back: the settings file decides again"),
            need=keys.ADMIN,
        ),
        keys.named("start", N_("Test"), N_("Send a test notice by mail and webhook"), need=keys.ADMIN),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def __init__(self, screen: Any) -> None:
        super().__init__(screen)
        self._made_of: tuple[Any, ...] = ()
        self._rows: list[SettingRow] = []

    def columns(self) -> list[Column[Any]]:
        return [
            Column[SettingRow](N_("Setting"), lambda row: row.name, 24, rank=0, most=30),
            Column[SettingRow](N_("Value"), _shown, 20, rank=0, most=60, role=_value_role),
            Column[SettingRow](N_("From"), lambda row: _(_SOURCES[row.source]), 8, rank=0),
            Column[SettingRow](N_("Restart"), lambda row: ", ".join(row.restart), 12, rank=1, role=lambda row: "warn"),
            Column[SettingRow](N_("Default"), lambda row: row.default or "-", 12, rank=2, most=40),
            Column[SettingRow](N_("Meaning"), lambda row: row.meaning, 30, rank=3, most=110),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.name)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        made_of = (snapshot.settings, snapshot.services)
        if not self._made_of or not all(a is b for a, b in zip(made_of, self._made_of, strict=True)):
            self._made_of = made_of
            self._rows = setting_rows(self.console.file_settings, snapshot)
        return self._rows

    def detail(self, row: Any, width: int) -> list[Line]:
        lines = told(_("Meaning"), row.meaning, width)
        lines += told(_("Value"), _shown(row), width)
        lines += told(_("Must be"), _must_be(row), width)
        lines += told(_("Default"), row.default or _("nothing"), width)
        if row.damaged:
            lines = told(_("Remedy"), _("What is stored cannot be read. Take it back (x)."), width, "warn") + lines
        if row.restart:
            text = _("{services} took an older value when started.").format(services=", ".join(row.restart))
            lines = told(_("Restart"), text, width, "warn") + lines
        return lines

    # -- actions

    def do_edit(self) -> None:
        row: SettingRow | None = self.table.row
        if row is None:
            return
        if row.key is not None and not row.key.changeable:
            text = _("{name} can be set in the settings file only: it says where things lie.")
            self.console.say(text.format(name=row.name), "alarm")
            return
        fields = [_field(row)]
        title = _("Setting {name}").format(name=row.name)
        self.screen.app.push_screen(
            Form(title, fields, lines=[row.meaning], save=lambda form, values: self._save(row, form, values))
        )

    def do_start(self) -> None:
        """Send a test notice; each way's answer is said."""
        self.console.say(_("Sending a test notice ..."))

        def then(found: list[dict[str, Any]]) -> None:
            failed = [str(one[part]) for one in found if one["error"] for part in ("error", "remedy")]
            if failed:
                self.console.say(" ".join(map(sentences.translate, filter(None, failed))), "alarm")
            else:
                went = ", ".join(str(one["where"]) for one in found)
                self.console.say(_("The test notice was taken: {where}.").format(where=went))

        child.start(self.console, "notify", "test", "--json", then=then, group="notify")

    def _save(self, row: SettingRow, form: Form, values: dict[str, Any]) -> None:
        text = str(values["value"]).strip()
        base = self.console.file_settings

        def change(store: Store) -> overrides.Change:
            if row.secret:
                store.notices.set_secret(row.name, text)
                return overrides.Change(row.name, "", SET if text else "", ())
            if row.own is not None:
                store.settings.set(row.name, text)
                return overrides.Change(row.name, row.value, text, ())
            return overrides.change(store, base, row.name, config_keys.from_text(row.name, text))

        def kept(change: overrides.Change) -> None:
            form.dismiss(values)
            self._tell(change)

        detail = row.name if row.secret else f"{row.name} = {text or '-'}"
        self.session.do("setting set", detail, change, then=kept, failed=form.refuse, need=keys.ADMIN)

    def do_remove(self) -> None:
        row: SettingRow | None = self.table.row
        if row is None:
            return
        if row.source != STORE:
            self.console.say(_("{name} was not changed here.").format(name=row.name))
            return
        base = self.console.file_settings

        def change(store: Store) -> overrides.Change:
            if row.secret:
                store.notices.set_secret(row.name, "")
                return overrides.Change(row.name, row.value, "", ())
            if row.own is not None:
                store.settings.unset(row.name)
                return overrides.Change(row.name, row.value, row.default, ())
            return overrides.take_back(store, base, row.name)

        def take_back(yes: bool | None) -> None:
            if yes:
                self.session.do("setting unset", row.name, change, then=self._tell, need=keys.ADMIN)

        after = row.default if row.own or row.secret else config_keys.as_text(config_keys.value_of(base, row.name))
        lines = [_("It is {value} now, and will be {after} again.").format(value=_shown(row), after=after or "-")]
        title = _("Take back {name}?").format(name=row.name)
        self.screen.app.push_screen(Confirm(title, lines, danger=False), take_back)

    def _tell(self, change: overrides.Change) -> None:
        new = config_keys.as_text(change.new) or "-"
        text = _("{name} is now {value}.").format(name=change.name, value=new)
        if change.restart:
            more = _("Restart needed: {services}. See the part Services.")
            text += " " + more.format(services=", ".join(change.restart))
        self.console.say(text)


def _shown(row: SettingRow) -> str:
    """The value as the list shows it."""
    if row.own is not None:
        return next((_(text) for value, text in row.own.choices if value == row.value), row.value)
    return row.value or "-"


def _value_role(row: SettingRow) -> str:
    if row.damaged:
        return "bad"
    return "strong" if row.source == STORE else ""


def _must_be(row: SettingRow) -> str:
    if row.key is not None:
        return expects(row.key)
    if row.secret:
        return _("one line; it is never shown again")
    assert row.own is not None
    if row.own.choices:
        return _("one of {choices}").format(choices=", ".join(_(text) for _value, text in row.own.choices))
    if row.own.name in plan.DEFAULTS:
        return _(row.own.expects)
    low, high = words.number(0), words.number(MOST_MINUTES)
    return _("{kind} from {low} to {high}").format(kind=_("a whole number"), low=low, high=high)


def _field(row: SettingRow) -> Field:
    choices: tuple[tuple[str, str], ...] = ()
    if row.own is not None:
        choices = tuple((value, _(text)) for value, text in row.own.choices)
    elif row.key is not None and row.key.choices:
        choices = tuple((str(value), str(value)) for value in row.key.choices)
    elif row.key is not None and row.key.kind is bool:
        choices = (("true", _("yes")), ("false", _("no")))

    def check(text: str) -> str:
        if row.key is not None:
            config_keys.from_text(row.name, text)
        elif row.secret and not text:
            return _("Write it here. To forget it, take the setting back (x).")
        elif row.own is not None and not row.own.allows(text):
            if row.name in plan.DEFAULTS:
                return _("It must be {expects}.").format(expects=_must_be(row))
            return _("Write a whole number of minutes; 0 for never.")
        return ""

    kind = SECRET if row.secret else CHOICE if choices else TEXT
    return Field(
        "value", _("Value"), kind, "" if row.secret else row.value, hint=_must_be(row), choices=choices, check=check
    )
