"""Operators: who may use the console, and what they may. Admins change it; the last admin cannot go."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

from appliance.events import Role
from appliance.model import Operator
from appliance.store import Store
from appliance.store.operators import MIN_PASSWORD
from appliance.tui import i18n, keys, words
from appliance.tui.i18n import N_, _
from appliance.tui.keys import Key
from appliance.tui.screens.system_part import SystemPart, told
from appliance.tui.snapshot import Snapshot
from appliance.tui.widgets.dialogs import Confirm, Form
from appliance.tui.widgets.forms import CHOICE, SECRET, Field
from appliance.tui.widgets.lines import Line
from appliance.tui.widgets.rowlist import Column

MAY: dict[Role, str] = {
    Role.VIEWER: N_("Looks at everything and changes nothing."),
    Role.OPERATOR: N_("Works with hosts, images, tasks and casts."),
    Role.ADMIN: N_("Also changes settings, services and operators."),
}


class OperatorsPart(SystemPart):
    """See the module."""

    NAME = "operators"
    TITLE = N_("Operators")
    EMPTY = N_("No operator: the console is open to everybody. a adds the first.")
    KEYS: ClassVar[tuple[Key, ...]] = (
        keys.named("add", N_("Add"), N_("Add an operator"), need=keys.ADMIN),
        keys.named("edit", N_("Edit"), N_("Change role or password of the operator at the cursor"), need=keys.ADMIN),
        keys.named("remove", N_("Remove"), N_("Remove the operator at the cursor"), need=keys.ADMIN),
        keys.named("show", N_("Show"), N_("Choose what is shown")),
    )

    def columns(self) -> list[Column[Any]]:
        def language(one: Operator) -> str:
            return i18n.LANGUAGES.get(one.language, "-")

        def last_login(one: Operator) -> str:
            return words.moment(one.last_login, self.snapshot.at) if one.last_login else _("never")

        return [
            Column[Operator](N_("Name"), lambda one: one.name, 16, rank=0, most=40),
            Column[Operator](N_("Role"), lambda one: _(words.ROLES[one.role]), 10, rank=0),
            Column[Operator](N_("Language"), language, 10, rank=1),
            Column[Operator](N_("Last login"), last_login, 16, rank=0, sort=lambda one: str(one.last_login or "")),
            Column[Operator](N_("Added"), lambda one: words.day(one.created), 10, rank=2),
        ]

    def key(self, row: Any) -> Hashable:
        return str(row.name)

    def rows(self, snapshot: Snapshot) -> Sequence[Any]:
        return snapshot.operators

    def detail(self, row: Any, width: int) -> list[Line]:
        return told(_("May"), _(MAY[row.role]), width)

    # -- actions

    def do_add(self) -> None:
        first = not self.snapshot.operators
        role = Role.ADMIN if first else Role.OPERATOR
        fields = [Field("name", _("Name")), _role_field(role), *_password_fields(_("At least {n} characters."))]
        lines = [_("The first operator is an admin. From then on the console asks who you are.")] if first else []

        def save(form: Form, values: dict[str, Any]) -> None:
            name, chosen, password = values["name"].strip(), Role(values["role"]), values["password"]

            def kept(_one: Operator) -> None:
                form.dismiss(values)
                self.console.say(_("Added {name}.").format(name=name))

            self.session.do(
                "operator add",
                f"{name}, {chosen}",
                lambda store: store.operators.add(name, chosen, password),
                then=kept,
                failed=form.refuse,
                need=keys.ADMIN,
            )

        self.screen.app.push_screen(Form(_("A new operator"), fields, lines=lines, check=_same, save=save))

    def do_edit(self) -> None:
        one: Operator | None = self.table.row
        if one is None:
            self.console.say(_("There is no operator at the cursor."))
            return
        name, role = one.name, one.role
        hint = _("Empty: it stays as it is. Else at least {n} characters.")

        def save(form: Form, values: dict[str, Any]) -> None:
            chosen, password = Role(values["role"]), values["password"]
            changed = [f"role {chosen}"] if chosen is not role else []
            changed += ["password"] if password else []
            if not changed:
                form.dismiss(values)
                return

            def work(store: Store) -> None:
                if chosen is not role:
                    store.operators.set_role(name, chosen)
                if password:
                    store.operators.set_password(name, password)

            def kept(_nothing: None) -> None:
                form.dismiss(values)
                self.console.say(_("Changed {name}.").format(name=name))

            detail = f"{name}: {', '.join(changed)}"
            self.session.do("operator edit", detail, work, then=kept, failed=form.refuse, need=keys.ADMIN)

        fields = [_role_field(role), *_password_fields(hint)]
        title = _("Operator {name}").format(name=name)
        self.screen.app.push_screen(Form(title, fields, check=_same, save=save))

    def do_remove(self) -> None:
        one: Operator | None = self.table.row
        if one is None:
            self.console.say(_("There is no operator at the cursor."))
            return
        name = one.name
        lines = [_("Who has signed in by that name is locked out at once. What was done stays in the audit trail.")]

        def remove(yes: bool | None) -> None:
            if yes:
                self.session.do(
                    "operator remove",
                    name,
                    lambda store: store.operators.remove(name),
                    said=_("Removed {name}.").format(name=name),
                    need=keys.ADMIN,
                )

        title = _("Remove operator {name}?").format(name=name)
        self.screen.app.push_screen(Confirm(title, lines, word=name), remove)


def _role_field(role: Role) -> Field:
    choices = tuple((str(one), _(words.ROLES[one])) for one in Role)
    hint = " ".join(f"{_(words.ROLES[one])}: {_(MAY[one])}" for one in Role)
    return Field("role", _("Role"), CHOICE, str(role), hint=hint, choices=choices)


def _password_fields(hint: str) -> list[Field]:
    return [
        Field("password", _("Password"), SECRET, hint=hint.format(n=MIN_PASSWORD)),
        Field("again", _("Password once more"), SECRET),
    ]


def _same(values: dict[str, Any]) -> dict[str, str]:
    if values["password"] != values["again"]:
        return {"again": _("The two are not the same.")}
    return {}
